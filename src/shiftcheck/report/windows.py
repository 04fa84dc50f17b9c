"""When windows of one size that are averaged give the whole, and the arguments that make them so.

Tools that average windows weigh each sample of a window by its place in it. Margins that weigh next
to nothing vanish beside the right values of another window. At the border of the image there is no
other window: what weighs next to nothing there is divided by the same, and stays what it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from shiftcheck.errors import InputError
from shiftcheck.report.tiled_axes import Margins, TiledAxis, TiledOutput

Span = tuple[int, int]
"""Start and stop."""

EXPONENTS = {"float64": 200, "float32": 100, "bfloat16": 100}
"""By the type in which windows are added up: powers of two by which a weight may be smaller than 1
so that right values are still held in full."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What a tool is told of: the tiles of a plan, and the tensors."""

    axes: tuple[TiledAxis, ...]
    outputs: tuple[TiledOutput, ...]
    input_shape: tuple[int, ...]
    spatial_dims: tuple[int, ...]
    dtype: str

    @property
    def tile(self) -> tuple[int, ...]:
        """The size of a window along each axis."""
        return tuple(axis.tile for axis in self.axes)

    def check(self, tool: str) -> None:
        """Raise InputError for what a tool that averages windows cannot be told."""
        for a, axis in enumerate(self.axes):
            if axis.circular and not axis.whole:
                raise InputError(
                    f"boundary='circular' along axis {a}: {tool} does not go on at the other end;"
                    " run shiftcheck.tiled(model, plan), or give a tile that holds all of this axis"
                )
        for output in self.outputs:
            if sorted(output.dims) != sorted(set(output.dims)) or min(output.dims, default=0) < 0:
                raise InputError(
                    f"{output.name} of shape {output.shape} has not all of the spatial axes, so"
                    f" {tool} cannot put it together: run shiftcheck.tiled(model, plan)"
                )


def weights(size: int, margins: Span, exponent: int) -> np.ndarray[Any, Any]:
    """Along one axis 1, and ``2 ** -exponent`` on the margins."""
    found = np.ones(size)
    found[: margins[0]] = 2.0**-exponent
    found[size - margins[1] :] = 2.0**-exponent
    return found


def exponent_of(dtype: str, axes: int) -> int:
    """The exponent of each axis, so that the product over all of them is held."""
    return EXPONENTS[dtype] // max(1, axes)


def gives_the_whole(windows: Sequence[Span], tile: int, margins: Span, size: int) -> bool:
    """Whether all windows that weigh most at a sample are right there, along one axis.

    ``windows``: in order. A weight belongs to its place behind the beginning of a window, so that
    one which is shorter than ``tile`` lacks the last of them.
    """
    if len(windows) == 1:
        return True
    first, last = margins
    cores = [(a + first, min(a + tile - last, b)) for a, b in windows]
    held = all(a < b for a, b in cores) and all(c[1] >= d[0] for c, d in pairwise(cores))
    begins = all(a >= first for a, _ in windows[1:])
    ends = windows[-1][1] == size and all(b <= cores[-1][1] for _, b in windows[:-1])
    return held and begins and ends


# -- windows of one size, the last of which is moved back to end with the image --------------------


@dataclass(frozen=True, kw_only=True)
class Interval:
    """How far windows begin apart along an axis, and the share of a window that overlaps.

    ``margins``: pixels at both ends of a window that weigh next to nothing.
    """

    interval: int
    overlap: float
    starts: tuple[int, ...]
    margins: Span


def moved_back(pixels: int, roi: int, interval: int) -> tuple[int, ...]:
    """Where windows begin: the last is moved back to end where the image does.

    Source: ``monai.data.utils.dense_patch_slices``.
    """
    count = next(n for n in range(pixels) if n * interval + roi >= pixels) + 1
    return tuple(min(n * interval, pixels - roi) for n in range(count))


def share_of(roi: int, interval: int) -> float:
    """The overlap as a share of a window from which exactly this interval is computed again.

    Source: ``monai.inferers.utils``: ``interval = int(roi_size * (1 - overlap))``.
    """
    natural = (roi - interval) / roi
    if int(roi * (1 - natural)) == interval:
        return natural
    return (roi - interval - 0.5) / roi


def interval_of(cut: Cut, number: int, tile: int) -> Interval | None:
    """The widest interval along an axis with which averaged windows give the whole, if any."""
    axis = cut.axes[number]
    if tile >= axis.pixels:
        return Interval(interval=axis.pixels, overlap=0.0, starts=(0,), margins=(0, 0))
    if (axis.pixels - tile) % axis.step:
        return None
    margins = _pixels_of([o.margins[number] for o in cut.outputs], axis.step)
    widest = (tile - sum(margins)) // axis.step * axis.step
    for interval in range(widest, 0, -axis.step):
        starts = moved_back(axis.pixels, tile, interval)
        windows = [(a, a + tile) for a in starts]
        exact = all(_is_exact(o.margins[number], axis, tile, starts) for o in cut.outputs)
        if exact and gives_the_whole(windows, tile, margins, axis.pixels):
            share = share_of(tile, interval)
            return Interval(interval=interval, overlap=share, starts=starts, margins=margins)
    return None


def _pixels_of(margins: Sequence[Margins], step: int) -> Span:
    """The margins of all outputs in pixels; where strides differ, whole periods.

    Weights are resized to an output of another size, and those of one output to the next.
    """
    unit = step if len({m.stride for m in margins}) > 1 else 1
    first = max(math.ceil(m.start * m.stride / unit) for m in margins)
    last = max(math.ceil(m.tail * m.stride / unit) for m in margins)
    return first * unit, last * unit


def _is_exact(margins: Margins, axis: TiledAxis, tile: int, starts: Sequence[int]) -> bool:
    """Whether places in an output are computed as they are, with the rounding of MONAI.

    Source: ``monai.inferers.utils``: ``int(start * (output / float(roi)))``.
    """
    samples = tile / margins.stride + margins.extra
    if margins.extra or samples.denominator != 1:
        return False
    scale = int(samples) / float(tile)
    places = [*starts, *(a + tile for a in starts)]
    right = all(int(p * scale) == p / margins.stride for p in places)
    return right and int(axis.pixels * scale) == margins.samples


# -- tiles of one size, the last of which is shorter -----------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Steps:
    """How far tiles begin apart along an axis: in pixels, and in samples of each output."""

    step: int
    samples: tuple[int, ...]
    tiles: int


def cut_short(size: int, tile: int, step: int) -> list[Span]:
    """The tiles of an axis; the last one ends where the image does, and is shorter.

    Source: ``tiler.Tiler`` in the mode ``irregular``.
    """
    if tile >= size:
        return [(0, size)]
    count = -(-(size - (tile - step)) // step)
    return [(n * step, min(n * step + tile, size)) for n in range(count)]


def steps_of(cut: Cut, number: int, tile: int) -> Steps | None:
    """The widest step along an axis with which averaged tiles give the whole, if any."""
    axis = cut.axes[number]
    each = [output.margins[number] for output in cut.outputs]
    if tile >= axis.pixels:
        return Steps(step=axis.pixels, samples=tuple(m.samples for m in each), tiles=1)
    for step in range(axis.advance(tile), 0, -axis.step):
        tiles = cut_short(axis.pixels, tile, step)
        long_enough = tiles[-1][1] - tiles[-1][0] >= axis.least
        if long_enough and all(_is_put_right(m, tile, step, tiles) for m in each):
            samples = tuple(int(step / m.stride) for m in each)
            return Steps(step=step, samples=samples, tiles=len(tiles))
    return None


def _is_put_right(margins: Margins, tile: int, step: int, tiles: Sequence[Span]) -> bool:
    """Whether the tiles of an output lie where those of the image do, and give the whole."""
    size, apart = int(tile / margins.stride + margins.extra), int(step / margins.stride)
    if size < apart:
        return False
    found = cut_short(margins.samples, size, apart)
    within = (margins.start, margins.tail)
    return len(found) == len(tiles) and gives_the_whole(found, size, within, margins.samples)


Find = Callable[[Cut, int, int], Any]
"""What is found along an axis for a size of tiles, or None."""


def found_for_all(cut: Cut, tool: str, find: Find) -> list[Any]:
    """What is found along each axis; raises InputError with a tile that does where one does not."""
    found = [find(cut, a, axis.tile) for a, axis in enumerate(cut.axes)]
    for a, (axis, along) in enumerate(zip(cut.axes, found, strict=True)):
        if along is None:
            near = next(_others(cut, a, find), None)
            better = "" if near is None else f"; make a plan with a tile of {near} along axis {a}"
            raise InputError(
                f"tile={cut.tile}: with {axis.tile} of {axis.pixels} pixels along axis {a}, halo"
                f" {axis.halo} and windows on multiples of {axis.step}, {tool} averages wrong"
                f" margins with right values, or rounds places of the output{better}, or run"
                " shiftcheck.tiled(model, plan)"
            )
    return found


def _others(cut: Cut, number: int, find: Find) -> Iterator[int]:
    """Sizes near that of the plan with which a tool gives the whole."""
    axis = cut.axes[number]
    for size in (axis.tile + by * axis.step for n in range(1, TRIES) for by in (n, -n)):
        if axis.least <= size < axis.pixels and find(cut, number, size) is not None:
            yield size


TRIES = 64
"""So many steps larger and smaller than the tile of the plan others are looked for."""
