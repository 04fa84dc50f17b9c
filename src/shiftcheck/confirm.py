"""Doubtful gaps, looked at again in float64: a break keeps its size, rounding shrinks with eps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from shiftcheck.alone import NOISE_MARGIN, noise_floor
from shiftcheck.job import Job, chunks_of, eps_of
from shiftcheck.measurement import run_all
from shiftcheck.modules import in_dtype, modules_of
from shiftcheck.products import EPS as PRODUCT_EPS
from shiftcheck.products import exact_products
from shiftcheck.regions import Gap
from shiftcheck.report import LayerResult, ShiftResult, Verdict
from shiftcheck.state import Originals, preserved
from shiftcheck.verdict import (
    AGAINST_RULES,
    CHOSEN,
    CLEARLY,
    IN_NOISE,
    INVISIBLE,
    LOW_PRECISION,
    MEASURED_GAP,
    UNCONFIRMED,
)

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
    what the model computes in anyway, or not what it computes in whatever it is given. ``noise``:
    how far each output moves when inputs and weights are off by one eps. ``eps``: that of the
    coarsest type on the way.
    """

    rows: Mapping[str, Sequence[Gap]] = field(default_factory=dict)
    outputs: Mapping[str, Sequence[Gap]] = field(default_factory=dict)
    noise: Mapping[str, float] = field(default_factory=dict)
    eps: float = EPS


def doubtful(layers: Sequence[LayerResult]) -> bool:
    """Whether there is a gap, or a structural break shows none."""
    return any(_is_doubtful(s) for row in layers for s in row.shifts)


def _is_doubtful(result: ShiftResult) -> bool:
    known = result.verdict is Verdict.BROKEN and result.error is not None
    hidden = result.reason == INVISIBLE and bool(result.error)
    return known or hidden or result.reason in (AGAINST_RULES, IN_NOISE, MEASURED_GAP, CHOSEN)


def look_again(job: Job, originals: Originals, max_batch: int | None) -> SecondLook:
    """Run the model in float64, and with everything off by one eps where that says nothing."""
    eps = max(EPS, job.eps)
    exact = _measured_in_float64(job, max_batch) if eps > EPS else None
    if exact is None:
        return SecondLook(noise=noise_floor(job, originals), eps=eps)
    rows, outputs = ({n: e.gaps for n, e in m.items()} for m in (exact.rows, exact.outputs))
    return SecondLook(rows=rows, outputs=outputs, eps=eps)


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


def doubt_in_a_batch(job: Job, originals: Originals, max_batch: int | None) -> str:
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
    return "" if exact is None else exact.doubt


def _measured_in_float64(job: Job, max_batch: int | None) -> Job | None:
    """The same job in float64, on a copy of the model; None where that does not run in float64."""
    try:
        model, inputs = in_dtype(job.model, torch.float64), job.inputs.in_dtype(torch.float64)
        exact = replace(job, model=model, inputs=inputs).fresh()
        with preserved(modules_of(model), [], training=job.training, model=model) as originals:
            run_all(exact, originals, max_batch, progress=False)
    except Exception:  # a model that cannot be copied or run in float64 stays unconfirmed
        return None
    return None if any(eps_of(t) > EPS for t in exact.dtypes) else exact


def settled(result: ShiftResult, exact: Gap | None, noise: float, eps: float) -> ShiftResult:
    """A doubtful result after its second look.

    ``exact``: the same in float64. ``noise``: how far the layer moves when everything is off by
    one eps. ``eps``: that of the coarsest type on the way.
    """
    if not _is_doubtful(result) or result.reason == MEASURED_GAP:
        return result
    gap = None if exact is None else exact.relative
    if result.reason == CHOSEN:
        return _as_chosen(result, gap, eps)
    if gap is None:
        return _by_noise(result, noise, eps)
    if result.reason in (IN_NOISE, INVISIBLE):
        broken = replace(result, verdict=Verdict.BROKEN, reason="", float64_error=gap)
        return broken if gap > BREAK else result
    limit = max(ROUNDING, STEEP * (result.relative_error or 0.0) * EPS / eps)
    result = replace(result, float64_error=gap)
    return _as_rounding(result, limit, eps) if gap <= limit else result


def _as_rounding(result: ShiftResult, allowance: float, eps: float) -> ShiftResult:
    """A gap that is not there in exact arithmetic: harmless, unless it is a large one."""
    if _hides(result) or (result.relative_error or 0.0) > COARSE * eps:
        return replace(result, verdict=Verdict.BROKEN, reason=LOW_PRECISION)
    return _excused(result, allowance)


def _excused(result: ShiftResult, allowance: float) -> ShiftResult:
    """A gap that rounding makes: no break, nor does it show one that must be there."""
    if result.reason == AGAINST_RULES:
        return replace(result, verdict=Verdict.EQUIVARIANT, reason="", allowance=allowance)
    return replace(result, verdict=Verdict.INCONCLUSIVE, reason=IN_NOISE)


def _hides(result: ShiftResult) -> bool:
    """Whether the gap is about as large as what the shift itself changes."""
    null = result.null_error
    return null is not None and CLEARLY * (result.relative_error or 0.0) > null


def _as_chosen(result: ShiftResult, exact: float | None, eps: float) -> ShiftResult:
    """Agreement of what a choice from the data explains: it must be there in float64 as well."""
    if exact is None and eps > EPS:
        return result
    if exact is not None and exact > BREAK:
        return replace(result, verdict=Verdict.BROKEN, reason="", float64_error=exact)
    agrees = replace(result, verdict=Verdict.EQUIVARIANT, reason="", float64_error=exact)
    return agrees if exact is None else replace(agrees, allowance=BREAK)


def _by_noise(result: ShiftResult, noise: float, eps: float) -> ShiftResult:
    """Where float64 says nothing: whether the gap is one that rounding makes."""
    if result.reason in (IN_NOISE, INVISIBLE):
        return result
    allowed = NOISE_MARGIN * noise
    small = (result.relative_error or 0.0) <= COARSEST * eps
    rounding = (result.error or 0.0) <= allowed and result.scale and small
    if rounding and not (result.reason == AGAINST_RULES and _hides(result)):
        return _excused(result, allowed / (result.scale or 1.0))
    if result.reason == AGAINST_RULES:
        return replace(result, verdict=Verdict.INCONCLUSIVE, reason=UNCONFIRMED)
    return result
