"""Values written to fixed places: scatters, and index_add, index_put and their kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from shiftcheck.axis import GeometryError, with_break
from shiftcheck.layout import Signal, Waves, lose, plain, with_axis, with_cause, with_dim
from shiftcheck.report import Cause
from shiftcheck.rules.common import combined, need_signal, normal_dim, uncoupled
from shiftcheck.rules.constants import stochastic, with_constants
from shiftcheck.rules.operands import BatchCoupledError, Constant
from shiftcheck.rules.padding import constant_pad
from shiftcheck.rules.registry import register_rule

LAW = "along other dimensions 1 -> 1; along an axis: none (INDEX)"


def _into(target: object, dim: int, others: Sequence[object], what: str) -> Signal:
    """Values of ``others``, of the target's rank, written into places along ``dim``."""
    operands = [o for o in (target, *others) if isinstance(o, Signal | Constant)]
    shape = operands[0].shape
    at = normal_dim(dim, len(shape))
    signals = [o for o in operands if isinstance(o, Signal)]
    for operand in operands[1:]:
        _same_but(operand.shape, shape, at, signals, what)
    bare = [with_dim(_lost(s, [at], what), at, ()) for s in signals]
    constants = [o for o in operands if isinstance(o, Constant)]
    narrow = [(*c.shape[:at], 1, *c.shape[at + 1 :]) for c in constants]
    out = with_constants(combined(bare, narrow), constants)
    return with_dim(out, at, plain(shape[at]))


def _lost(signal: Signal, dims: Sequence[int], what: str) -> Signal:
    uncoupled(signal, dims, what)
    cause = Cause(kind="INDEX", detail=f"{what} at fixed places of the axis")
    return lose(signal, signal.axes_in(dims), cause)


def _same_but(
    shape: Sequence[int], other: Sequence[int], at: int, signals: Sequence[Signal], what: str
) -> None:
    if len(shape) != len(other):
        raise GeometryError(f"{what} of a tensor of another rank")
    for d, (n, m) in enumerate(zip(shape, other, strict=True)):
        if d != at and n != m:
            if any(s.holds_copies([d]) for s in signals):
                raise BatchCoupledError(f"{what} for some elements of the batch")
            raise GeometryError(f"{what} for a part of the places only")


@register_rule("aten::scatter", "aten::scatter_add", "aten::scatter_reduce", law=LAW)
def scatter(x: object, dim: int, index: object, source: object, *_: object, **__: object) -> Signal:
    """``source`` written to, or added at, the places along ``dim`` that ``index`` names."""
    return _into(x, dim, [index, source], "a scatter")


@register_rule("aten::index_add", "aten::index_copy", "aten::index_reduce", law=LAW)
def index_add(
    x: object, dim: int, index: object, source: object, *_: object, **__: object
) -> Signal:
    """``source`` written to, or added at, a list of places along ``dim``."""
    if not isinstance(index, Constant):
        raise GeometryError("the places that are written to depend on the input")
    out = _into(x, dim, [source], "writing")
    return stochastic(out) if index.random else out


@register_rule("aten::index_fill.int_Scalar", law=LAW)
def index_fill(x: object, dim: int, index: object, value: object) -> Signal:
    """One value at a list of places along ``dim``."""
    return index_add(x, dim, index, None)


@register_rule("aten::select_scatter", law=LAW)
def select_scatter(x: object, source: object, dim: int, index: int) -> Signal:
    """``source`` in the place of one sample along ``dim``."""
    if not isinstance(x, Signal | Constant) or not isinstance(source, Signal | Constant):
        raise GeometryError("an operand that is no tensor")
    at = normal_dim(dim, len(x.shape))
    if isinstance(source, Constant):
        wide: object = replace(source, shape=(*source.shape[:at], 1, *source.shape[at:]))
    else:
        wide = replace(source, dims=(*source.dims[:at], (), *source.dims[at:]))
    return _into(x, at, [wide], "writing")


@register_rule("aten::slice_scatter", law=LAW)
def slice_scatter(x: object, source: object, dim: int = 0, *_: object, **__: object) -> Signal:
    """``source`` in the place of a slice along ``dim``."""
    return _into(x, dim, [source], "writing")


@register_rule("aten::index_put", law=LAW)
def index_put(
    x: object, indices: Sequence[object], values: object, accumulate: bool = False
) -> Signal:
    """One value, the same everywhere, written to constant places."""
    signal = need_signal(x, "the tensor that is written to")
    if any(isinstance(i, Signal) for i in indices) or not isinstance(values, Constant):
        raise GeometryError("the places or the values that are written depend on the input")
    if values.repeats(1, math.prod(values.shape), 1) != 1:
        raise GeometryError("several values are written to a list of places")
    out, at = signal, 0
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


def framed(
    part: Signal, shape: Sequence[int], starts: Sequence[int], *, zeros: Callable[[], bool]
) -> Signal:
    """A canvas of ``shape``, the same everywhere but for ``part``: as padding, by hand.

    ``zeros``: whether it is zero there, which matters among frequencies.
    """
    dims = [d for d, n in enumerate(part.shape) if n != shape[d]]
    if part.holds_copies(dims):
        raise GeometryError("a part of the batch is written to")
    if any(isinstance(state, Waves) for state in part.axes) and not zeros():
        raise GeometryError("frequencies are written among something else than zeros")
    sides = [(starts[d], n - starts[d] - part.shape[d]) for d, n in enumerate(shape)]
    return constant_pad(part, [n for side in reversed(sides) for n in side])


def overwritten(whole: Signal, part: Signal, starts: Sequence[int], own: Sequence[Cause]) -> Signal:
    """``whole`` after ``part`` was put in the place of some of its samples.

    Samples that were not valid stay so; valid ones at fixed places are a POSITION along the axis,
    or an INDEX where one sample of the axis takes the place of another. ``own``: the causes of the
    place that is written to.
    """
    dims = [d for d, n in enumerate(part.shape) if n != whole.shape[d]]
    if whole.holds_copies(dims):
        raise GeometryError("a part of the batch is written to")
    if any(isinstance(state, Waves) for state in whole.axes):
        return _more_frequencies(whole, part, starts, dims)
    places = {d: whole.axis_in(d) for d in dims if whole.axes_in([d])}
    axes = [a for a in places.values() if a is not None]
    if len(axes) < len(places):
        raise GeometryError("a part of a dimension that holds more than one axis is written to")
    causes = [c for c in part.causes if c.axis not in axes or c in whole.causes or c.kind in STAYS]
    inside = _narrow(replace(part, causes=tuple(causes)), dims, axes)
    rest = combined([_narrow(whole, dims, axes), inside])
    layout = [whole.dims[d] if d in dims else dim for d, dim in enumerate(rest.dims)]
    states = [whole.axes[a] if a in axes else state for a, state in enumerate(rest.axes)]
    out = Signal(tuple(layout), tuple(states), rest.causes)
    for d, axis in places.items():
        if axis is not None:
            at = slice(starts[d], starts[d] + part.shape[d])
            again = _once_more(out, whole, part, d, at)
            new = [c for c in part.causes if c not in whole.causes and c not in own]
            picked = any((c.kind, c.axis) == ("INDEX", axis) for c in new)
            out = again or _at_places(out, axis, at, picked=picked)
    return out


def _once_more(out: Signal, whole: Signal, part: Signal, dim: int, at: slice) -> Signal | None:
    """Where what is written are samples of the same tensor, whole turns of the circle away.

    So a ring is closed by hand: the samples are those of the circle, and as valid as their source.
    """
    source, axis = part.source, whole.axis_in(dim)
    if axis is None or source is None or source.whole is not whole or source.dim != dim:
        return None
    state = out.geometry(axis)
    places, chosen = np.arange(at.start, at.stop), np.asarray(source.chosen)
    if state.circle is None or ((places - chosen) % state.circle).any():
        return None
    valid = state.valid.copy()
    valid[places] = state.valid[chosen]
    closed = with_axis(out, axis, replace(state, valid=valid))
    if not valid.all():
        return closed
    rest = tuple(c for c in closed.causes if (c.kind, c.axis) != ("PADDING", axis))
    return replace(closed, causes=rest)


def _more_frequencies(
    whole: Signal, part: Signal, starts: Sequence[int], dims: Sequence[int]
) -> Signal:
    """Frequencies written beside others, where there was zero or the same frequency."""
    before, written, layout = list(whole.axes), list(part.axes), list(part.dims)
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
        before[axis], written[axis] = Waves(waves.axis, bins), Waves(new.axis, bins)
        layout[d] = factors
    beside = Signal(tuple(layout), tuple(written), part.causes)
    return combined([replace(whole, axes=tuple(before)), beside])


def _at_places(signal: Signal, axis: int, places: slice, *, picked: bool) -> Signal:
    state = signal.geometry(axis)
    if state.valid[places].any():
        kind = "INDEX" if picked else "POSITION"
        cause = Cause(kind=kind, axis=axis, detail="samples at fixed places are written over")
        return with_cause(with_axis(signal, axis, with_break(state)), cause)
    if state.circular:
        raise GeometryError("samples beyond one turn of a circle are written by hand")
    return signal


STAYS = ("UNSUPPORTED_OP", "STOCHASTIC", "BATCH_COUPLED", "DATA_DEPENDENT")
"""The causes that matter even where the samples are not valid."""


def _narrow(signal: Signal, dims: Sequence[int], axes: Sequence[int]) -> Signal:
    """One sample along ``dims``, with nothing known about ``axes``."""
    return Signal(
        tuple(() if d in dims else dim for d, dim in enumerate(signal.dims)),
        tuple(None if a in axes else state for a, state in enumerate(signal.axes)),
        signal.causes,
    )
