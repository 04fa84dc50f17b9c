"""From structure and distances to a verdict on invariance: scalars in, scalars out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from shiftcheck.checks.equivariance.second_look import BREAK, COARSEST, most_rounding
from shiftcheck.checks.invariance.measure import Found, Variation
from shiftcheck.checks.verdicts import affects, saturates, with_reason, worst
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import Gone, Layout, Lost
from shiftcheck.measuring.in_another_type import EPS
from shiftcheck.measuring.tolerance import CLEARLY, Tolerance
from shiftcheck.measuring.unbatched import NOISE_MARGIN
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.report.invariance import InvarianceShift, InvarianceVerdict, InvariantOutput, Shift
from shiftcheck.report.reasons import Reason

INVARIANT = InvarianceVerdict.INVARIANT
NOT_INVARIANT = InvarianceVerdict.NOT_INVARIANT
INCONCLUSIVE = InvarianceVerdict.INCONCLUSIVE

FAILING = (NOT_INVARIANT, INCONCLUSIVE, None)
"""From the worst on; None is what was measured and not judged."""

Answer = tuple[InvarianceVerdict | None, Reason]


class Promise(Enum):
    """What the structure says of an output under a shift; UNKNOWN is left to measurement."""

    INVARIANT = "invariant"
    BROKEN = "broken"
    UNKNOWN = "unknown"


NOT_KNOWN = (CauseKind.UNSUPPORTED_OP, CauseKind.DATA_DEPENDENT)
"""Causes by which the structure is lost, and which need not break anything."""


def promise_of(layout: Layout, shift: Shift, circular: Sequence[bool]) -> Promise:
    """What the structure says of an output without spatial axes under a shift.

    A symmetric reduction over one turn of a closed circle is invariant to the shifts under which
    what it reduces is equivariant.
    """
    answers = {
        _promise(layout, a, v, circle)
        for a, (v, circle) in enumerate(zip(shift, circular, strict=True))
        if v
    }
    for answer in (Promise.BROKEN, Promise.UNKNOWN):
        if answer in answers:
            return answer
    measured = any(c.kind == CauseKind.MEASURED for c in layout.causes)
    return Promise.UNKNOWN if measured else Promise.INVARIANT


def _promise(layout: Layout, axis: int, v: float, circle: bool) -> Promise:
    state = layout.axes[axis]
    if state is None:
        return Promise.INVARIANT
    if isinstance(state, Gone):
        period = period_along(state, circle)
        if period and v % period == 0:
            return Promise.INVARIANT
        chosen = period and any(c.kind == CauseKind.DATA_DEPENDENT for c in layout.causes)
        return Promise.UNKNOWN if chosen else Promise.BROKEN
    kinds = {c.kind for c in layout.causes if c.axis in (None, axis)}
    if isinstance(state, Lost) and state.kind not in NOT_KNOWN and not kinds & {*NOT_KNOWN}:
        return Promise.BROKEN
    return Promise.UNKNOWN


def period_along(state: object, circle: bool) -> int | None:
    """The smallest shift for whose multiples an output is invariant, None if for none."""
    if state is None:
        return 1
    known = isinstance(state, Gone) and state.exact and not state.broken and circle
    return state.lattice if known and isinstance(state, Gone) else None


def spatial_axes(layout: Layout) -> set[int]:
    """The axes that an output still has."""
    placed = layout.axes_in(range(len(layout.dims)))
    return {a for a in placed if isinstance(layout.axes[a], Axis)}


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What one shift is judged by: a bound, or exactness where it moves only circles."""

    bound: float | None
    exact: bool
    eps: float

    @property
    def allowance(self) -> float:
        """The largest relative gap that is noise."""
        return Tolerance(eps=self.eps).relative(None)


@dataclass(frozen=True, kw_only=True)
class SecondLook:
    """The gap in float64, where the model runs in it; else how far one eps moves the output."""

    gap: float | None = None
    noise: float = 0.0
    eps: float = EPS


def judge_shift(
    distance: Found, variation: Variation, promise: Promise, demand: Demand, visible: bool
) -> Answer:
    """The verdict on one output under one shift, before a second look."""
    if not (distance.finite and variation.finite):
        return INCONCLUSIVE, Reason.NOT_FINITE
    judged = demand.bound is None and demand.exact
    if judged and distance.gap > _noise(demand, variation):
        return NOT_INVARIANT, Reason.AGAINST_RULES if promise is Promise.INVARIANT else Reason.NONE
    if not visible:
        return INCONCLUSIVE, Reason.INVISIBLE
    nothing = _why_nothing(variation, demand)
    if nothing:
        return INCONCLUSIVE, nothing
    proven = promise is Promise.INVARIANT and demand.exact
    if demand.bound is not None:
        answer = _bounded(distance, variation, demand, demand.bound)
        hides = variation.saturated and not proven and answer[0] is INVARIANT
        return (INCONCLUSIVE, Reason.SATURATED) if hides else answer
    if not demand.exact:
        return None, Reason.NO_BOUND
    return _agreed(variation, promise)


def _agreed(variation: Variation, promise: Promise) -> Answer:
    """No gap on circles: a pass, unless the structure breaks or the values may hide one."""
    if promise is Promise.BROKEN:
        return INCONCLUSIVE, Reason.IN_NOISE
    if promise is Promise.UNKNOWN and variation.saturated:
        return INCONCLUSIVE, Reason.SATURATED
    if promise is Promise.UNKNOWN and variation.labels:
        return INCONCLUSIVE, Reason.ONLY_CLASSES
    return INVARIANT, Reason.NONE


def _noise(demand: Demand, variation: Variation) -> float:
    return 0.0 if variation.labels else demand.allowance


def sensitivity(variation: Variation, allowance: float) -> float | None:
    """The smallest relative error that exceeds a relative gap of ``allowance`` for certain."""
    if not variation.distance or variation.labels:
        return None
    return allowance * variation.magnitude / variation.distance


def _why_nothing(variation: Variation, demand: Demand) -> Reason:
    """Why an output tells nothing: it is nearly the same for all signals."""
    if variation.peak == 0.0 and not variation.labels:
        return Reason.DEAD
    if not variation.distance:
        return Reason.CONSTANT
    if variation.labels:
        return Reason.NONE
    clear = variation.distance / (CLEARLY * variation.magnitude)
    if clear <= demand.eps:
        return Reason.CONSTANT
    return Reason.INSENSITIVE if demand.bound is None and clear <= demand.allowance else Reason.NONE


def _bounded(distance: Found, variation: Variation, demand: Demand, bound: float) -> Answer:
    if distance.distance <= bound * (variation.distance or 0.0):
        return INVARIANT, Reason.NONE
    noise = not variation.labels and distance.gap <= demand.allowance
    return (INCONCLUSIVE, Reason.BELOW_NOISE) if noise else (NOT_INVARIANT, Reason.NONE)


def doubtful(answer: Answer, promise: Promise, demand: Demand) -> bool:
    """Whether float64 may tell more: a gap, or agreement that no structure guarantees."""
    verdict, reason = answer
    if not (demand.exact and demand.bound is None):
        return False
    unproven = verdict is INVARIANT and promise is not Promise.INVARIANT
    return unproven or verdict is NOT_INVARIANT or reason == Reason.IN_NOISE


def settled(
    answer: Answer, distance: Found, variation: Variation, promise: Promise, look: SecondLook
) -> Answer:
    """The verdict after the second look: a break keeps its size, rounding shrinks with eps."""
    verdict, _ = answer
    if look.gap is None:
        return _by_noise(answer, distance, variation, promise, look)
    if verdict is not NOT_INVARIANT:
        return (NOT_INVARIANT, Reason.NONE) if look.gap > BREAK else answer
    if look.gap > most_rounding(distance.gap, look.eps):
        return answer
    if _hides(distance, variation):
        return NOT_INVARIANT, Reason.LOW_PRECISION
    return _agreed(variation, promise)


def _hides(distance: Found, variation: Variation) -> bool:
    """Whether rounding moves the output about as much as different signals do."""
    return CLEARLY * distance.distance > (variation.distance or 0.0)


def _by_noise(
    answer: Answer, distance: Found, variation: Variation, promise: Promise, look: SecondLook
) -> Answer:
    """Where float64 says nothing: whether a gap is one that rounding makes."""
    verdict, reason = answer
    if verdict is not NOT_INVARIANT:
        return answer
    if distance.error <= NOISE_MARGIN * look.noise:
        hidden = _hides(distance, variation)
        return (INCONCLUSIVE, Reason.INSENSITIVE) if hidden else _agreed(variation, promise)
    far = look.eps <= EPS and distance.gap > COARSEST * EPS  # no rounding of float64 is as large
    return (
        (INCONCLUSIVE, Reason.UNCONFIRMED) if reason == Reason.AGAINST_RULES and not far else answer
    )


def why_constant(output: InvariantOutput, constant_input: bool, op: str) -> InvariantOutput:
    """The output with a better reason, where it is the same for all signals for one."""
    if output.reason not in (Reason.CONSTANT, Reason.DEAD, Reason.INVISIBLE):
        return output
    if constant_input:
        return with_reason(output, Reason.CONSTANT_INPUT)
    saturated = output.reason != Reason.INVISIBLE and saturates(op)
    return with_reason(output, Reason.SATURATED) if saturated else output


def judge_output(results: Sequence[InvarianceShift], required: set[int]) -> Answer:
    """The verdict on one output over all shifts; the zero shift tells nothing."""
    counted = [r for r in results if any(r.shift)]
    if not counted:
        return INCONCLUSIVE, Reason.IDENTITY
    if failing := worst(counted, FAILING):
        return failing
    moved = {a for r in counted for a, v in enumerate(r.shift) if v}
    return (INVARIANT, Reason.NONE) if moved >= required else (INCONCLUSIVE, Reason.NEVER_MOVED)


def judge_model(outputs: Sequence[InvariantOutput], batch: int) -> Answer:
    """The verdict on the model: NOT_INVARIANT beats INCONCLUSIVE beats what was not judged.

    As long as another output was compared, those with spatial axes are left out, and those that
    depend on nothing, unless they hold something for each signal.
    """
    counted = [o for o in outputs if not _left_out(o, batch)]
    compared = [o for o in counted if o.shifts]
    failing = worst(counted if compared else outputs, FAILING)
    return failing or (INVARIANT, Reason.NONE)


def _left_out(output: InvariantOutput, batch: int) -> bool:
    if output.reason == Reason.STILL_SPATIAL:
        return True
    each = len(output.shape) >= 2 and output.shape[0] == batch
    return output.reason == Reason.IGNORES and not each


def blind(causes: Sequence[Cause]) -> Reason:
    """Why nothing that was measured can be trusted, where that is so."""
    return Reason.UNSTEADY if any(c.kind == CauseKind.STOCHASTIC for c in causes) else Reason.NONE


def find_guilty(causes: Sequence[Cause], shift: Shift) -> Cause | None:
    """The first cause on the way that affects the shift; one of a whole axis after all others."""
    explaining = [c for c in causes if explains(c, shift)]
    explaining.sort(key=lambda c: c.kind == CauseKind.GLOBAL)
    return explaining[0] if explaining else None


def explains(cause: Cause, shift: Shift) -> bool:
    """Whether a cause may change what this shift gives."""
    return not cause.latent and cause.kind != CauseKind.MEASURED and affects(cause, shift)
