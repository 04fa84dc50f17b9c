"""Views, permutations, slices, and putting tensors together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from shiftcheck.lattice.axis import GeometryError, resample, window
from shiftcheck.lattice.broadcasting import broadcast
from shiftcheck.lattice.frequencies import at_frequencies
from shiftcheck.lattice.joined import pieces_in
from shiftcheck.lattice.layout import (
    Signal,
    as_slice,
    by_recipe,
    lose,
    no_longer_uniform,
    plain,
    recipe_of_part,
    regroup,
    uniform,
    with_axis,
    with_cause,
    with_dim,
    with_dims,
)
from shiftcheck.lattice.windows import opened, picked
from shiftcheck.report.causes import Cause, CauseForm, CauseKind
from shiftcheck.rules.common import (
    join_dims,
    moved_dims,
    need_signal,
    normal_dim,
    uncoupled,
)
from shiftcheck.rules.note_causes import note_new_causes
from shiftcheck.rules.operands import BatchCoupledError, Constant
from shiftcheck.rules.registry import keeps_uniform, register_rule

SAME = "1 -> 1; a view that cuts across an axis loses it"


def full_shape(shape: Sequence[int], numel: int) -> tuple[int, ...]:
    """A shape with its -1 worked out."""
    if -1 not in shape:
        return tuple(shape)
    known = -math.prod(shape)
    return tuple(numel // known if known and n == -1 else n for n in shape)


@register_rule("aten::view", "aten::reshape", "aten::_unsafe_view", "aten::view_copy", law=SAME)
def view(x: object, shape: Sequence[int]) -> Signal:
    """The same values in another shape; copies that get mixed up couple the batch."""
    signal = need_signal(x, "the viewed tensor")
    try:
        return regroup(signal, full_shape(shape, math.prod(signal.shape)))
    except GeometryError as error:
        if "cuts across the batch" in str(error):
            raise BatchCoupledError(str(error)) from error
        raise


@register_rule("aten::flatten", law=SAME)
def flatten(x: object, start_dim: int = 0, end_dim: int = -1) -> Signal:
    """Several dimensions as one."""
    signal = need_signal(x, "the flattened tensor")
    rank = len(signal.dims)
    start, end = normal_dim(start_dim, rank), normal_dim(end_dim, rank)
    merged = join_dims(*signal.dims[start : end + 1])
    return with_dims(signal, (*signal.dims[:start], merged, *signal.dims[end + 1 :]))


@register_rule("aten::unflatten", law=SAME)
def unflatten(x: object, dim: int, sizes: Sequence[int]) -> Signal:
    """One dimension as several."""
    signal = need_signal(x, "the unflattened tensor")
    at = normal_dim(dim, len(signal.dims))
    new = full_shape(sizes, signal.shape[at])
    return regroup(signal, (*signal.shape[:at], *new, *signal.shape[at + 1 :]))


@register_rule("aten::permute", law="1 -> 1")
def permute(x: object, dims: Sequence[int]) -> Signal:
    """Dimensions in another order."""
    signal = need_signal(x, "the permuted tensor")
    return moved_dims(signal, [normal_dim(d, len(signal.dims)) for d in dims])


@register_rule("aten::transpose", "aten::swapaxes", "aten::swapdims", law="1 -> 1")
def transpose(x: object, dim0: int, dim1: int) -> Signal:
    """Two dimensions swapped."""
    signal = need_signal(x, "the transposed tensor")
    order = list(range(len(signal.dims)))
    a, b = normal_dim(dim0, len(order)), normal_dim(dim1, len(order))
    order[a], order[b] = order[b], order[a]
    return moved_dims(signal, order)


@register_rule("aten::t", "aten::numpy_T", law="1 -> 1")
def t(x: object) -> Signal:
    """A matrix transposed."""
    signal = need_signal(x, "the transposed tensor")
    if len(signal.dims) > 2:
        raise GeometryError("the transpose of a tensor of more than two dimensions")
    return moved_dims(signal, list(range(len(signal.dims)))[::-1])


@register_rule("aten::mT", law="1 -> 1")
def matrix_transpose(x: object) -> Signal:
    """The last two dimensions swapped."""
    return transpose(x, -2, -1)


@register_rule("aten::movedim", "aten::moveaxis", law="1 -> 1")
def movedim(x: object, source: int | Sequence[int], destination: int | Sequence[int]) -> Signal:
    """Dimensions moved to other places, the others in their order."""
    signal = need_signal(x, "the moved tensor")
    rank = len(signal.dims)
    sources = [source] if isinstance(source, int) else list(source)
    places = [destination] if isinstance(destination, int) else list(destination)
    placed = {
        normal_dim(p, rank): normal_dim(s, rank) for p, s in zip(places, sources, strict=True)
    }
    rest = iter(d for d in range(rank) if d not in placed.values())
    return moved_dims(signal, [placed[d] if d in placed else next(rest) for d in range(rank)])


@register_rule("aten::unsqueeze", law="1 -> 1")
def unsqueeze(x: object, dim: int) -> Signal:
    """A new dimension of size 1."""
    signal = need_signal(x, "the tensor")
    at = normal_dim(dim, len(signal.dims) + 1)
    return with_dims(signal, (*signal.dims[:at], (), *signal.dims[at:]))


@register_rule("aten::squeeze", law="1 -> 1")
def squeeze(x: object, dim: int | Sequence[int] | None = None) -> Signal:
    """Dimensions of size 1 dropped."""
    signal = need_signal(x, "the squeezed tensor")
    rank = len(signal.dims)
    if dim is None:
        wanted = set(range(rank))
    else:
        wanted = {normal_dim(d, rank) for d in ([dim] if isinstance(dim, int) else dim)}
    dropped = [d for d in wanted if signal.shape[d] == 1]
    return with_dims(signal, [f for d, f in enumerate(signal.dims) if d not in dropped])


@keeps_uniform
@register_rule("aten::expand", law="1 -> 1")
def expand(x: object, size: Sequence[int], *, implicit: bool = False) -> Signal:
    """Dimensions of size 1 repeated without a copy."""
    signal = need_signal(x, "the expanded tensor")
    extra = len(size) - len(signal.dims)
    padded = with_dims(signal, [()] * extra + list(signal.dims))
    target = [old if new == -1 else new for old, new in zip(padded.shape, size, strict=True)]
    padded = _one_for_all(padded, [d for d, n in enumerate(target) if n != padded.shape[d]])
    out = broadcast([padded], [target])
    single = [d for d, dim in enumerate(padded.dims) if dim == ()]
    dims = [uniform(target[d]) if d in single else dim for d, dim in enumerate(out.dims)]
    return with_dims(out, dims)


def _one_for_all(signal: Signal, dims: Sequence[int]) -> Signal:
    """The signal after the only sample of an axis along each of ``dims`` came to stand for all."""
    cause = Cause(kind=CauseKind.INDEX, detail="one sample stands for the whole axis")
    out = lose(signal, signal.axes_in(dims), cause)
    return with_dims(out, [() if d in dims else dim for d, dim in enumerate(out.dims)])


@keeps_uniform
@register_rule("aten::expand_as", law="1 -> 1")
def expand_as(x: object, other: object) -> Signal | Constant:
    """Expanded to the shape of ``other``; a constant stays one."""
    assert isinstance(other, Signal | Constant)
    return x if isinstance(x, Constant) else expand(x, other.shape)


@register_rule("aten::slice", law="step -> 1")
def slice_(
    x: object, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Signal:
    """Every ``step``-th sample from ``start`` up to ``end``."""
    signal = need_signal(x, "the sliced tensor")
    at = normal_dim(dim, len(signal.dims))
    chosen = range(*slice(start, end, step).indices(signal.shape[at]))
    return take_range(signal, at, chosen)


SINGLE = Cause(
    kind=CauseKind.INDEX,
    detail="one sample at a fixed place is all that is left of the axis",
    form=CauseForm.SINGLE,
)


def take_range(signal: Signal, dim: int, chosen: range) -> Signal:
    """The samples ``chosen`` of dimension ``dim``."""
    if chosen == range(signal.shape[dim]) and chosen.step == 1:
        return signal
    uncoupled(signal, [dim], "a slice of the batch")
    whole, signal = signal, opened(signal, [dim])
    waves = at_frequencies(signal, dim, chosen)
    if waves is not None:
        return waves
    axis = signal.axis_in(dim)
    if axis is not None:
        if len(chosen) == 0:
            raise GeometryError("a slice takes nothing of a spatial axis")
        taps = window(chosen.step, [chosen.start])
        out = with_axis(signal, axis, resample(signal.geometry(axis), taps, len(chosen)))
        out = note_new_causes(signal, out)
        if len(chosen) == 1 and chosen.step == 1:
            out = with_cause(out, replace(SINGLE, axis=axis))
        part = as_slice(out, whole, dim, chosen)
        return by_recipe(part, recipe_of_part(whole, axis, chosen, signal.geometry(axis).stride))
    kept = pieces_in(signal.dims[dim], chosen)
    if kept is not None:
        return with_dim(signal, dim, kept)
    if signal.dims[dim] == uniform(signal.shape[dim]):
        return with_dim(signal, dim, uniform(len(chosen)))
    one = picked(signal, dim, chosen.start) if len(chosen) == 1 else None
    if one is not None:
        return note_new_causes(signal, one)
    cause = Cause(kind=CauseKind.INDEX, detail="a slice of a flattened axis")
    return with_dim(lose(signal, signal.axes_in([dim]), cause), dim, plain(len(chosen)))


@register_rule("aten::narrow", law="1 -> 1")
def narrow(x: object, dim: int, start: int, length: int) -> Signal:
    """``length`` samples from ``start``."""
    signal = need_signal(x, "the narrowed tensor")
    at = normal_dim(dim, len(signal.dims))
    begin = start + signal.shape[at] if start < 0 else start
    return take_range(signal, at, range(begin, begin + length))


@register_rule("aten::select", law="1 -> 1 along other dimensions; along an axis: none (INDEX)")
def select(x: object, dim: int, index: int) -> Signal:
    """One sample at a fixed place."""
    signal = need_signal(x, "the tensor that is selected from")
    at = normal_dim(dim, len(signal.dims))
    uncoupled(signal, [at], "a selection from the batch")
    place = normal_dim(index, signal.shape[at])
    whole = pieces_in(signal.dims[at], range(place, place + 1))
    one = with_dim(signal, at, whole) if whole is not None else picked(signal, at, place)
    if one is not None:
        out = note_new_causes(signal, one)
    else:
        cause = Cause(kind=CauseKind.INDEX, detail=f"sample {index} is taken at a fixed place")
        out = lose(signal, signal.axes_in([at]), cause)
    return with_dims(out, [f for d, f in enumerate(out.dims) if d != at])


def _pieces(signal: Signal, dim: int, sizes: Sequence[int]) -> tuple[Signal, ...]:
    at = normal_dim(dim, len(signal.dims))
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(
        take_range(signal, at, range(a, a + n)) for a, n in zip(starts, sizes, strict=True)
    )


@register_rule("aten::split", "aten::split_with_sizes", "aten::unsafe_split", law="1 -> 1")
def split(x: object, split_size: int | Sequence[int], dim: int = 0) -> tuple[Signal, ...]:
    """Pieces of a size, or of sizes."""
    signal = need_signal(x, "the split tensor")
    total = signal.shape[normal_dim(dim, len(signal.dims))]
    if isinstance(split_size, int):
        sizes = [min(split_size, total - a) for a in range(0, total, split_size)]
    else:
        sizes = list(split_size)
    return _pieces(signal, dim, sizes)


@register_rule("aten::chunk", "aten::unsafe_chunk", law="1 -> 1")
def chunk(x: object, chunks: int, dim: int = 0) -> tuple[Signal, ...]:
    """Pieces of equal size but for the last."""
    signal = need_signal(x, "the chunked tensor")
    total = signal.shape[normal_dim(dim, len(signal.dims))]
    return split(signal, max(1, -(-total // chunks)), dim)


@register_rule("aten::unbind", law="as select")
def unbind(x: object, dim: int = 0) -> tuple[Signal, ...]:
    """Each sample of a dimension for itself."""
    signal = need_signal(x, "the unbound tensor")
    count = signal.shape[normal_dim(dim, len(signal.dims))]
    return tuple(select(signal, dim, i) for i in range(count))


@keeps_uniform
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
)
def same(x: object, *_: object, **__: object) -> Signal | Constant:
    """The same values in this or another memory."""
    return x if isinstance(x, Constant) else need_signal(x, "the tensor")


@keeps_uniform
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
)
def converted(x: object, *options: object, **_: object) -> Signal | Constant:
    """The same values, of another type, or in the shape of another tensor."""
    if isinstance(x, Constant):
        return x
    signal = need_signal(x, "the tensor")
    other = options[0] if options else None
    if isinstance(other, Signal | Constant) and other.shape != signal.shape:
        return regroup(no_longer_uniform(signal), other.shape)
    return signal
