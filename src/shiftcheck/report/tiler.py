"""A plan of tiles as arguments of the package tiler."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar

import numpy as np

from shiftcheck.report.base import Shown
from shiftcheck.report.windows import (
    Cut,
    Span,
    Steps,
    exponent_of,
    found_for_all,
    steps_of,
    weights,
)

TOOL = "tiler"


@dataclass(frozen=True, kw_only=True)
class TilerTiles:
    """Arguments of a ``tiler.Tiler`` of an array, and of the ``tiler.Merger`` that fills it.

    ``margins``: samples at both ends of a tile, along each dimension, that are wrong unless the
    array ends there, and weigh ``2 ** -exponent``. ``mode``: the last tile is shorter, so that it
    ends where the array does. ``dtype``: of the array that the tiles are added up in.

    Example:
        >>> import torch, shiftcheck
        >>> model = torch.nn.Conv2d(1, 3, 4, stride=4)
        >>> out = shiftcheck.tiling(model, (1, 1, 64, 96), tile=32).to_tiler().outputs[0]
        >>> out.name, out.data_shape, out.tile_shape, out.overlap, out.mode
        ('output', (1, 3, 16, 24), (1, 3, 8, 8), (0, 0, 0, 0), 'irregular')
    """

    name: str
    data_shape: tuple[int, ...]
    tile_shape: tuple[int, ...]
    overlap: tuple[int, ...]
    margins: tuple[Span, ...]
    exponent: int
    dtype: str
    mode: str = "irregular"

    def arguments(self) -> dict[str, Any]:
        """The keywords for ``tiler.Tiler``."""
        names = ("data_shape", "tile_shape", "overlap", "mode")
        return {name: getattr(self, name) for name in names}

    def window(self) -> np.ndarray[Any, Any]:
        """How much each place of a tile counts, an array of the shape of ``tile_shape``."""
        along = [
            weights(size, margins, self.exponent)
            for size, margins in zip(self.tile_shape, self.margins, strict=True)
        ]
        return reduce(np.multiply.outer, along)

    def merging(self) -> dict[str, Any]:
        """The keywords for ``tiler.Merger``."""
        dtype = np.dtype(self.dtype)
        return {"window": self.window(), "data_dtype": dtype, "weights_dtype": dtype}


@dataclass(frozen=True, kw_only=True)
class TilerPlan(Shown):
    """A plan of tiles in the words of the package tiler: one for x, and one for each output.

    Tile ``n`` of x gives tile ``n`` of each output. ``tiles``: how many there are.

    Example:
        >>> import torch, shiftcheck
        >>> model = torch.nn.Conv2d(1, 1, 5, padding=2)
        >>> found = shiftcheck.tiling(model, (1, 1, 200, 300), tile=(64, 100)).to_tiler()
        >>> found.input.tile_shape, found.input.overlap, found.tiles
        ((1, 1, 64, 100), (0, 0, 4, 4), 16)
        >>> found.outputs[0].margins
        ((0, 0), (0, 0), (2, 2), (2, 2))
    """

    _called: ClassVar[str] = "plan of tiles for tiler"

    input: TilerTiles
    outputs: tuple[TilerTiles, ...]
    tiles: int
    model: str = ""
    notes: tuple[str, ...] = ()
    schema_version: int = 1


def tiler_plan(cut: Cut, model: str) -> TilerPlan:
    """The arguments; raises InputError where tiler cannot be told to give the whole."""
    cut.check(TOOL)
    found: list[Steps] = found_for_all(cut, TOOL, steps_of)
    return TilerPlan(
        input=_tiles(
            cut,
            ("x", cut.input_shape, cut.spatial_dims),
            [Along(size=a.tile, step=f.step) for a, f in zip(cut.axes, found, strict=True)],
        ),
        outputs=tuple(
            _tiles(cut, (o.name, o.shape, o.dims), list(_along(cut, found, number)))
            for number, o in enumerate(cut.outputs)
        ),
        tiles=math.prod(along.tiles for along in found),
        model=model,
        notes=("the model is run as it is: set it to eval mode before",),
    )


@dataclass(frozen=True, kw_only=True)
class Along:
    """A tile of an array along one axis."""

    size: int
    step: int
    margins: Span = (0, 0)


def _along(cut: Cut, found: Sequence[Steps], number: int) -> Iterator[Along]:
    """The tiles of an output along each axis."""
    margins = cut.outputs[number].margins
    for axis, own, steps in zip(cut.axes, margins, found, strict=True):
        step = steps.samples[number]
        if axis.whole:
            yield Along(size=own.samples, step=step)
        else:
            size = int(axis.tile / own.stride + own.extra)
            yield Along(size=size, step=step, margins=(own.start, own.tail))


def _tiles(
    cut: Cut, array: tuple[str, tuple[int, ...], tuple[int, ...]], along: Sequence[Along]
) -> TilerTiles:
    """The tiles of an array, which hold all of the dimensions that are not spatial."""
    name, shape, dims = array
    each = dict(zip(dims, along, strict=True))
    full = [each.get(dim, Along(size=size, step=size)) for dim, size in enumerate(shape)]
    dtype = "float64" if cut.dtype == "float64" else "float32"
    return TilerTiles(
        name=name,
        data_shape=shape,
        tile_shape=tuple(one.size for one in full),
        overlap=tuple(one.size - one.step for one in full),
        margins=tuple(one.margins for one in full),
        exponent=exponent_of(dtype, len(along)),
        dtype=dtype,
    )
