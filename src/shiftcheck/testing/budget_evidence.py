"""What a report says to a budget: the errors that were measured, and what to doubt of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from shiftcheck.measuring.tolerance import CLEARLY, Tolerance
from shiftcheck.report.equivariance import LayerResult, Report, ShiftResult, Verdict
from shiftcheck.report.invariance import InvarianceReport, InvarianceVerdict, InvariantOutput
from shiftcheck.report.reasons import Reason
from shiftcheck.testing.budget_store import Budget, OutputBudget


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What a check measured, as a budget; None where there is a ``doubt``.

    ``perfect``: nothing is off at all. ``noise``: by output, what rounding may add to its error.
    ``hidden_by``: why a budget would let anything pass, or empty.
    """

    budget: Budget | None
    perfect: bool
    noise: Mapping[str, float]
    hidden_by: Callable[[Budget], str]
    doubt: str = ""


def evidence_of_equivariance(report: Report, *, given: bool) -> Evidence:
    """What a check of equivariance measured; ``given``: the shifts were chosen by the caller."""
    budget, doubt = measured_budget(report, given=given)
    return Evidence(
        budget=budget,
        doubt=doubt,
        perfect=report.verdict is Verdict.EQUIVARIANT,
        noise={output.name: _noise(report, output.name) for output in report.outputs},
        hidden_by=lambda stored: _hidden(report, stored),
    )


def measured_budget(report: Report, *, given: bool) -> tuple[Budget | None, str]:
    """What a report measured, as a budget; None and the doubt where anything is inconclusive."""
    if report.verdict is Verdict.INCONCLUSIVE or report.verdict is None:
        return None, f"the check is inconclusive ({report.reason})"
    outputs = {}
    for output in _counting(report):
        doubt = _doubt(output, report, given)
        if doubt:
            return None, f"output {output.name!r} is inconclusive ({doubt})"
        compared = _compared_shifts(output)
        largest = max(s.relative_error or 0.0 for s in compared)
        outputs[output.name] = OutputBudget(
            relative_error=largest, shifts=tuple(str(s.shift) for s in compared)
        )
    budget = Budget(
        outputs=outputs,
        dtype=report.dtype,
        boundary=" ".join(report.boundary),
        input_shape="x".join(map(str, report.input_shape)),
        layer=report.layer,
        seed=report.seed,
    )
    return budget, ""


def _counting(report: Report) -> list[LayerResult]:
    """The outputs that the verdict rests on: those whose axes were reduced are left out."""
    spatial = [o for o in report.outputs if o.reason != Reason.NOT_SPATIAL or not o.reduced]
    return spatial or list(report.outputs)


def _compared_shifts(output: LayerResult) -> list[ShiftResult]:
    """In the order of the shifts themselves, whatever the order they were given in."""
    some = [s for s in output.shifts if s.relative_error is not None and any(s.shift)]
    return sorted(some, key=lambda s: s.shift)


def _doubt(output: LayerResult, report: Report, given: bool) -> str:
    """Why an output is not measured well enough for a budget."""
    compared = _compared_shifts(output)
    moved = {a for s in compared for a, v in enumerate(s.shift) if v}
    if not moved:
        return output.reason or Reason.NEVER_MOVED
    if report.verdict is Verdict.EQUIVARIANT:
        return ""
    for one in output.shifts:
        if one.verdict is Verdict.INCONCLUSIVE and one.reason not in _left_out(output, given):
            return one.reason
    asked = {a for s in report.shifts for a, v in enumerate(s) if v}
    return Reason.NEVER_MOVED if asked - moved else ""


def _left_out(output: LayerResult, given: bool) -> set[str]:
    """Reasons for which a shift says nothing against the others, where one of them is broken."""
    off = set() if given else {Reason.OFF_LATTICE}
    return (
        {Reason.IDENTITY, Reason.IN_NOISE}
        | off
        | ({Reason.NOT_SPATIAL} if output.reduced else set())
    )


def _hidden(report: Report, budget: Budget) -> str:
    """What shows that a budget would let anything pass: the gap with the shift left out.

    An output that stays where it is must not be within the budget; nor may it be constant.
    """
    for output in _counting(report):
        allowed = budget.outputs[output.name].relative_error
        needed = max(allowed, CLEARLY * _noise(report, output.name))
        for one in _compared_shifts(output):
            if one.null_error is None or one.null_error <= needed:
                null = "unknown" if one.null_error is None else f"{one.null_error:.3g}"
                return (
                    f"a relative error of {allowed:.3g} at output {output.name!r} is too large to"
                    f" mean anything: at shift {one.shift} the same comparison with the shift left"
                    f" out gives {null}, and should give more than {needed:.3g}; choose shifts at"
                    " which the model does better, such as multiples of its period"
                )
    return ""


def _noise(report: Report, name: str) -> float:
    """What rounding may do to an output: that of its type, or what the check found it to do.

    An allowance that was compared in float64 says nothing of the type itself.
    """
    shifts = next(o.shifts for o in report.outputs if o.name == name)
    allowances = (
        s.allowance for s in shifts if s.allowance is not None and s.float64_error is None
    )
    return max((noise_of_type(report.dtype), *allowances))


def noise_of_type(dtype: str) -> float:
    """What rounding may do to a relative error that was measured in a type."""
    given = getattr(torch, dtype)
    of_whole_numbers = torch.float32  # what the network makes of them
    compared = given if given.is_floating_point else of_whole_numbers
    return Tolerance(eps=float(torch.finfo(compared).eps)).relative(None)


def evidence_of_invariance(report: InvarianceReport) -> Evidence:
    """What a check of invariance measured, whether a bound was there to judge it by or not."""
    budget, doubt = _measured_invariance(report)
    noise = {o.name: _noise_of_invariance(report, o) for o in report.outputs}
    return Evidence(
        budget=budget,
        doubt=doubt,
        perfect=report.verdict is InvarianceVerdict.INVARIANT,
        noise=noise,
        hidden_by=_as_much_as_a_signal,
    )


LEFT_OUT = (Reason.STILL_SPATIAL, Reason.IGNORES)
"""Outputs that say nothing against the others."""

NO_DOUBT = (Reason.NONE, Reason.NO_BOUND, Reason.IDENTITY, Reason.IN_NOISE, Reason.LOW_PRECISION)
"""Reasons with which the error of a shift is one that was measured."""


def _measured_invariance(report: InvarianceReport) -> tuple[Budget | None, str]:
    """The errors as a budget; None and the doubt where anything is inconclusive."""
    if report.verdict is InvarianceVerdict.INCONCLUSIVE:
        return None, f"the check is inconclusive ({report.reason})"
    outputs = {}
    for output in report.outputs:
        if output.reason in LEFT_OUT:
            continue
        doubts = [s.reason for s in output.moved if s.reason not in NO_DOUBT]
        doubts += [output.reason] if output.verdict is InvarianceVerdict.INCONCLUSIVE else []
        if doubts:
            return None, f"output {output.name!r} is inconclusive ({doubts[0]})"
        outputs[output.name] = OutputBudget(
            relative_error=output.relative_error or 0.0,
            shifts=tuple(str(s.shift) for s in sorted(output.moved, key=lambda s: s.shift)),
        )
    crop = "" if report.crop is None else f", a crop of {'x'.join(map(str, report.crop))}"
    budget = Budget(
        check="invariance",
        outputs=outputs,
        dtype=report.dtype,
        boundary=" ".join(report.fill) + crop,
        input_shape="x".join(map(str, report.input_shape)),
        layer=report.layer,
        seed=report.seed,
    )
    return budget, ""


def _noise_of_invariance(report: InvarianceReport, output: InvariantOutput) -> float:
    """What rounding may do to an output, relative to what different signals do to it."""
    if not output.variation or output.magnitude is None:
        return 0.0
    return noise_of_type(report.dtype) * output.magnitude / output.variation


def _as_much_as_a_signal(budget: Budget) -> str:
    for name, output in budget.outputs.items():
        if output.relative_error >= 1.0:
            return (
                f"a relative error of {output.relative_error:.3g} at output {name!r} is too large"
                " to mean anything: a shift changes it as much as another signal does; give"
                " smaller shifts, or signals that differ more"
            )
    return ""
