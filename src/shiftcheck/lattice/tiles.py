"""Where a tensor is right in a tile of the image, from its geometry on tiles and on the whole.

Nothing that a sample sees on the left of a tile depends on where the tile ends. So a tile that
begins where the image does, and one that ends there, get the samples at that side as the whole
does, wherever both put the same number of samples there in the same places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.gather import runs
from shiftcheck.lattice.layout import AxisState, Layout
from shiftcheck.report.tiles import Margins, TiledAxis, TiledOutput


def is_regular(state: AxisState) -> bool:
    """Whether an axis obeys one law all along, of finite reach, and moves with the image."""
    return (
        isinstance(state, Axis)
        and not state.broken
        and not state.anchored
        and state.stride > 0
        and state.different is None
        and all(map(math.isfinite, state.halo))
    )


def longest_run(axis: Axis) -> tuple[int, int] | None:
    """The longest run of valid samples, where it holds a whole period of the lattice."""
    found = max(runs(axis.valid), key=lambda run: run[1] - run[0], default=(0, 0))
    return found if found[1] - found[0] >= len(axis.first) else None


def begins_alike(one: AxisState, other: AxisState) -> bool:
    """Whether two sizes of an image have the same law, and the same samples at the beginning."""
    if not isinstance(one, Axis) or not isinstance(other, Axis):
        return type(one) is type(other)
    if one is other:
        return True
    same = (one.stride, one.lattice, one.broken) == (other.stride, other.lattice, other.broken)
    if not same or not np.array_equal(one.first, other.first):
        return False
    if not np.array_equal(one.last, other.last):
        return False
    runs_ = longest_run(one), longest_run(other)
    return None in runs_ or one.circular or other.circular or runs_[0][0] == runs_[1][0]  # type: ignore[index]


def ends_alike(one: AxisState, other: AxisState) -> bool:
    """Whether two sizes of an image have as many samples, for their pixels, and end alike."""
    if not isinstance(one, Axis) or not isinstance(other, Axis):
        return type(one) is type(other)
    if one is other:
        return True
    if (one.size - other.size) * one.stride != one.pixels - other.pixels:
        return False
    first, second = longest_run(one), longest_run(other)
    if first is None or second is None or one.circular or other.circular:
        return True
    return one.size - first[1] == other.size - second[1]


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Some samples of an axis: those ``[first, last)`` of a tile, ``at`` a place of the whole."""

    first: int
    last: int
    at: int

    @property
    def count(self) -> int:
        """How many samples there are."""
        return self.last - self.first


def margins_of(axis: Axis, whole: Axis) -> Margins | None:
    """The margins in a tile of the size of ``axis``; None where nothing is between them."""
    run = longest_run(axis)
    if run is None:
        return None
    return Margins(
        stride=axis.stride,
        samples=whole.size,
        start=run[0],
        tail=axis.size - run[1],
        extra=axis.size - axis.pixels / axis.stride,
    )


def halo_of(all_margins: Sequence[Margins]) -> tuple[int, int]:
    """The fewest whole pixels at both ends of a tile within which all wrong samples stand."""
    before = [math.floor((m.start - 1) * m.stride) + 1 for m in all_margins if m.start]
    after = [math.ceil((m.tail - m.extra) * m.stride) for m in all_margins]
    return max(before, default=0), max([0, *after])


NOWHERE = -1
"""In the place of a dimension, of an axis that has none of its own."""


def dims_of(layout: Layout) -> tuple[int, ...]:
    """For each spatial axis the dimension that holds it and nothing else, or NOWHERE."""
    return tuple(_dim_of(layout, axis) for axis in range(len(layout.axes)))


def _dim_of(layout: Layout, axis: int) -> int:
    state = layout.axes[axis]
    if not isinstance(state, Axis) or layout.splits(axis):
        return NOWHERE
    places = range(len(layout.dims))
    holding = [d for d in places if layout.axes_in([d]) == (axis,) and len(layout.dims[d]) == 1]
    return holding[0] if len(holding) == 1 else NOWHERE


def is_tileable(layout: Layout, axis: int, *, circular: bool) -> bool:
    """Whether a tensor can be cut along an axis, and moves with the image, around a circle."""
    state = layout.axes[axis]
    around = not circular or (isinstance(state, Axis) and state.one_turn)
    return is_regular(state) and _dim_of(layout, axis) != NOWHERE and around


def part_of(axis: TiledAxis, margins: Margins, number: int) -> Part:
    """The samples that a tile writes, the ``number``-th along an axis."""
    start = axis.starts[number]
    here = int(start / margins.stride)
    if axis.whole:
        return Part(first=0, last=margins.samples, at=0)
    last_one = number == len(axis.starts) - 1
    begin = here + margins.start
    if number == 0 and not axis.circular:
        begin = 0
    if not last_one:
        end = int(axis.starts[number + 1] / margins.stride) + margins.start
    else:
        end = margins.samples + (margins.start if axis.circular else 0)
    return Part(first=begin - here, last=end - here, at=begin)


def samples_of(margins: Margins, pixels: int, axis: TiledAxis) -> int:
    """The samples of a tensor on a tile of so many pixels."""
    if axis.whole:
        return margins.samples
    if pixels == axis.tile:
        return int(pixels / margins.stride + margins.extra)
    return margins.samples - int((axis.pixels - pixels) / margins.stride)


def period_of(layouts: Sequence[Layout], axis: int) -> int:
    """The smallest grid that suits all of several tensors."""
    found = [s.lattice for layout in layouts if isinstance(s := layout.axes[axis], Axis)]
    return math.lcm(*found)


def reach_of(layouts: Sequence[Layout], axis: int) -> int:
    """The pixels that a sample sees to both sides together, of any of several tensors."""
    halos = [s.halo for layout in layouts if isinstance(s := layout.axes[axis], Axis)]
    return math.ceil(max((sum(halo) for halo in halos if math.isfinite(sum(halo))), default=0))


def described(name: str, layout: Layout, margins: tuple[Margins, ...]) -> TiledOutput:
    """A tensor with its margins."""
    return TiledOutput(name=name, shape=layout.shape, dims=dims_of(layout), margins=margins)


def whole_margins(state: AxisState) -> Margins:
    """The margins along an axis that is not tiled: there are none."""
    if not isinstance(state, Axis):
        return Margins(stride=Fraction(1), samples=0, start=0, tail=0)
    return Margins(stride=abs(state.stride), samples=state.size, start=0, tail=0)
