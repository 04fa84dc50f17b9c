"""What may make a check pass: a change of the model, of the input or of the test."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import takewhile

import torch

from shiftcheck.checks.equivariance.tables import tables_left_out
from shiftcheck.checks.equivariance.too_little import smaller_shifts
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.required_size import next_on_the_circle, next_that_fits
from shiftcheck.report.causes import CauseKind
from shiftcheck.report.equivariance import Change, LayerResult, Report, Verdict
from shiftcheck.report.reasons import TOO_FEW, Reason
from shiftcheck.tracing.precision import eps_of

MOST_LAYERS = 3
"""How many layers before the guilty one are tried as the last of a check."""

MOST_STEPS = 8
"""How many periods of layers are tried as what divides a size that would fit."""


def _one_step(report: Report) -> tuple[int, ...]:
    """The smallest shift that is a whole number of samples of every output, along all axes."""
    strides = zip(*(output.stride for output in report.outputs), strict=True)
    return tuple(math.lcm(*(abs(s.numerator) for s in along if s)) for along in strides)


def at_the_same_size(report: Report, plan: Plan) -> Iterator[Change]:
    """What may help, the most telling first."""
    if report.verdict is Verdict.BROKEN:
        yield from _for_breaks(report, plan)
    else:
        yield from _for_doubts(report, plan)
    if any(c.kind == CauseKind.RESIZE and c.period is None for c in report.causes):
        yield from _sizes_that_fit(report, plan)
    if report.reason in BEFORE_THE_END:
        yield from earlier_layers(report)


BEFORE_THE_END = frozenset(
    {Reason.NOT_SPATIAL, Reason.SATURATED, Reason.UNSUPPORTED, Reason.LEFT_TORCH, Reason.UNREAD}
)
"""Where a person may want what comes before: the features before a head, the values before a limit.

In the place of a broken model nobody wants a part of it.
"""


def on_a_circle(plan: Plan) -> Iterator[Change]:
    """The check of a signal that closes, as the model is, and as if it padded circularly."""
    around = ("circular",) * len(plan.inputs.pixels)
    yield Change(boundary=around)
    yield Change(boundary=around, circular_padding=True)


def period_of(report: Report) -> tuple[int, ...]:
    """The period of all outputs together; empty where one has none."""
    periods = [o.period for o in report.outputs]
    if not periods or any(None in p for p in periods):
        return ()
    return tuple(math.lcm(*(p or 1 for p in along)) for along in zip(*periods, strict=True))


def _for_breaks(report: Report, plan: Plan) -> Iterator[Change]:
    padded = any(
        c.kind == CauseKind.PADDING and plan.inputs.circular[c.axis or 0] for c in report.causes
    )
    if padded:
        yield Change(circular_padding=True)
    tables = _without_tables(report, plan)
    if tables is not None:
        yield tables
        if padded:
            yield replace(tables, circular_padding=True)
    multiples = _multiples(report, plan)
    if multiples and report.reason != Reason.AGAINST_RULES:
        yield Change(multiples=multiples)
        if padded:
            yield Change(circular_padding=True, multiples=multiples)
    if report.reason == Reason.LOW_PRECISION:
        yield from _finer(plan)
    if any(plan.inputs.circular) and len(plan.inputs.tensors) == 1:
        size = next_on_the_circle(plan)
        if size is not None and size != plan.inputs.pixels:
            yield Change(size=size)
            if padded:
                yield Change(size=size, circular_padding=True)


def _without_tables(report: Report, plan: Plan) -> Change | None:
    """With what depends on the place left out, where that is a parameter or a buffer."""
    causes = [c for c in report.causes if c.kind is CauseKind.POSITION and not c.latent]
    scaled = bool(causes) and causes[0].op.startswith(("mul", "div"))
    return tables_left_out(plan, scaled) if causes else None


def _sizes_that_fit(report: Report, plan: Plan) -> Iterator[Change]:
    """The next size that the periods of the layers divide, where what is joined may fit together.

    Shifts that were chosen for this size are chosen anew.
    """
    if len(plan.inputs.tensors) > 1:
        return
    steps = sorted({p for row in report.layers for p in row.period if p})[:MOST_STEPS]
    fitting = next_that_fits(plan, steps)
    if fitting is None:
        return
    size, period = fitting
    given = plan.shifts_given and are_multiples(plan.shifts, period)
    yield Change(size=size) if given else Change(size=size, multiples=period)


def are_multiples(shifts: Iterable[Sequence[float]], period: Sequence[int]) -> bool:
    """Whether all shifts are whole periods."""
    return all(v % p == 0 for shift in shifts for v, p in zip(shift, period, strict=True))


def _multiples(report: Report, plan: Plan) -> tuple[int, ...]:
    """The period of the outputs, unless every shift is a multiple of it already."""
    least = period_of(report)
    fits = bool(least) and all(p < n for p, n in zip(least, plan.inputs.pixels, strict=True))
    return least if fits and not are_multiples(plan.shifts, least) else ()


def _for_doubts(report: Report, plan: Plan) -> Iterator[Change]:
    reason = report.reason
    unmoved = reason in (Reason.IDENTITY, Reason.NEVER_MOVED) and not plan.shifts_given
    if plan.inputs.followers and (unmoved or reason == Reason.UNSUPPORTED):
        yield Change(fixed=plan.inputs.followers)
    if reason in (Reason.OFF_LATTICE, Reason.IN_NOISE, Reason.MEASURED_GAP) and (
        multiples := _multiples(report, plan)
    ):
        yield Change(multiples=multiples)
    if reason == Reason.NOT_SPATIAL and report.guilty is not None and report.guilty.period:
        yield Change(multiples=(report.guilty.period,) * len(plan.inputs.pixels))
    if reason in (
        Reason.INVISIBLE,
        Reason.CONSTANT,
        Reason.CONSTANT_INPUT,
        Reason.SATURATED,
        Reason.DEAD,
        Reason.IN_NOISE,
    ):
        yield Change(signal=True)
    if reason in (Reason.UNCONFIRMED, Reason.NOT_FINITE, Reason.IN_NOISE, Reason.CHOSEN):
        yield from _finer(plan)
    if reason == Reason.TOO_LITTLE and (shifts := smaller_shifts(report, plan.shifts)):
        yield Change(shifts=shifts)
    if reason == Reason.TOO_TOLERANT:
        yield Change(tolerances=True)
    if reason == Reason.NEVER_MOVED:
        yield from _axes_alone(report)
    if reason in (Reason.IGNORES, Reason.NOT_SPATIAL):
        yield from _outputs_that_pass(report)
    if reason == Reason.IDENTITY and plan.shifts_given:
        yield Change(shifts=Change(multiples=_one_step(report)).moves(plan.shifts))


def _finer(plan: Plan) -> Iterator[Change]:
    eps = eps_of(plan.inputs.dtype)
    for dtype in ("float32", "float64"):
        if eps_of(getattr(torch, dtype)) < eps:
            yield Change(dtype=dtype)


def _axes_alone(report: Report) -> Iterator[Change]:
    """Shifts along those axes alone that every output has."""
    axes = range(len(report.boundary))
    strides = [[o.stride[a] for o in report.outputs] for a in axes]
    for a in axes:
        step = max((abs(s.numerator) for s in strides[a] if s is not None), default=0)
        if step and None not in strides[a]:
            yield Change(shifts=(tuple(step if b == a else 0 for b in axes),))


def _outputs_that_pass(report: Report) -> Iterator[Change]:
    names = tuple(o.name for o in report.outputs if o.verdict is Verdict.EQUIVARIANT)
    if names:
        yield Change(outputs=names)


def earlier_layers(report: Report) -> Iterator[Change]:
    """The last layers that pass, before the guilty one or where all is still known."""
    guilty = report.guilty.layer if report.guilty is not None else None
    known = report.reason in TOO_FEW
    before = takewhile(lambda row: known or not _is_of(row, guilty), report.layers)
    passing = [
        row.name
        for row in before
        if row.verdict is Verdict.EQUIVARIANT
        and None not in row.stride
        and row.op != "Identity"
        and "[" not in row.name
    ]
    for name in reversed(passing[-MOST_LAYERS:]):
        if name != report.layer:
            yield Change(layer=name)


def _is_of(row: LayerResult, layer: str | None) -> bool:
    return layer is not None and (row.name == layer or row.name.startswith(f"{layer}["))
