"""Values written to fixed places: scatters, and index_add, index_put and their kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from shiftcheck.axis import GeometryError
from shiftcheck.layout import Signal, lose, plain, with_dim
from shiftcheck.report import Cause
from shiftcheck.rules.common import (
    combined,
    need_signal,
    normal_dim,
    stochastic,
    uncoupled,
    with_constants,
)
from shiftcheck.rules.operands import BatchCoupledError, Constant
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
