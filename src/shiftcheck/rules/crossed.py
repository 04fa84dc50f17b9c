"""Axes that lie along one dimension in one tensor and along another in the next."""

from __future__ import annotations

from collections.abc import Sequence

from shiftcheck.lattice.factors import SPATIAL, Dim, flat, size_of, uniform
from shiftcheck.lattice.layout import Layout
from shiftcheck.report.causes import Cause, CauseKind

CROSSED = Cause(
    kind=CauseKind.INDEX, detail="its samples are combined with those along another dimension"
)


def crossed_axes(layouts: Sequence[Layout]) -> set[int]:
    """The axes that meet another axis, or that lie elsewhere in another of the layouts.

    There a sample is combined with one of another place, whatever the shift.
    """
    crossed: set[int] = set()
    for along in _different(layouts):
        axes = [_axes(dim) for dim in along]
        here = set().union(*axes)
        if sum(map(bool, axes)) > 1 or any(len(_places(layouts, axis)) > 1 for axis in here):
            crossed |= here
    return crossed


def _different(layouts: Sequence[Layout]) -> list[set[Dim]]:
    """What lies along each dimension in which the layouts hold different things."""
    ranks = range(1, 1 + max(len(s.dims) for s in layouts))
    given = [{s.dims[-d] for s in layouts if len(s.dims) >= d} for d in ranks]
    same = [{d for d in dims if size_of(d) > 1 and d != uniform(size_of(d))} for dims in given]
    return [dims for dims in same if len(dims) > 1]


def _axes(dim: Dim) -> set[int]:
    return {f.axis for f in flat(dim) if f.kind in SPATIAL}


def _places(layouts: Sequence[Layout], axis: int) -> set[tuple[int, ...]]:
    """The dimensions, from the last one, that an axis fills in each layout that holds it."""
    dims = [
        [i for i, dim in enumerate(s.dims, -len(s.dims)) if axis in _axes(dim)] for s in layouts
    ]
    return {tuple(places) for places in dims if places}
