"""Dimensions that hold the frequencies of an axis."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

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
    axes = tuple(kept if a == axis else state for a, state in enumerate(layout.axes))
    factor = replace(factors[0], size=len(kept.bins))
    dims = tuple((factor,) if d == dim else f for d, f in enumerate(layout.dims))
    return Layout(dims, axes, layout.causes)


def more_frequencies(layout: Layout, dim: int, before: int, after: int) -> Layout:
    """The layout after zeros were put beside a dimension of frequencies, or some were cropped."""
    bins = layout.shape[dim]
    kept = range(max(-before, 0), bins - max(-after, 0))
    out = at_frequencies(layout, dim, kept)
    assert out is not None
    factor = out.dims[dim][0]
    waves = out.axes[factor.axis]
    assert isinstance(waves, Waves)
    whole = (None,) * max(before, 0) + waves.bins + (None,) * max(after, 0)
    axes = tuple(
        replace(waves, bins=whole) if a == factor.axis else state
        for a, state in enumerate(out.axes)
    )
    wide = (replace(factor, size=len(whole)),)
    return Layout(
        tuple(wide if d == dim else f for d, f in enumerate(out.dims)), axes, layout.causes
    )
