"""Which samples of two runs, one of them shifted, are compared along an axis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from shiftcheck.lattice.axis import Axis, Indices, Mask


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairing:
    """Which samples of the shifted run (``here``) to compare with those of the base (``there``).

    ``ok`` marks the pairs that count; the others overlap but are not valid. ``predicted`` says
    whether the structure promises that the pairs that count agree. ``inner`` marks the pairs of
    which both samples are valid; on a circle, the others count as well.
    """

    here: Indices
    there: Indices
    ok: Mask
    predicted: bool
    inner: Mask
    off_period: bool = False


def pair(axis: Axis, shift: int) -> Pairing | None:
    """The pairs to compare after a shift in pixels; None if it is no whole number of samples."""
    steps = shift / axis.stride
    if steps.denominator != 1:
        return None
    on_period = axis.period is not None and shift % axis.period == 0
    if shift == 0:
        return whole_axis(axis.size)
    turn = (axis.circle or axis.size) if axis.circular else None
    here, there = overlap(axis.size, int(steps), turn)
    both = axis.readable[here] & axis.readable[there]
    counts = np.ones(len(here), dtype=bool) if axis.circular else both
    closed = axis.closed if axis.circular else axis.different is None
    sound = axis.period is not None and closed
    return Pairing(
        here=here,
        there=there,
        ok=counts,
        predicted=sound and on_period,
        inner=both,
        off_period=sound and not on_period,
    )


def pair_between(axis: Axis, shift: Fraction, reach: int) -> Pairing | None:
    """The samples to compare after a shift between samples; nothing promises that they agree.

    Both sides are interpolated from ``reach`` samples to the left and to the right. None on a
    circle of which the tensor does not store exactly one turn.
    """
    index = np.arange(axis.size)
    steps = shift / axis.stride
    if axis.circular:
        every = np.ones(axis.size, dtype=bool)
        whole = axis.circle == axis.size
        pairing = Pairing(here=index, there=index, ok=every, predicted=False, inner=axis.valid)
        return pairing if whole else None
    index = index[_all_readable(np.ones(axis.size, dtype=bool), steps, reach)]
    ok = (axis.valid & _all_readable(axis.valid, steps, reach))[index]
    far = reach if shift.denominator != 1 else 0
    whole_pixels = math.floor(shift)
    ok &= axis.first_of(index) - whole_pixels - far >= 0
    ok &= axis.last_of(index) - whole_pixels + max(far - 1, 0) <= axis.pixels - 1
    return Pairing(here=index, there=index, ok=ok, predicted=False, inner=ok)


def _all_readable(valid: Mask, steps: Fraction, reach: int) -> Mask:
    """Whether all samples that are interpolated at ``q - steps`` are valid ones."""
    size, whole = len(valid), math.floor(steps)
    taps = range(whole, whole + 1)
    if steps.denominator != 1:
        taps = range(whole + 1 - reach, whole + reach + 1)
    readable = np.ones(size, dtype=bool)
    for tap in taps:
        there = np.arange(size) - tap
        inside = (there >= 0) & (there < size)
        readable &= inside & valid[np.clip(there, 0, max(size - 1, 0))]
    return readable


def pair_lost(pixels: int, size: int, shift: int, *, circular: bool) -> Pairing | None:
    """The pairs to compare on an axis whose geometry was lost, at the stride pixels / size."""
    steps = Fraction(shift * size, pixels)
    if steps.denominator != 1:
        return None
    if shift == 0:
        return whole_axis(size)
    here, there = overlap(size, int(steps), size if circular else None)
    every = np.ones(len(here), dtype=bool)
    return Pairing(here=here, there=there, ok=every, predicted=False, inner=every)


def whole_axis(size: int) -> Pairing:
    """Every sample with itself: the axis does not move, so nothing on it can be wrong."""
    index, every = np.arange(size), np.ones(size, dtype=bool)
    return Pairing(here=index, there=index, ok=every, predicted=True, inner=every)


def overlap(size: int, steps: int, turn: int | None) -> tuple[Indices, Indices]:
    """Indices p and p - steps that are both stored, modulo ``turn`` where the axis is a circle."""
    here = np.arange(size)
    there = here - steps if turn is None else (here - steps) % turn
    stored = (there >= 0) & (there < size)
    return here[stored], there[stored]
