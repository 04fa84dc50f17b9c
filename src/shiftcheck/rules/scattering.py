"""Values written to fixed places: scatters, and index_add, index_put and their kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from shiftcheck.lattice.axis import GeometryError
from shiftcheck.lattice.causes import lose
from shiftcheck.lattice.factors import plain
from shiftcheck.lattice.layout import Layout, Waves, with_axis, with_dim, with_dims
from shiftcheck.lattice.notes import is_same, with_other_dims
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.rules.canvases import Canvas, Patch, assembled
from shiftcheck.rules.common import combined, need_layout, normal_dim, pointwise, uncoupled
from shiftcheck.rules.concatenation import cat, without
from shiftcheck.rules.constants import stochastic, with_constants
from shiftcheck.rules.operands import BatchCoupledError, Constant
from shiftcheck.rules.padding import constant_pad
from shiftcheck.rules.registry import register_rule
from shiftcheck.rules.views import take_range

PIECES = "1 -> 1; along an axis as a concatenation of what stays and what is written"
LAW = "along other dimensions 1 -> 1; along an axis: none (INDEX)"


def _into(target: object, dim: int, others: Sequence[object], what: str) -> Layout:
    """Values of ``others``, of the target's rank, written into places along ``dim``."""
    operands = [o for o in (target, *others) if isinstance(o, Layout | Constant)]
    shape = operands[0].shape
    at = normal_dim(dim, len(shape))
    layouts = [o for o in operands if isinstance(o, Layout)]
    for operand in operands[1:]:
        _same_but(operand.shape, shape, at, layouts, what)
    bare = [with_dim(_lost(s, [at], what), at, ()) for s in layouts]
    constants = [o for o in operands if isinstance(o, Constant)]
    narrow = [(*c.shape[:at], 1, *c.shape[at + 1 :]) for c in constants]
    out = with_constants(combined(bare, narrow), constants)
    return with_dim(out, at, plain(shape[at]))


def _lost(layout: Layout, dims: Sequence[int], what: str) -> Layout:
    uncoupled(layout, dims, what)
    cause = Cause(kind=CauseKind.INDEX, detail=f"{what} at fixed places of the axis")
    return lose(layout, layout.axes_in(dims), cause)


def _same_but(
    shape: Sequence[int], other: Sequence[int], at: int, layouts: Sequence[Layout], what: str
) -> None:
    if len(shape) != len(other):
        raise GeometryError(f"{what} of a tensor of another rank")
    for d, (n, m) in enumerate(zip(shape, other, strict=True)):
        if d != at and n != m:
            if any(s.holds_copies([d]) for s in layouts):
                raise BatchCoupledError(f"{what} for some elements of the batch")
            raise GeometryError(f"{what} for a part of the places only")


@register_rule("aten::scatter", "aten::scatter_add", "aten::scatter_reduce", law=LAW)
def scatter(x: object, dim: int, index: object, source: object, *_: object, **__: object) -> Layout:
    """``source`` written to, or added at, the places along ``dim`` that ``index`` names."""
    return _into(x, dim, [index, source], "a scatter")


@register_rule("aten::index_add", "aten::index_copy", "aten::index_reduce", law=LAW)
def index_add(
    x: object, dim: int, index: object, source: object, *_: object, **__: object
) -> Layout:
    """``source`` written to, or added at, a list of places along ``dim``."""
    if not isinstance(index, Constant):
        raise GeometryError("the places that are written to depend on the input")
    out = _into(x, dim, [source], "writing")
    return stochastic(out) if index.random else out


@register_rule("aten::index_fill.int_Scalar", law=LAW)
def index_fill(x: object, dim: int, index: object, value: object) -> Layout:
    """One value at a list of places along ``dim``."""
    return index_add(x, dim, index, None)


@register_rule("aten::select_scatter", law=PIECES)
def select_scatter(x: object, source: object, dim: int, index: int) -> Layout:
    """``source`` in the place of one sample along ``dim``."""
    if not isinstance(x, Layout | Constant) or not isinstance(source, Layout | Constant):
        raise GeometryError("an operand that is no tensor")
    at = normal_dim(dim, len(x.shape))
    place = normal_dim(index, x.shape[at])
    if isinstance(source, Constant):
        wide: object = replace(source, shape=(*source.shape[:at], 1, *source.shape[at:]))
    else:
        wide = with_other_dims(source, (*source.dims[:at], (), *source.dims[at:]))
    return _written(x, wide, at, range(place, place + 1))


@register_rule("aten::slice_scatter", law=PIECES)
def slice_scatter(
    x: object,
    source: object,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Layout:
    """``source`` in the place of a slice along ``dim``."""
    if not isinstance(x, Layout | Constant):
        raise GeometryError("an operand that is no tensor")
    at = normal_dim(dim, len(x.shape))
    return _written(x, source, at, range(*slice(start, end, step).indices(x.shape[at])))


def _written(x: Layout | Constant, source: object, at: int, places: range) -> Layout:
    """A canvas with a patch; a constant of more than one value is put together as it is."""
    if isinstance(x, Constant) or not isinstance(source, Layout):
        if places.step != 1:
            raise GeometryError("a constant is written to every so many samples")
        before, after = range(places.start), range(places.stop, x.shape[at])
        kept = [_part(x, at, side) for side in (before, after)]
        pieces = [kept[0], source, kept[1]]
        return cat([p for p in pieces if not isinstance(p, range)], at)
    starts = tuple(places.start if d == at else 0 for d in range(len(x.shape)))
    steps = tuple(places.step if d == at else 1 for d in range(len(x.shape)))
    patch = Patch(starts=starts, steps=steps, part=source)
    return assembled(Canvas(shape=x.shape, base=x).with_patch(patch))


def _part(x: Layout | Constant, at: int, places: range) -> Layout | Constant | range:
    """A part of an operand; the range itself where nothing is in it."""
    if len(places) == 0:
        return places
    if isinstance(x, Layout):
        return take_range(x, at, places)
    before, after = math.prod(x.shape[:at]), math.prod(x.shape[at + 1 :])
    part = x.part(before, x.shape[at], after, places.start, len(places))
    return replace(part, shape=(*x.shape[:at], len(places), *x.shape[at + 1 :]))


@register_rule("aten::index_put", law=LAW)
def index_put(
    x: object, indices: Sequence[object], values: object, accumulate: bool = False
) -> Layout:
    """One value, the same everywhere, written to constant places or where a mask says."""
    layout = need_layout(x, "the tensor that is written to")
    masks = [i for i in indices if isinstance(i, Layout) and i.is_mask]
    if len(masks) == len(indices) == 1 and isinstance(values, Constant) and values.shape == ():
        return _where(layout, masks[0], values)
    if any(isinstance(i, Layout) for i in indices) or not isinstance(values, Constant):
        raise GeometryError("the places or the values that are written depend on the input")
    if values.repeats(1, math.prod(values.shape), 1) != 1:
        raise GeometryError("several values are written to a list of places")
    out, at = layout, 0
    for index in indices:
        if not isinstance(index, Constant):
            at += 1
            continue
        known = index.values()
        wide = len(index.shape) if known is None or known.dtype.kind == "b" else 1
        out = _lost(out, range(at, at + max(wide, 1)), "writing")
        out = stochastic(out) if index.random else out
        at += wide
    return stochastic(out) if values.random else out


def _where(layout: Layout, mask: Layout, value: Constant) -> Layout:
    """One value where a mask of the leading dimensions is true."""
    if mask.shape != layout.shape[: len(mask.dims)]:
        raise GeometryError("the places that are written depend on the input")
    wide = with_dims(mask, [*mask.dims, *[()] * (len(layout.dims) - len(mask.dims))])
    return pointwise(layout, wide, value)


def framed_frequencies(
    part: Layout, shape: Sequence[int], starts: Sequence[int], *, zeros: Callable[[], bool]
) -> Layout:
    """A canvas of ``shape``, the same everywhere but for ``part``, which holds frequencies.

    ``zeros``: whether it is zero there.
    """
    if not zeros():
        raise GeometryError("frequencies are written among something else than zeros")
    sides = [(starts[d], n - starts[d] - part.shape[d]) for d, n in enumerate(shape)]
    if part.holds_copies([d for d, side in enumerate(sides) if side != (0, 0)]):
        raise GeometryError("a part of the batch is written to")
    return constant_pad(part, [n for side in reversed(sides) for n in side])


def closed_by_hand(whole: Layout, patch: Patch) -> Layout | None:
    """The layout after samples of it were written again beyond its edge, if so.

    On a circle they are those whole turns away; on a plane what is there stays excused.
    """
    part = patch.part
    dims = [d for d, n in enumerate(part.shape) if n != whole.shape[d]]
    source = part.source if isinstance(part, Layout) else None
    if (
        isinstance(part, Constant)
        or not dims
        or set(patch.steps) != {1}
        or source is None
        or not is_same(source.whole, whole)
    ):
        return None
    out = whole
    for d in dims:
        axis, at = whole.axis_in(d), slice(patch.starts[d], patch.starts[d] + part.shape[d])
        if axis is None or source.dim != d:
            return None
        circle = whole.geometry(axis).circular
        again = (_once_more if circle else _beyond_the_edge)(out, whole, part, d, at)
        if again is None:
            return None
        out = again
    return out


def _beyond_the_edge(
    out: Layout, whole: Layout, part: Layout, dim: int, at: slice
) -> Layout | None:
    """Where the law looks beyond all that is stored at the places that are written to."""
    axis = whole.axis_in(dim)
    assert axis is not None
    state = whole.geometry(axis)
    stored, places = np.flatnonzero(state.readable), np.arange(at.start, at.stop)
    if len(stored) == 0 or state.readable[at].any():
        return None
    before = state.first_of(places) < state.first_of(stored).min()
    after = state.last_of(places) > state.last_of(stored).max()
    if not (before | after).all():
        return None
    rest = combined([without(out, dim, [axis]), without(part, dim, [axis])])
    return rest.with_state(axis, state).with_factors(dim, whole.dims[dim])


def _once_more(out: Layout, whole: Layout, part: Layout, dim: int, at: slice) -> Layout | None:
    """Where what is written are samples of the same tensor, whole turns of the circle away.

    So a ring is closed by hand: the samples are those of the circle, and as valid as their source.
    """
    source, axis = part.source, whole.axis_in(dim)
    assert source is not None
    assert axis is not None
    state = out.geometry(axis)
    places, chosen = np.arange(at.start, at.stop), np.asarray(source.chosen)
    if state.circle is None or ((places - chosen) % state.circle).any():
        return None
    valid = state.valid.copy()
    valid[places] = state.valid[chosen]
    closed = with_axis(out, axis, replace(state, valid=valid))
    if not valid.all():
        return closed
    rest = tuple(c for c in closed.causes if (c.kind, c.axis) != (CauseKind.PADDING, axis))
    return replace(closed, causes=rest)


def more_frequencies_by_hand(whole: Layout, part: Layout, starts: Sequence[int]) -> Layout:
    """Frequencies written beside others, where there was zero or the same frequency."""
    before, beside = whole, part
    dims = [d for d, n in enumerate(part.shape) if n != whole.shape[d]]
    if whole.holds_copies(dims):
        raise GeometryError("a part of the batch is written to")
    for d in dims:
        factors = whole.dims[d]
        if len(factors) != 1 or factors[0].kind != "frequency" or len(part.dims[d]) != 1:
            raise GeometryError("frequencies are written to a part of something else")
        axis = factors[0].axis
        waves, new = whole.axes[axis], part.axes[axis]
        assert isinstance(waves, Waves)
        if part.dims[d][0].kind != "frequency" or not isinstance(new, Waves):
            raise GeometryError("something else is written among frequencies")
        inside = slice(starts[d], starts[d] + part.shape[d])
        if any(k not in (None, n) for k, n in zip(waves.bins[inside], new.bins, strict=True)):
            raise GeometryError("a frequency is written in the place of another")
        bins = (*waves.bins[: inside.start], *new.bins, *waves.bins[inside.stop :])
        before = before.with_state(axis, Waves(waves.axis, bins))
        beside = beside.with_state(axis, Waves(new.axis, bins)).with_factors(d, factors)
    return combined([before, beside])
