"""Axes that are spread over several factors, as in windows and pixel shuffles."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from shiftcheck.lattice.axis import Axis, GeometryError, Taps, resample, window
from shiftcheck.lattice.causes import lose, with_cause
from shiftcheck.lattice.factors import Dim, Factor, mapped
from shiftcheck.lattice.layout import Layout, no_longer_uniform, reduced, with_dims
from shiftcheck.report.causes import Cause, CauseKind


def contracted(layout: Layout, dims: Sequence[int], *, related: bool = False) -> Layout:
    """The layout after everything along ``dims`` went into each result; they keep size 1.

    An axis that is all in ``dims`` is gone. One of which they hold the innermost factors becomes
    coarser: each sample then sees a whole window. Raises GeometryError for any other factors,
    unless the result is ``related`` to a layout that has them: then the outermost may be in
    ``dims``, which every sample sees at all windows, and so at the whole axis.
    """
    out = layout
    for axis in layout.axes_in(dims):
        inside, every = layout.factors_of(axis, dims), layout.factors_of(axis)
        if not inside or len(inside) == len(every):
            continue
        if related and inside == every[: len(inside)]:
            out = _seen_whole(out, axis, dims)
            continue
        width = math.prod(f.size for f in inside)
        if inside != every[len(every) - len(inside) :]:
            raise GeometryError(f"windows of axis {axis} are combined, not samples of a window")
        out = _coarser(out, axis, dims, window(width, range(width)))
    return with_dims(out, [() if d in dims else dim for d, dim in enumerate(out.dims)])


def _seen_whole(layout: Layout, axis: int, dims: Sequence[int]) -> Layout:
    state = reduced(layout.geometry(axis))
    return _without_factors(layout, axis, dims).with_state(axis, state)


def _without_factors(layout: Layout, axis: int, dims: Sequence[int]) -> Layout:
    kept = [
        tuple(f for f in dim if f.axis != axis or f.kind != "axis") if d in dims else dim
        for d, dim in enumerate(layout.dims)
    ]
    return Layout(tuple(kept), layout.axes, layout.causes)


def _with_steps(layout: Layout, axis: int, step: Callable[[int], int]) -> Layout:
    """The same layout, of which the factors of an axis have other steps."""

    def changed(factor: Factor) -> Factor:
        mine = factor.axis == axis and factor.kind == "axis"
        return replace(factor, step=step(factor.step)) if mine else factor

    return Layout(tuple(mapped(d, changed) for d in layout.dims), layout.axes, layout.causes)


def _coarser(layout: Layout, axis: int, dims: Sequence[int], taps: Taps) -> Layout:
    """The layout with the innermost factors of ``axis``, those in ``dims``, turned into taps."""
    state = layout.geometry(axis)
    kept = _without_factors(layout, axis, dims)
    coarse = _with_steps(kept, axis, lambda step: step // taps.num)
    return coarse.with_state(axis, resample(state, taps, state.size // taps.num))


def picked(layout: Layout, dim: int, index: int) -> Layout | None:
    """The layout after taking sample ``index`` of each window along ``dim``, which stays as 1.

    None where the dimension is no innermost factor of a split axis.
    """
    factors = layout.dims[dim]
    if len(factors) != 1 or factors[0].kind != "axis" or factors[0].step != 1:
        return None
    if not layout.splits(factors[0].axis):
        return None
    width = factors[0].size
    taps = Taps(num=width, phases=((index % width,),))
    return _coarser(layout, factors[0].axis, [dim], taps)


def refined(layout: Layout, axis: int, width: int) -> Layout:
    """The layout where each sample of ``axis`` stands for ``width`` samples of a finer one.

    Only the geometry changes: the finer samples have no dimension yet, so the caller combines the
    result with a layout that has one.
    """
    if width == 1:
        return layout
    state = layout.geometry(axis)
    taps = Taps(num=1, phases=((0,),) * width)
    finer = _with_steps(layout, axis, lambda step: step * width)
    return finer.with_state(axis, resample(state, taps, state.size * width))


def settled(layout: Layout) -> Layout:
    """What the tensor is where it stands: a split axis is its windows, their samples are channels.

    Only a tensor that is looked at is settled; merging the factors again restores the axis.
    """
    layout = no_longer_uniform(layout)
    maps, out = len(layout.dims) == len(layout.axes) + 2, layout
    for axis in range(len(layout.axes)):
        if not layout.splits(axis):
            continue
        width = layout.factors_of(axis)[0].step
        out = _windows(out, axis, width)
    return _of_one_shape(interleaved(out, range(1, len(out.dims))) if maps else out)


def _of_one_shape(layout: Layout) -> Layout:
    """The layout without the axes whose samples are not those that its own shape stores.

    Where it has the rank of a map, the last dimensions are the axes and nothing else.
    """
    maps = len(layout.dims) == len(layout.axes) + 2
    for axis, state in enumerate(layout.axes):
        factors = layout.factors_of(axis)
        if not isinstance(state, Axis) or not factors:
            continue
        stored = math.prod(f.size for f in factors)
        if maps and _beside_plain(layout.dims[2 + axis], axis):
            stored = layout.shape[2 + axis]
        if stored != state.size:
            detail = f"a dimension of {stored} holds the {state.size} samples of an axis"
            layout = lose(layout, [axis], Cause(kind=CauseKind.UNSUPPORTED_OP, detail=detail))
    return layout


def _windows(layout: Layout, axis: int, width: int) -> Layout:
    def coarse(factor: Factor) -> Factor:
        if factor.axis != axis:
            return factor
        if factor.step < width:
            return Factor("plain", factor.size)
        return replace(factor, step=factor.step // width)

    state = layout.geometry(axis)
    new = resample(state, window(width, range(width)), state.size // width)
    dims = tuple(mapped(d, coarse) for d in layout.dims)
    out = replace(layout.with_state(axis, new), dims=dims)
    if new.lattice == state.lattice:
        return out
    cause = Cause(
        kind=CauseKind.STRIDE, axis=axis, period=new.lattice, detail=f"windows of {width} samples"
    )
    return with_cause(out, cause)


def as_keys(layout: Layout, dim: int, axes: Iterable[int] | None = None) -> Dim:
    """A dimension whose factors of ``axes`` are the positions that samples are related to.

    All axes by default. The positions keep their stride: others are not the same positions.
    """
    wanted = layout.axes_in([dim]) if axes is None else set(axes)

    def related(factor: Factor) -> Factor:
        if factor.kind != "axis" or factor.axis not in wanted:
            return factor
        return replace(factor, kind="key", stride=layout.geometry(factor.axis).stride)

    return mapped(layout.dims[dim], related)


def interleaved(layout: Layout, dims: Iterable[int]) -> Layout:
    """The same values; each of ``dims`` that is a whole axis times something plain is a finer axis.

    So a view puts the channels of a coarse sample side by side, as a pixel shuffle does.
    """
    out = layout
    for d in dims:
        dim = out.dims[d]
        if [f.kind for f in dim] != ["axis", "plain"]:
            continue
        axis, width = dim[0].axis, dim[1].size
        if dim[0].size != out.geometry(axis).size:
            continue
        fine = refined(out, axis, width)
        out = fine.with_factors(d, (Factor("axis", fine.geometry(axis).size, axis),))
    return out


def _beside_plain(dim: Dim, axis: int) -> bool:
    """Whether a dimension holds samples of the axis, something plain, and nothing else."""
    return {(f.kind, f.axis) for f in dim} == {("axis", axis), ("plain", -1)}


def opened(layout: Layout, dims: Iterable[int]) -> Layout:
    """The same values; where ``dims`` hold the windows of a split axis, these are a coarser axis.

    Their samples, wherever they are, are then channels of their window. So an operation along
    ``dims`` finds an axis that is whole.
    """
    out = layout
    for d in dims:
        dim = out.dims[d]
        if not dim or dim[0].kind != "axis" or any(f.kind != "plain" for f in dim[1:]):
            continue
        every = out.factors_of(dim[0].axis)
        if len(every) > 1 and dim[0] == every[0]:
            out = _windows(out, dim[0].axis, dim[0].step)
    return interleaved(out, dims)


def within_windows(layout: Layout, dims: Iterable[int]) -> Layout:
    """The same values; where ``dims`` hold the samples of windows, these are channels of them.

    So an operation along ``dims`` does the same within each window; else as ``opened``.
    """
    chosen, out = list(dims), layout
    for d in chosen:
        axes = [f.axis for f in out.dims[d] if f.kind == "axis"]
        every = out.factors_of(axes[0]) if len(axes) == 1 else []
        if len(every) > 1 and out.dims[d] != (every[0],) and out.dims[d] == (every[-1],):
            out = _windows(out, axes[0], every[0].step)
    return opened(out, chosen)


def aligned(layouts: Sequence[Layout]) -> list[Layout]:
    """The layouts with every axis as finely split as in the finest of them.

    A value of each window is a value of each of its samples.
    """
    out = list(layouts)
    for axis in range(len(layouts[0].axes) if len(out) > 1 else 0):
        widths = [_width(s, axis) for s in out]
        finest = max((w for w in widths if w), default=1)
        for i, width in enumerate(widths):
            if width and finest % width == 0:
                out[i] = refined(out[i], axis, finest // width)
    return out


def _width(layout: Layout, axis: int) -> int:
    """How many samples the coarsest factor of an axis steps over; 0 where there is none."""
    factors = layout.factors_of(axis)
    return factors[0].step if factors and isinstance(layout.axes[axis], Axis) else 0
