"""What is tried on small images, since no structure tells it: ends that meet, and sizes counted."""

from __future__ import annotations

from dataclasses import dataclass

from shiftcheck.checks.tiles.borders import (
    Wraps,
    goes_around,
    open_causes,
    sizes_to_try,
    wraps,
)
from shiftcheck.checks.tiles.grid import Grid
from shiftcheck.checks.tiles.memory import Needs
from shiftcheck.checks.tiles.placeless import sized_ones
from shiftcheck.checks.tiles.structure import Sizes, Structure, Structures
from shiftcheck.measuring.call import has_values
from shiftcheck.report.tiles import Blocking

TRIED_WITHIN = 2**32
"""Bytes that a run on a small image may need, where nothing is said."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SmallImages:
    """Runs on images that are little larger than a tile; ``memory``: the bound that was asked."""

    structures: Structures
    whole: Structure
    needs: Needs
    memory: int | None

    def wrapping(self, grid: Grid) -> tuple[list[int], list[str]]:
        """The axes of which one end is filled from the other, and what was not tried."""
        if grid.window is None:
            return [], []
        layouts = self.whole.layouts(self.structures.pooled)
        opened = [
            a
            for a, axis in enumerate(grid.axes)
            if axis.least < axis.pixels and not axis.circular and open_causes(layouts, a)
        ]
        filled, notes = [], []
        for a in opened:
            sizes = sizes_to_try(grid.window, grid.axes, a)
            if self.structures.at(sizes) is None:
                sizes = grid.window.sizes
            obstacle = self._obstacle(sizes)
            if obstacle:
                notes.append(
                    f"that no end of axis {a} is filled from the other was not tried: {obstacle}"
                )
                if any(map(goes_around, open_causes(layouts, a))):
                    filled.append(a)
                continue
            seen = wraps(self.structures, grid.window, sizes, a)
            if seen is not Wraps.NO:
                filled.append(a)
            if seen is Wraps.UNSEEN:
                notes.append(
                    f"whether an end of axis {a} is filled from the other could not be seen: in no"
                    " run on a small image did the outputs there change at all"
                )
        return filled, notes

    def sized(self, grid: Grid) -> tuple[list[Blocking], list[str]]:
        """The outputs without a place that depend on the size, and what was not tried of them."""
        placed = {row.name for row in self.whole.outputs}
        need = self.needs.of(self.whole.sizes)
        names = [name for name, *_ in need.shapes if name not in placed] if need else []
        if not names or grid.window is None:
            return [], []
        cut = [a for a, axis in enumerate(grid.axes) if axis.least < axis.pixels]
        small = grid.window.sizes
        large = tuple(n + grid.axes[a].step * (a in cut) for a, n in enumerate(small))
        runs = self._obstacle(large) is None
        blocking = sized_ones(self.structures, names, small, large) if runs else None
        if blocking is None:
            return [], [f"that {', '.join(names)} depends on no size of the image was not tried"]
        return blocking, []

    def _obstacle(self, sizes: Sizes) -> str | None:
        """Why the model is not run on an image of these sizes."""
        if not has_values(self.structures.model):
            return "the model has no values"
        needed = self.needs.bytes_of(sizes) or 0
        if needed > (self.memory or TRIED_WITHIN):
            return f"a run on {' x '.join(map(str, sizes))} takes too much memory"
        return None
