"""The plan of tiles: what the structure says, the tile that was asked for, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from shiftcheck.checks.circumstances import circumstances
from shiftcheck.checks.explained import explaining_errors
from shiftcheck.checks.prepare import dtype_of, is_shape, prepared
from shiftcheck.checks.tiles.blocking import (
    blocking_of,
    blocking_row,
    blocking_statistic,
    first_untileable,
)
from shiftcheck.checks.tiles.borders import goes_around, open_causes
from shiftcheck.checks.tiles.effects import with_effects
from shiftcheck.checks.tiles.fingerprint import fingerprint
from shiftcheck.checks.tiles.grid import Grid, Grids, untiled, with_tile
from shiftcheck.checks.tiles.guesses import guessed
from shiftcheck.checks.tiles.memory import Needs, largest_within
from shiftcheck.checks.tiles.small_images import SmallImages
from shiftcheck.checks.tiles.structure import Sizes, Structure, Structures, with_pooled
from shiftcheck.checks.tiles.wishes import read_memory, read_tile
from shiftcheck.errors import InputError
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.tiles import described
from shiftcheck.measuring.call import home_of
from shiftcheck.measuring.plan import Model, Plan
from shiftcheck.measuring.signals.arguments import Inputs, Leaf
from shiftcheck.report.tiles import (
    Blocking,
    Exactness,
    Margins,
    PooledStatistic,
    TiledAxis,
    TileSize,
    TilingPlan,
    size_of_tiles,
    smallest_tile,
    tile_of_about,
)
from shiftcheck.tracing.containers import leaves_of
from shiftcheck.tracing.torch_internals import uncompiled
from shiftcheck.tracing.traced import Row

OVERHEAD = 0.5
"""What tiles read twice at most, for each pixel of the image, where no size is asked for."""

MOST_TILES = 2**12
"""So many tiles are made at most, where no size is asked for."""

EFFECT_WITHIN = 2**30
"""Bytes that a run on the whole may need for the effects to be measured, where nothing is said."""

ARRAYS_READ = 2**28
"""The bytes of an array up to which its values are read."""

TRIES = 8
"""So many sizes are tried where some do not fit the model."""

SHOWN = 6
"""How many sizes a plan lists."""


@explaining_errors
def tiling(
    model: Model,
    x: Any,
    tile: int | Sequence[int] | None = None,
    memory: int | None = None,
    *,
    boundary: str | Sequence[str] = "valid",
    spatial_dims: Sequence[int] | None = None,
) -> TilingPlan:
    """Which tiles of an image give what the model gives on the whole of it.

    The halo, the grid and the sizes come from the structure. Where a layer fills in something else
    than zeros or what is near, it is tried on small images of noise whether one end of an image
    depends on the other. Where a layer needs a statistic of
    the whole, as a GroupNorm does, the plan is to pool it over the tiles first.

    Args:
        model: any module or callable; it is looked at in eval mode, and left as it was found.
        x: the input, an array or tensor ``[batch, channels, *spatial]``, a tuple or dict of
            arguments, or the shape alone.
        tile: the size of a tile in pixels, once or for each spatial axis. When left out, the
            largest that ``memory`` allows; without that, the smallest that reads at most half as
            much again as the image has, and makes no more than 4,096 tiles.
        memory: the bytes that a tile may need at once, beside the model, the image and the output.
        boundary: ``"valid"``, or ``"circular"`` for an image that closes on itself, once or for
            each spatial axis: tiles then go on at the other end.
        spatial_dims: the spatial dimensions; all from the third on when left out.

    Returns:
        The plan. Where tiles cannot give what the whole does, its ``exactness`` says so.

    Raises:
        InputError: for arguments that cannot be used: a tile that is too small or of a size that
            does not work, a bound that is too small for one tile.
        ModelError: where the model raises.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.MaxPool2d(2),
        ...     torch.nn.ConvTranspose2d(4, 1, 2, stride=2),
        ... )
        >>> plan = shiftcheck.tiling(net, (1, 1, 1000, 1200), tile=128)
        >>> plan.exactness, plan.halo[0], plan.step, plan.tiles
        ('exact', (2, 2), (2, 2), 90)
        >>> plan.smallest_tile(overhead=0.1).tile
        (84, 84)
    """
    wanted_memory = read_memory(memory)
    x, values = _read(model, x)
    given = prepared(model, x, boundary, spatial_dims, whole_numbers=True, values=False)
    inputs = given.inputs
    wanted = read_tile(tile, inputs.pixels)
    if wanted is not None and wanted_memory is not None:
        raise InputError(
            f"tile={tile}, memory={memory}: give one of them, as each decides the other"
        )
    structures, whole = with_pooled(given.model, inputs)
    question = _Question(
        model=given.model,
        structures=structures,
        whole=whole,
        tile=wanted,
        broad=tile,
        memory=wanted_memory,
    )
    plan = question.plan()
    if plan.blocking and values is not None and _can_run(plan, question.needs):
        plan = with_effects(given.model, plan, values)
    return plan


def _read(model: Model, x: Any) -> tuple[Any, Any]:
    """What the structure is read from, and the values; None where there are none, or too many."""
    if is_shape(x):
        if min(x) < 0:
            raise InputError(f"x={tuple(x)}: a shape has no negative sizes")
        dtype = dtype_of(uncompiled(model))
        return torch.empty(tuple(x), dtype=dtype, device="meta"), None
    if isinstance(x, np.ndarray) and x.nbytes > ARRAYS_READ:
        dtype = torch.from_numpy(np.empty(0, dtype=x.dtype)).dtype
        return torch.empty(x.shape, dtype=dtype, device="meta"), None
    leaves = [leaf for _, leaf in leaves_of(x)]
    without = any(isinstance(leaf, torch.Tensor) and leaf.is_meta for leaf in leaves)
    return x, None if without else x


def _can_run(plan: TilingPlan, needs: Needs) -> bool:
    """Whether the model may be run on the whole image."""
    needed = needs.bytes_of(tuple(axis.pixels for axis in plan.axes))
    return needed is not None and needed <= (plan.memory_bound or EFFECT_WITHIN)


def _is_dyadic(ratio: Fraction) -> bool:
    """Whether a ratio is a power of two, or such a part."""
    return all((n & (n - 1)) == 0 for n in (abs(ratio.numerator), ratio.denominator))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Question:
    """What was asked, and what the structure says; ``broad``: the tile as it was given."""

    model: Model
    structures: Structures
    whole: Structure
    tile: Sizes | None
    broad: Any
    memory: int | None

    @property
    def needs(self) -> Needs:
        return Needs(self.model, self.structures.inputs)

    def plan(self) -> TilingPlan:
        """The plan, with no effect measured yet."""
        grids = Grids(self.structures, self.whole)
        grid = grids.grid(self.tile)
        needs = self.needs
        small = SmallImages(
            structures=self.structures, whole=self.whole, needs=needs, memory=self.memory
        )
        wrapping, untried = small.wrapping(grid)
        axes = tuple(
            untiled(axis.pixels, circular=axis.circular) if a in wrapping else axis
            for a, axis in enumerate(grid.axes)
        )
        blocked = {*grid.first_other, *wrapping}
        blocking = self._blocking(grid, wrapping, blocked)
        sized, unknown = small.sized(grid)
        blocking, untried = (*sized, *blocking), [*untried, *unknown]
        if sized or (blocked and len(blocked) == len(axes)):
            made = self._inexact(blocking)
            return replace(made, notes=(*made.notes, *untried))
        tiled = self._that_holds(axes, grids, grid, needs)
        made = self._made(tiled, grid.margins, blocking, needs)
        return replace(made, notes=(*made.notes, *untried))

    def _that_holds(
        self, axes: tuple[TiledAxis, ...], grids: Grids, grid: Grid, needs: Needs
    ) -> tuple[TiledAxis, ...]:
        """The tiles; where they are not ours to choose otherwise, as asked for."""
        first = self._tile(axes, needs)
        by = 0 if self.tile is not None else -1 if self.memory is not None else 1
        for k in range(TRIES if by else 1):
            moved = [size + by * k * axis.step for size, axis in zip(first, axes, strict=True)]
            sizes = tuple(
                size if axis.fits(size) else wish
                for size, wish, axis in zip(moved, first, axes, strict=True)
            )
            tiled = with_tile(axes, sizes)
            if not grids.failing(tiled, grid.margins):
                return tiled
        raise InputError(
            f"tile={self.broad}: the model does something else on a tile of {first} pixels, or on"
            f" the last one, than on the whole {self.whole.sizes}: give another tile, such as"
            f" {tuple(size + axis.step for size, axis in zip(first, axes, strict=True))}"
        )

    def _blocking(
        self, grid: Grid, wrapping: Sequence[int], blocked: set[int]
    ) -> tuple[Blocking, ...]:
        pooled = self.structures.pooled
        irregular = [a for a, row in grid.first_other.items() if row is None]
        found = blocking_of(self.whole, pooled, irregular) if irregular else []
        rows = [row for row in grid.first_other.values() if row is not None]
        if not found:  # a window as large as the image, say, of which the only sample is reshaped
            rows += [first_untileable(self.whole, pooled, a) for a in irregular]
        rows += [row for a in wrapping for row in [self._wrapped(a)] if row is not None]
        found += [blocking_row(row) for row in rows]
        return (*dict.fromkeys(found), *map(blocking_statistic, self._statistics(())))

    def _wrapped(self, axis: int) -> Row | None:
        """The first layer that puts something else than the signal beyond an edge of an axis."""
        causes = open_causes(self.whole.layouts(self.structures.pooled), axis)
        around = [c for c in causes if goes_around(c)]
        layers = [c.layer for c in around or causes]
        rows = [row for row in self.whole.rows if (row.path or row.name) in layers]
        return next(iter(rows or self.whole.rows), None)

    def _tile(self, axes: tuple[TiledAxis, ...], needs: Needs) -> Sizes:
        """The size of tiles: as asked for, within the memory, or one that reads little twice."""
        if self.tile is not None:
            self._check_tile(axes, self.tile)
            return tuple(
                axis.pixels if self._one_number_beside(axis) else size
                for axis, size in zip(axes, self.tile, strict=True)
            )
        if self.memory is not None:
            return largest_within(axes, needs, self.memory)
        size = smallest_tile(axes, OVERHEAD)
        while size.tiles > MOST_TILES:
            size = size_of_tiles(axes, tile_of_about(axes, 2 * max(size.tile)))
        return size.tile

    def _one_number_beside(self, axis: TiledAxis) -> bool:
        """Whether one number was given for all axes, which is not meant for one that is not cut."""
        return not isinstance(self.broad, Sequence) and axis.step >= axis.pixels

    def _check_tile(self, axes: tuple[TiledAxis, ...], tile: Sizes) -> None:
        for a, (axis, size) in enumerate(zip(axes, tile, strict=True)):
            if self._one_number_beside(axis) or axis.fits(size):
                continue
            near = self._near(axes, tile, axis.nearest(size))
            if axis.least >= axis.pixels:
                why = "no smaller tile than the whole works there"
            elif size < axis.least:
                halo = sum(axis.halo)
                why = f"{halo} pixels of a tile are halo, and {axis.least} is the least size"
            else:
                why = f"sizes are multiples of {axis.step}" + (
                    f" plus {axis.residue}" if axis.residue else ""
                )
            raise InputError(
                f"tile={self.broad}: {size} does not work along axis {a}, {why}: give {near}"
            )

    def _near(self, axes: tuple[TiledAxis, ...], tile: Sizes, sizes: Sequence[int]) -> str:
        """Which of the sizes for an axis will do, or sizes for all where those do not alone."""
        beside = [(axis, n) for axis, n in zip(axes, tile, strict=True) if not axis.fits(n)]
        if isinstance(self.broad, Sequence):
            good = list(sizes) if len(beside) == 1 else []
        else:
            cut = [axis for axis in axes if not self._one_number_beside(axis)]
            good = [size for size in sizes if all(axis.fits(size) for axis in cut)]
        if good:
            return " or ".join(map(str, good))
        each = (
            n if axis.fits(n) else axis.nearest(n)[-1] for axis, n in zip(axes, tile, strict=True)
        )
        return str(tuple(each))

    # -- records ---------------------------------------------------------------------------------

    def _statistics(self, margins: Sequence[tuple[Margins, ...]]) -> tuple[PooledStatistic, ...]:
        met = {m.number: m for m in self.whole.reductions}
        found = []
        for k, number in enumerate(self.structures.pooled):
            at = len(self.whole.outputs) + k
            own = margins[at] if at < len(margins) else ()
            fed = described(f"fed[{number}]", self.whole.fed[number].layout, own)
            found.append(
                PooledStatistic(
                    layer=met[number].layer or met[number].op,
                    op=met[number].op,
                    number=number,
                    level=met[number].level,
                    fed=fed,
                )
            )
        return tuple(found)

    def _made(
        self,
        axes: tuple[TiledAxis, ...],
        margins: Sequence[tuple[Margins, ...]],
        blocking: tuple[Blocking, ...],
        needs: Needs,
        exactness: Exactness | None = None,
    ) -> TilingPlan:
        inputs = self.structures.inputs
        statistics = self._statistics(margins)
        outputs = tuple(
            described(row.name, row.layout, own)
            for row, own in zip(self.whole.outputs, margins, strict=False)
        )
        tile = tuple(axis.tile for axis in axes)
        told = circumstances(Plan(model=self.model, inputs=inputs))
        device = told["device"] if told["device"] != "meta" else str(home_of(self.model))
        names = ("model", "input_shape", "spatial_dims", "boundary", "dtype", "versions")
        own = Exactness.POOLED if statistics else Exactness.EXACT
        return TilingPlan(
            exactness=exactness or own,
            axes=axes,
            outputs=outputs,
            statistics=statistics,
            blocking=blocking,
            sizes=() if exactness else self._sizes(axes, needs),
            memory=needs.bytes_of(tile),
            memory_bound=self.memory,
            further_inputs=_further(inputs),
            fingerprint=fingerprint(self.model),
            device=device,
            notes=(*self.whole.notes, *self._notes(axes, blocking)),
            **{name: told[name] for name in names},
        )

    def _notes(self, axes: Sequence[TiledAxis], blocking: Sequence[Blocking]) -> list[str]:
        untiled_axes = [a for a, axis in enumerate(axes) if axis.step >= axis.pixels > 1]
        if len(untiled_axes) == len(axes):
            return []
        uncut = [f"axis {a} is not cut: each tile holds all of it" for a in untiled_axes]
        return uncut + [
            f"{name!r} resizes by a ratio that is no power of two: torch rounds its coordinates,"
            " and linear and cubic modes then differ from the whole by more than 64 eps, the more"
            " the farther a tile begins from the first sample"
            for name in self._rounding()
        ]

    def _rounding(self) -> list[str]:
        """The layers that interpolate at coordinates which are rounded."""
        resizing = [row for row in self.whole.rows if "upsample" in row.op.lower()]
        return [
            row.name
            for row in resizing
            if any(isinstance(s, Axis) and not _is_dyadic(s.stride) for s in row.layout.axes)
        ]

    def _sizes(self, axes: tuple[TiledAxis, ...], needs: Needs) -> tuple[TileSize, ...]:
        """Some sizes that work, from the least on, each about twice as large as the one before."""
        pixels = min(axis.least for axis in axes)
        found: list[TileSize] = []
        while len(found) < SHOWN:
            tile = tile_of_about(axes, pixels)
            size = size_of_tiles(axes, tile)
            if not found or size.tile != found[-1].tile:
                found.append(replace(size, memory=needs.bytes_of(size.tile)))
            if all(n >= axis.pixels for n, axis in zip(tile, axes, strict=True)):
                break
            pixels = 2 * max(pixels, 1)
        return tuple(found)

    def _inexact(self, blocking: tuple[Blocking, ...]) -> TilingPlan:
        """A plan of tiles that do not give what the whole does, to see how far they are off."""
        axes, margins = guessed(
            self.structures.pooled, self.whole, self.tile, self.structures.inputs.circular
        )
        return self._made(axes, margins, blocking, self.needs, Exactness.INEXACT)


def _further(inputs: Inputs) -> tuple[str, ...]:
    """The tensors that the model takes besides the image, by what means them in ``fixed``."""
    others = [v for v in inputs.leaves if isinstance(v, Leaf) and v is not inputs.main]
    return tuple(f"argument {leaf.entry!r}" for leaf in others)
