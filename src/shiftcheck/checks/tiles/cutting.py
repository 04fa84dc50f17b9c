"""What each tile reads of the image, and which of its samples it writes where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import torch

from shiftcheck.errors import InputError
from shiftcheck.lattice.tiles import NOWHERE, Part, part_of, samples_of
from shiftcheck.report.tiles import TiledAxis, TiledOutput

Slices = tuple[slice, ...]
EVERYTHING = slice(None), slice(None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Tile:
    """One tile: its number along each axis, and the axes."""

    numbers: tuple[int, ...]
    axes: tuple[TiledAxis, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Its pixels along each axis."""
        pairs = zip(self.axes, self.numbers, strict=True)
        return tuple(axis.size_at(axis.starts[n], axis.tile) for axis, n in pairs)

    def parts(self, tensor: TiledOutput) -> list[Part]:
        """The samples of a tensor that it writes, along each axis."""
        triples = zip(self.axes, tensor.margins, self.numbers, strict=True)
        return [part_of(axis, margins, n) for axis, margins, n in triples]

    def samples(self, tensor: TiledOutput) -> tuple[int, ...]:
        """How many samples a tensor has on it, along each axis."""
        triples = zip(self.axes, tensor.margins, self.sizes, strict=True)
        return tuple(samples_of(margins, pixels, axis) for axis, margins, pixels in triples)

    def own(self, tensor: TiledOutput, rank: int) -> Slices:
        """Where in the tile the samples are that it writes."""
        index = [slice(None)] * rank
        for dim, part in zip(tensor.dims, self.parts(tensor), strict=True):
            if dim != NOWHERE:
                index[dim] = slice(part.first, part.last)
        return tuple(index)

    def moves(self, tensor: TiledOutput, rank: int) -> Iterator[tuple[Slices, Slices]]:
        """Which samples of the tile go where on the whole; on a circle, to both of its ends."""
        along = [
            list(_turns(part, margins.samples)) if dim != NOWHERE else [EVERYTHING]
            for dim, part, margins in zip(
                tensor.dims, self.parts(tensor), tensor.margins, strict=True
            )
        ]
        for pieces in product(*along):
            source, target = [slice(None)] * rank, [slice(None)] * rank
            for dim, (here, there) in zip(tensor.dims, pieces, strict=True):
                if dim != NOWHERE:
                    source[dim], target[dim] = here, there
            yield tuple(source), tuple(target)


def tiles_of(axes: Sequence[TiledAxis]) -> list[Tile]:
    """All tiles, row by row."""
    numbers = product(*(range(len(axis.starts)) for axis in axes))
    return [Tile(numbers=each, axes=tuple(axes)) for each in numbers]


def _turns(part: Part, samples: int) -> Iterator[tuple[slice, slice]]:
    """The part in pieces, none of which goes over the end of the whole."""
    first, at, left = part.first, part.at % samples if samples else 0, part.count
    while left > 0:
        count = min(left, samples - at)
        yield slice(first, first + count), slice(at, at + count)
        first, at, left = first + count, 0, left - count


def cropped(x: Any, dims: Sequence[int], tile: Tile) -> Any:
    """What a tile reads of a tensor or an array; beyond the end of a circle, its beginning.

    One of another resolution than the image has is cut at the same places. Raises InputError where
    these are between its samples.
    """
    index = [slice(None)] * x.ndim
    beyond = []
    for dim, axis, number in zip(dims, tile.axes, tile.numbers, strict=True):
        start, size = _samples(x, dim, axis, number)
        if start + size <= x.shape[dim]:
            index[dim] = slice(start, start + size)
        else:
            beyond.append((dim, start, size))
    part = x[tuple(index)]
    for dim, start, size in beyond:
        places = np.arange(start, start + size) % x.shape[dim]
        if isinstance(part, torch.Tensor):
            part = part.index_select(dim, torch.as_tensor(places, device=part.device))
        else:
            part = np.take(part, places, dim)
    return part


def _samples(x: Any, dim: int, axis: TiledAxis, number: int) -> tuple[int, int]:
    """Where a tile begins in a tensor, and how many samples it has of it."""
    start = axis.starts[number]
    size = axis.size_at(start, axis.tile)
    each = Fraction(x.shape[dim], axis.pixels)
    if (start * each).denominator != 1 or (size * each).denominator != 1:
        raise InputError(
            f"x holds an input of shape {tuple(x.shape)}, of which a tile of {size} pixels from"
            f" {start} on has no whole number of samples along dimension {dim}: make a plan with a"
            f" tile that is a multiple of {each.denominator}, or for an image of which the size is"
        )
    return int(start * each), int(size * each)
