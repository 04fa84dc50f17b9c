"""Doubtful gaps, looked at again in float64: a break keeps its size, rounding shrinks with eps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from shiftcheck.lattice.axis import Axis
from shiftcheck.measuring.batched import run_all
from shiftcheck.measuring.gaps.plan import Gap
from shiftcheck.measuring.run import SINGLE, Job, chunks_of, eps_of
from shiftcheck.measuring.tolerance import CLEARLY
from shiftcheck.measuring.unbatched import NOISE_MARGIN, noise_floor
from shiftcheck.report.equivariance import LayerResult, ShiftResult, Verdict
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.modules import in_dtype, modules_of
from shiftcheck.tracing.precision import EPS as PRODUCT_EPS
from shiftcheck.tracing.precision import exact_products
from shiftcheck.tracing.restoring.state import Originals, preserved

EPS = 2.0**-52
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


def look_again(job: Job, originals: Originals, max_batch: int | None) -> SecondLook:
    """Run the model in float64, and with everything off by one eps where that says nothing.

    A model that computes in float64 runs in float32, for the slope between the two.
    """
    eps, size = max(EPS, job.eps), _longest(job)
    exact = _measured_in_float64(job, max_batch) if eps > EPS else None
    if exact is not None:
        rows, outputs = _gaps_of(exact)
        return SecondLook(rows=rows, outputs=outputs, eps=eps, size=size)
    coarse = _measured_in_float32(job, max_batch) if eps == EPS else None
    rows, outputs = ({}, {}) if coarse is None else _gaps_of(coarse)
    noise = noise_floor(job, originals)
    return SecondLook(coarser_rows=rows, coarser_outputs=outputs, noise=noise, eps=eps, size=size)


Gaps = Mapping[str, Sequence[Gap]]


def _gaps_of(job: Job) -> tuple[Gaps, Gaps]:
    """The gaps of every layer and of every output."""
    rows, outputs = ({n: e.gaps for n, e in m.items()} for m in (job.rows, job.outputs))
    return rows, outputs


def _longest(job: Job) -> int:
    """The most samples along an axis of any layer: where places are computed, rounding grows."""
    measured = (*job.rows.values(), *job.outputs.values())
    states = [s for entry in measured for s in entry.row.layout.axes if isinstance(s, Axis)]
    return max((*job.inputs.pixels, *(s.size for s in states)))


def precision_notes(
    dtypes: Iterable[torch.dtype], products: Iterable[str], own: torch.dtype
) -> list[str]:
    """What there is to say about types that are coarser than that of the input."""
    coarsest = max(dtypes, key=eps_of, default=own)
    notes = []
    if eps_of(coarsest) > eps_of(own):
        named, given = (str(t).removeprefix("torch.") for t in (coarsest, own))
        notes.append(f"computed in {named} on the way, the input is {given}")
    for name in sorted(products):
        bits = round(-math.log2(PRODUCT_EPS[name]))
        notes.append(
            f"{name.upper()} is allowed on this device: products of float32 keep {bits} bits of"
            " the fraction"
        )
    return notes


def doubt_in_a_batch(job: Job, originals: Originals, max_batch: int | None) -> Reason:
    """Why x gives something else in a batch, if it does: in a coarse type it looks so.

    Asked of float32 with exact products, and of float64 where other types are coarse; if the model
    does not run in that, the noise floor of its types has told that it does not.
    """
    few = replace(job, shifts=(chunks_of(job, max_batch) or [()])[0], every_layer=False)
    if job.products:
        with exact_products():
            single = few.fresh()
            run_all(single, originals, max_batch, progress=False)
        if single.doubt or not single.unsure:
            return single.doubt
    exact = _measured_in_float64(few, max_batch)
    return Reason.NONE if exact is None else exact.doubt


def _measured_in_float64(job: Job, max_batch: int | None) -> Job | None:
    """The same job in float64, on a copy of the model; None where that does not run in float64."""
    exact = _measured_in(job, torch.float64, max_batch)
    return None if exact is None or any(eps_of(t) > EPS for t in exact.dtypes) else exact


def _measured_in_float32(job: Job, max_batch: int | None) -> Job | None:
    """The same job in float32; None where it does not run in that, or not in that alone."""
    with exact_products():
        coarse = _measured_in(job, torch.float32, max_batch)
    floating = [t for t in coarse.dtypes if eps_of(t)] if coarse is not None else []
    return coarse if all(eps_of(t) == SINGLE for t in floating) else None


def _measured_in(job: Job, dtype: torch.dtype, max_batch: int | None) -> Job | None:
    """The same job in another type, on a copy of the model; None where that does not run."""
    try:
        model, inputs = in_dtype(job.model, dtype), job.inputs.in_dtype(dtype)
        again = replace(job, model=model, inputs=inputs).fresh()
        with preserved(modules_of(model), [], training=job.training, model=model) as originals:
            run_all(again, originals, max_batch, progress=False)
    except Exception:  # a model that cannot be copied or run in that type stays unconfirmed
        return None
    return again


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
    limit = max(ROUNDING, STEEP * (result.relative_error or 0.0) * EPS / eps)
    result = replace(result, float64_error=gap)
    return _as_rounding(result, limit, eps * most_eps(size)) if gap <= limit else result


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
