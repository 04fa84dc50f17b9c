"""Tiles of a model of which no tiles are exact: some that overlap, to see what they give."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shiftcheck.checks.tiles.structure import Sizes, Structure
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import Layout
from shiftcheck.lattice.tiles import NOWHERE, dims_of, whole_margins
from shiftcheck.report.tiles import Margins, TiledAxis

OVERLAP = 8
"""The part of a tile at either end that is read and not written: one in so many."""


def guessed(
    pooled: Sequence[int], whole: Structure, wanted: Sizes | None, circular: Sequence[bool]
) -> tuple[tuple[TiledAxis, ...], tuple[tuple[Margins, ...], ...]]:
    """Tiles of half of the image, or the wanted ones, on a grid of the strides there are."""
    layouts = whole.layouts(pooled)
    axes = [
        _axis(layouts, a, pixels, None if wanted is None else wanted[a], circular[a])
        for a, pixels in enumerate(whole.sizes)
    ]
    margins = [
        tuple(_margins(layout, a, axis) for a, axis in enumerate(axes)) for layout in layouts
    ]
    return tuple(axes), tuple(margins)


def _axis(
    layouts: Sequence[Layout], a: int, pixels: int, wanted: int | None, circular: bool
) -> TiledAxis:
    states = [layout.axes[a] for layout in layouts]
    known = [s for s in states if isinstance(s, Axis) and s.stride > 0]
    step = math.lcm(*(s.stride.numerator for s in known))
    size = min(pixels, wanted or pixels // 2)
    size -= size % step
    overlap = max(size // OVERLAP // step, 1) * step
    cut = all(isinstance(s, Axis) and s.stride > 0 for s in states) and all(
        dims_of(layout)[a] != NOWHERE for layout in layouts
    )
    least = 2 * overlap + step
    if not cut or size < least or size >= pixels:
        step, overlap, size, least = pixels, 0, pixels, pixels
    axis = TiledAxis(
        pixels=pixels,
        circular=circular and size < pixels,
        step=step,
        halo=(overlap, overlap),
        residue=0,
        least=min(least, pixels),
        tile=size,
    )
    return TiledAxis(
        pixels=pixels,
        circular=axis.circular,
        step=step,
        halo=axis.halo,
        residue=0,
        least=axis.least,
        tile=size,
        starts=axis.starts_of(size),
    )


def _margins(layout: Layout, a: int, axis: TiledAxis) -> Margins:
    state = layout.axes[a]
    if not isinstance(state, Axis) or axis.whole:
        return whole_margins(state)
    extra = state.size - state.pixels / state.stride
    before, after = (math.floor(h / state.stride) for h in axis.halo)
    return Margins(stride=state.stride, samples=state.size, start=before, tail=after, extra=extra)
