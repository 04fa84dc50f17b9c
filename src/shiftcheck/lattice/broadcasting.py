"""The layout of a value that is computed from several tensors, or from many samples of one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shiftcheck.lattice.axis import Axis, GeometryError, globalise, join
from shiftcheck.lattice.causes import merge_causes, without_geometry
from shiftcheck.lattice.factors import SPATIAL, Dim, flat, plain, size_of, uniform
from shiftcheck.lattice.layout import AxisState, Gone, Layout, Lost, Waves, with_dims
from shiftcheck.lattice.windows import aligned, contracted


def _common(gone: Sequence[Gone]) -> Gone:
    return Gone(
        exact=all(g.exact for g in gone),
        lattice=math.lcm(*(g.lattice for g in gone)),
        broken=any(g.broken for g in gone),
        anchored=any(g.anchored for g in gone),
    )


def lost_alike(layouts: Sequence[Layout]) -> list[Layout]:
    """The layouts, each without the geometry of every axis that another one has lost before.

    What is made of them has lost it too, for the cause that the other one holds.
    """
    states = [(a, state) for s in layouts for a, state in enumerate(s.axes)]
    lost = {a: state for a, state in reversed(states) if isinstance(state, Lost)}
    return [without_geometry(s, lost) if lost else s for s in layouts]


def reduce_dims(layout: Layout, dims: Sequence[int], *, keepdim: bool) -> tuple[Layout, list[int]]:
    """The layout after a reduction over ``dims``, and the axes that it reduced."""
    reduced = list(layout.axes_in(dims))
    layout = contracted(layout, dims)
    left = [
        () if d in dims else dim for d, dim in enumerate(layout.dims) if keepdim or d not in dims
    ]
    return with_dims(layout, left), reduced


def broadcast(layouts: Sequence[Layout], shapes: Sequence[Sequence[int]] = ()) -> Layout:
    """The layout of a pointwise operation on several layouts and constants of ``shapes``.

    Raises GeometryError where their dimensions do not line up.
    """
    layouts = aligned(layouts)
    rank = max(len(s) for s in [*(s.shape for s in layouts), *shapes])
    dims = [_broadcast_dim(layouts, shapes, d - rank) for d in range(rank)]
    return _combine(layouts, dims)


def _combine(layouts: Sequence[Layout], dims: Sequence[Dim]) -> Layout:
    along = [f for dim in dims for f in flat(dim) if f.kind == "axis"]
    placed = {f.axis for dim in dims for f in flat(dim) if f.kind in SPATIAL}
    states = tuple(
        join_states([s.axes[a] for s in layouts], present=a in placed)
        for a in range(len(layouts[0].axes))
    )
    for axis, state in enumerate(states):
        sizes = [f.size for f in along if f.axis == axis]
        if sizes and isinstance(state, Axis) and math.prod(sizes) != state.size:
            raise GeometryError("one spatial axis would fill two dimensions")
    return Layout(tuple(dims), states, merge_causes(layouts))


def _broadcast_dim(
    layouts: Sequence[Layout], shapes: Sequence[Sequence[int]], position: int
) -> Dim:
    given = [s.dims[position] for s in layouts if len(s.dims) >= -position]
    sizes = [shape[position] for shape in shapes if len(shape) >= -position]
    size = max([1, *(size_of(d) for d in given), *sizes])
    if 0 in [*(size_of(d) for d in given), *sizes]:
        raise GeometryError("a dimension is empty")
    same = uniform(size)
    named = {d for d in given if size_of(d) == size and any(f.kind != "plain" for f in d)} - {same}
    stretched = [d for d in given if size_of(d) < size and any(f.kind in SPATIAL for f in flat(d))]
    if stretched:
        raise GeometryError("a spatial axis of size 1 is stretched")
    if len(named) > 1 or (named and size > 1 and plain(size) in given):
        raise GeometryError("dimensions of different meaning are combined")
    alike = all(d in ((), same) for d in given)  # what varies there is a constant, if anything
    return next(iter(named), same if alike else plain(size))


def join_states(states: Sequence[AxisState], *, present: bool) -> AxisState:
    """One axis of a value made of several; ``present``: the result has a dimension for it."""
    lost = [s for s in states if isinstance(s, Lost)]
    if lost:
        if present:
            raise GeometryError("an axis without geometry meets one that has it")
        return lost[0]
    waves = [s for s in states if isinstance(s, Waves)]
    if waves:
        return _join_waves(waves, states)
    axes = [s for s in states if isinstance(s, Axis)]
    gone = [s for s in states if isinstance(s, Gone)]
    if not axes:
        return _common(gone) if gone else None
    out = axes[0]
    for other in axes[1:]:
        out = join(out, other)
    if not gone:
        return out
    common = _common(gone)
    return globalise(
        out,
        exact=common.exact,
        lattice=common.lattice,
        broken=common.broken,
        anchored=common.anchored,
    )


def _join_waves(waves: Sequence[Waves], states: Sequence[AxisState]) -> Waves:
    if len({w.bins for w in waves}) > 1 or len(waves) < len(states):
        raise GeometryError("frequencies are combined with others, or with what has none")
    axis = join_states([w.axis for w in waves], present=True)
    assert isinstance(axis, Axis)
    return Waves(axis, waves[0].bins)
