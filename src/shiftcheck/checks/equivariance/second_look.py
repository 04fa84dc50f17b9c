"""Doubtful gaps, looked at again in float64: a break keeps its size, rounding shrinks with eps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from shiftcheck.lattice.axis import Axis
from shiftcheck.measuring.batched import measure
from shiftcheck.measuring.gaps.regions import Gap
from shiftcheck.measuring.in_another_type import EPS, in_float32, in_float64
from shiftcheck.measuring.measurements import Measured, Measurements
from shiftcheck.measuring.passes import Passes
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.tolerance import CLEARLY
from shiftcheck.measuring.unbatched import NOISE_MARGIN, noise_floor
from shiftcheck.report.equivariance import LayerResult, ShiftResult, Verdict
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.precision import EPS as PRODUCT_EPS
from shiftcheck.tracing.precision import eps_of, exact_products

BREAK = 1e4 * EPS
"""A relative gap in float64 above this is no rounding: twenty layers reach about 100 eps."""

ROUNDING = 64 * EPS
COARSE = 2.0**12
"""A relative gap of so many eps is more than the rounding of layers adds up to."""

COARSEST = 2.0**16
"""The same for layers that are seen to amplify what their inputs are off by."""

STEEP = 256.0
"""Rounding shrinks from one type to float64 as their eps do, give or take this factor."""


@dataclass(frozen=True, kw_only=True)
class SecondLook:
    """What a run in float64 gave, and what rounding alone does to the outputs.

    ``rows``, ``outputs``: the gaps in float64 by name; empty where float64 tells no more, as it is
    what the model computes in anyway, or not what it computes in whatever it is given. Where the
    model computes in float64, ``coarser_rows`` and ``coarser_outputs`` hold the gaps in float32.
    ``noise``: how far each output moves when inputs and weights are off by one eps. ``eps``: that
    of the coarsest type on the way. ``size``: the most samples along an axis of any layer.
    """

    rows: Mapping[str, Sequence[Gap]] = field(default_factory=dict)
    outputs: Mapping[str, Sequence[Gap]] = field(default_factory=dict)
    coarser_rows: Mapping[str, Sequence[Gap]] = field(default_factory=dict)
    coarser_outputs: Mapping[str, Sequence[Gap]] = field(default_factory=dict)
    noise: Mapping[str, float] = field(default_factory=dict)
    eps: float = EPS
    size: int = 1


def doubtful(layers: Sequence[LayerResult]) -> bool:
    """Whether there is a gap, or a structural break shows none."""
    return any(_is_doubtful(s) for row in layers for s in row.shifts)


def _is_doubtful(result: ShiftResult) -> bool:
    known = result.verdict is Verdict.BROKEN and result.error is not None
    hidden = result.reason == Reason.INVISIBLE and bool(result.error)
    return (
        known
        or hidden
        or result.reason
        in (Reason.AGAINST_RULES, Reason.IN_NOISE, Reason.MEASURED_GAP, Reason.CHOSEN)
    )


def is_beyond_rounding(outputs: Sequence[LayerResult], measured: Measurements, plan: Plan) -> bool:
    """Whether some gap is too large for any second look to let it pass."""
    most = max(COARSEST, most_eps(_longest(plan, measured))) * measured.eps
    broken = (s for row in outputs for s in row.shifts if s.verdict is Verdict.BROKEN)
    return any((s.relative_error or 0.0) > most for s in broken)


def look_again(passes: Passes, measured: Measurements) -> SecondLook:
    """Run the model in float64, and with everything off by one eps where that says nothing.

    A model that computes in float64 runs in float32, for the slope between the two.
    """
    plan = passes.plan
    eps, size = max(EPS, measured.eps), _longest(plan, measured)
    plan = replace(plan, alike_in_a_batch=not measured.doubt.reason)
    exact = in_float64(plan, measure) if eps > EPS else None
    if exact is not None:
        return SecondLook(rows=_gaps(exact.rows), outputs=_gaps(exact.outputs), eps=eps, size=size)
    coarse = in_float32(plan, measure) if eps == EPS else None
    return SecondLook(
        coarser_rows=_gaps(coarse.rows) if coarse is not None else {},
        coarser_outputs=_gaps(coarse.outputs) if coarse is not None else {},
        noise=noise_floor(passes),
        eps=eps,
        size=size,
    )


def _gaps(measured: Measured) -> Mapping[str, Sequence[Gap]]:
    return {name: entry.gaps for name, entry in measured.items()}


def _longest(plan: Plan, measured: Measurements) -> int:
    """The most samples along an axis of any layer: where places are computed, rounding grows."""
    entries = (*measured.rows.values(), *measured.outputs.values())
    states = [s for entry in entries for s in entry.row.layout.axes if isinstance(s, Axis)]
    return max((*plan.inputs.pixels, *(s.size for s in states)))


def precision_notes(
    dtypes: Iterable[torch.dtype], products: Iterable[str], given: torch.dtype
) -> list[str]:
    """What there is to say about types that are coarser than that of the input."""
    coarsest = max(dtypes, key=eps_of, default=given)
    notes = []
    if eps_of(coarsest) > eps_of(given):
        named, of_x = (str(t).removeprefix("torch.") for t in (coarsest, given))
        notes.append(f"computed in {named} on the way, the input is {of_x}")
    for name in sorted(products):
        bits = round(-math.log2(PRODUCT_EPS[name]))
        notes.append(
            f"{name.upper()} is allowed on this device: products of float32 keep {bits} bits of"
            " the fraction"
        )
    return notes


def doubt_in_a_batch(passes: Passes, measured: Measurements) -> Reason:
    """Why x gives something else in a batch, if it does: in a coarse type it looks so.

    Asked of float32 with exact products, and of float64 where other types are coarse; if the model
    does not run in that, the noise floor of its types has told that it does not.
    """
    plan = passes.plan
    few = replace(plan, shifts=(plan.chunks() or [()])[0], every_layer=False, progress=False)
    if measured.products:
        with exact_products():
            single = measure(Passes(few, passes.originals))
        if single.doubt.reason or not single.doubt.unsure:
            return single.doubt.reason
    exact = in_float64(few, measure)
    return Reason.NONE if exact is None else exact.doubt.reason


def settled(
    result: ShiftResult, exact: Gap | None, noise: float, eps: float, size: int = 1
) -> ShiftResult:
    """A doubtful result after its second look.

    ``exact``: the same in float64. ``noise``: how far the layer moves when everything is off by
    one eps. ``eps``: that of the coarsest type on the way. ``size``: the most samples along an
    axis.
    """
    if not _is_doubtful(result) or result.reason == Reason.MEASURED_GAP:
        return result
    gap = None if exact is None else exact.relative
    if result.reason == Reason.CHOSEN:
        return _as_chosen(result, gap, eps)
    if gap is None:
        return by_noise(result, noise, eps)
    if result.reason in (Reason.IN_NOISE, Reason.INVISIBLE):
        broken = replace(result, verdict=Verdict.BROKEN, reason=Reason.NONE, float64_error=gap)
        return broken if gap > BREAK else result
    limit = most_rounding(result.relative_error or 0.0, eps)
    result = replace(result, float64_error=gap)
    return _as_rounding(result, limit, eps * most_eps(size)) if gap <= limit else result


def most_rounding(gap: float, eps: float) -> float:
    """The largest gap in float64 that is rounding, of what is ``gap`` in a type of ``eps``."""
    return max(ROUNDING, STEEP * gap * EPS / eps)


def most_eps(size: int) -> float:
    """How many eps layers add up to at most: coordinates are off by one eps of the last one.

    Example:
        >>> most_eps(224), most_eps(10_000)
        (4096.0, 10000.0)
    """
    return max(COARSE, float(size))


def _as_rounding(result: ShiftResult, allowance: float, most: float) -> ShiftResult:
    """A gap that is not there in exact arithmetic: harmless, unless it is a large one."""
    if hides(result) or (result.relative_error or 0.0) > most:
        return replace(result, verdict=Verdict.BROKEN, reason=Reason.LOW_PRECISION)
    return excused(result, allowance)


def excused(result: ShiftResult, allowance: float) -> ShiftResult:
    """A gap that rounding makes: no break, nor does it show one that must be there."""
    if result.reason == Reason.AGAINST_RULES:
        return replace(result, verdict=Verdict.EQUIVARIANT, reason=Reason.NONE, allowance=allowance)
    return replace(result, verdict=Verdict.INCONCLUSIVE, reason=Reason.IN_NOISE)


def hides(result: ShiftResult) -> bool:
    """Whether the gap is about as large as what the shift itself changes."""
    null = result.null_error
    return null is not None and CLEARLY * (result.relative_error or 0.0) > null


def _as_chosen(result: ShiftResult, exact: float | None, eps: float) -> ShiftResult:
    """Agreement of what a choice from the data explains: it must be there in float64 as well."""
    if exact is None and eps > EPS:
        return result
    if exact is not None and exact > BREAK:
        return replace(result, verdict=Verdict.BROKEN, reason=Reason.NONE, float64_error=exact)
    agrees = replace(result, verdict=Verdict.EQUIVARIANT, reason=Reason.NONE, float64_error=exact)
    return agrees if exact is None else replace(agrees, allowance=BREAK)


def by_noise(result: ShiftResult, noise: float, eps: float) -> ShiftResult:
    """Where float64 says nothing: whether the gap is one that rounding makes."""
    if result.reason in (Reason.IN_NOISE, Reason.INVISIBLE):
        return result
    allowed = NOISE_MARGIN * noise
    small = (result.relative_error or 0.0) <= COARSEST * eps
    rounding = (result.error or 0.0) <= allowed and result.scale and small
    if rounding and not (result.reason == Reason.AGAINST_RULES and hides(result)):
        return excused(result, allowed / (result.scale or 1.0))
    if result.reason == Reason.AGAINST_RULES:
        return replace(result, verdict=Verdict.INCONCLUSIVE, reason=Reason.UNCONFIRMED)
    return result
