"""Comparisons of too few samples: they tell nothing, and something leaves so few."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import Layout
from shiftcheck.lattice.shares import is_fair
from shiftcheck.measuring.gaps.regions import Gap
from shiftcheck.measuring.signals.arguments import Shift
from shiftcheck.report.causes import Cause, CauseForm, CauseKind
from shiftcheck.report.equivariance import Report, ShiftResult, Verdict
from shiftcheck.report.reasons import Reason

PERIODIC = (CauseKind.RESIZE, CauseKind.STRIDE)
"""The kinds of cause that make a period longer."""


def with_fair_share(result: ShiftResult, gap: Gap) -> ShiftResult:
    """The result, unless it is an agreement of too few samples, or none are left though there were.

    A gap is one, however few samples show it.
    """
    thin = result.verdict is Verdict.EQUIVARIANT and not gap.fair
    gone = result.reason == Reason.NO_REGION and gap.room
    if not thin and not gone:
        return result
    return replace(result, verdict=Verdict.INCONCLUSIVE, reason=Reason.TOO_LITTLE)


def what_leaves_too_little(layout: Layout, shifts: Sequence[Shift], reason: Reason) -> Cause | None:
    """The cause of it that too little could be compared, or nothing: a period that leaves too few.

    Else the choice of a single sample, or what makes too few of them valid. None where there are
    enough, and the shift is too large for them; and where none is valid for other reasons.
    """
    states = [(a, s) for a, s in enumerate(layout.axes) if any(v[a] for v in shifts)]
    axes = [(a, s) for a, s in states if isinstance(s, Axis)]
    for axis, state in axes:
        kinds = (CauseKind.RESIZE,) if reason == Reason.NO_REGION else PERIODIC
        if not _leaves_enough(state, state.size):
            periodic = [c for c in layout.causes if c.axis == axis and c.kind in kinds and c.period]
            if periodic:
                return max(periodic, key=lambda c: c.period or 0)
        single = [c for c in layout.causes if (c.axis, c.form) == (axis, CauseForm.SINGLE)]
        if state.size == 1 and single and math.inf not in state.halo:
            return single[-1]
    if reason == Reason.NO_REGION:
        return None
    for axis, state in axes:
        if not _leaves_enough(state, int(state.valid.sum())):
            edges = [c for c in layout.causes if c.kind in (CauseKind.GLOBAL, CauseKind.PADDING)]
            mine = [c for c in edges if c.axis in (None, axis)]
            if mine:
                return min(mine, key=lambda c: c.kind != CauseKind.GLOBAL)
    return None


def smaller_shifts(report: Report, shifts: Sequence[Shift]) -> tuple[Shift, ...]:
    """One period along each axis that is moved, where a shift moves one by more; else none."""
    periods = [[o.period[a] for o in report.outputs] for a in range(len(report.boundary))]
    steps = [math.lcm(*(p for p in along if p is not None)) for along in periods]
    moved = [a for a in range(len(steps)) if any(v[a] for v in shifts)]
    if all(abs(v[a]) <= steps[a] for v in shifts for a in moved):
        return ()
    return tuple(tuple(steps[a] if a == b else 0 for b in range(len(steps))) for a in moved)


def _leaves_enough(state: Axis, samples: int) -> bool:
    """Whether a shift by one period leaves enough of so many samples; one turn loses none."""
    step = 0 if state.circular else state.lattice / abs(state.stride)
    return is_fair(max(int(samples - step), 0), samples)
