"""How much each blocking layer changes what the model returns, measured on x."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from shiftcheck.checks.tiles.arguments import Arguments
from shiftcheck.checks.tiles.grid import with_tile
from shiftcheck.checks.tiles.run import TiledModel, largest_gap
from shiftcheck.errors import ShiftcheckError
from shiftcheck.measuring.plan import Model
from shiftcheck.report.tiles import Blocking, Reach, TiledAxis, TilingPlan, tile_of_about
from shiftcheck.tracing.reductions import Reduction, Statistic

MOST_RUNS = 24
"""Where more layers are pooled than that, their effect is measured together."""


def with_effects(model: Model, plan: TilingPlan, x: Any) -> TilingPlan:
    """The plan with the effect of each blocking layer; as it is where that cannot be measured."""
    measured = _Effects(model, plan, x)
    try:
        return replace(plan, blocking=tuple(measured.all()))
    except ShiftcheckError as error:
        return replace(plan, notes=(*plan.notes, f"no effect was measured: {error}"))


def in_some_tiles(axes: tuple[TiledAxis, ...]) -> tuple[TiledAxis, ...]:
    """The same axes; where one tile holds all, they are cut nevertheless."""
    if any(len(axis.starts) > 1 for axis in axes):
        return axes
    return with_tile(axes, tile_of_about(axes, max(axis.pixels for axis in axes) // 2))


class _Effects:
    """The model on the whole of x, and on tiles that know some statistics of the whole."""

    def __init__(self, model: Model, plan: TilingPlan, x: Any) -> None:
        self.plan, self.x = plan, x
        axes = in_some_tiles(plan.axes)
        self.tiled = TiledModel(model, replace(plan, axes=axes, statistics=()), False)
        self.known: dict[int, Statistic] = {}

    def all(self) -> Iterable[Blocking]:
        """Every blocking layer with its effect."""
        arguments = Arguments(self.x, self.tiled.plan, self.tiled.device_of(self.x))
        whole = self.tiled.on_the_whole(arguments, self._keep)
        numbers = [s.number for s in self.plan.statistics]
        pooled = iter(numbers)
        each = len(numbers) <= MOST_RUNS
        at_once = None if each or not numbers else self._effect(whole, numbers)
        others = [b for b in self.plan.blocking if b.reach is not Reach.REDUCIBLE]
        cut = not self.plan.exact and self.plan.tiles > 1
        rest = self._effect(whole, ()) if others and cut else None
        for blocking in self.plan.blocking:
            if blocking.reach is not Reach.REDUCIBLE:
                yield replace(blocking, effect=rest, together=cut and len(others) > 1)
                continue
            number = next(pooled)
            effect = self._effect(whole, [number]) if each else at_once
            yield replace(blocking, effect=effect, together=not each)

    def _keep(self, number: int, reduction: Reduction) -> None:
        if any(s.number == number for s in self.plan.statistics):
            self.known[number] = reduction.of(reduction.x)

    def _effect(self, whole: Any, local: Iterable[int]) -> float:
        """The gap of tiles to the whole where some reductions have statistics of the tile alone."""
        left = set(local)
        known: Mapping[int, Statistic] = {n: s for n, s in self.known.items() if n not in left}
        arguments = Arguments(self.x, self.tiled.plan, self.tiled.device_of(self.x))
        return largest_gap(whole, self.tiled.with_statistics(arguments, known))
