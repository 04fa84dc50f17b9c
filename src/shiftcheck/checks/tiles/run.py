"""A model that is run tile by tile."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from shiftcheck.checks.tiles.arguments import Arguments
from shiftcheck.checks.tiles.bar import Bar
from shiftcheck.checks.tiles.cutting import Tile, tiles_of
from shiftcheck.checks.tiles.files import settle
from shiftcheck.checks.tiles.fingerprint import fingerprint
from shiftcheck.checks.tiles.heap import give_back_gaps
from shiftcheck.checks.tiles.journal import ENDING, Journal, Progress
from shiftcheck.checks.tiles.stitching import Stitching
from shiftcheck.errors import InputError, ModelError
from shiftcheck.measuring.call import home_of
from shiftcheck.measuring.plan import Model
from shiftcheck.report.tiles import Exactness, PooledStatistic, TilingPlan, deciding
from shiftcheck.tracing.modules import flat_outputs, modules_of
from shiftcheck.tracing.pooling_statistics import AllCollected, Pooled
from shiftcheck.tracing.reductions import Reduction, Statistic, merged
from shiftcheck.tracing.restoring.state import Originals, preserved
from shiftcheck.tracing.torch_internals import uncompiled
from shiftcheck.tracing.uncompiled import not_compiled


def tiled(
    model: Model, plan: TilingPlan, *, inexact: bool = False, progress: bool | None = None
) -> TiledModel:
    """The model as a callable that runs tile by tile, as a plan says.

    Returns a callable whose results are those of the model on the whole image, to rounding. Where
    the plan says that statistics have to be pooled, all tiles are gone through once for each level
    of them.

    Args:
        model: the module or callable that the plan was made for; it is run in eval mode, and left
            as it was found.
        plan: what ``tiling`` gave.
        inexact: run tiles that do not give what the whole does, too.
        progress: show a progress bar; when left out, on a terminal and on runs of some seconds.

    Raises:
        InputError: for a plan of another model, or one that is not exact.

    Example:
        >>> import torch, shiftcheck
        >>> model, x = torch.nn.Conv2d(1, 1, 5, padding=2), torch.randn(1, 1, 200, 300)
        >>> plan = shiftcheck.tiling(model, x, tile=64)
        >>> y = shiftcheck.tiled(model, plan)(x)
        >>> torch.allclose(y, model(x), atol=1e-6)
        True
    """
    model = uncompiled(model)
    if not callable(model):
        raise InputError(f"model={model!r} cannot be called: give a module or a function")
    if not isinstance(plan, TilingPlan):
        raise InputError(
            f"plan={plan!r} is a {type(plan).__name__}: give what shiftcheck.tiling(model, x) gave"
        )
    if plan.exactness is Exactness.INEXACT and not inexact:
        raise InputError(
            f"plan is not exact because of {deciding(plan)}: give inexact=True to run its tiles all"
            " the same, or run the model on the whole"
        )
    if fingerprint(model) != plan.fingerprint:
        raise InputError(
            f"plan is for a {plan.model} of other modules or weights than this model: make one"
            " with shiftcheck.tiling(model, x)"
        )
    return TiledModel(model, plan, progress)


class TiledModel:
    """A model that runs tile by tile; made by ``tiled``.

    Example:
        >>> import torch, shiftcheck
        >>> pool, x = torch.nn.AvgPool2d(2), torch.randn(1, 1, 64, 64)
        >>> tiled = shiftcheck.tiled(pool, shiftcheck.tiling(pool, x, tile=16))
        >>> tiled.plan.tiles, tiled.difference(x) < 1e-6
        (16, True)
    """

    def __init__(self, model: Model, plan: TilingPlan, progress: bool | None) -> None:
        self.model: Model = model
        self.plan: TilingPlan = plan
        self.progress: bool | None = progress
        self.tiles: list[Tile] = tiles_of(plan.axes)
        pooled = plan.statistics if len(self.tiles) > 1 else ()
        self.levels: list[int] = sorted({s.level for s in pooled})

    def __call__(
        self, x: Any, *, out: Any = None, journal: str | PathLike[str] | None = None
    ) -> Any:
        """What the model returns on the whole of ``x``.

        Args:
            x: a tensor or an array, such as a ``numpy.memmap``, of the shape of the plan, or a
                tuple or dict of arguments of which one is it; of an array no more than a tile is
                read at once.
            out: where to write, an array or tensor of the shape of the output (one for each
                output, as a list or by name); made when left out.
            journal: a file in which is kept how far the run has come. Beside a ``numpy.memmap``
                given as ``out`` one is made in any case; opened again with ``mode="r+"``, an
                interrupted run goes on. It is deleted at the end.

        Raises:
            InputError: for arguments that do not fit the plan, and for a journal of another run.
            ModelError: where the model raises, or returns something else than the plan says.
        """
        arguments = Arguments(x, self.plan, self.device_of(x))
        stitching = Stitching(self.plan, out, as_arrays=arguments.of_arrays)
        book = self._journal(arguments, stitching, journal)
        done = book.read(fresh=stitching.newly_made) if book else Progress()
        run = _Run(self, arguments, stitching, book, done)
        with self._evaluated() as originals:
            run.go(originals)
        if book:
            book.remove()
        return stitching.result()

    def difference(self, x: Any) -> float:
        """The largest gap of the tiles to the model on the whole, which is run for it.

        It is relative to the largest magnitude of the channel in which it is. ``x``: as the model
        that runs in tiles takes it, ``[batch, channels, *spatial]``.
        """
        arguments = Arguments(x, self.plan, self.device_of(x))
        return largest_gap(self.on_the_whole(arguments), self(x))

    def on_the_whole(
        self, arguments: Arguments, look: Callable[[int, Reduction], None] | None = None
    ) -> Any:
        """What the model returns in one pass on ``arguments``.

        Each of its reductions is given to ``look``, with its number.
        """
        args, kwargs = arguments.all()
        with self._evaluated() as originals, Pooled({}, {}, originals.before_write, look):
            return self.model(*args, **kwargs)

    def with_statistics(self, arguments: Arguments, known: Mapping[int, Statistic]) -> Any:
        """What the tiles of ``arguments`` give with statistics of the whole that are ``known``.

        Others are those of each tile.
        """
        stitching = Stitching(self.plan, None, as_arrays=False, strict=False)
        done = Progress(passes=len(self.levels), known=known)
        with self._evaluated() as originals:
            _Run(self, arguments, stitching, None, done).go(originals)
        return stitching.result()

    def device_of(self, x: Any) -> torch.device:
        """Where the model is run on ``x``: where x is, or where the model is for an array."""
        if isinstance(x, torch.Tensor):
            return x.device
        return home_of(self.model)

    @contextmanager
    def _evaluated(self) -> Iterator[Originals]:
        with (
            preserved(modules_of(self.model), (), training=False, model=self.model) as originals,
            torch.inference_mode(),
            not_compiled(),
        ):
            yield originals

    def _journal(
        self, arguments: Arguments, stitching: Stitching, given: str | PathLike[str] | None
    ) -> Journal | None:
        path = stitching.file
        if given is None and path is None:
            return None
        told = f"{self.plan.to_json()} {arguments.mark()}"
        key = hashlib.sha256(told.encode()).hexdigest()
        return Journal(Path(given) if given is not None else Path(str(path) + ENDING), key)


class _Run:
    """One run: its passes, and how far it has come."""

    def __init__(
        self,
        of: TiledModel,
        arguments: Arguments,
        stitching: Stitching,
        book: Journal | None,
        done: Progress,
    ) -> None:
        self.of, self.arguments, self.stitching, self.book = of, arguments, stitching, book
        self.device = arguments.device
        self.passes, self.tiles = done.passes, done.tiles
        self.known = {n: s.on(self.device) for n, s in done.known.items()}
        self.partial = {n: s.on(self.device) for n, s in done.partial.items()}
        left = (len(of.levels) + 1 - self.passes) * len(of.tiles) - self.tiles
        self.bar = Bar(left, shown=of.progress)
        self.on_write: Callable[[torch.Tensor], None] = lambda tensor: None

    def go(self, originals: Originals) -> None:
        """All passes that are left; what is done is kept whatever happens."""
        self.on_write = originals.before_write
        try:
            with self.bar:
                for level in self.of.levels[self.passes :]:
                    self._each_tile(lambda tile, level=level: self._collect(tile, level))  # type: ignore[misc]
                    self.known.update(self.partial)
                    self.passes, self.tiles, self.partial = self.passes + 1, 0, {}
                self._each_tile(self._write)
        finally:
            self._note()

    def _each_tile(self, do: Callable[[Tile], None]) -> None:
        for tile in self.of.tiles[self.tiles :]:
            do(tile)
            if self.of.plan.memory_bound is not None:  # it may take as long as a small tile
                give_back_gaps()
            self.tiles += 1
            if self.bar.advance():
                self._note()

    def _note(self) -> None:
        """Keep how far the run has come, what was written before it."""
        settle([*self.arguments.leaves, *self.stitching.given.values()])
        if self.book is None:
            return
        self.book.write(
            Progress(passes=self.passes, tiles=self.tiles, known=self.known, partial=self.partial)
        )

    def _collect(self, tile: Tile, level: int) -> None:
        """Pool the statistics of a level over the samples that a tile has of its own."""
        wanted = [s for s in self.of.plan.statistics if s.level == level]
        found: dict[int, Statistic] = {}

        def taking(statistic: PooledStatistic) -> Callable[[Reduction], None]:
            def take(reduction: Reduction) -> None:
                own = tile.own(statistic.fed, reduction.x.ndim)
                found[statistic.number] = reduction.of(reduction.x[own])

            return take

        collect = {s.number: taking(s) for s in wanted}
        try:
            self._call(tile, Pooled(self.known, collect, self.on_write))
        except AllCollected:
            pass
        else:
            raise ModelError(f"the model took another way on tile {tile.numbers} than in the plan")
        for number, statistic in found.items():
            before = self.partial.get(number)
            self.partial[number] = statistic if before is None else merged([before, statistic])

    def _write(self, tile: Tile) -> None:
        self.stitching.add(tile, self._call(tile, Pooled(self.known, {}, self.on_write)))

    def _call(self, tile: Tile, mode: Pooled) -> Any:
        args, kwargs = self.arguments.of(tile)
        try:
            with mode:
                return self.of.model(*args, **kwargs)
        except Exception as error:
            if mode.has_all:  # TorchScript makes an error of its own of whatever ends a pass
                raise AllCollected from error
            shape = list(self.of.plan.input_shape)
            for dim, size in zip(self.of.plan.spatial_dims, tile.sizes, strict=True):
                shape[dim] = size
            kind = type(error).__name__
            raise ModelError(
                f"the model raised {kind} on a tile of shape {tuple(shape)}: {error}"
            ) from error


def largest_gap(one: Any, other: Any) -> float:
    """The largest gap of two results, relative to the largest magnitude of each channel.

    Infinite where only one of them is a number, where they are infinite in different ways, and
    where their shapes differ.
    """
    gaps = [0.0]
    for (_, a), (_, b) in zip(flat_outputs(one), flat_outputs(other), strict=True):
        if isinstance(a, torch.Tensor) and a.numel():
            wide = torch.complex128 if a.is_complex() else torch.float64
            gaps.append(_gap(a.detach().cpu().to(wide), torch.as_tensor(b, device="cpu").to(wide)))
    return max(gaps)


def _gap(a: torch.Tensor, b: torch.Tensor) -> float:
    if a.shape != b.shape:
        return math.inf
    over = [d for d in range(a.ndim) if d != 1]
    sizes = torch.where(a.isfinite(), a.abs(), 0.0)
    scale = sizes.amax(over, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    same = (a == b) | (a.isnan() & b.isnan())
    relative = torch.where(same, 0.0, (a - b).abs() / scale)
    return float(relative.nan_to_num(math.inf, math.inf).max())
