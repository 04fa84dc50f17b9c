"""Interpolation, grids, sub-pixel rearrangement: operations that change the sampling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from shiftcheck.lattice.axis import Axis, GeometryError, Taps, resample, window
from shiftcheck.lattice.causes import lose
from shiftcheck.lattice.factors import plain, uniform
from shiftcheck.lattice.layout import Layout, map_axes, no_longer_uniform, with_dim, with_dims
from shiftcheck.lattice.windows import within_windows
from shiftcheck.report.causes import Cause, CauseForm, CauseKind
from shiftcheck.rules.common import need_layout, no_layout, require_plain
from shiftcheck.rules.constants import stochastic
from shiftcheck.rules.note_causes import note_edges, note_new_causes
from shiftcheck.rules.operands import Constant
from shiftcheck.rules.registry import register_rule

SOURCE = "torch.nn.functional.interpolate; aten/src/ATen/native/UpSample.h"
LAW = (
    "N/gcd(N, M) -> M/gcd(N, M) from N to M samples; by scale_factor: the factor's own ratio;"
    " with align_corners (N-1)/g -> (M-1)/g"
)
Reads = Callable[[Fraction], tuple[int, ...]]
"""The input samples that are read for a position between them."""


def nearest(at: Fraction) -> tuple[int, ...]:
    """The sample at or before a position."""
    return (math.floor(at),)


def linear(at: Fraction) -> tuple[int, ...]:
    """The two samples around a position, or the one it falls on."""
    low = math.floor(at)
    return (low,) if at == low else (low, low + 1)


def cubic(at: Fraction) -> tuple[int, ...]:
    """The four samples around a position, or the one it falls on."""
    low = math.floor(at)
    return (low,) if at == low else (low - 1, low, low + 1, low + 2)


def smoothed(ratio: Fraction, support: int) -> Reads:
    """The samples under an antialiasing kernel, which widens with the ratio.

    Like every interpolating kernel it is zero at whole distances from its centre.
    """
    spread = max(ratio, Fraction(1))
    reach = support * spread

    def reads(at: Fraction) -> tuple[int, ...]:
        centre = at + Fraction(1, 2)
        start = math.floor(centre - reach + Fraction(1, 2))
        stop = math.floor(centre + reach + Fraction(1, 2))
        return tuple(j for j in range(start, stop) if j == at or (j - at) % spread != 0)

    return reads


def resizing_taps(ratio: Fraction, offset: Fraction, reads: Reads) -> Taps:
    """Taps where output ``q`` is read at the input position ``q * ratio + offset``."""
    phases = tuple(reads(r * ratio + offset) for r in range(ratio.denominator))
    return Taps(num=ratio.numerator, phases=phases)


def _ratios(
    layout: Layout,
    ndim: int,
    size: Sequence[int] | None,
    scales: Sequence[float | None] | None,
    align: bool,
) -> tuple[list[int], list[Fraction]]:
    given = list(layout.shape[-ndim:])
    factors = [None] * ndim if scales is None else list(scales)
    sizes = (
        [math.floor(n * float(f or 1)) for n, f in zip(given, factors, strict=True)]
        if size is None
        else list(size)
    )
    ratios = []
    for n, m, factor in zip(given, sizes, factors, strict=True):
        if align:
            ratios.append(Fraction(n - 1, m - 1) if m > 1 and n > 1 else Fraction(n, m))
        elif factor:
            ratios.append(1 / Fraction(factor).limit_denominator(4096))
        else:
            ratios.append(Fraction(n, m))
    return sizes, ratios


def _resize(
    x: object,
    ndim: int,
    size: Sequence[int] | None,
    scales: Sequence[float | None] | None,
    reads: Callable[[Fraction], Reads],
    *,
    align: bool,
    centred: bool,
    smooth: bool,
) -> Layout:
    layout = need_layout(x, "the resized tensor")
    sizes, ratios = _ratios(layout, ndim, size, scales, align)
    dims = tuple(range(len(layout.dims) - ndim, len(layout.dims)))
    layout = within_windows(no_longer_uniform(layout), dims)

    def change(axis: Axis, i: int) -> Axis:
        offset = (ratios[i] - 1) / 2 if centred and (smooth or not align) else Fraction(0)
        return resample(axis, resizing_taps(ratios[i], offset, reads(ratios[i])), sizes[i])

    out = map_axes(layout, dims, change, sizes)
    for samples, d in zip(sizes, dims, strict=True):
        if layout.dims[d] == ():
            out = with_dim(out, d, uniform(samples))
    out = note_new_causes(layout, out, kind=CauseKind.RESIZE)
    if align:
        out = _with_corners(layout, out, dims)
    return note_edges(layout, out, dims, change, "taps beyond the edge")


def _with_corners(before: Layout, after: Layout, dims: Sequence[int]) -> Layout:
    """The causes that are new, with the sizes that aligned corners tie the sampling to."""
    sizes = {before.axis_in(d): (before.shape[d], after.shape[d]) for d in dims}
    causes = tuple(
        replace(c, detail=aligned_corners(*sizes[c.axis]), form=CauseForm.ALIGNED_CORNERS)
        if c.kind == CauseKind.RESIZE and not c.layer and not c.detail and c.axis in sizes
        else c
        for c in after.causes
    )
    return replace(after, causes=causes)


def aligned_corners(given: int, made: int) -> str:
    """What ``align_corners=True`` does at these sizes, and the nearest that keep a whole ratio.

    Example:
        >>> aligned_corners(32, 64)
        'align_corners=True from 32 to 64 samples: the ratio is 31/63, from 32 to 63 it is 1/2'
    """
    text = f"align_corners=True from {given} to {made} samples"
    if min(given, made) < 2:
        return text
    ratio = Fraction(given - 1, made - 1)
    near = max(round(ratio if ratio > 1 else 1 / ratio), 1)
    better = (near * (made - 1) + 1, made) if ratio > 1 else (given, near * (given - 1) + 1)
    text += f": the ratio is {ratio}"
    if better == (given, made):
        return text
    plain_one = Fraction(better[0] - 1, better[1] - 1)
    return f"{text}, from {better[0]} to {better[1]} it is {plain_one}"


def _register(name: str, ndim: int, reads: Callable[[Fraction], Reads], centred: bool) -> None:
    """Both signatures: with one scale for each axis, and with all of them in a list."""
    smooth = name.endswith("_aa")  # these kernels are centred even where corners are aligned
    aligned = not name.startswith(("upsample_nearest", "_upsample_nearest"))

    @register_rule(f"aten::{name}.vec", law=LAW, source=SOURCE)
    def listed(x: object, size: Sequence[int] | None, *rest: object) -> Layout:
        align = bool(rest[0]) if aligned else False
        scales = rest[1] if aligned else rest[0]
        assert scales is None or isinstance(scales, Sequence)
        return _resize(x, ndim, size, scales, reads, align=align, centred=centred, smooth=smooth)

    @register_rule(f"aten::{name}", law=LAW, source=SOURCE)
    def separate(x: object, size: Sequence[int], *rest: object) -> Layout:
        align = bool(rest[0]) if aligned else False
        scales = [s if isinstance(s, float) else None for s in rest[1 if aligned else 0 :]]
        scales += [None] * (ndim - len(scales))
        return _resize(x, ndim, size, scales, reads, align=align, centred=centred, smooth=smooth)


for _ndim, _word in ((1, "linear"), (2, "bilinear"), (3, "trilinear")):
    _register(f"upsample_{_word}{_ndim}d", _ndim, lambda ratio: linear, True)
    _register(f"upsample_nearest{_ndim}d", _ndim, lambda ratio: nearest, False)
_register("upsample_bicubic2d", 2, lambda ratio: cubic, True)
_register("_upsample_bilinear2d_aa", 2, lambda ratio: smoothed(ratio, 1), True)
_register("_upsample_bicubic2d_aa", 2, lambda ratio: smoothed(ratio, 2), True)


def rounded(at: Fraction) -> tuple[int, ...]:
    """The sample whose cell a position is in."""
    return (math.floor(at + Fraction(1, 2)),)


for _ndim in (1, 2, 3):
    _register(f"_upsample_nearest_exact{_ndim}d", _ndim, lambda ratio: rounded, True)


@register_rule("aten::pixel_shuffle", law="1 -> r", source="Shi et al., 2016")
def pixel_shuffle(x: object, upscale_factor: int) -> Layout:
    """Blocks of channels become blocks of samples."""
    return _rearrange(x, upscale_factor, up=True)


@register_rule("aten::pixel_unshuffle", law="r -> 1", source="Shi et al., 2016")
def pixel_unshuffle(x: object, downscale_factor: int) -> Layout:
    """Blocks of samples become blocks of channels."""
    return _rearrange(x, downscale_factor, up=False)


def _rearrange(x: object, factor: int, *, up: bool) -> Layout:
    layout = need_layout(x, "the rearranged tensor")
    rank = len(layout.dims)
    dims = (rank - 2, rank - 1)
    layout = within_windows(layout, dims)
    channels = require_plain(layout, rank - 3, "a pixel shuffle")
    taps = Taps(num=1, phases=((0,),) * factor) if up else window(factor, range(factor))
    sizes = [n * factor if up else n // factor for n in layout.shape[-2:]]
    out = map_axes(layout, dims, lambda axis, i: resample(axis, taps, sizes[i]), sizes)
    out = note_new_causes(layout, out)
    count = channels // factor**2 if up else channels * factor**2
    return with_dim(out, rank - 3, plain(count))


@register_rule(
    "aten::grid_sampler",
    "aten::grid_sampler_2d",
    "aten::grid_sampler_3d",
    law="none: a constant grid is a fixed place (INDEX)",
)
def grid_sampler(x: object, grid: object, *_: object) -> Layout:
    """Samples at the places that a grid ``[N, *spatial, axes]`` names."""
    layout = need_layout(x, "the tensor that is sampled")
    no_layout(grid, "the grid of places")
    assert isinstance(grid, Constant)
    if not grid.random and _regular(grid):
        raise GeometryError("a grid that is regular, or whose values are not known")
    cause = Cause(kind=CauseKind.INDEX, detail="samples are taken at the fixed places of a grid")
    out = lose(layout, layout.axes_in(range(2, len(layout.dims))), cause)
    out = with_dims(out, [*out.dims[:2], *(plain(n) for n in grid.shape[1:-1])])
    return stochastic(out) if grid.random else out


def _regular(grid: Constant) -> bool:
    """Whether places may advance evenly along an axis, so that the samples may move along."""
    values = grid.values()
    if values is None:
        return True
    for dim in range(1, values.ndim - 1):
        if values.shape[dim] < 3:
            return True
        steps = np.diff(values, axis=dim)
        if float(np.ptp(steps, axis=dim).max()) < 1e-3 * float(np.abs(steps).max() or 1):
            return True
    return False
