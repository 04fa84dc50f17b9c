"""How a model is run in tiles: which, what each reads and writes, and what keeps it from being so.

Tiles begin on a grid. One that does not begin or end where the image does gets the samples near its
own edges wrong: these are its margins, and another tile writes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import ClassVar, Self

from shiftcheck.errors import InputError
from shiftcheck.report.base import AnyReport
from shiftcheck.report.bioimageio import TensorsDescription, describe_tensors
from shiftcheck.report.monai import MonaiWindows, monai_windows
from shiftcheck.report.tiled_axes import Margins as Margins
from shiftcheck.report.tiled_axes import TiledAxis as TiledAxis
from shiftcheck.report.tiled_axes import TiledOutput as TiledOutput
from shiftcheck.report.tiler import TilerPlan, tiler_plan
from shiftcheck.report.windows import Cut
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
    from being exact, those first that cannot be pooled. ``sizes``: some sizes that work.
    ``memory``: bytes that a tile needs at once, beside the model, the image and the output; an
    estimate. ``fingerprint``: of the model. ``further_inputs``: what it takes besides the image, by
    name or position.

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
    further_inputs: tuple[str, ...] = ()
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
        """What tiles of another size cost.

        ``tile``: their size in pixels, once or for each spatial axis.

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

    def to_monai(self) -> MonaiWindows:
        """Arguments of MONAI's ``sliding_window_inference`` that give what the whole gives.

        MONAI averages overlapping windows, so that the arguments hold weights next to nothing for
        their margins. Raises InputError where no arguments give the whole: the plan is not exact
        in one pass, the last window is off the grid, a tile is smaller than about three halos, an
        output has another size than a multiple or a part of the image, or x is of whole numbers or
        float16.

        Example:
            >>> import torch, shiftcheck
            >>> model = torch.nn.Conv2d(1, 1, 7, padding=3)
            >>> found = shiftcheck.tiling(model, (1, 1, 90, 90), tile=32).to_monai()
            >>> found.roi_size, found.overlap, found.mode
            ((32, 32), (0.1875, 0.1875), 'constant')
        """
        return monai_windows(self._cut("MONAI"), self.model)

    def to_tiler(self) -> TilerPlan:
        """Arguments of ``tiler.Tiler`` and ``tiler.Merger`` that give what the whole gives.

        Raises InputError where no arguments give the whole: the plan is not exact in one pass, a
        tile is smaller than about three halos, or an image closes on itself.

        Example:
            >>> import torch, shiftcheck
            >>> model = torch.nn.Conv2d(1, 2, 7, padding=3)
            >>> shiftcheck.tiling(model, (1, 1, 90, 90), tile=32).to_tiler().outputs[0].tile_shape
            (1, 2, 32, 32)
        """
        return tiler_plan(self._cut("tiler"), self.model)

    def to_bioimageio(self) -> TensorsDescription:
        """The inputs and outputs in the words of the bioimage.io model description 0.5.

        Sizes are given by a least one and a step, as the grid of tiles asks for; the halo is that
        of the plan, in samples of each output, as large on both sides as on the larger one, and
        rounded up to the step so that blocks begin on the grid. An axis that is not cut has its
        size fixed. Raises InputError where no halo makes blocks exact.

        Example:
            >>> import torch, shiftcheck
            >>> model = torch.nn.Conv2d(1, 2, 4, stride=4)
            >>> plan = shiftcheck.tiling(model, (1, 1, 64, 64), tile=16)
            >>> plan.to_bioimageio().outputs[0].axes[3].to_dict()["size"]
            {'tensor_id': 'input', 'axis_id': 'x', 'offset': 0}
        """
        return describe_tensors(self._cut("bioimage.io"), self.model, whole=bool(self.statistics))

    def _cut(self, tool: str) -> Cut:
        """What other tools are told, if tiles are exact in one pass."""
        if not self.exact or self.passes > 1:
            layers = deciding(self)
            pooled = (
                "shiftcheck.tiled(model, plan) pools what they need"
                if self.exact
                else ("run the model on the whole")
            )
            raise InputError(
                f"{tool} runs each tile once, and no overlap makes that exact because of {layers}:"
                f" {pooled}"
            )
        if self.further_inputs:
            raise InputError(
                f"{tool} is told of one image, and the model takes {', '.join(self.further_inputs)}"
                " besides: shiftcheck.tiled(model, plan) cuts what moves with the image at the same"
                " places; where the others are the same for all tiles, plan a function of the image"
                " alone"
            )
        return Cut(
            axes=self.axes,
            outputs=self.outputs,
            input_shape=self.input_shape,
            spatial_dims=self.spatial_dims,
            dtype=self.dtype,
        )


def deciding(plan: TilingPlan) -> str:
    """The layers that keep one pass from being exact, or, of a plan that is not, pooled tiles."""
    others = [b for b in plan.blocking if b.reach is not Reach.REDUCIBLE]
    found = plan.blocking if plan.exact else others or plan.blocking
    return ", ".join(f"{b.layer or b.op} ({b.reach})" for b in found)


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
