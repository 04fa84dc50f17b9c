"""What would make a check of invariance pass: each remedy is tried before anybody reads of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from decimal import ROUND_CEILING, Context
from functools import partial

from shiftcheck.checks.equivariance.examine import examine, with_shifts
from shiftcheck.checks.invariance.examine import (
    Findings,
    Question,
    Structure,
    examined,
    report_of,
)
from shiftcheck.checks.invariance.judge import spatial_axes
from shiftcheck.checks.trials import until_one_works
from shiftcheck.errors import InputError, ModelError
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import Layout
from shiftcheck.measuring.effort import EffortSpentError
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.signals.arguments import Shift
from shiftcheck.measuring.structure_pass import read_structure
from shiftcheck.report.causes import CauseKind
from shiftcheck.report.equivariance import Change, Verdict
from shiftcheck.report.invariance import InvarianceReport, InvarianceTrial, InvarianceVerdict


def with_remedies(
    report: InvarianceReport, findings: Findings, structure: Structure
) -> InvarianceReport:
    """The report of a check that does not pass, or that was not judged, with what was tried.

    What enters at an open edge changes the output whatever the model is: there only a bound helps.
    """
    question = findings.question
    changes = _changes(report, question.circles) if report.verdict is not None else []
    trials = until_one_works(changes, partial(_tried, question, structure))
    bounded = _bounded(report, findings)
    return replace(
        report,
        trials=(*trials.outcomes, *([] if bounded is None else [bounded])),
        untried=trials.untried,
        equivariant_features=_equivariant_features(question, structure),
    )


def _changes(report: InvarianceReport, circles: Sequence[bool]) -> list[Change]:
    """What may make the check pass, the smallest change first."""
    steps = _steps(report)
    ways = [Change(multiples=steps)] if steps else []
    pads = any(c.kind == CauseKind.PADDING for c in report.causes)
    if pads and any(circles):
        ways.append(Change(circular_padding=True))
        ways += [Change(circular_padding=True, multiples=steps)] if steps else []
    return ways


def _steps(report: InvarianceReport) -> tuple[int, ...]:
    """The period of everything on the way, where it is longer than a pixel."""
    axes = len(report.fill)
    periods = [
        math.lcm(*(c.period for c in report.causes if c.period and c.axis in (None, a)))
        for a in range(axes)
    ]
    return tuple(periods) if max(periods) > 1 else ()


def _tried(question: Question, structure: Structure, change: Change) -> InvarianceTrial | None:
    """The same check after a change; None where it cannot be run."""
    plan, room = question.plan, question.surroundings.room
    shifts = _multiples(change.multiples, room) if change.multiples else plan.shifts
    if not shifts:
        return None
    plan = replace(plan, shifts=shifts, shifts_given=True, circular_padding=change.circular_padding)
    changed = replace(question, plan=plan)
    try:
        report = report_of(examined(changed, structure, hasty=True))
        if report.verdict is not InvarianceVerdict.NOT_INVARIANT and report.shifts != shifts:
            report = report_of(examined(changed, structure))
    except (InputError, ModelError):
        return None
    trial = _trial(report, change)
    moved = shifts if change.multiples and trial.works else ()
    return replace(trial, change=replace(change, shifts=moved))


def _trial(report: InvarianceReport, change: Change) -> InvarianceTrial:
    worst = report.decisive.worst
    return InvarianceTrial(
        change=change,
        verdict=report.verdict,
        reason=report.reason,
        relative_error=report.relative_error,
        shift=None if worst is None else worst.shift,
    )


def _multiples(steps: Sequence[int], room: Sequence[int]) -> tuple[Shift, ...]:
    """One step each way along each axis, and one along all of them."""
    axes = range(len(steps))
    shifts = [tuple(s * steps[b] if a == b else 0 for b in axes) for a in axes for s in (1, -1)]
    shifts.append(tuple(steps))
    shifts = list(dict.fromkeys(shifts))
    return tuple(s for s in shifts if all(abs(v) <= r for v, r in zip(s, room, strict=True)))


DIGITS = 2


def _bounded(report: InvarianceReport, findings: Findings) -> InvarianceTrial | None:
    """The least bound of few digits, with what was measured judged by it; None where none helps."""
    upward = Context(prec=DIGITS, rounding=ROUND_CEILING)
    bound = float(upward.create_decimal_from_float(report.relative_error or 0.0))
    if not 0.0 < bound < 1.0:
        return None
    question = replace(findings.question, bound=bound)
    judged = report_of(replace(findings, question=question, looks={}))
    trial = replace(_trial(judged, Change()), max_relative_error=bound)
    return trial if trial.works else None


def _equivariant_features(question: Question, structure: Structure) -> str:
    """The last layer before the axes end, where it moves with its input on the plane; else empty.

    A network that pads so much that nothing is free of padding has none. It is tried as it is then
    advised: on the whole of x, with what ``assert_equivariant`` takes by itself.
    """
    plan, around = question.plan, question.surroundings
    layer = "" if plan.training else _last_with_axes(plan, structure)
    if not layer:
        return ""
    whole = around.canvas or around.inputs
    inputs = replace(whole, circular=(False,) * len(plan.zero), measured={})
    try:
        _, ends, _ = read_structure(
            plan.model, inputs, layer=layer, training=plan.training, computed=True
        )
        states = [axis for row in ends for axis in row.layout.axes]
        if not all(isinstance(axis, Axis) and axis.valid.any() for axis in states):
            return ""
        part = Plan(model=plan.model, inputs=inputs, layer=layer, share=plan.share)
        changed, notes = with_shifts(part)
        verdict = examine(changed, notes).report.verdict
    except (EffortSpentError, InputError, ModelError):
        return ""
    return layer if verdict is Verdict.EQUIVARIANT else ""


def _last_with_axes(plan: Plan, structure: Structure) -> str:
    """The last layer that has every axis in a dimension of its own, before an end that has none."""
    axes = set(range(len(plan.zero)))
    whole = [row.name for row in structure.layers if axes <= _apart(row.layout)]
    names = [name for name in whole if "[" not in name]
    return names[-1] if names and names[-1] != plan.layer else ""


def _apart(layout: Layout) -> set[int]:
    """The axes that are a dimension each, as no longer after flattening."""
    alone = {dim[0].axis for dim in layout.dims if len(dim) == 1 and dim[0].kind == "axis"}
    return alone & spatial_axes(layout)
