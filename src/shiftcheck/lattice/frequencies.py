"""Dimensions that hold the frequencies of an axis."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from shiftcheck.lattice.factors import Factor
from shiftcheck.lattice.layout import Layout, Waves


def at_frequencies(layout: Layout, dim: int, places: Iterable[int]) -> Layout | None:
    """The samples at ``places`` of a dimension of frequencies; None where it holds no such."""
    factors = layout.dims[dim]
    if len(factors) != 1 or factors[0].kind != "frequency":
        return None
    axis = factors[0].axis
    waves = layout.axes[axis]
    assert isinstance(waves, Waves)
    kept = replace(waves, bins=tuple(waves.bins[p] for p in places))
    return with_waves(layout, dim, axis, kept)


def with_waves(layout: Layout, dim: int, axis: int, waves: Waves) -> Layout:
    """The layout with these frequencies of an axis along a dimension."""
    factor = Factor("frequency", len(waves.bins), axis)
    return layout.with_state(axis, waves).with_factors(dim, (factor,))


def more_frequencies(layout: Layout, dim: int, before: int, after: int) -> Layout:
    """The layout after zeros were put beside a dimension of frequencies, or some were cropped."""
    bins = layout.shape[dim]
    kept = range(max(-before, 0), bins - max(-after, 0))
    out = at_frequencies(layout, dim, kept)
    assert out is not None
    axis = out.dims[dim][0].axis
    waves = out.axes[axis]
    assert isinstance(waves, Waves)
    whole = (None,) * max(before, 0) + waves.bins + (None,) * max(after, 0)
    return with_waves(out, dim, axis, replace(waves, bins=whole))
