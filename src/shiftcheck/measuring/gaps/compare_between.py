"""The gap of a layer under a shift between its samples: both sides are interpolated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from shiftcheck.measuring.gaps.compare import Base, excess_of, largest, relative_to, take, with_gap
from shiftcheck.measuring.gaps.regions import Gap, Placed, Region, Sums
from shiftcheck.measuring.signals.interpolation import fourier_shift, weighted


def measure_between(base: Base, copy: torch.Tensor, region: Region, *, null: bool) -> Gap:
    """Compare one shifted copy with the base moved between its samples, as ``measure`` does.

    ``null``: compare the moved base with the one that has stayed, axis by axis. A layer of whole
    numbers has no values between its samples, and is not compared.
    """
    values = base.values
    if not (values.is_floating_point() or values.is_complex()):
        return Gap(onto_lattice=False, predicted=False)
    if region.share == 0.0 or values.numel() == 0:
        return Gap(predicted=False, between=True, share=0.0, fair=False, room=region.room)
    here = [p.valid[0] for p in region.along]
    shifted = take(copy, region.along, here)
    expected = moved(values, region.along)
    gap = Gap(predicted=False, between=True, share=region.share, fair=region.fair)
    gap = with_gap(gap, base, shifted, expected, region.along)
    return _with_null(gap, base, expected, region.along) if null else gap


def sums_of(base: Base, copy: torch.Tensor, region: Region, *, every: bool) -> Sums | None:
    """The squares over the valid samples, or over ``every`` one that overlaps."""
    values = base.values
    if not values.is_floating_point() or values.numel() == 0:
        return None
    shifted = take(copy, region.along, [(p.all if every else p.valid)[0] for p in region.along])
    expected = moved(values, region.along, every=every)
    apart = shifted.double() - expected.double()
    return Sums(
        count=apart.numel(),
        error=float(apart.square().sum()),
        signal=float(expected.double().square().sum()),
        largest=float(apart.abs().max()) if apart.numel() else 0.0,
        low=float(values.min()),
        high=float(values.max()),
    )


def moved(
    values: torch.Tensor,
    along: Sequence[Placed],
    *,
    stays: int | None = None,
    every: bool = False,
) -> torch.Tensor:
    """The compared samples of the moved base, or ``every`` one that overlaps.

    ``stays``: an axis that is left where it is.
    """
    there = []
    for i, p in enumerate(along):
        if i == stays:
            there.append(p.valid[0])
            continue
        there.append((p.all if every else p.valid)[1])
        if p.step is not None:
            how, by = p.step.interpolation, p.step.by
            circle = how == "fourier"
            values = (
                fourier_shift(values, float(by), p.dim)
                if circle
                else weighted(values, by, p.dim, how)
            )
    return take(values, along, there)


def _with_null(gap: Gap, base: Base, expected: torch.Tensor, along: Sequence[Placed]) -> Gap:
    """How far the moved base is from one that has stayed: the smallest, over the moved axes."""
    nulls = []
    for i, p in enumerate(along):
        if p.moved:
            errors = largest(expected, moved(base.values, along, stays=i))
            nulls.append((relative_to(errors, base)[0], excess_of(errors, base)))
    relative, excess = min(nulls, key=lambda pair: pair[0])
    if not math.isfinite(relative):
        return gap
    return replace(gap, null=relative, null_excess=excess)
