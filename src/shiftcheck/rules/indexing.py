"""Samples taken at fixed places: rolls, flips, lists of indices, repetitions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftcheck.lattice.axis import Axis, GeometryError, all_valid
from shiftcheck.lattice.causes import lose, with_cause
from shiftcheck.lattice.factors import plain, uniform
from shiftcheck.lattice.frequencies import at_frequencies
from shiftcheck.lattice.gather import take
from shiftcheck.lattice.layout import Layout, no_longer_uniform, with_axis, with_dim, with_dims
from shiftcheck.lattice.windows import opened
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.rules.common import (
    combined,
    need_layout,
    no_layout,
    normal_dim,
    seeing_less,
    uncoupled,
)
from shiftcheck.rules.constants import stochastic, with_constants
from shiftcheck.rules.embedding import looked_up
from shiftcheck.rules.note_causes import note_new_causes
from shiftcheck.rules.operands import BatchCoupledError, Constant
from shiftcheck.rules.registry import register_rule

LAW = "n -> m where the indices advance by n in m samples; a seam is invalid; no pattern: INDEX"
Places = NDArray[np.intp]


def taken(
    layout: Layout,
    dim: int,
    places: Places,
    what: str,
    *,
    forward: bool = False,
    stored: tuple[int, int] | None = None,
) -> Layout:
    """The samples at ``places`` along a dimension, counted from the front.

    ``stored``: from the first to before the last sample that there is to be taken.
    """
    if places.tolist() == list(range(layout.shape[dim])):
        return layout
    uncoupled(layout, [dim], what)
    layout = opened(layout, [dim])
    waves = at_frequencies(layout, dim, places.tolist())
    if waves is not None:
        return waves
    axis = layout.axis_in(dim)
    if axis is None:
        if layout.axes_in([dim]):
            raise GeometryError(f"{what} along a dimension that holds more than an axis")
        single = layout.shape[dim] == 1
        return with_dim(layout, dim, uniform(len(places)) if single else plain(len(places)))
    if len(places) == 0:
        raise GeometryError(f"{what} takes nothing of a spatial axis")
    state = layout.geometry(axis)
    try:
        new = take(state, places, forward=forward, stored=stored)
    except GeometryError as error:
        lost = lose(layout, [axis], Cause(kind=CauseKind.INDEX, detail=f"{what}: {error}"))
        return with_dim(lost, dim, plain(len(places)))
    out = note_new_causes(layout, with_axis(layout, axis, new))
    seam = not take(all_valid(state), places, forward=forward).valid.all()
    return _note_seam(out, axis, state, new, what) if seam else out


def _note_seam(out: Layout, axis: int, old: Axis, new: Axis, what: str) -> Layout:
    if new.circular and not (old.closed and new.circle):
        return out
    detail = f"{what} leaves a seam at a fixed place"
    if new.circular or new.different is not None:
        out = with_cause(out, Cause(kind=CauseKind.INDEX, axis=axis, detail=detail))
    if not new.circular and not new.readable.all():
        out = with_cause(out, Cause(kind=CauseKind.PADDING, axis=axis, detail=detail))
    return out


def places_of(index: object, size: int, what: str) -> Places:
    """The values of a constant list of indices, or the places that a constant mask keeps."""
    no_layout(index, f"the index of {what}")
    assert isinstance(index, Constant)
    values = index.values()
    if values is None:
        raise GeometryError(f"the indices of {what} are not known")
    if values.dtype.kind not in "bui":
        raise GeometryError(f"the indices of {what} are no whole numbers")
    if values.dtype == np.bool_:
        return np.flatnonzero(values)
    return np.where(values < 0, values + size, values).astype(np.intp)


@register_rule(
    "aten::roll",
    law="1 -> 1; a seam is invalid, on one turn of a circle exact",
    keeps_frequencies=True,
)
def roll(x: object, shifts: int | Sequence[int], dims: int | Sequence[int] = ()) -> Layout:
    """What leaves at one end enters at the other."""
    layout = need_layout(x, "the rolled tensor")
    steps = [shifts] if isinstance(shifts, int) else list(shifts)
    places = [dims] if isinstance(dims, int) else list(dims)
    if not places:
        raise GeometryError("a roll of the flattened tensor")
    for step, dim in zip(steps, places, strict=True):
        at = normal_dim(dim, len(layout.dims))
        size = layout.shape[at]
        layout = taken(layout, at, (np.arange(size) - step) % max(size, 1), "a roll", forward=True)
    return layout


@register_rule("aten::flip", law="1 -> -1; two flips restore the stride", keeps_frequencies=True)
def flip(x: object, dims: Sequence[int] = ()) -> Layout:
    """Dimensions in reverse; two flips restore the stride."""
    layout = need_layout(x, "the flipped tensor")
    for dim in dims:
        at = normal_dim(dim, len(layout.dims))
        layout = taken(layout, at, np.arange(layout.shape[at])[::-1], "a flip")
    return layout


@register_rule("aten::fliplr", law="as flip")
def fliplr(x: object) -> Layout:
    """The second dimension in reverse."""
    return flip(x, [1])


@register_rule("aten::flipud", law="as flip")
def flipud(x: object) -> Layout:
    """The first dimension in reverse."""
    return flip(x, [0])


@register_rule("aten::rot90", law="a flip and a transpose: 1 -> -1 on one of the axes")
def rot90(x: object, k: int = 1, dims: Sequence[int] = (0, 1)) -> Layout:
    """A rotation by ``k`` quarter turns in the plane of two dimensions."""
    layout = need_layout(x, "the rotated tensor")
    turned = {0: [], 1: [dims[1]], 2: list(dims), 3: [dims[0]]}[k % 4]
    out = flip(layout, turned)
    if k % 2 == 0:
        return out
    a, b = (normal_dim(d, len(out.dims)) for d in dims)
    return out.with_factors(a, out.dims[b]).with_factors(b, out.dims[a])


@register_rule("aten::index_select", law=LAW, keeps_frequencies=True)
def index_select(x: object, dim: int, index: object) -> Layout:
    """The samples of a dimension at a list of indices; a table may be looked up with a signal."""
    if isinstance(index, Layout):
        no_layout(x, "the table of a look-up")
        assert isinstance(x, Constant)
        return looked_up(x, normal_dim(dim, len(x.shape)), index)
    layout = need_layout(x, "the tensor that is selected from")
    at = normal_dim(dim, len(layout.dims))
    return _selected(layout, at, index, "a selection")


def _selected(layout: Layout, at: int, index: object, what: str) -> Layout:
    """Selected along one dimension; where it holds no axis, how many is all there is to know."""
    assert isinstance(index, Constant)
    if not layout.axes_in([at]) and index.values() is None:
        places = np.zeros(index.shape, np.intp)
    else:
        places = places_of(index, layout.shape[at], what)
    out = taken(layout, at, places.reshape(-1), what)
    return stochastic(out) if index.random else out


@register_rule(
    "aten::diagonal",
    "aten::diagonal_copy",
    "aten::linalg_diagonal",
    law="1 -> 1 along other dimensions; over an axis: none (INDEX)",
    source="torch.diagonal",
)
def diagonal(
    x: object, offset: int = 0, dim1: int | None = None, dim2: int | None = None
) -> Layout:
    """The entries of two dimensions with one index, along a new last dimension."""
    layout = need_layout(x, "the tensor")
    rank = len(layout.dims)
    first, second = 0 if dim1 is None else dim1, 1 if dim2 is None else dim2
    a, b = normal_dim(first, rank), normal_dim(second, rank)
    uncoupled(layout, [a, b], "a diagonal")
    cause = Cause(kind=CauseKind.INDEX, detail="a diagonal takes samples at fixed places")
    lost = lose(layout, layout.axes_in([a, b]), cause)
    rows, columns = lost.shape[a], lost.shape[b]
    length = min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns)
    kept = [dim for d, dim in enumerate(lost.dims) if d not in (a, b)]
    return with_dims(lost, [*kept, plain(max(length, 0))])


@register_rule("aten::index.Tensor", law=LAW)
def index(x: object, indices: Sequence[object]) -> Layout:
    """``x[..., indices, ...]`` with constant lists or masks, each along a dimension of its own."""
    given = [(d, i) for d, i in enumerate(indices) if i is not None]
    if isinstance(x, Constant):
        return _table_index(x, given)
    layout = need_layout(x, "the indexed tensor")
    if any(isinstance(i, Layout) for _, i in given):
        return _chosen_for_each(layout, given)
    constants = [(d, i) for d, i in given if isinstance(i, Constant)]
    if len(constants) == 1:
        return _index_once(layout, *constants[0])
    return _index_grid(layout, constants)


def _chosen_for_each(layout: Layout, given: Sequence[tuple[int, object]]) -> Layout:
    """``x[arange(batch), chosen]``: for each element of the batch, an index of its own."""
    rest = GeometryError("the indices depend on the input")
    if [d for d, _ in given] != [0, 1]:
        raise rest
    (_, every), (_, chosen) = given
    batch = layout.shape[0]
    if not isinstance(every, Constant) or not isinstance(chosen, Layout) or every.random:
        raise rest
    places = places_of(every, batch, "a list of indices")
    if chosen.shape != (batch,) or places.tolist() != list(range(batch)):
        raise rest
    return _weighed(layout, 1, with_dims(chosen, [chosen.dims[0], *[()] * (len(layout.dims) - 1)]))


def _weighed(layout: Layout, at: int, chosen: Layout) -> Layout:
    """What is left of a dimension of which one entry is chosen, as by a sum with a mask."""
    uncoupled(layout, [at], "a choice")
    if layout.axes_in([at]):
        raise GeometryError("the indices along an axis depend on the input")
    left = combined([with_dim(layout, at, ()), chosen])
    return with_dims(left, [d for i, d in enumerate(left.dims) if i != at])


def _table_index(table: Constant, given: Sequence[tuple[int, object]]) -> Layout:
    if len(given) != 1 or not isinstance(given[0][1], Layout):
        raise GeometryError("a table is looked up with more than one index")
    return looked_up(table, given[0][0], given[0][1])


def _index_once(layout: Layout, dim: int, index: Constant) -> Layout:
    if len(index.shape) == 1:
        return _selected(layout, dim, index, "a list of indices")
    places = places_of(index, layout.shape[dim], "a list of indices")
    if places.shape != index.shape:
        raise GeometryError("a mask over several dimensions")
    out = _columns(layout, dim, places)
    return stochastic(out) if index.random else out


def _columns(layout: Layout, dim: int, places: Places) -> Layout:
    """An index of several dimensions: the first one follows the axis, the others are new."""
    new = [plain(n) for n in places.shape[1:]]
    columns = places.reshape(places.shape[0], -1).T
    what = "a list of indices"
    if not layout.axes_in([dim]):
        out = taken(layout, dim, columns[0], what)
    else:
        out = seeing_less(combined([taken(layout, dim, column, what) for column in columns]), dim)
    return with_dims(out, [*out.dims[: dim + 1], *new, *out.dims[dim + 1 :]])


def _index_grid(layout: Layout, given: Sequence[tuple[int, Constant]]) -> Layout:
    """Several lists that together pick a grid: each varies along a dimension of its own."""
    dims = [d for d, _ in given]
    rank = max(len(i.shape) for _, i in given)
    if dims != list(range(dims[0], dims[0] + rank)) or len(dims) != rank:
        raise GeometryError("several lists of indices that make no grid")
    out = layout
    for position, (dim, index) in enumerate(given):
        places = places_of(index, layout.shape[dim], "a list of indices")
        shape = (1,) * (rank - len(index.shape)) + index.shape
        if places.shape != index.shape or any(n > 1 for i, n in enumerate(shape) if i != position):
            raise GeometryError("several lists of indices that make no grid")
        out = taken(out, dim, places.reshape(-1), "a list of indices")
        out = stochastic(out) if index.random else out
    return out


@register_rule("aten::gather", law=LAW, keeps_uniform=True)
def gather(x: object, dim: int, index: object, **_: object) -> Layout:
    """The sample of a dimension that an index names, for each place of the others."""
    if isinstance(x, Constant) and isinstance(index, Layout):
        return _gathered_from_table(x, normal_dim(dim, len(x.shape)), index)
    layout = need_layout(x, "the tensor that is gathered from")
    at = normal_dim(dim, len(layout.dims))
    if isinstance(index, Layout):
        return _gathered_by_layout(layout, at, index)
    assert isinstance(index, Constant)
    layout = no_longer_uniform(layout)
    _same_but(layout, at, index.shape, "a gather")
    if not layout.axes_in([at]):
        uncoupled(layout, [at], "a gather")
        return with_constants(with_dim(layout, at, plain(index.shape[at])), [index])
    places = np.moveaxis(places_of(index, layout.shape[at], "a gather"), at, 0)
    rows = places.reshape(len(places), -1)
    if (rows != rows[:, :1]).any():
        raise GeometryError("a gather along an axis with other indices at each place")
    out = taken(layout, at, rows[:, 0], "a gather")
    return stochastic(out) if index.random else out


def _gathered_from_table(table: Constant, at: int, index: Layout) -> Layout:
    """What a constant table has for each sample of an index, where all places have the same."""
    places = math.prod(n for d, n in enumerate(table.shape) if d != at)
    values = table.values() if places > 1 else None
    if places > 1 and values is None:
        raise GeometryError("a gather from a table of which the values are not known")
    each = np.zeros((1, 1)) if values is None else np.moveaxis(values, at, -1)
    rows = each.reshape(-1, each.shape[-1])
    if (rows != rows[:1]).any():
        raise GeometryError("a gather from a table that is another one at each place")
    return stochastic(index) if table.random else index


def _gathered_by_layout(layout: Layout, at: int, index: Layout) -> Layout:
    uncoupled(layout, [at], "a gather")
    uncoupled(index, [at], "a gather")
    if layout.axes_in([at]) or index.axes_in([at]):
        raise GeometryError("a gather along an axis with indices that depend on the input")
    _same_but(layout, at, index.shape, "a gather")
    return with_dim(
        combined([with_dim(layout, at, ()), with_dim(index, at, ())]), at, index.dims[at]
    )


def _same_but(layout: Layout, at: int, shape: Sequence[int], what: str) -> None:
    """Raise where ``shape`` differs from the layout's in another dimension than ``at``."""
    for d, (n, m) in enumerate(zip(layout.shape, shape, strict=True)):
        if d != at and n != m:
            if layout.holds_copies([d]):
                raise BatchCoupledError(f"{what} with indices for some elements of the batch")
            raise GeometryError(f"{what} with indices for a part of the places only")


@register_rule("aten::repeat", law="1 -> 1; along an axis a seam is invalid")
def repeat(x: object, repeats: Sequence[int]) -> Layout:
    """The whole tensor, several times along dimensions."""
    layout = need_layout(x, "the repeated tensor")
    extra = [plain(n) for n in repeats[: len(repeats) - len(layout.dims)]]
    out = layout
    for dim, times in enumerate(repeats[len(extra) :]):
        if times != 1:
            out = taken(out, dim, np.tile(np.arange(layout.shape[dim]), times), "a repetition")
    return with_dims(out, [*extra, *out.dims])


@register_rule("aten::tile", law="as repeat")
def tile(x: object, dims: Sequence[int]) -> Layout:
    """As repeat, with ones put in front where there are fewer numbers than dimensions."""
    layout = need_layout(x, "the repeated tensor")
    return repeat(layout, [*[1] * (len(layout.dims) - len(dims)), *dims])


@register_rule("aten::repeat_interleave.self_int", law="1 -> n along an axis")
def repeat_interleave(x: object, repeats: int, dim: int | None = None, **_: object) -> Layout:
    """Every sample ``repeats`` times in a row."""
    return _interleaved(x, dim, lambda size: np.repeat(np.arange(size), repeats))


@register_rule("aten::repeat_interleave.self_Tensor", law="as index_select")
def repeat_interleave_each(
    x: object, repeats: object, dim: int | None = None, **_: object
) -> Layout:
    """Every sample so many times in a row as a constant says."""
    counts = places_of(repeats, 0, "a repetition")
    return _interleaved(x, dim, lambda size: np.repeat(np.arange(size), counts))


def _interleaved(x: object, dim: int | None, places: Callable[[int], Any]) -> Layout:
    layout = need_layout(x, "the repeated tensor")
    if dim is None and len(layout.dims) > 1:
        raise GeometryError("a repetition of the flattened tensor")
    at = normal_dim(dim or 0, len(layout.dims))
    return taken(layout, at, places(layout.shape[at]), "a repetition")
