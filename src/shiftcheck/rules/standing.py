"""Values that vary along a dimension that is an axis elsewhere, and do not move with it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from shiftcheck.lattice.factors import SPATIAL, Dim, flat, plain, uniform
from shiftcheck.lattice.layout import Gone, Layout
from shiftcheck.rules.operands import Constant


def standing_still(layouts: Sequence[Layout]) -> tuple[list[Layout], list[Constant]]:
    """The layouts, without what varies along an axis that they do not move with; and that apart.

    A mean over the axis times a ramp, or a token of the whole image with a table of positions, is
    at each place what it was before a shift: to the axis it meets, it is a constant.
    """
    met = _met(layouts)
    moving, still = [], []
    for layout in layouts:
        behind = len(layout.dims)
        fixed = {
            dim
            for dim in range(behind)
            if _is_plain(layout, dim)
            and any(_stands(layout, axes) for axes in met.get(dim - behind, ()))
        }
        moving.append(_alike(layout, fixed))
        if fixed:
            sizes = [n if d in fixed else 1 for d, n in enumerate(layout.shape)]
            still.append(Constant(tuple(sizes), lambda before, size, after: size))
    return moving, still


def _alike(layout: Layout, fixed: Collection[int]) -> Layout:
    """The layout as if it were the same all along some dimensions."""
    for dim in fixed:
        layout = layout.with_factors(dim, uniform(layout.shape[dim]))
    return layout


def _met(layouts: Sequence[Layout]) -> dict[int, list[frozenset[int]]]:
    """The axes that some layout has in a dimension, which is counted from the end.

    What holds copies or frequencies is left out.
    """
    met: dict[int, list[frozenset[int]]] = {}
    for position in range(-max((len(s.dims) for s in layouts), default=0), 0):
        # Of many joined pieces nearly all have the same.
        dims = dict.fromkeys(s.dims[position] for s in layouts if len(s.dims) >= -position)
        axes = dict.fromkeys(_axes(dim) for dim in dims)
        met[position] = [held for held in axes if held]
    return met


def _axes(dim: Dim) -> frozenset[int]:
    """The axes that a dimension holds; none where it holds copies or frequencies, too."""
    factors = flat(dim)
    if any(f.kind in ("copies", "frequency") for f in factors):
        return frozenset()
    return frozenset(f.axis for f in factors if f.kind in SPATIAL)


def _is_plain(layout: Layout, dim: int) -> bool:
    """Whether a dimension varies and holds no axis."""
    size = layout.shape[dim]
    return size != 1 and layout.dims[dim] == plain(size)


def _stands(layout: Layout, axes: Collection[int]) -> bool:
    """Whether a layout has none of the axes, or no more."""
    return all(isinstance(layout.axes[a], Gone | None) for a in axes)
