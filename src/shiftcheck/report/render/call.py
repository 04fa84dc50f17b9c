"""The call that repeats a check, as it was or with a change: a line to paste."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shiftcheck.report.equivariance import Change, Report

NOTHING = Change()

MOST_SHIFTS = 12
"""More shifts than that are not written out."""


def assertion(report: Report, change: Change = NOTHING, shifts: Sequence[Any] = ()) -> str:
    """The assertion of a report with a change; ``shifts`` where the change has none."""
    model, x = "model", "x"
    if change.dtype:
        kind = f"torch.{change.dtype}"
        modules = any(row.op[:1].isupper() for row in report.layers)
        model, x = f"model.to({kind})" if modules else model, f"x.to({kind})"
    if change.signal:
        x = "torch.randn_like(x)"
    keywords = ", ".join(f"{name}={value}" for name, value in _keywords(report, change, shifts))
    return f"shiftcheck.assert_equivariant({model}, {x}, {keywords})"


def _keywords(report: Report, change: Change, shifts: Sequence[Any]) -> list[tuple[str, str]]:
    """The keywords that are not as they are by default."""
    pairs: list[tuple[str, str]] = []
    if layer := change.layer or report.layer:
        pairs.append(("layer", repr(layer)))
    axes = tuple(range(2, len(report.input_shape)))
    if report.spatial_dims not in ((), axes):
        pairs.append(("spatial_dims", repr(report.spatial_dims)))
    if fixed := (*report.fixed, *change.fixed):
        pairs.append(("fixed", repr(fixed)))
    if outputs := change.outputs or report.chosen_outputs:
        pairs.append(("outputs", repr(list(outputs))))
    if change.size:
        pairs.append(("grow", repr(change.size)))
    if moved := change.moves(report.shifts) or shifts or _given(report):
        pairs.append(("shifts", repr(list(moved)) if len(moved) <= MOST_SHIFTS else "shifts"))
    if boundary := _boundary(change.boundary or report.boundary):
        pairs.append(("boundary", boundary))
    if report.tolerances is not None and not change.tolerances:
        pairs += zip(("rtol", "atol"), map(repr, report.tolerances), strict=True)
    if report.training and not change.evaluation:
        pairs.append(("training", "True"))
    if report.draws:
        pairs += [("weights", "'randomized'"), ("draws", str(len(report.draws)))]
    return [*pairs, ("seed", str(report.seed))]


def _given(report: Report) -> Sequence[Any]:
    """The shifts of the user, where there are any."""
    return report.shifts if report.shifts_given and any(map(any, report.shifts)) else ()


def _boundary(boundary: Sequence[str]) -> str:
    """The argument; empty where it is the default."""
    kinds = set(boundary)
    if kinds <= {"valid"}:
        return ""
    return repr(boundary[0]) if len(kinds) == 1 else repr(tuple(boundary))


def asked_for(fixed: Sequence[str | int], outputs: Sequence[str | int]) -> str:
    """The keywords of the arguments that stood still and of the outputs that counted."""
    still = f", fixed={tuple(fixed)!r}" if fixed else ""
    return still + (f", outputs={list(outputs)!r}" if outputs else "")
