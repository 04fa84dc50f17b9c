"""Windows laid out and put back, and values put back where a pool found them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shiftcheck.lattice.axis import Axis, GeometryError, resample
from shiftcheck.lattice.factors import plain
from shiftcheck.lattice.layout import Layout, map_axes, with_axis, with_dim, with_dims
from shiftcheck.lattice.views import regroup
from shiftcheck.lattice.windows import opened
from shiftcheck.report.causes import CauseForm
from shiftcheck.rules.common import (
    combined,
    join_dims,
    need_layout,
    normal_dim,
    per_axis,
    require_plain,
    seeing_less,
    uncoupled,
)
from shiftcheck.rules.note_causes import note_new_causes, noted_change
from shiftcheck.rules.pooling import PoolIndices
from shiftcheck.rules.registry import register_rule
from shiftcheck.rules.sliding import Ints, Window, windows_of

EDGE = "its edge, where fewer windows overlap"


@register_rule("aten::im2col", law="stride -> 1", source="torch.nn.Unfold, shape section")
def im2col(x: object, kernel: Ints, dilation: Ints, padding: Ints, stride: Ints) -> Layout:
    """Every window as a column: ``[N, C, H, W]`` becomes ``[N, C * kernel, windows]``."""
    layout = need_layout(x, "the unfolded tensor")
    windows = windows_of(per_axis(kernel, 2), stride, padding, dilation=dilation)
    rank = len(layout.dims)
    channels = require_plain(layout, rank - 3, "an unfolding")
    uncoupled(layout, range(rank - 3, rank), "an unfolding")
    sizes = [w.count(n) for w, n in zip(windows, layout.shape[-2:], strict=True)]

    def change(axis: Axis, i: int) -> Axis:
        out = resample(axis, windows[i].reads, sizes[i])
        return replace(out, mixed=windows[i].kernel > 1 or axis.mixed)

    form = CauseForm.OWN_PADDING
    out = noted_change(layout, (rank - 2, rank - 1), change, sizes, "its own padding", form)
    columns = plain(channels * windows[0].kernel * windows[1].kernel)
    return with_dims(out, [*out.dims[:-3], columns, join_dims(out.dims[-2], out.dims[-1])])


@register_rule("aten::col2im", law="1 -> stride", source="torch.nn.Fold, shape section")
def col2im(
    x: object, size: Ints, kernel: Ints, dilation: Ints, padding: Ints, stride: Ints
) -> Layout:
    """Columns put back as windows, summed where they overlap."""
    layout = need_layout(x, "the folded tensor")
    sizes = per_axis(size, 2)
    windows = windows_of(per_axis(kernel, 2), stride, padding, dilation=dilation)
    rank = len(layout.dims)
    rows = require_plain(layout, rank - 2, "a folding")
    uncoupled(layout, (rank - 2, rank - 1), "a folding")
    counts = [w.count(n) for w, n in zip(windows, sizes, strict=True)]
    grid = regroup(layout, (*layout.shape[:-1], *counts))

    def change(axis: Axis, i: int) -> Axis:
        return resample(axis, windows[i].adds, sizes[i])

    out = noted_change(grid, (rank - 1, rank), change, sizes, EDGE)
    return with_dim(out, rank - 2, plain(rows // (windows[0].kernel * windows[1].kernel)))


@register_rule("aten::unfold_backward", law="1 -> step", source="torch.istft, its overlap-add")
def windows_added(x: object, sizes: Sequence[int], dim: int, size: int, step: int) -> Layout:
    """Sliding windows, along the last dimension, added up where they overlap."""
    layout = need_layout(x, "the windows")
    at, last = normal_dim(dim, len(sizes)), len(layout.dims) - 1
    uncoupled(layout, [at, last], "windows that are added up")
    require_plain(layout, last, "windows that are added up")
    windows = opened(with_dim(layout, last, ()), [at])

    def change(axis: Axis, i: int) -> Axis:
        return resample(axis, Window(kernel=size, step=step).adds, sizes[at])

    out = noted_change(windows, [at], change, [sizes[at]], EDGE)
    return with_dims(out, out.dims[:-1])


def _register_unpool(ndim: int) -> None:
    @register_rule(f"aten::max_unpool{ndim}d", law="stride -> stride, with the pool's own indices")
    def max_unpool(x: object, indices: object, size: Ints, *_: object) -> Layout:
        layout = need_layout(x, "the unpooled tensor")
        return _unpooled(layout, indices, per_axis(size, ndim))


def _unpooled(layout: Layout, indices: object, sizes: Sequence[int]) -> Layout:
    """Values at the places where a pool found its maxima, zeros elsewhere."""
    if not isinstance(indices, PoolIndices) or not indices.untouched or indices.pooled is None:
        raise GeometryError("max unpooling with other indices than those of a max pool")
    windows = indices.windows
    if any(w.kernel > w.step or w.dilation != 1 for w in windows):
        raise GeometryError("max unpooling of windows that overlap")
    if tuple(sizes) != indices.plane:
        raise GeometryError("max unpooling to another size than that of the pool's input")
    both = combined([layout, indices.pooled])
    dims = tuple(range(len(both.dims) - len(sizes), len(both.dims)))

    def change(axis: Axis, i: int) -> Axis:
        return resample(axis, windows[i].adds, sizes[i])

    return note_new_causes(both, map_axes(both, dims, change, sizes))


for _ndim in (2, 3):
    _register_unpool(_ndim)


@register_rule("aten::unfold", law="step -> 1; the window is a new dimension")
def sliding(x: object, dimension: int, size: int, step: int) -> Layout:
    """Windows of ``size`` samples, every ``step`` samples."""
    layout = need_layout(x, "the unfolded tensor")
    at = normal_dim(dimension, len(layout.dims))
    uncoupled(layout, [at], "a sliding window")
    layout = opened(layout, [at])
    windows = Window(kernel=size, step=step)
    count = windows.count(layout.shape[at])
    axis = layout.axis_in(at)
    if axis is None:
        if layout.axes_in([at]):
            raise GeometryError("a sliding window over a dimension that holds more than an axis")
        out = with_dim(layout, at, plain(count))
    else:
        state = resample(layout.geometry(axis), windows.reads, count)
        out = seeing_less(note_new_causes(layout, with_axis(layout, axis, state)), at)
    return with_dims(out, [*out.dims, plain(size)])
