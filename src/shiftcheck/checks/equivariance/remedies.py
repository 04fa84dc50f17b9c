"""What would make a check pass: each remedy is tried before anybody reads of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

from shiftcheck.checks.equivariance.blurring import averaged, blurred
from shiftcheck.checks.equivariance.changed_plan import changed
from shiftcheck.checks.equivariance.changes import (
    are_multiples,
    at_the_same_size,
    earlier_layers,
    on_a_circle,
    period_of,
)
from shiftcheck.checks.equivariance.examine import examine, with_shifts
from shiftcheck.checks.equivariance.tables import left_out
from shiftcheck.checks.trials import Trials, until_one_works
from shiftcheck.lattice.sizes import Smallest
from shiftcheck.measuring.effort import EffortSpentError, require
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.required_size import free_of_padding, smallest_input
from shiftcheck.report.equivariance import Change, Report, Trial, Verdict
from shiftcheck.report.left_out import LeftOut
from shiftcheck.report.reasons import TOO_FEW, Reason

X_AND_A_COPY = 2
"""A trial runs on these at least; what it cannot end is not begun."""

Attempt = Callable[[Change], Trial | None]


def diagnosed(report: Report, plan: Plan) -> Report:
    """The report with what was tried to make it pass, and the input that would be large enough."""
    attempt = partial(_tried, plan, report)
    unmoved = _is_unmoved(report, plan)
    if plan.training and report.verdict is not Verdict.BROKEN:
        report = _with(report, until_one_works([Change(evaluation=True)], attempt))
        if any(trial.works for trial in report.trials):
            return report
    if report.reason == Reason.NO_REGION or unmoved:
        report = _at_another_size(report, plan, attempt, unmoved=unmoved)
        if not unmoved and not all(plan.inputs.circular):
            report = _with(report, until_one_works(on_a_circle(plan), attempt))
        if report.needed is not None:
            return _with(report, until_one_works(earlier_layers(report), attempt))
    report = _with(report, until_one_works(at_the_same_size(report, plan), attempt))
    if report.verdict is Verdict.BROKEN and (blur := blurred(report, plan)) is not None:
        report = _with(report, until_one_works([blur], attempt))
    if any(trial.works for trial in report.trials):
        return report
    if report.reason == Reason.TOO_LITTLE:
        return _at_another_size(report, plan, attempt)
    too_small = [t for t in report.trials if t.change.multiples and t.reason in TOO_FEW]
    if report.verdict is Verdict.BROKEN and too_small:
        return _by_periods(report, plan, attempt)
    return report


def _is_unmoved(report: Report, plan: Plan) -> bool:
    return report.reason in (Reason.IDENTITY, Reason.NEVER_MOVED) and not plan.shifts_given


def _with(report: Report, trials: Trials[Trial]) -> Report:
    """The report with further trials."""
    return replace(
        report,
        trials=(*report.trials, *trials.outcomes),
        untried=(*report.untried, *trials.untried),
        left_out=tuple(dict.fromkeys((*report.left_out, *trials.left_out))),
    )


def _at_another_size(
    report: Report, plan: Plan, attempt: Attempt, *, unmoved: bool = False
) -> Report:
    """With the smallest input that leaves enough to compare, and whether the check passes there.

    ``unmoved``: by steps of its lattice. Where it does not pass, shifts by whole periods are tried,
    which may ask for more.
    """
    try:
        smallest = smallest_input(plan, unmoved=unmoved)
        if smallest is None or smallest.sizes == plan.inputs.pixels:
            return report
        report = _needing(report, plan, smallest)
    except EffortSpentError:
        return replace(report, left_out=(*report.left_out, LeftOut.SMALLEST_INPUT))
    report = _with(report, until_one_works([Change(size=smallest.sizes)], attempt))
    fails = any(t.change.size and not t.works for t in report.trials)
    return _by_periods(report, plan, attempt) if fails and not unmoved else report


def _by_periods(report: Report, plan: Plan, attempt: Attempt) -> Report:
    """With the smallest input that leaves enough to compare by shifts of whole periods."""
    period = period_of(report)
    if not period or are_multiples(plan.shifts, period):
        return report
    shifts = Change(multiples=period).moves(plan.shifts)
    try:
        smallest = smallest_input(replace(plan, shifts=shifts, shifts_given=True))
    except EffortSpentError:
        return replace(report, left_out=(*report.left_out, LeftOut.SMALLEST_INPUT))
    if smallest is None:
        return report
    change = Change(size=smallest.sizes, multiples=period)
    tried = until_one_works([change], attempt)
    works = any(trial.works for trial in tried.outcomes)
    return _with(_needing(report, plan, smallest) if works else report, tried)


def _needing(report: Report, plan: Plan, smallest: Smallest) -> Report:
    """With the sizes that would do; steps are told where not every larger size does."""
    steps = smallest.steps if any(n != 1 for n in smallest.steps) else ()
    share = free_of_padding(plan, smallest.sizes)
    return replace(report, needed=smallest.sizes, needed_steps=steps, needed_share=share)


def _tried(plan: Plan, before: Report, change: Change) -> Trial | None:
    """The outcome of the check with a change; None where the model does not run like that."""
    tables = left_out(plan, change) if change.constants or change.factors else nullcontext()
    averages = averaged(plan, change) if change.blurred else nullcontext()
    try:
        with tables, averages:
            alike = before.reason not in (Reason.BATCH_COUPLED, Reason.UNSTEADY)
            other = changed(plan, change, _share(before, change), alike_in_a_batch=alike)
            require(other.inputs.tensors, X_AND_A_COPY, other.share)
            other, notes = with_shifts(other)
            require(other.inputs.tensors, 1 + len(other.shifts), other.share)
            report = examine(other, notes).report
    except Exception:  # the model cannot be copied or run like that, whatever it raises
        return None
    assert report.verdict is not None
    return Trial(
        change=change,
        verdict=report.verdict,
        reason=report.reason,
        relative_error=report.relative_error,
        guilty=report.guilty,
    )


def _share(report: Report, change: Change) -> float:
    """What a pass costs with a change, in passes of the model as it is."""
    names = [row.name for row in report.layers]
    return (names.index(change.layer) + 1) / len(names) if change.layer in names else 1.0
