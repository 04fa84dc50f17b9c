"""Doubtful gaps of a model that computes in float64: the same in float32 tells what they are."""

from __future__ import annotations

import math

from shiftcheck.checks.equivariance.second_look import (
    COARSEST,
    ROUNDING,
    by_noise,
    excused,
    hides,
    most_eps,
    settled,
)
from shiftcheck.measuring.gaps.regions import Gap
from shiftcheck.measuring.in_another_type import EPS
from shiftcheck.measuring.unbatched import NOISE_MARGIN
from shiftcheck.report.equivariance import ShiftResult, Verdict
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.precision import SINGLE

ALIKE = 32.0
"""Rounding has as many eps in float64 as in float32, give or take this factor; 3 were seen."""


def settled_by_slope(
    result: ShiftResult, coarse: Gap | None, noise: float, size: int
) -> ShiftResult:
    """A doubtful result in float64 after its second look.

    ``coarse``: the same in float32. ``noise``: how far the layer moves when everything is off by
    one eps. ``size``: the most samples along an axis.

    A break keeps its size from one type to the other, and rounding shrinks with their eps; where
    that cannot be told, a gap far beyond rounding is one unless the noise is as large.
    """
    if result.verdict is not Verdict.BROKEN or result.error is None:
        return settled(result, None, noise, EPS)
    limit = _limit(coarse)
    gap = result.relative_error or 0.0
    against = result.reason == Reason.AGAINST_RULES
    shrinks = limit is not None and gap <= min(limit, most_eps(size) * EPS)
    if limit is not None and shrinks and not (against and hides(result)):
        return excused(result, limit)
    by_floor = by_noise(result, noise, EPS)
    if by_floor.reason != Reason.UNCONFIRMED:
        return by_floor
    far = gap > (COARSEST * EPS if limit is None else limit)
    noisy = (result.error or 0.0) <= NOISE_MARGIN * noise
    return result if far and not noisy else by_floor


def _limit(coarse: Gap | None) -> float | None:
    """The largest gap in float64 that is rounding, by that in float32; None where none is known."""
    gap = None if coarse is None else coarse.relative
    if gap is None or not math.isfinite(gap):
        return None
    return max(ROUNDING, ALIKE * gap * EPS / SINGLE)
