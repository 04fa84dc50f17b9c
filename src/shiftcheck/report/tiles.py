"""How a model is run in tiles: which, what each reads and writes, and what keeps it from being so.

Tiles begin on a grid. One that does not begin or end where the image does gets the samples near its
own edges wrong: these are its margins, and another tile writes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count
from typing import ClassVar, Self

from shiftcheck.errors import InputError
from shiftcheck.report.base import AnyReport
from shiftcheck.report.words import Word


class Exactness(Word):
    """Whether the tiles together give what the whole does.

    Example:
        >>> import torch, shiftcheck
        >>> plan = shiftcheck.tiling(torch.nn.GroupNorm(1, 4), (1, 4, 256, 256), tile=64)
        >>> plan.exactness
        'exact with pooled statistics'
    """

    EXACT = "exact"
    POOLED = "exact with pooled statistics"
    INEXACT = "not exact"


class Reach(Word):
    """How far a layer looks that keeps tiles from being exact; ``meaning`` says it.

    Example:
        >>> from shiftcheck.report import Reach
        >>> Reach.LOCAL.meaning
        'it looks at a neighbourhood, and does something else at other places'
    """

    meaning: str

    def __new__(cls, text: str, meaning: str = "") -> Self:
        """A class with its words."""
        member = str.__new__(cls, text)
        member._value_ = text
        member.meaning = meaning
        return member

    LOCAL = "local", "it looks at a neighbourhood, and does something else at other places"
    REDUCIBLE = (
        "global but reducible",
        "it needs a statistic of the whole, which can be pooled over the tiles",
    )
    GLOBAL = "global", "every sample depends on the whole"
    UNKNOWN = "unknown", "what it does to tiles is not known"


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
        """Whether tiles of a size can be used."""
        whole = tile >= self.pixels
        return whole or (tile >= self.least and tile % self.step == self.residue)

    def nearest(self, tile: int) -> tuple[int, ...]:
        """The next sizes that work, below and above."""
        down = tile - (tile - self.residue) % self.step
        near = (down, down + self.step) if down >= self.least else (self.least,)
        return tuple(size for size in near if size < self.pixels) or (self.pixels,)

    def advance(self, tile: int) -> int:
        """How far apart tiles of a size begin, at most."""
        if tile >= self.pixels:
            return self.pixels
        return (tile - sum(self.halo)) // self.step * self.step

    def starts_of(self, tile: int) -> tuple[int, ...]:
        """Where tiles of a size begin; on a plane, the last ends where the image does."""
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
        """The pixels that all tiles of a size read along the axis."""
        return sum(self.size_at(start, tile) for start in self.starts_of(tile))

    def size_at(self, start: int, tile: int) -> int:
        """The pixels of the tile that begins at a place."""
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


@dataclass(frozen=True, kw_only=True)
class PooledStatistic:
    """A statistic of the whole image that a layer needs.

    ``number``: which of the reductions of a pass it is. ``level``: it needs the statistics of lower
    levels; those of one level take one pass over all tiles. ``fed``: the tensor it is taken of.

    Example:
        >>> import torch, shiftcheck
        >>> norm = torch.nn.InstanceNorm2d(4)
        >>> plan = shiftcheck.tiling(torch.nn.Sequential(norm, norm), (1, 4, 96, 96), tile=32)
        >>> [(statistic.layer, statistic.level) for statistic in plan.statistics]
        [('0', 1), ('0', 2)]
    """

    layer: str
    op: str
    number: int
    level: int
    fed: TiledOutput


@dataclass(frozen=True, kw_only=True)
class Blocking:
    """A layer that keeps tiles from giving what the whole does, in one pass.

    ``kind``: the kind of the cause; ``effect``: the largest difference that it makes to an output,
    relative to the largest magnitude of a channel, measured on x; None where x had no values, or
    was too large. ``together``: the effect is that of all layers that cannot be pooled.

    Example:
        >>> import torch, shiftcheck
        >>> x = torch.randn(1, 4, 96, 96)
        >>> (blocking,) = shiftcheck.tiling(torch.nn.GroupNorm(1, 4), x, tile=32).blocking
        >>> blocking.op, blocking.reach, blocking.effect > 0.001
        ('group_norm', 'global but reducible', True)
    """

    layer: str
    op: str
    reach: Reach
    kind: str = ""
    detail: str = ""
    effect: float | None = None
    together: bool = False


@dataclass(frozen=True, kw_only=True)
class TileSize:
    """A size of tiles that works, and what it costs.

    ``read``: pixels that are read for each pixel of the image; 1 means that no pixel is read twice.
    ``tiles``: how many there are. ``memory``: the bytes that one needs at once, as estimated.

    Example:
        >>> import torch, shiftcheck
        >>> plan = shiftcheck.tiling(torch.nn.Conv2d(1, 1, 3, padding=1), (1, 1, 60, 60), tile=30)
        >>> size = plan.size_of(31)
        >>> size.tiles, round(size.read, 2)
        (4, 1.07)
    """

    tile: tuple[int, ...]
    tiles: int
    read: float
    memory: int | None = None


@dataclass(frozen=True, kw_only=True)
class TilingPlan(AnyReport):
    """How a model is run in tiles, and whether they give what the whole does.

    ``axes``: the tiles along each spatial axis. ``passes``: how often all tiles are gone through:
    once, and once for each level of ``statistics``. ``blocking``: the layers that keep one pass
    from being exact. ``sizes``: some sizes that work. ``memory``: bytes that a tile needs at once,
    beside the model, the image and the output; an estimate. ``fingerprint``: of the model.

    Example:
        >>> import torch, shiftcheck
        >>> plan = shiftcheck.tiling(torch.nn.Conv2d(1, 1, 5, padding=2), (1, 1, 400, 500), tile=96)
        >>> plan.exactness, plan.tile, plan.halo, plan.step
        ('exact', (96, 96), ((2, 2), (2, 2)), (1, 1))
        >>> shiftcheck.TilingPlan.from_json(plan.to_json()) == plan
        True
    """

    _called: ClassVar[str] = "plan of tiles"

    exactness: Exactness
    axes: tuple[TiledAxis, ...]
    outputs: tuple[TiledOutput, ...]
    statistics: tuple[PooledStatistic, ...] = ()
    blocking: tuple[Blocking, ...] = ()
    sizes: tuple[TileSize, ...] = ()
    memory: int | None = None
    memory_bound: int | None = None
    model: str = ""
    fingerprint: str = ""
    input_shape: tuple[int, ...] = ()
    spatial_dims: tuple[int, ...] = ()
    boundary: tuple[str, ...] = ()
    dtype: str = ""
    device: str = ""
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = 1

    def __post_init__(self) -> None:
        """A plan has no verdict, and no reason for one."""

    @property
    def exact(self) -> bool:
        """Whether the tiles give what the whole does, with pooled statistics where need be."""
        return self.exactness is not Exactness.INEXACT

    @property
    def passes(self) -> int:
        """How often all tiles are gone through."""
        if self.tiles == 1:
            return 1
        return 1 + max((s.level for s in self.statistics), default=0)

    @property
    def tile(self) -> tuple[int, ...]:
        """The size of a tile along each axis, in pixels."""
        return tuple(axis.tile for axis in self.axes)

    @property
    def halo(self) -> tuple[tuple[int, int], ...]:
        """The pixels that a tile reads beside those that it writes, before and after, per axis."""
        return tuple(axis.halo for axis in self.axes)

    @property
    def step(self) -> tuple[int, ...]:
        """The grid on which tiles begin, in pixels, per axis."""
        return tuple(axis.step for axis in self.axes)

    @property
    def tiles(self) -> int:
        """How many tiles there are."""
        return math.prod(len(axis.starts) for axis in self.axes)

    def size_of(self, tile: int | tuple[int, ...]) -> TileSize:
        """What tiles of another size cost; one number stands for all axes.

        Raises InputError for a size that does not work; the message names the nearest that do.
        """
        wanted = (tile,) * len(self.axes) if isinstance(tile, int) else tuple(tile)
        for axis, size in zip(self.axes, wanted, strict=True):
            if not axis.fits(size):
                near = " or ".join(map(str, axis.nearest(size)))
                raise InputError(
                    f"tile={tile}: {size} does not work, tiles of this axis are multiples of"
                    f" {axis.step} plus {axis.residue}, from {axis.least} on: give {near}"
                )
        return size_of_tiles(self.axes, wanted)

    def smallest_tile(self, overhead: float) -> TileSize:
        """The smallest tile that reads at most ``1 + overhead`` pixels for each of the image.

        All axes have the same size, as nearly as they can.
        """
        if not overhead >= 0:
            raise InputError(f"overhead={overhead!r}: give a number of at least 0, such as 0.25")
        return smallest_tile(self.axes, overhead)


def size_of_tiles(axes: tuple[TiledAxis, ...], tile: tuple[int, ...]) -> TileSize:
    """What tiles of a size cost."""
    pairs = list(zip(axes, tile, strict=True))
    return TileSize(
        tile=tuple(min(size, axis.pixels) for axis, size in pairs),
        tiles=math.prod(len(axis.starts_of(size)) for axis, size in pairs),
        read=math.prod(axis.read(size) / axis.pixels for axis, size in pairs),
    )


def tile_of_about(axes: tuple[TiledAxis, ...], pixels: int) -> tuple[int, ...]:
    """The largest tile of at most so many pixels along every axis, or the least there is."""
    tile = []
    for axis in axes:
        down = pixels - (pixels - axis.residue) % axis.step
        tile.append(
            axis.pixels if pixels >= axis.pixels else min(max(axis.least, down), axis.pixels)
        )
    return tuple(tile)


def smallest_tile(axes: tuple[TiledAxis, ...], overhead: float) -> TileSize:
    """The smallest tile that reads little enough twice; one number of pixels for all axes."""
    stride = max(1, min(axis.step for axis in axes))
    for pixels in count(min(axis.least for axis in axes), stride):
        size = size_of_tiles(axes, tile_of_about(axes, pixels))
        if size.read <= 1 + overhead or pixels >= max(axis.pixels for axis in axes):
            return size
    raise AssertionError("the whole image reads nothing twice")
