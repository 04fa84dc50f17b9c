"""Steps that the rules of several families share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from shiftcheck.lattice.axis import Axis, GeometryError, globalise, over_windows
from shiftcheck.lattice.broadcasting import broadcast, lost_alike, reduce_dims
from shiftcheck.lattice.causes import lose, with_cause
from shiftcheck.lattice.factors import Dim, canonical, flat, plain, size_of
from shiftcheck.lattice.layout import Gone, Layout, with_axis, with_dim
from shiftcheck.lattice.windows import aligned, contracted, interleaved, settled
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.rules.constants import with_constants
from shiftcheck.rules.crossed import CROSSED, crossed_axes
from shiftcheck.rules.note_causes import note_new_causes
from shiftcheck.rules.operands import BatchCoupledError, Constant
from shiftcheck.rules.standing import standing_still


def per_axis(value: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    """An argument given once, or once for each spatial axis, as one entry for each axis."""
    entries = (value,) if isinstance(value, int) else tuple(value)
    return entries * ndim if len(entries) == 1 else entries


def need_layout(x: object, name: str) -> Layout:
    """``x``, where it depends on the input; raises GeometryError where it does not."""
    if not isinstance(x, Layout):
        raise GeometryError(f"{name} does not depend on the input but another argument does")
    return x


def no_layout(x: object, name: str) -> None:
    """Raise GeometryError where ``x`` depends on the input."""
    if isinstance(x, Layout):
        raise GeometryError(f"{name} depends on the input")


def uncoupled(layout: Layout, dims: Iterable[int], what: str) -> None:
    """Raise BatchCoupledError where one of the dimensions holds the stacked copies."""
    if layout.holds_copies(dims):
        raise BatchCoupledError(f"{what} mixes the elements of the batch")


def mix(layout: Layout, dim: int, size: int, what: str) -> Layout:
    """A linear map with weights of its own for each place along ``dim``, to ``size`` values.

    Places within a window that the axis was split into are the taps of a convolution.
    """
    uncoupled(layout, [dim], what)
    detail = f"{what} over a dimension that holds a spatial axis"
    whole = [a for a in layout.axes_in([dim]) if not _innermost(layout, a, dim)]
    out = lose(layout, whole, Cause(kind=CauseKind.MIXING, detail=detail)) if whole else layout
    return note_new_causes(layout, with_dim(contracted(out, [dim]), dim, plain(size)))


def _innermost(layout: Layout, axis: int, dim: int) -> bool:
    inside, every = layout.factors_of(axis, [dim]), layout.factors_of(axis)
    top = any(f.kind == "axis" and f.axis == axis for f in layout.dims[dim])
    keys = any(f.kind == "key" and f.axis == axis for f in flat(layout.dims[dim]))
    rest = len(every) - len(inside)
    return top and not keys and rest > 0 and inside == every[rest:]


WINDOWS = "every sample depends on all of its window"


def spread_over(layout: Layout, dims: Sequence[int], detail: str) -> Layout:
    """Every sample now depends on all samples along ``dims``: the whole axis, or its window.

    Example:
        >>> from shiftcheck.lattice.axis import input_axis
        >>> from shiftcheck.rules import Factor, Layout, spread_over
        >>> row = (Factor("axis", 16, axis=0),)
        >>> x = Layout((row,), (input_axis(16, circular=False),))
        >>> out = spread_over(x, [0], "a softmax")
        >>> [cause.kind for cause in out.causes], bool(out.geometry(0).valid.any())
        (['GLOBAL'], False)
    """
    out = layout
    for axis in layout.axes_in(dims):
        inside, every = layout.factors_of(axis, dims), layout.factors_of(axis)
        if not inside:
            continue
        state = out.geometry(axis)
        if inside[0] == every[0]:
            new = globalise(state)
        else:
            new = over_windows(state, inside[0].step * inside[0].size)
        out = with_axis(out, axis, new)
        if new.lattice > state.lattice:
            cause = Cause(kind=CauseKind.STRIDE, axis=axis, period=new.lattice, detail=WINDOWS)
            out = with_cause(out, cause)
        elif not new.all_are_valid:
            out = with_cause(out, Cause(kind=CauseKind.GLOBAL, axis=axis, detail=detail))
    return out


def reduce_over(layout: Layout, dims: Sequence[int], keepdim: bool, what: str) -> Layout:
    """A symmetric reduction over ``dims``: the axes in them are gone."""
    uncoupled(layout, dims, what)
    out, reduced = reduce_dims(layout, dims, keepdim=keepdim)
    for axis in reduced:
        if isinstance(out.axes[axis], Gone) and not getattr(out.axes[axis], "exact", False):
            out = with_cause(
                out, Cause(kind=CauseKind.GLOBAL, axis=axis, detail=f"{what} over the axis")
            )
    return note_new_causes(layout, out)


def pointwise(*operands: object) -> Layout:
    """The law of every operation that computes each sample from the same sample of its operands.

    Layouts must agree in stride; a constant that varies along an axis is a POSITION.

    Example:
        >>> from shiftcheck.lattice.axis import input_axis
        >>> from shiftcheck.rules import Factor, Layout, pointwise, resample, window, with_axis
        >>> row = (Factor("axis", 16, axis=0),)
        >>> x = Layout((row,), (input_axis(16, circular=False),))
        >>> halved = with_axis(x, 0, resample(x.geometry(0), window(2, [0]), 8))
        >>> pointwise(x, x).geometry(0).period, pointwise(halved).geometry(0).period
        (1, 2)
    """
    layouts = [x for x in operands if isinstance(x, Layout)]
    constants = [x for x in operands if isinstance(x, Constant)]
    return with_constants(combined(layouts, [c.shape for c in constants]), constants)


def combined(layouts: Sequence[Layout], shapes: Sequence[Sequence[int]] = ()) -> Layout:
    """Layouts that broadcast together; an axis on which their strides differ is lost.

    The cause is INDEX where one of them is flipped, and RESIZE otherwise. It is INDEX, too, where
    one sample of an axis meets all the others.

    Samples of windows that meet what is no longer an axis are channels of their window. Axes that
    then still lie along different dimensions are lost, with cause INDEX.
    """
    if len(layouts) == 1 and not shapes and _is_as_usual(layouts[0]):
        return Layout(layouts[0].dims, layouts[0].axes, layouts[0].causes)
    try:
        return _combined(_in_line(layouts), shapes)
    except GeometryError:
        splits = any(s.splits(a) for s in layouts for a in range(len(s.axes)))
        return _uncrossed([settled(s) for s in layouts] if splits else layouts, shapes)


USUAL = ("plain", "axis", "copies")


def _is_as_usual(layout: Layout) -> bool:
    """Whether each dimension is one factor at most, each axis whole, and none lost or reduced.

    Such a layout stays as it is where it is combined with nothing.
    """
    met = set()
    for dim in layout.dims:
        for factor in dim:
            if len(dim) > 1 or factor.kind not in USUAL or factor.size < 2:
                return False
            if factor.kind == "axis":
                state = layout.axes[factor.axis]
                whole = isinstance(state, Axis) and state.size == factor.size
                if factor.axis in met or not whole:
                    return False
                met.add(factor.axis)
    return all(state is None or isinstance(state, Axis) for state in layout.axes)


def _uncrossed(layouts: Sequence[Layout], shapes: Sequence[Sequence[int]]) -> Layout:
    layouts = _in_line(layouts)
    try:
        return _combined(layouts, shapes)
    except GeometryError:
        crossed = crossed_axes(layouts)
        if not crossed:
            raise
        return _combined([lose(s, crossed, CROSSED) for s in layouts], shapes)


def _in_line(layouts: Sequence[Layout]) -> list[Layout]:
    return aligned(_side_by_side(lost_alike(layouts)))


def _combined(layouts: Sequence[Layout], shapes: Sequence[Sequence[int]]) -> Layout:
    for axis, cause in [*_stride_clashes(layouts), *_stretched(layouts, shapes)]:
        layouts = [lose(s, [axis], cause) for s in layouts]
    layouts, still = standing_still(layouts)
    return with_constants(_note_join(layouts, broadcast(layouts, shapes)), still)


def _side_by_side(layouts: Sequence[Layout]) -> list[Layout]:
    """The layouts, with channels of coarse samples as finer samples where another has an axis."""
    out = list(layouts)
    for position in range(-max(len(s.dims) for s in out), 0):
        given = [s for s in out if len(s.dims) >= -position]
        if any(s.axis_in(len(s.dims) + position) is not None for s in given):
            for i, s in enumerate(out):
                out[i] = interleaved(s, [len(s.dims) + position]) if s in given else s
    return out


def _stride_clashes(layouts: Sequence[Layout]) -> Iterator[tuple[int, Cause]]:
    for axis in range(len(layouts[0].axes)):
        strides = {s.stride for s in (x.axes[axis] for x in layouts) if isinstance(s, Axis)}
        if len({abs(s) for s in strides}) > 1:
            yield axis, Cause(kind=CauseKind.RESIZE, detail="strides differ")
        elif len(strides) > 1:
            yield axis, Cause(kind=CauseKind.INDEX, detail="one is flipped, another is not")


def _stretched(
    layouts: Sequence[Layout], shapes: Sequence[Sequence[int]]
) -> Iterator[tuple[int, Cause]]:
    """The axes of which a single sample is left, where it is repeated for every other place."""
    sizes = [*(s.shape for s in layouts), *shapes]
    for position in range(-max(map(len, sizes)), 0):
        size = max(shape[position] for shape in sizes if len(shape) >= -position)
        ones = [s for s in layouts if len(s.dims) >= -position and s.shape[position] == 1 < size]
        for axis in {a for s in ones for a in s.axes_in([len(s.dims) + position])}:
            yield axis, Cause(kind=CauseKind.INDEX, detail="one sample stands for the whole axis")


def _note_join(layouts: Sequence[Layout], out: Layout) -> Layout:
    for axis, state in enumerate(out.axes):
        if not isinstance(state, Axis):
            continue
        before = [s.axes[axis] for s in layouts if isinstance(s.axes[axis], Axis)]
        any_valid = any(isinstance(b, Axis) and b.any_is_valid for b in before)
        if len(before) < len(layouts) and any_valid and not state.any_is_valid:
            detail = "a value of the whole axis is combined with each sample"
            out = with_cause(out, Cause(kind=CauseKind.GLOBAL, axis=axis, detail=detail))
    return out


def normal_dim(dim: int, rank: int) -> int:
    """A dimension counted from the front."""
    return dim + rank if dim < 0 else dim


def normal_dims(dims: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Dimensions counted from the front; all of them for None or an empty list."""
    if dims is None or (not isinstance(dims, int) and len(dims) == 0):
        return tuple(range(rank))
    entries = (dims,) if isinstance(dims, int) else dims
    return tuple(normal_dim(d, rank) for d in entries)


def moved_dims(layout: Layout, order: Sequence[int]) -> Layout:
    """The layout with its dimensions in another order."""
    return replace(layout, dims=tuple(layout.dims[d] for d in order))


def join_dims(*dims: Dim) -> Dim:
    """Neighbouring dimensions as one product."""
    return canonical(f for dim in dims for f in dim)


def require_plain(layout: Layout, dim: int, what: str) -> int:
    """The size of ``dim``; raises GeometryError where it holds an axis."""
    if layout.axes_in([dim]):
        raise GeometryError(f"{what} along a dimension that holds a spatial axis")
    return size_of(layout.dims[dim])


def seeing_less(layout: Layout, dim: int) -> Layout:
    """The layout, of which some channels see less along a dimension than is known of all."""
    axis = layout.axis_in(dim)
    if axis is None:
        return layout
    return with_axis(layout, axis, replace(layout.geometry(axis), mixed=True))
