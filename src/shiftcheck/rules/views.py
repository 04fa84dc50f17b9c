"""Views, permutations and slices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from shiftcheck.lattice.axis import GeometryError, resample, window
from shiftcheck.lattice.broadcasting import broadcast
from shiftcheck.lattice.causes import lose, with_cause
from shiftcheck.lattice.factors import plain, uniform
from shiftcheck.lattice.frequencies import at_frequencies
from shiftcheck.lattice.joined import pieces_in
from shiftcheck.lattice.layout import Layout, no_longer_uniform, with_axis, with_dim, with_dims
from shiftcheck.lattice.notes import as_slice, as_whole, by_recipe, recipe_of_part, whole_of
from shiftcheck.lattice.views import regroup
from shiftcheck.lattice.windows import opened, picked
from shiftcheck.report.causes import Cause, CauseForm, CauseKind
from shiftcheck.rules.common import join_dims, moved_dims, need_layout, normal_dim, uncoupled
from shiftcheck.rules.note_causes import note_new_causes
from shiftcheck.rules.operands import BatchCoupledError, Constant
from shiftcheck.rules.registry import register_rule

SAME = "1 -> 1; a view that cuts across an axis loses it"


def full_shape(shape: Sequence[int], numel: int) -> tuple[int, ...]:
    """A shape with its -1 worked out."""
    if -1 not in shape:
        return tuple(shape)
    known = -math.prod(shape)
    return tuple(numel // known if known and n == -1 else n for n in shape)


@register_rule(
    "aten::view",
    "aten::reshape",
    "aten::_unsafe_view",
    "aten::view_copy",
    law=SAME,
    keeps_frequencies=True,
)
def view(x: object, shape: Sequence[int]) -> Layout:
    """The same values in another shape; copies that get mixed up couple the batch."""
    layout = need_layout(x, "the viewed tensor")
    try:
        return regroup(layout, full_shape(shape, math.prod(layout.shape)))
    except GeometryError as error:
        if "cuts across the batch" in str(error):
            raise BatchCoupledError(str(error)) from error
        raise


@register_rule("aten::flatten", law=SAME, keeps_frequencies=True)
def flatten(x: object, start_dim: int = 0, end_dim: int = -1) -> Layout:
    """Several dimensions as one."""
    layout = need_layout(x, "the flattened tensor")
    rank = len(layout.dims)
    start, end = normal_dim(start_dim, rank), normal_dim(end_dim, rank)
    merged = join_dims(*layout.dims[start : end + 1])
    return with_dims(layout, (*layout.dims[:start], merged, *layout.dims[end + 1 :]))


@register_rule("aten::unflatten", law=SAME, keeps_frequencies=True)
def unflatten(x: object, dim: int, sizes: Sequence[int]) -> Layout:
    """One dimension as several."""
    layout = need_layout(x, "the unflattened tensor")
    at = normal_dim(dim, len(layout.dims))
    new = full_shape(sizes, layout.shape[at])
    return regroup(layout, (*layout.shape[:at], *new, *layout.shape[at + 1 :]))


@register_rule("aten::permute", law="1 -> 1", keeps_frequencies=True)
def permute(x: object, dims: Sequence[int]) -> Layout:
    """Dimensions in another order."""
    layout = need_layout(x, "the permuted tensor")
    return moved_dims(layout, [normal_dim(d, len(layout.dims)) for d in dims])


@register_rule(
    "aten::transpose", "aten::swapaxes", "aten::swapdims", law="1 -> 1", keeps_frequencies=True
)
def transpose(x: object, dim0: int, dim1: int) -> Layout:
    """Two dimensions swapped."""
    layout = need_layout(x, "the transposed tensor")
    order = list(range(len(layout.dims)))
    a, b = normal_dim(dim0, len(order)), normal_dim(dim1, len(order))
    order[a], order[b] = order[b], order[a]
    return moved_dims(layout, order)


@register_rule("aten::t", "aten::numpy_T", law="1 -> 1", keeps_frequencies=True)
def t(x: object) -> Layout:
    """A matrix transposed."""
    layout = need_layout(x, "the transposed tensor")
    if len(layout.dims) > 2:
        raise GeometryError("the transpose of a tensor of more than two dimensions")
    return moved_dims(layout, list(range(len(layout.dims)))[::-1])


@register_rule("aten::mT", law="1 -> 1")
def matrix_transpose(x: object) -> Layout:
    """The last two dimensions swapped."""
    return transpose(x, -2, -1)


@register_rule("aten::movedim", "aten::moveaxis", law="1 -> 1", keeps_frequencies=True)
def movedim(x: object, source: int | Sequence[int], destination: int | Sequence[int]) -> Layout:
    """Dimensions moved to other places, the others in their order."""
    layout = need_layout(x, "the moved tensor")
    rank = len(layout.dims)
    sources = [source] if isinstance(source, int) else list(source)
    places = [destination] if isinstance(destination, int) else list(destination)
    placed = {
        normal_dim(p, rank): normal_dim(s, rank) for p, s in zip(places, sources, strict=True)
    }
    rest = iter(d for d in range(rank) if d not in placed.values())
    return moved_dims(layout, [placed[d] if d in placed else next(rest) for d in range(rank)])


@register_rule("aten::unsqueeze", law="1 -> 1", keeps_frequencies=True)
def unsqueeze(x: object, dim: int) -> Layout:
    """A new dimension of size 1."""
    layout = need_layout(x, "the tensor")
    at = normal_dim(dim, len(layout.dims) + 1)
    return with_dims(layout, (*layout.dims[:at], (), *layout.dims[at:]))


@register_rule("aten::squeeze", law="1 -> 1", keeps_frequencies=True)
def squeeze(x: object, dim: int | Sequence[int] | None = None) -> Layout:
    """Dimensions of size 1 dropped."""
    layout = need_layout(x, "the squeezed tensor")
    rank = len(layout.dims)
    if dim is None:
        wanted = set(range(rank))
    else:
        wanted = {normal_dim(d, rank) for d in ([dim] if isinstance(dim, int) else dim)}
    dropped = [d for d in wanted if layout.shape[d] == 1]
    return with_dims(layout, [f for d, f in enumerate(layout.dims) if d not in dropped])


@register_rule("aten::expand", law="1 -> 1", keeps_uniform=True, keeps_frequencies=True)
def expand(x: object, size: Sequence[int], *, implicit: bool = False) -> Layout:
    """Dimensions of size 1 repeated without a copy."""
    layout = need_layout(x, "the expanded tensor")
    extra = len(size) - len(layout.dims)
    padded = with_dims(layout, [()] * extra + list(layout.dims))
    target = [old if new == -1 else new for old, new in zip(padded.shape, size, strict=True)]
    padded = _one_for_all(padded, [d for d, n in enumerate(target) if n != padded.shape[d]])
    out = broadcast([padded], [target])
    single = [d for d, dim in enumerate(padded.dims) if dim == ()]
    dims = [uniform(target[d]) if d in single else dim for d, dim in enumerate(out.dims)]
    return with_dims(out, dims)


def _one_for_all(layout: Layout, dims: Sequence[int]) -> Layout:
    """The layout after the only sample of an axis along each of ``dims`` came to stand for all."""
    cause = Cause(kind=CauseKind.INDEX, detail="one sample stands for the whole axis")
    out = lose(layout, layout.axes_in(dims), cause)
    return with_dims(out, [() if d in dims else dim for d, dim in enumerate(out.dims)])


@register_rule("aten::expand_as", law="1 -> 1", keeps_uniform=True)
def expand_as(x: object, other: object) -> Layout | Constant:
    """Expanded to the shape of ``other``; a constant stays one."""
    assert isinstance(other, Layout | Constant)
    return x if isinstance(x, Constant) else expand(x, other.shape)


@register_rule("aten::slice", law="step -> 1", keeps_frequencies=True)
def slice_(
    x: object, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Layout:
    """Every ``step``-th sample from ``start`` up to ``end``."""
    layout = need_layout(x, "the sliced tensor")
    at = normal_dim(dim, len(layout.dims))
    chosen = range(*slice(start, end, step).indices(layout.shape[at]))
    return take_range(layout, at, chosen)


SINGLE = Cause(
    kind=CauseKind.INDEX,
    detail="one sample at a fixed place is all that is left of the axis",
    form=CauseForm.SINGLE,
)


def take_range(layout: Layout, dim: int, chosen: range) -> Layout:
    """The samples ``chosen`` of dimension ``dim``."""
    if chosen == range(layout.shape[dim]) and chosen.step == 1:
        return as_whole(layout, dim)
    layout = whole_of(layout)
    uncoupled(layout, [dim], "a slice of the batch")
    whole, layout = layout, opened(layout, [dim])
    waves = at_frequencies(layout, dim, chosen)
    if waves is not None:
        return waves
    axis = layout.axis_in(dim)
    if axis is not None:
        if len(chosen) == 0:
            raise GeometryError("a slice takes nothing of a spatial axis")
        taps = window(chosen.step, [chosen.start])
        out = with_axis(layout, axis, resample(layout.geometry(axis), taps, len(chosen)))
        out = note_new_causes(layout, out)
        if len(chosen) == 1 and chosen.step == 1:
            out = with_cause(out, replace(SINGLE, axis=axis))
        part = as_slice(out, whole, dim, chosen)
        return by_recipe(part, recipe_of_part(whole, axis, chosen, layout.geometry(axis).stride))
    kept = pieces_in(layout.dims[dim], chosen)
    if kept is not None:
        return with_dim(layout, dim, kept)
    if layout.dims[dim] == uniform(layout.shape[dim]):
        return with_dim(layout, dim, uniform(len(chosen)))
    one = picked(layout, dim, chosen.start) if len(chosen) == 1 else None
    if one is not None:
        return note_new_causes(layout, one)
    cause = Cause(kind=CauseKind.INDEX, detail="a slice of a flattened axis")
    return with_dim(lose(layout, layout.axes_in([dim]), cause), dim, plain(len(chosen)))


@register_rule("aten::narrow", law="1 -> 1", keeps_frequencies=True)
def narrow(x: object, dim: int, start: int, length: int) -> Layout:
    """``length`` samples from ``start``."""
    layout = need_layout(x, "the narrowed tensor")
    at = normal_dim(dim, len(layout.dims))
    begin = start + layout.shape[at] if start < 0 else start
    return take_range(layout, at, range(begin, begin + length))


@register_rule("aten::select", law="1 -> 1 along other dimensions; along an axis: none (INDEX)")
def select(x: object, dim: int, index: int) -> Layout:
    """One sample at a fixed place."""
    layout = need_layout(x, "the tensor that is selected from")
    at = normal_dim(dim, len(layout.dims))
    uncoupled(layout, [at], "a selection from the batch")
    place = normal_dim(index, layout.shape[at])
    whole = pieces_in(layout.dims[at], range(place, place + 1))
    one = with_dim(layout, at, whole) if whole is not None else picked(layout, at, place)
    if one is not None:
        out = note_new_causes(layout, one)
    else:
        cause = Cause(kind=CauseKind.INDEX, detail=f"sample {index} is taken at a fixed place")
        out = lose(layout, layout.axes_in([at]), cause)
    return with_dims(out, [f for d, f in enumerate(out.dims) if d != at])


def _pieces(layout: Layout, dim: int, sizes: Sequence[int]) -> tuple[Layout, ...]:
    at = normal_dim(dim, len(layout.dims))
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(
        take_range(layout, at, range(a, a + n)) for a, n in zip(starts, sizes, strict=True)
    )


@register_rule(
    "aten::split",
    "aten::split_with_sizes",
    "aten::unsafe_split",
    law="1 -> 1",
    keeps_frequencies=True,
)
def split(x: object, split_size: int | Sequence[int], dim: int = 0) -> tuple[Layout, ...]:
    """Pieces of a size, or of sizes."""
    layout = need_layout(x, "the split tensor")
    total = layout.shape[normal_dim(dim, len(layout.dims))]
    if isinstance(split_size, int):
        sizes = [min(split_size, total - a) for a in range(0, total, split_size)]
    else:
        sizes = list(split_size)
    return _pieces(layout, dim, sizes)


@register_rule("aten::chunk", "aten::unsafe_chunk", law="1 -> 1", keeps_frequencies=True)
def chunk(x: object, chunks: int, dim: int = 0) -> tuple[Layout, ...]:
    """Pieces of equal size but for the last."""
    layout = need_layout(x, "the chunked tensor")
    total = layout.shape[normal_dim(dim, len(layout.dims))]
    return split(layout, max(1, -(-total // chunks)), dim)


@register_rule("aten::unbind", law="as select")
def unbind(x: object, dim: int = 0) -> tuple[Layout, ...]:
    """Each sample of a dimension for itself."""
    layout = need_layout(x, "the unbound tensor")
    count = layout.shape[normal_dim(dim, len(layout.dims))]
    return tuple(select(layout, dim, i) for i in range(count))


@register_rule(
    "aten::contiguous",
    "aten::clone.default",  # torch calls it pointwise
    "aten::clone",
    "aten::detach",
    "aten::alias",
    "aten::lift_fresh",
    "aten::positive",
    "aten::resolve_conj",
    "aten::resolve_neg",
    law="1 -> 1",
    keeps_uniform=True,
    keeps_frequencies=True,
)
def same(x: object, *_: object, **__: object) -> Layout | Constant:
    """The same values in this or another memory."""
    if isinstance(x, Constant):
        return x
    layout = need_layout(x, "the tensor")
    return as_whole(layout, 0) if layout.dims else layout


@register_rule(
    "aten::to",
    "aten::_to_copy",
    "aten::type_as",
    "aten::float",
    "aten::double",
    "aten::half",
    "aten::bfloat16",
    "aten::view_as",
    law="1 -> 1",
    keeps_uniform=True,
)
def converted(x: object, *options: object, **_: object) -> Layout | Constant:
    """The same values, of another type, or in the shape of another tensor."""
    if isinstance(x, Constant):
        return x
    layout = need_layout(x, "the tensor")
    other = options[0] if options else None
    if isinstance(other, Layout | Constant) and other.shape != layout.shape:
        return regroup(no_longer_uniform(layout), other.shape)
    return layout
