"""The gap of a layer under a shift between its samples: both sides are interpolated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from shiftcheck.measuring.gaps.compare import (
    Base,
    asked_by_name,
    asked_differences,
    excess_of,
    largest,
    relative_to,
    take,
)
from shiftcheck.measuring.gaps.read import Asked, Asking, held
from shiftcheck.measuring.gaps.regions import Gap, Placed, Region, Sums
from shiftcheck.measuring.signals.interpolation import fourier_shift, weighted


def asked_between(base: Base, copy: torch.Tensor, region: Region, *, null: bool) -> Asking[Gap]:
    """Compare one shifted copy with the base moved between its samples, as ``asked_gap`` does.

    ``null``: compare the moved base with the one that has stayed, axis by axis. A layer of whole
    numbers has no values between its samples, and is not compared.
    """
    values, placed = base.values, region.along
    if not (values.is_floating_point() or values.is_complex()):
        return Gap(onto_lattice=False, predicted=False)
    if region.share == 0.0 or values.numel() == 0:
        return Gap(predicted=False, between=True, share=0.0, fair=False, room=region.room)

    def both() -> tuple[torch.Tensor, torch.Tensor]:
        return take(copy, placed, [p.valid[0] for p in placed]), moved(values, placed)

    sides = held(both, values)
    known = yield from asked_by_name(
        errors=(largest(*sides()),),
        nulls=tuple(_left_out(base, sides()[1], placed)) if null else (),
    )
    gap = Gap(predicted=False, between=True, share=region.share, fair=region.fair)
    gap = yield from asked_differences(gap, base, sides, placed, errors=known["errors"][0])
    return _with_null(gap, base, known["nulls"]) if null else gap


def asked_sums(
    base: Base, copy: torch.Tensor, region: Region, *, every: bool
) -> Asking[Sums | None]:
    """The squares over the valid samples, or over ``every`` one that overlaps."""
    values = base.values
    if not values.is_floating_point() or values.numel() == 0:
        return None
    shifted = take(copy, region.along, [(p.all if every else p.valid)[0] for p in region.along])
    expected = moved(values, region.along, every=every)
    apart = shifted.double() - expected.double()
    count = apart.numel()
    most = apart.abs().max() if count else torch.zeros((), device=values.device)
    squares = apart.square().sum(), expected.double().square().sum()
    found = yield *squares, most, values.min(), values.max()
    error, signal, top, low, high = map(float, found)
    return Sums(count=count, error=error, signal=signal, largest=top, low=low, high=high)


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


def _left_out(
    base: Base, expected: torch.Tensor, along: Sequence[Placed]
) -> Iterator[torch.Tensor]:
    """How far each channel of the moved base is from one that has stayed, for each moved axis."""
    for i, p in enumerate(along):
        if p.moved:
            yield largest(expected, moved(base.values, along, stays=i))


def _with_null(gap: Gap, base: Base, stayed: Asked) -> Gap:
    """How far the moved base is from one that has stayed: the smallest, over the moved axes."""
    nulls = [(relative_to(errors, base)[0], excess_of(errors, base)) for errors in stayed]
    relative, excess = min(nulls, key=lambda pair: pair[0])
    if not math.isfinite(relative):
        return gap
    return replace(gap, null=relative, null_excess=excess)
