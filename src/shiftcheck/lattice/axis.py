"""The geometry of one spatial axis of a tensor inside a network.

Sample ``q`` of an axis with effective stride ``s`` stands at input pixel ``q * s``. Everything here
is arithmetic on sizes and positions: no tensor is ever seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache, wraps
from typing import Concatenate, ParamSpec

import numpy as np
from numpy.typing import NDArray

from shiftcheck.errors import ShiftcheckError

Mask = NDArray[np.bool_]
Pixels = NDArray[np.float64]
Indices = NDArray[np.intp]


class GeometryError(ShiftcheckError):
    """Two geometries do not fit together; whoever catches this treats the axis as lost.

    Example:
        >>> from shiftcheck.rules import GeometryError, Lost, Layout
        >>> try:
        ...     Layout((), (Lost("INDEX"),)).geometry(0)
        ... except GeometryError as error:
        ...     print(error)
        axis 0 has no geometry
    """


@dataclass(frozen=True, kw_only=True, eq=False)
class Axis:
    """How the samples of a tensor along one spatial axis relate to the pixels of the input.

    ``first`` and ``last`` hold, for each phase of the lattice, the first and the last input pixel
    that a sample sees on the infinite plane: sample ``q + len(first)`` sees what sample ``q`` sees,
    ``lattice`` pixels further on. A sample that sees nothing has ``first = inf, last = -inf``.
    ``valid`` marks the samples whose value is that of the same operator on the infinite plane (on a
    circular axis: on the periodic plane). ``different`` marks the others that nothing beyond an
    edge excuses: all that the law reads there is stored and valid, and the layer does something
    else; None where there are none such. ``mixed``: some channels see less than others.
    ``anchored``: every sample also depends on where the stored ones begin or end, as after a
    running sum. ``origins``: where sample 0 stands, in pixels, its phases averaged: the least and
    the greatest of all branches that lead here.

    Example:
        >>> axis = resample(input_axis(12, circular=False), window(2, [0, 1, 2]), 5)
        >>> str(axis.stride), axis.period, axis.size, axis.receptive_field
        ('2', 2, 5, 3.0)
    """

    pixels: int
    stride: Fraction
    lattice: int
    first: Pixels
    last: Pixels
    valid: Mask
    circular: bool = False
    broken: bool = False
    different: Mask | None = None
    mixed: bool = False
    anchored: bool = False
    origins: tuple[Fraction, Fraction] = (Fraction(0), Fraction(0))

    @property
    def readable(self) -> Mask:
        """The valid and the different samples, which nothing beyond an edge excuses."""
        return self.valid if self.different is None else self.valid | self.different

    @property
    def size(self) -> int:
        """The number of samples that the tensor stores."""
        return len(self.valid)

    @property
    def period(self) -> int | None:
        """The smallest shift, in pixels, whose multiples the structure guarantees; None if none."""
        return None if self.broken else self.lattice

    @cached_property
    def circle(self) -> int | None:
        """The number of samples in one turn of a circular axis, None where that is not whole."""
        turn = self.pixels / abs(self.stride)
        return int(turn) if self.circular and turn.denominator == 1 else None

    @cached_property
    def all_are_valid(self) -> bool:
        """Whether every stored sample is valid."""
        return bool(self.valid.all())

    @cached_property
    def any_is_valid(self) -> bool:
        """Whether a stored sample is valid."""
        return bool(self.valid.any())

    @property
    def closed(self) -> bool:
        """Whether every stored sample is a sample of the operator on the torus."""
        return self.circle is not None and self.all_are_valid

    @property
    def one_turn(self) -> bool:
        """Whether the tensor stores exactly one turn of a closed circle."""
        return self.closed and self.size == self.circle

    @cached_property
    def halo(self) -> tuple[float, float]:
        """Input pixels seen to the left and to the right of a sample's own position, at most."""
        at = np.arange(len(self.first)) * float(self.stride)
        seen = self.first <= self.last
        if not seen.any():
            return (0.0, 0.0)
        left, right = (at - self.first)[seen].max(), (self.last - at)[seen].max()
        return (float(left), float(right))

    @cached_property
    def receptive_field(self) -> float:
        """The extent in input pixels of what one sample sees, at most."""
        seen = self.first <= self.last
        return float((self.last - self.first)[seen].max() + 1) if seen.any() else 0.0

    def first_of(self, index: Indices) -> Pixels:
        """The first input pixel that each of the samples ``index`` sees."""
        return _unroll(self.first, index, self.lattice, self.stride)

    def last_of(self, index: Indices) -> Pixels:
        """The last input pixel that each of the samples ``index`` sees."""
        return _unroll(self.last, index, self.lattice, self.stride)


@dataclass(frozen=True, kw_only=True)
class Taps:
    """Which input samples an output reads: output ``den*k + r`` reads ``num*k + phases[r]``.

    Example:
        >>> twice = Taps(num=1, phases=((0,), (0,)))  # each sample is repeated
        >>> twice.den
        2
    """

    num: int
    phases: tuple[tuple[int, ...], ...]

    @property
    def den(self) -> int:
        """The number of output samples in ``num`` input samples."""
        return len(self.phases)

    @cached_property
    def centre(self) -> Fraction:
        """Where output 0 stands, in input samples, amid what it reads, phases averaged."""
        middles = [min(reads) + max(reads) for reads in self.phases if reads]
        places = [r for r, reads in enumerate(self.phases) if reads]
        apart = self.den * sum(middles) - 2 * self.num * sum(places)
        return Fraction(apart, 2 * self.den * max(1, len(middles)))


REMEMBERED = 512
"""How many results of each change are kept."""

LARGE = 2**12
"""The results of axes with more samples than that are not kept."""

Rest = ParamSpec("Rest")


def _remembered(
    change: Callable[Concatenate[Axis, Rest], Axis],
) -> Callable[Concatenate[Axis, Rest], Axis]:
    """The same, kept for the next axes and passes: the axes of a square image are one object.

    Nobody may write to the arrays of an axis that others have, too.
    """

    def as_constant(axis: Axis, *rest: Rest.args, **options: Rest.kwargs) -> Axis:
        out = change(axis, *rest, **options)
        for array in (out.first, out.last, out.valid, out.different):
            if array is not None:
                array.flags.writeable = False
        return out

    kept: Callable[..., Axis] = lru_cache(REMEMBERED)(as_constant)

    @wraps(change)
    def again(axis: Axis, /, *rest: Rest.args, **options: Rest.kwargs) -> Axis:
        small = max(axis.size, len(axis.first)) <= LARGE
        return kept(axis, *rest, **options) if small else change(axis, *rest, **options)

    return again


def window(step: int, taps: Sequence[int]) -> Taps:
    """Taps of a sliding window that advances by ``step`` input samples for each output sample.

    Example:
        >>> window(2, [-1, 0, 1])  # output q reads 2q - 1, 2q and 2q + 1
        Taps(num=2, phases=((-1, 0, 1),))
    """
    return Taps(num=step, phases=(tuple(taps),))


def input_axis(pixels: int, *, circular: bool) -> Axis:
    """The geometry of the input itself: stride 1, period 1, each sample sees its own pixel."""
    return (_small_axis if pixels <= LARGE else _whole_axis)(pixels, circular)


def _whole_axis(pixels: int, circular: bool) -> Axis:
    here, valid = np.zeros(1), np.ones(pixels, dtype=bool)
    here.flags.writeable = valid.flags.writeable = False
    return Axis(
        pixels=pixels,
        stride=Fraction(1),
        lattice=1,
        first=here,
        last=here,
        valid=valid,
        circular=circular,
    )


_small_axis = lru_cache(REMEMBERED)(_whole_axis)


def scaled_axis(pixels: int, size: int, *, circular: bool) -> Axis:
    """The geometry of ``size`` samples that are spread evenly over the pixels of the input."""
    whole = input_axis(pixels, circular=circular)
    if size == pixels:
        return whole
    stride = Fraction(pixels, size)
    seen = np.floor(np.arange(stride.denominator) * float(stride))
    at = Fraction(int(seen.sum()), len(seen)) - stride * (len(seen) - 1) / 2
    return replace(
        whole,
        stride=stride,
        lattice=stride.numerator,
        first=seen,
        last=seen.copy(),
        valid=np.ones(size, dtype=bool),
        origins=(at, at),
    )


@_remembered
def resample(axis: Axis, taps: Taps, size: int, *, wrap: bool = False) -> Axis:
    """The geometry after an operation whose output samples read the input samples ``taps``.

    A sample is valid when everything that it reads is stored and valid, and different when all of
    it is stored and some of it is different. With ``wrap``, reading beyond the edge of exactly one
    turn of a closed circle goes on at the other end.

    Args:
        axis: the geometry of the input.
        taps: which input samples each output sample reads.
        size: the number of output samples.
        wrap: whether the operation pads circularly.

    Example:
        >>> axis = resample(input_axis(8, circular=False), window(2, [-1, 0, 1]), 4)
        >>> str(axis.stride), axis.period, axis.halo, axis.valid.tolist()
        ('2', 2, (1.0, 1.0), [False, True, True, True])
    """
    stride = axis.stride * Fraction(taps.num, taps.den)
    pattern = axis.stride * taps.num
    lattice = math.lcm(axis.lattice, abs(stride.numerator), abs(pattern.numerator))
    phases = int(lattice / abs(stride))
    first, last = np.full(phases, np.inf), np.full(phases, -np.inf)
    valid, readable = np.ones(size, dtype=bool), np.ones(size, dtype=bool)
    around = wrap and axis.one_turn
    for r, reads in enumerate(taps.phases):
        table, stored = np.arange(r, phases, taps.den), np.arange(r, size, taps.den)
        for tap in reads:
            source = table // taps.den * taps.num + tap
            first[table] = np.minimum(first[table], axis.first_of(source))
            last[table] = np.maximum(last[table], axis.last_of(source))
            read = stored // taps.den * taps.num + tap
            valid[stored] &= _stored(axis.valid, read, around)
            if axis.different is not None:
                readable[stored] &= _stored(axis.readable, read, around)
    if axis.circle is not None and axis.circle % taps.num:
        valid[:] = False
    low, high = (origin + axis.stride * taps.centre for origin in axis.origins)
    out = replace(
        axis,
        stride=stride,
        lattice=lattice,
        first=first,
        last=last,
        valid=valid,
        origins=(low, high),
    )
    return whole_turns(out if axis.different is None else with_different(out, readable))


@_remembered
def join(one: Axis, other: Axis) -> Axis:
    """The geometry of a value computed from the same sample of two tensors.

    Raises GeometryError when their strides or sizes differ.
    """
    if one is other:
        return one
    if one.stride != other.stride:
        raise GeometryError(f"the effective strides {one.stride} and {other.stride} differ")
    if one.size != other.size:
        raise GeometryError(f"the sizes {one.size} and {other.size} differ")
    lattice = math.lcm(one.lattice, other.lattice)
    index = np.arange(int(lattice / abs(one.stride)))
    out = replace(
        one,
        lattice=lattice,
        first=np.minimum(one.first_of(index), other.first_of(index)),
        last=np.maximum(one.last_of(index), other.last_of(index)),
        valid=one.valid & other.valid,
        broken=one.broken or other.broken,
        mixed=one.mixed or other.mixed,
        anchored=one.anchored or other.anchored,
        origins=(min(one.origins[0], other.origins[0]), max(one.origins[1], other.origins[1])),
    )
    return with_different(out, one.readable & other.readable)


def with_different(axis: Axis, readable: Mask) -> Axis:
    """The same axis, of which the ``readable`` samples are valid or different."""
    different = readable & ~axis.valid
    return replace(axis, different=different if different.any() else None)


@_remembered
def all_valid(axis: Axis) -> Axis:
    """The same axis as if every sample of it were valid.

    Example:
        >>> axis = resample(input_axis(8, circular=False), window(1, [-1, 0, 1]), 8)
        >>> bool(all_valid(axis).valid.all())
        True
    """
    return replace(axis, valid=np.ones(axis.size, dtype=bool), different=None)


def globalise(
    axis: Axis,
    *,
    exact: bool | None = None,
    lattice: int = 1,
    broken: bool = False,
    anchored: bool = False,
) -> Axis:
    """The geometry of a value that depends on the whole axis: no plane has it, a closed turn does.

    ``exact`` says whether that dependence is shift-invariant; by default, as on one closed turn.
    ``lattice``, ``broken`` and ``anchored`` are those of what the dependence is on.
    """
    kept = axis.one_turn if exact is None else exact and axis.closed
    common = math.lcm(axis.lattice, lattice)
    phases = int(common / abs(axis.stride))
    return replace(
        axis,
        lattice=common,
        first=np.full(phases, -np.inf),
        last=np.full(phases, np.inf),
        valid=axis.valid & kept,
        broken=axis.broken or broken,
        different=axis.different if kept else None,
        anchored=axis.anchored or anchored or axis.different is not None,
    )


def accumulate(axis: Axis, *, backwards: bool = False) -> Axis:
    """The geometry of a value that depends on its own sample and on all before it (or after it).

    On an open axis the past is not known, and a circle has no first sample: nothing is valid.
    """
    phases = np.arange(len(axis.first))
    seen = phases[:, None] + (phases if backwards else -phases)
    first, last = axis.first_of(seen).min(1), axis.last_of(seen).max(1)
    if (axis.stride > 0) != backwards:
        first = np.full_like(first, -np.inf)
    else:
        last = np.full_like(last, np.inf)
    nothing = np.zeros_like(axis.valid)
    return replace(axis, first=first, last=last, valid=nothing, different=None, anchored=True)


def invalidate(axis: Axis, keep: Mask) -> Axis:
    """The same axis with all samples but ``keep`` excused."""
    return with_different(replace(axis, valid=axis.valid & keep), axis.readable & keep)


def with_break(axis: Axis) -> Axis:
    """The same axis, equivariant at no shift."""
    return replace(axis, broken=True)


def coarsen(axis: Axis, samples: int | Fraction) -> Axis:
    """The same axis, equivariant only at shifts that are multiples of ``samples`` samples."""
    lattice = math.lcm(axis.lattice, abs((axis.stride * samples).numerator))
    index = np.arange(int(lattice / abs(axis.stride)))
    divides = axis.circle is None or axis.circle % samples == 0
    return replace(
        axis,
        lattice=lattice,
        first=axis.first_of(index),
        last=axis.last_of(index),
        valid=axis.valid & divides,
        different=axis.different if divides else None,
    )


def over_windows(axis: Axis, width: int) -> Axis:
    """The same axis after every sample saw all of its window of ``width`` samples."""
    everything = tuple(range(width))
    return resample(axis, Taps(num=width, phases=(everything,) * width), axis.size)


def _unroll(table: Pixels, index: Indices, lattice: int, stride: Fraction) -> Pixels:
    turns, phase = np.divmod(index, len(table))
    ahead = lattice if stride > 0 else -lattice
    return np.asarray(table[phase] + turns * ahead, dtype=np.float64)


def _stored(mask: Mask, index: Indices, around: bool) -> Mask:
    """Which of the samples ``index`` are stored and in ``mask``; with ``around``, all are."""
    if around:
        return np.ones(len(index), dtype=bool)
    size = len(mask)
    inside = (index >= 0) & (index < size)
    if size == 0:
        return inside
    return np.asarray(inside & mask[np.clip(index, 0, size - 1)], dtype=bool)


def whole_turns(axis: Axis) -> Axis:
    """The same axis; nothing of it is valid where its circle holds no whole number of samples."""
    if axis.circular and axis.circle is None:
        return replace(axis, valid=np.zeros_like(axis.valid), different=None)
    return axis
