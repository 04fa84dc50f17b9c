"""One check at shifts that are chosen: measure, look again at what is doubtful, judge."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from shiftcheck.checks.equivariance.build_report import build_report
from shiftcheck.checks.equivariance.judge_run import Findings, Judged, judge_run
from shiftcheck.checks.equivariance.second_look import (
    doubt_in_a_batch,
    doubtful,
    is_beyond_rounding,
    look_again,
    precision_notes,
)
from shiftcheck.measuring.agreement import several_whole_shifts
from shiftcheck.measuring.batched import measure, measure_agreeing
from shiftcheck.measuring.choose_shifts import choose_shifts
from shiftcheck.measuring.effort import EffortSpentError, Ledger, whatever_it_costs
from shiftcheck.measuring.local_error import measure_local
from shiftcheck.measuring.measurements import Doubt, Measurements
from shiftcheck.measuring.passes import Passes
from shiftcheck.measuring.plan import Plan
from shiftcheck.report.equivariance import Report, Verdict
from shiftcheck.report.left_out import LeftOut
from shiftcheck.tracing.modules import modules_of, names_of
from shiftcheck.tracing.restoring.state import Originals, preserved


@dataclass(frozen=True, kw_only=True, eq=False)
class Examination:
    """A report, and the measurements that it rests on."""

    report: Report
    measured: Measurements


def with_shifts(plan: Plan) -> tuple[Plan, tuple[str, ...]]:
    """The plan, with shifts chosen from the geometry where the user gave none; with notes."""
    if plan.shifts_given:
        return plan, ()
    shifts, notes = choose_shifts(plan)
    return replace(plan, shifts=shifts), tuple(notes)


def passing(plan: Plan, notes: Sequence[str] = ()) -> Report | None:
    """The report on the outputs alone; None where it does not pass, or is not that plain."""
    with _preserved(plan) as originals:
        passes = Passes(replace(plan, every_layer=False), originals)
        several = several_whole_shifts(plan)
        measured = measure_agreeing(passes) if several else measure(passes)
        if measured is None or measured.doubt.unsure:
            return None
        notes = (*notes, *measured.notes, *_notes(passes, measured))
        judged = judge_run(Findings(plan=passes.plan, measured=measured))
        if judged.verdict is not Verdict.EQUIVARIANT:
            return None
    return build_report(judged, (*notes, *originals.left))


def examine(plan: Plan, notes: Sequence[str] = (), *, ledger: Ledger | None = None) -> Examination:
    """What a plan gives, judged; with the local errors of its layers where it does not pass.

    ``ledger``: what follows after the measurement is bounded by what that has cost; a trial has
    none of its own.
    """
    left_out: tuple[LeftOut, ...] = ()
    with _preserved(plan) as originals:
        passes = Passes(plan, originals)
        measured = measure(passes)
        if ledger is not None and not plan.full_effort:
            ledger.bound()
        notes = (*notes, *measured.notes, *_notes(passes, measured))
        with whatever_it_costs():  # the verdict hangs on it
            judged = _judged_twice(passes, measured, trial=ledger is None)
        settled = judged.verdict is Verdict.EQUIVARIANT or plan.between_pixels
        if plan.every_layer and not settled:
            try:
                local = measure_local(plan, originals)
                judged = judge_run(replace(judged.findings, local=local))
            except EffortSpentError:
                left_out = (LeftOut.LOCAL_ERRORS,)
    report = build_report(judged, (*notes, *originals.left))
    return Examination(report=replace(report, left_out=left_out), measured=measured)


def _preserved(plan: Plan) -> AbstractContextManager[Originals]:
    model, tensors = plan.model, plan.inputs.tensors
    return preserved(modules_of(model), tensors, training=plan.training, model=model)


def _judged_twice(passes: Passes, measured: Measurements, *, trial: bool) -> Judged:
    """What is judged at first, and once more after a second look at what is doubtful.

    Of a ``trial`` it is only asked whether it passes.
    """
    plan = passes.plan
    if measured.doubt.unsure and not measured.doubt.reason:
        doubt = Doubt(doubt_in_a_batch(passes, measured), unsure=True)
        measured = replace(measured, doubt=doubt)
    judged = judge_run(Findings(plan=plan, measured=measured))
    if plan.tolerances is None and doubtful((*judged.outputs, *judged.layers)):
        if trial and is_beyond_rounding(judged.outputs, measured, plan):
            return judged
        look = look_again(passes, measured)
        judged = judge_run(replace(judged.findings, look=look))
    return judged


def _notes(passes: Passes, measured: Measurements) -> tuple[str, ...]:
    """What there is to say about the run."""
    plan, originals = passes.plan, passes.originals
    written = [] if plan.training else names_of(plan.model, originals.changed())
    notes = [f"the model writes to {name!r} in its forward; it was put back" for name in written]
    if plan.between_pixels:
        notes.append(_how_between(plan))
    coarser = precision_notes(measured.dtypes, measured.products, plan.inputs.dtype)
    return (*notes, *coarser)


def _how_between(plan: Plan) -> str:
    """How the values between pixels were read."""
    ways = {True: "Fourier on circles", False: f"{plan.inputs.interpolation} on the plane"}
    used = [ways[circle] for circle in ways if circle in plan.inputs.circular]
    return f"shifts between pixels: interpolated, {' and '.join(used)}"
