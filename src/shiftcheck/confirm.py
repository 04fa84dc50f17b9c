"""Doubtful gaps, looked at again in float64: a break keeps its size, rounding shrinks with eps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from shiftcheck.compare import Gap
from shiftcheck.measurement import NOISE_MARGIN, Job, noise_floor, run_all
from shiftcheck.modules import in_dtype, modules_of
from shiftcheck.report import LayerResult, ShiftResult, Verdict
from shiftcheck.state import Originals, preserved
from shiftcheck.verdict import (
    AGAINST_RULES,
    CLEARLY,
    IN_NOISE,
    LOW_PRECISION,
    MEASURED_GAP,
    UNCONFIRMED,
)

EPS = 2.0**-52
BREAK = 1e4 * EPS
"""A relative gap in float64 above this is no rounding: twenty layers reach about 100 eps."""

ROUNDING = 64 * EPS
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
    return known or result.reason in (AGAINST_RULES, IN_NOISE, MEASURED_GAP)


def look_again(job: Job, originals: Originals, max_batch: int | None) -> SecondLook:
    """Run the model in float64, and with everything off by one eps where that says nothing."""
    coarsest = max((_eps(t) for t in job.dtypes), default=EPS)
    eps = max(coarsest, _eps(job.inputs.main.tensor.dtype))
    exact = _measured_in_float64(job, max_batch) if eps > EPS else None
    if exact is None:
        return SecondLook(noise=noise_floor(job, originals), eps=eps)
    rows, outputs = ({n: e.gaps for n, e in m.items()} for m in (exact.rows, exact.outputs))
    return SecondLook(rows=rows, outputs=outputs, eps=eps)


def _eps(dtype: torch.dtype) -> float:
    floating = dtype.is_floating_point or dtype.is_complex
    return float(torch.finfo(dtype).eps) if floating else 0.0


def _measured_in_float64(job: Job, max_batch: int | None) -> Job | None:
    """The same job in float64, on a copy of the model; None where that does not run in float64."""
    try:
        model, inputs = in_dtype(job.model, torch.float64), job.inputs.in_dtype(torch.float64)
        exact = replace(job, model=model, inputs=inputs).fresh()
        with preserved(modules_of(model), [], training=job.training) as originals:
            run_all(exact, originals, max_batch, progress=False)
    except Exception:  # a model that cannot be copied or run in float64 stays unconfirmed
        return None
    return None if any(_eps(t) > EPS for t in exact.dtypes) else exact


def settled(result: ShiftResult, exact: Gap | None, noise: float, eps: float) -> ShiftResult:
    """A doubtful result after its second look.

    ``exact``: the same in float64. ``noise``: how far the layer moves when everything is off by
    one eps. ``eps``: that of the coarsest type on the way.
    """
    if not _is_doubtful(result) or result.reason == MEASURED_GAP:
        return result
    gap = None if exact is None else exact.relative
    if gap is None:
        return _by_noise(result, noise)
    if result.reason == IN_NOISE:
        broken = replace(result, verdict=Verdict.BROKEN, reason="", float64_error=gap)
        return broken if gap > BREAK else result
    limit = max(ROUNDING, STEEP * (result.relative_error or 0.0) * EPS / eps)
    result = replace(result, float64_error=gap)
    return _as_rounding(result, limit) if gap <= limit else result


def _as_rounding(result: ShiftResult, allowance: float) -> ShiftResult:
    """A gap that is not there in float64: harmless, unless it hides the signal itself."""
    seen = result.null_error
    if seen is not None and CLEARLY * (result.relative_error or 0.0) > seen:
        return replace(result, verdict=Verdict.BROKEN, reason=LOW_PRECISION)
    if result.reason == AGAINST_RULES:
        return replace(result, verdict=Verdict.EQUIVARIANT, reason="", allowance=allowance)
    return replace(result, verdict=Verdict.INCONCLUSIVE, reason=IN_NOISE)


def _by_noise(result: ShiftResult, noise: float) -> ShiftResult:
    """Where float64 says nothing: whether the gap is one that rounding makes."""
    if result.reason == IN_NOISE:
        return result
    allowed = NOISE_MARGIN * noise
    if (result.error or 0.0) <= allowed and result.scale:
        return _as_rounding(result, allowed / result.scale)
    if result.reason == AGAINST_RULES:
        return replace(result, verdict=Verdict.INCONCLUSIVE, reason=UNCONFIRMED)
    return result
