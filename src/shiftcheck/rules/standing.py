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
    moving, still = [], []
    for layout in layouts:
        behind = len(layout.dims)
        fixed = {
            dim
            for dim in range(behind)
            if any(_stands(layout, dim, other) for other in _met(layouts, dim - behind))
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


def _met(layouts: Sequence[Layout], position: int) -> list[Dim]:
    """What the layouts have in a dimension that is counted from the end."""
    return [s.dims[position] for s in layouts if len(s.dims) >= -position]


def _stands(layout: Layout, dim: int, other: Dim) -> bool:
    """Whether a plain dimension meets one that holds axes which the layout has not, or no more."""
    if layout.dims[dim] != plain(layout.shape[dim]) or layout.shape[dim] == 1:
        return False
    axes = {f.axis for f in flat(other) if f.kind in SPATIAL}
    known = all(isinstance(layout.axes[a], Gone | None) for a in axes)
    copies = any(f.kind in ("copies", "frequency") for f in flat(other))
    return bool(axes) and known and not copies
