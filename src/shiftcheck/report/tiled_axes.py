"""The tiles along each axis, and where a tensor is right in one of them.

Tiles begin on a grid. One that does not begin or end where the image does gets the samples near its
own edges wrong: these are its margins, and another tile writes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, kw_only=True)
class Margins:
    """Where a tensor is right along one axis of a tile.

    ``samples``: how many it has on the whole image. ``start``: so many samples are wrong at the
    beginning of a tile, unless the image begins there; ``tail``: at its end, unless the image ends
    there. ``extra``: samples of a tile are ``tile / stride + extra``.

    Example:
        >>> import torch, shiftcheck
        >>> plan = shiftcheck.tiling(torch.nn.Conv2d(1, 1, 3, padding=1), (1, 1, 64, 64), tile=32)
        >>> margins = plan.outputs[0].margins[0]
        >>> margins.samples, margins.start, margins.tail
        (64, 1, 1)
    """

    stride: Fraction
    samples: int
    start: int
    tail: int
    extra: Fraction = Fraction(0)


@dataclass(frozen=True, kw_only=True)
class TiledAxis:
    """The tiles along one spatial axis, in pixels.

    ``pixels``: the size of the image. ``step``: tiles begin at multiples of it. ``halo``: how many
    pixels at the beginning and at the end of a tile are read and not written, at least.
    ``residue``: a size works that leaves it when divided by ``step``, from ``least`` on.
    ``tile``: the size of a tile, ``starts``: where each begins. On a circle tiles go on at the
    other end. ``whole``: there is one tile, which is the image.

    Example:
        >>> import torch, shiftcheck
        >>> plan = shiftcheck.tiling(torch.nn.Conv2d(1, 1, 5, padding=2), (1, 1, 64, 64), tile=32)
        >>> axis = plan.axes[0]
        >>> axis.halo, axis.starts, axis.advance(32)
        ((2, 2), (0, 28, 56), 28)
    """

    pixels: int
    circular: bool = False
    step: int
    halo: tuple[int, int]
    residue: int
    least: int
    tile: int
    starts: tuple[int, ...] = (0,)

    @property
    def whole(self) -> bool:
        """Whether one tile holds all of the axis."""
        return self.tile >= self.pixels

    def fits(self, tile: int) -> bool:
        """Whether tiles of a size, ``tile`` pixels, can be used."""
        whole = tile >= self.pixels
        return whole or (tile >= self.least and tile % self.step == self.residue)

    def nearest(self, tile: int) -> tuple[int, ...]:
        """The next sizes in pixels that work, below and above ``tile``."""
        down = tile - (tile - self.residue) % self.step
        near = (down, down + self.step) if down >= self.least else (self.least,)
        return tuple(size for size in near if size < self.pixels) or (self.pixels,)

    def advance(self, tile: int) -> int:
        """How many pixels apart tiles of ``tile`` pixels begin, at most."""
        if tile >= self.pixels:
            return self.pixels
        return (tile - sum(self.halo)) // self.step * self.step

    def starts_of(self, tile: int) -> tuple[int, ...]:
        """Where tiles of ``tile`` pixels begin; on a plane, the last ends where the image does."""
        if tile >= self.pixels:
            return (0,)
        advance = self.advance(tile)
        if self.circular:
            return tuple(range(0, self.pixels, advance))
        last = -(-(self.pixels - tile) // advance) * advance
        latest = (self.pixels - self.least) // self.step * self.step
        earliest = -(-(self.pixels - tile) // self.step) * self.step
        return (*range(0, last, advance), max(earliest, min(last, latest)))

    def read(self, tile: int) -> int:
        """The pixels that all tiles of ``tile`` pixels read along the axis."""
        return sum(self.size_at(start, tile) for start in self.starts_of(tile))

    def size_at(self, start: int, tile: int) -> int:
        """The pixels of the tile that begins at ``start``, of ``tile`` pixels where it fits."""
        size = min(tile, self.pixels)
        return size if self.circular else min(size, self.pixels - start)


@dataclass(frozen=True, kw_only=True)
class TiledOutput:
    """An output, or what a statistic is taken of, and where it is right in a tile.

    ``shape``: that on the whole image. ``dims``: for each spatial axis the dimension that holds it.
    No axis: it is the same whatever the tile, as what is computed from pooled statistics alone.

    Example:
        >>> import torch, shiftcheck
        >>> plan = shiftcheck.tiling(torch.nn.Conv2d(1, 3, 4, stride=4), (1, 1, 64, 64), tile=32)
        >>> plan.outputs[0].shape, plan.outputs[0].dims
        ((1, 3, 16, 16), (2, 3))
    """

    name: str
    shape: tuple[int, ...]
    dims: tuple[int, ...]
    margins: tuple[Margins, ...]
