"""From all that was measured to the frozen record of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from shiftcheck.checks.circumstances import causes_of, circumstances
from shiftcheck.checks.equivariance.judge import find_guilty
from shiftcheck.checks.equivariance.judge_run import Judged
from shiftcheck.checks.equivariance.sensitivity import faint_notes, sensitivity_of
from shiftcheck.checks.equivariance.too_little import what_leaves_too_little
from shiftcheck.checks.left_out import what_tells_places_apart
from shiftcheck.measuring.local_error import causes_alone
from shiftcheck.report.causes import Cause
from shiftcheck.report.equivariance import LayerResult, Report
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.traced import Row


def build_report(judged: Judged, notes: Sequence[str]) -> Report:
    """The report of what was judged; ``notes``: what there is to say about the run."""
    plan, measured = judged.findings.plan, judged.findings.measured
    pairs = list(zip(judged.outputs, measured.outputs.values(), strict=False))
    return Report(
        verdict=judged.verdict,
        reason=judged.reason,
        layers=judged.layers,
        outputs=judged.outputs,
        guilty=_guilty(judged),
        causes=causes_of([entry.row for entry in measured.outputs.values()]),
        shifts=plan.shifts,
        shifts_given=plan.shifts_given,
        tolerances=plan.tolerances,
        training=plan.training,
        sensitivity=sensitivity_of(pairs, plan.tolerance),
        notes=tuple(dict.fromkeys((*notes, *faint_notes(pairs)))),
        **circumstances(plan),
    )


def _guilty(judged: Judged) -> Cause | None:
    """The first cause on the way to the decisive output that explains its verdict."""
    findings, reason = judged.findings, judged.reason
    plan, answer = findings.plan, (judged.verdict, reason)
    alike = [o for o in judged.outputs if (o.verdict, o.reason) == answer]
    if reason == Reason.NOT_SPATIAL:
        alike.sort(key=lambda o: o.reduced)  # what could be left out decides nothing
    decisive = next(iter(alike), judged.outputs[0])
    entries = findings.measured.outputs.values()
    rows = [entry.row for entry in entries if entry.row.name == decisive.name]
    absent = _guilty_of_absence(reason, decisive, rows, plan.shifts_given)
    if absent is not None or reason == Reason.TOO_LITTLE:
        return absent
    rounding = replace(plan.tolerance, rtol=None, atol=None).relative(None)
    about = partial(find_guilty, *answer, decisive)
    rest = (plan.inputs.circular, judged.layers, rounding)
    on_the_way = causes_of(rows)
    first = about(on_the_way, *rest) if reason == Reason.NO_REGION else None
    if first is not None:  # what lies beside the way reaches no sample of this output
        return first
    alone = causes_alone(findings.local)
    return about(tuple(dict.fromkeys((*on_the_way, *alone))), *rest)


def _guilty_of_absence(
    reason: Reason, output: LayerResult, rows: Sequence[Row], given: bool
) -> Cause | None:
    """What leaves nothing of an output to compare, or too little; its geometry is in its row."""
    if not rows:
        return None
    shifts = [s.shift for s in output.shifts if s.reason == reason]
    if reason == Reason.NOT_SPATIAL and not output.reduced:
        return what_tells_places_apart(rows[0].layout, shifts)
    if reason == Reason.IDENTITY and not given:
        everywhere = (1,) * len(output.stride)
        return what_leaves_too_little(rows[0].layout, [everywhere], Reason.TOO_LITTLE)
    if reason in (Reason.NO_REGION, Reason.TOO_LITTLE):
        return what_leaves_too_little(rows[0].layout, shifts, reason)
    return None
