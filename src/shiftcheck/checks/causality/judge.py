"""What structure and measurement say together of the future in each output."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from shiftcheck.checks.causality.ahead import beyond
from shiftcheck.checks.causality.guilt import Layers
from shiftcheck.checks.causality.measure import Findings, Measured
from shiftcheck.checks.causality.question import Question
from shiftcheck.lattice.axis import Axis
from shiftcheck.report.causality import CausalityVerdict, CausalOutput, Leak
from shiftcheck.report.causes import CauseKind
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.traced import Row

Ruling = tuple[CausalityVerdict, Reason]

CAUSAL = (CausalityVerdict.CAUSAL, Reason.NONE)
NOT_CAUSAL = (CausalityVerdict.NOT_CAUSAL, Reason.NONE)


def judged(question: Question, found: Findings, layers: Layers) -> tuple[CausalOutput, ...]:
    """Every output with its verdict."""
    return tuple(
        _output(question, row, seen, leaking, layers)
        for row, seen, leaking in zip(found.outputs, found.measured, found.leaking, strict=True)
    )


def _output(
    question: Question, row: Row, seen: Measured, leaking: Sequence[str], layers: Layers
) -> CausalOutput:
    state = row.layout.axes[0] if row.layout.axes else None
    axis = state if isinstance(state, Axis) else None
    stride = seen.stride if axis is None else axis.stride
    block = question.block_of(stride)
    lookahead = None if axis is None else beyond(axis, block)
    verdict, reason = ruling(row, lookahead, seen, question.lookahead)
    guilty = None
    if seen.filled:
        guilty = layers.named(seen.filled)
    elif seen.leak is not None or lookahead is None or lookahead > question.lookahead:
        guilty = layers.guilty_of(row, block, lookahead, leaking)
    return CausalOutput(
        name=row.name,
        shape=row.layout.shape,
        verdict=verdict,
        reason=reason,
        stride=stride,
        block=None if stride is None else block,
        lookahead=lookahead,
        ahead=None if axis is None else beyond(axis, Fraction(1)),
        measured=seen.ahead,
        block_that_would_do=_block(axis, question, verdict, seen),
        nan=seen.nan,
        proven_by_nan=seen.proven,
        guilty=guilty if verdict is not CausalityVerdict.CAUSAL else None,
        leak=_leak(row, seen),
    )


def ruling(row: Row, lookahead: float | None, seen: Measured, allowed: int) -> Ruling:
    """The verdict on an output and the reason for it.

    A sample that was seen to change decides; what is not seen passes only where the structure says
    that there is nothing to be seen.
    """
    kinds = {c.kind for c in row.layout.causes if c.axis in (None, 0)}
    unknown = CausalityVerdict.INCONCLUSIVE
    unsteady = CauseKind.STOCHASTIC in kinds or seen.reason is Reason.UNSTEADY
    if unsteady:
        return unknown, Reason.UNSTEADY
    if seen.leak is not None and seen.reason is not Reason.UNCONFIRMED:
        return NOT_CAUSAL
    if seen.reason:
        return unknown, seen.reason
    hidden = next((c.hides for c in row.layout.causes if c.hides), Reason.NONE)
    if seen.proven and hidden in (Reason.NONE, Reason.UNSUPPORTED):
        return CAUSAL
    if hidden:
        return unknown, hidden
    if lookahead is None:
        return unknown, Reason.STRUCTURE_UNKNOWN
    if lookahead > allowed or seen.filled:
        return unknown, Reason.IN_NOISE
    return (unknown, Reason.STRUCTURE_UNKNOWN) if seen.untried else CAUSAL


def _block(
    axis: Axis | None, question: Question, verdict: CausalityVerdict, seen: Measured
) -> int | None:
    """The period, where an output is causal in blocks of it and not in the asked ones.

    Where more was seen than the structure allows, nothing is known of what would do.
    """
    if axis is None or verdict is CausalityVerdict.CAUSAL:
        return None
    now = beyond(axis, question.block_of(axis.stride))
    if now <= question.lookahead or (seen.ahead or 0) > now:
        return None
    would_do = beyond(axis, Fraction(axis.lattice)) <= question.lookahead
    return axis.lattice if would_do else None


def _leak(row: Row, seen: Measured) -> Leak | None:
    if seen.leak is None:
        return None
    return Leak(
        output=row.name,
        time=seen.leak.future.time,
        sample=seen.leak.sample,
        due=seen.leak.due,
        ahead=seen.leak.ahead,
        error=seen.leak.error,
    )


def overall(outputs: Sequence[CausalOutput]) -> Ruling:
    """The verdict of all outputs: a leak decides, and what is not known keeps from passing.

    An output without a time axis is left out where another one counts.
    """
    counting = [o for o in outputs if o.reason is not Reason.NOT_SPATIAL] or outputs
    order = (CausalityVerdict.NOT_CAUSAL, CausalityVerdict.INCONCLUSIVE, CausalityVerdict.CAUSAL)
    worst = min(counting, key=lambda o: order.index(o.verdict))
    return worst.verdict, worst.reason
