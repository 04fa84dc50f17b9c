"""Steps that the rules of several families share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from shiftcheck.axis import Axis, GeometryError, coarsen, globalise, with_break
from shiftcheck.layout import (
    Dim,
    Signal,
    broadcast,
    canonical,
    lose,
    plain,
    reduce_dims,
    size_of,
    with_axis,
    with_cause,
    with_dim,
)
from shiftcheck.report import Cause
from shiftcheck.rules.operands import BatchCoupledError, Constant


def per_axis(value: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    """An argument given once, or once for each spatial axis, as one entry for each axis."""
    entries = (value,) if isinstance(value, int) else tuple(value)
    return entries * ndim if len(entries) == 1 else entries


def need_signal(x: object, name: str) -> Signal:
    """``x``, where it depends on the input; raises GeometryError where it does not."""
    if not isinstance(x, Signal):
        raise GeometryError(f"{name} does not depend on the input but another argument does")
    return x


def no_signal(x: object, name: str) -> None:
    """Raise GeometryError where ``x`` depends on the input."""
    if isinstance(x, Signal):
        raise GeometryError(f"{name} depends on the input")


def uncoupled(signal: Signal, dims: Iterable[int], what: str) -> None:
    """Raise BatchCoupledError where one of the dimensions holds the stacked copies."""
    if signal.holds_copies(dims):
        raise BatchCoupledError(f"{what} mixes the elements of the batch")


def note_new_causes(before: Signal, after: Signal, kind: str = "STRIDE") -> Signal:
    """Name what an operation on single axes did: samples invalidated, or the period made longer."""
    out = after
    for a, (old, new) in enumerate(zip(before.axes, after.axes, strict=True)):
        if isinstance(old, Axis) and isinstance(new, Axis):
            out = _note_axis(out, a, old, new, kind)
    return out


def _note_axis(out: Signal, axis: int, old: Axis, new: Axis, kind: str) -> Signal:
    if new.lattice > old.lattice:
        out = with_cause(out, Cause(kind=kind, axis=axis, period=new.lattice))
    if new.circular and new.circle is None and old.circle is not None:
        pixels, step = new.pixels, abs(new.stride.numerator)
        below = pixels // step * step
        sizes = " and ".join(str(n) for n in (below, below + step) if n)
        detail = f"{pixels} pixels are no whole number of samples, {sizes} would be"
        out = with_cause(out, Cause(kind=kind, axis=axis, detail=detail))
    return out


def note_padding(before: Signal, after: Signal, axes: Iterable[int], detail: str) -> Signal:
    """Add PADDING for the axes that now have samples which read beyond the edge."""
    out = after
    for axis in axes:
        old, new = before.axes[axis], after.axes[axis]
        if isinstance(old, Axis) and isinstance(new, Axis) and not new.valid.all():
            out = with_cause(out, Cause(kind="PADDING", axis=axis, detail=detail))
    return out


def mix(signal: Signal, dim: int, size: int, what: str) -> Signal:
    """A linear map with weights of its own for each place along ``dim``, to ``size`` values."""
    uncoupled(signal, [dim], what)
    axes = signal.axes_in([dim])
    detail = f"{what} over a dimension that holds a spatial axis"
    out = lose(signal, axes, Cause(kind="MIXING", detail=detail)) if axes else signal
    return with_dim(out, dim, plain(size))


def globalise_axes(signal: Signal, axes: Iterable[int], detail: str) -> Signal:
    """Every sample now depends on the whole of each of the ``axes``."""
    out = signal
    for axis in dict.fromkeys(axes):
        state = out.axes[axis]
        if isinstance(state, Axis):
            new = globalise(state)
            out = with_axis(out, axis, new)
            if not new.valid.all():
                out = with_cause(out, Cause(kind="GLOBAL", axis=axis, detail=detail))
    return out


def reduce_over(signal: Signal, dims: Sequence[int], keepdim: bool, what: str) -> Signal:
    """A symmetric reduction over ``dims``: the axes in them are gone."""
    uncoupled(signal, dims, what)
    out, reduced = reduce_dims(signal, dims, keepdim=keepdim)
    for axis in reduced:
        if not getattr(out.axes[axis], "exact", False):
            out = with_cause(out, Cause(kind="GLOBAL", axis=axis, detail=f"{what} over the axis"))
    return out


def pointwise(*operands: object) -> Signal:
    """The law of every operation that computes each sample from the same sample of its operands.

    Signals must agree in stride; a constant that varies along an axis is a POSITION.
    """
    signals = [x for x in operands if isinstance(x, Signal)]
    constants = [x for x in operands if isinstance(x, Constant)]
    return with_constants(combined(signals, [c.shape for c in constants]), constants)


def combined(signals: Sequence[Signal], shapes: Sequence[Sequence[int]] = ()) -> Signal:
    """Signals that broadcast together; an axis on which their strides differ is lost (RESIZE)."""
    clash = _stride_clash(signals)
    if clash is None:
        out = broadcast(signals, shapes)
        return _note_join(signals, out)
    lost = [lose(s, clash, Cause(kind="RESIZE", detail="strides differ")) for s in signals]
    return broadcast(lost, shapes)


def _stride_clash(signals: Sequence[Signal]) -> list[int] | None:
    clashes = []
    for axis in range(len(signals[0].axes)):
        strides = {s.stride for s in (x.axes[axis] for x in signals) if isinstance(s, Axis)}
        if len(strides) > 1:
            clashes.append(axis)
    return clashes or None


def _note_join(signals: Sequence[Signal], out: Signal) -> Signal:
    for axis, state in enumerate(out.axes):
        if not isinstance(state, Axis):
            continue
        before = [s.axes[axis] for s in signals if isinstance(s.axes[axis], Axis)]
        any_valid = any(isinstance(b, Axis) and b.valid.any() for b in before)
        if len(before) < len(signals) and any_valid and not state.valid.any():
            detail = "a value of the whole axis is combined with each sample"
            out = with_cause(out, Cause(kind="GLOBAL", axis=axis, detail=detail))
    return out


def with_constants(signal: Signal, constants: Iterable[Constant]) -> Signal:
    """The signal after it was combined, sample by sample, with constants that broadcast to it."""
    out = signal
    for constant in constants:
        if constant.random:
            out = stochastic(out)
        for position in range(-min(len(constant.shape), len(out.dims)), 0):
            if constant.shape[position] > 1:
                out = _with_varying(out, constant, len(out.dims) + position)
    return out


def stochastic(signal: Signal) -> Signal:
    """The signal after something random was done to it."""
    return with_cause(signal, Cause(kind="STOCHASTIC", detail="random numbers differ per copy"))


def _with_varying(signal: Signal, constant: Constant, dim: int) -> Signal:
    position = dim - len(signal.dims)
    outer = _product(constant.shape[:position])
    inner = _product(constant.shape[position:][1:])
    out, before = signal, outer
    sizes = [f.size for f in signal.dims[dim]]
    for i, factor in enumerate(signal.dims[dim]):
        after = inner * _product(sizes[i + 1 :])
        if factor.kind != "plain" and factor.size > 1:
            step = constant.repeats(before, factor.size, after)
            out = _place(out, factor.kind, factor.axis, factor.size, step, constant)
        before *= factor.size
    return out


def _place(
    signal: Signal, kind: str, axis: int, size: int, step: int | None, constant: Constant
) -> Signal:
    if kind == "copies":
        if step == 1:
            return signal
        raise BatchCoupledError("a constant differs between the elements of the batch")
    if step == 1:
        cause = Cause(
            kind="POSITION",
            axis=axis,
            latent=True,
            detail="a parameter for each place, uniform now",
        )
        return with_cause(signal, cause) if constant.parameter else signal
    state = signal.geometry(axis)
    if step is not None and step < size:
        new = coarsen(state, step)
        cause = Cause(
            kind="POSITION",
            axis=axis,
            period=new.lattice,
            detail=f"a constant that repeats every {step} samples",
        )
        return with_cause(with_axis(signal, axis, new), cause)
    what = "a parameter" if constant.parameter else "a constant"
    known = "that varies along the axis" if step is not None else "whose values are not known here"
    cause = Cause(kind="POSITION", axis=axis, detail=f"{what} {known}")
    return with_cause(with_axis(signal, axis, with_break(state)), cause)


def _product(sizes: Iterable[int]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total


def normal_dim(dim: int, rank: int) -> int:
    """A dimension counted from the front."""
    return dim + rank if dim < 0 else dim


def normal_dims(dims: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Dimensions counted from the front; all of them for None or an empty list."""
    if dims is None or (not isinstance(dims, int) and len(dims) == 0):
        return tuple(range(rank))
    entries = (dims,) if isinstance(dims, int) else dims
    return tuple(normal_dim(d, rank) for d in entries)


def moved_dims(signal: Signal, order: Sequence[int]) -> Signal:
    """The signal with its dimensions in another order."""
    return replace(signal, dims=tuple(signal.dims[d] for d in order))


def join_dims(*dims: Dim) -> Dim:
    """Neighbouring dimensions as one."""
    return canonical(f for dim in dims for f in dim)


def require_plain(signal: Signal, dim: int, what: str) -> int:
    """The size of ``dim``; raises GeometryError where it holds an axis."""
    if signal.axes_in([dim]):
        raise GeometryError(f"{what} along a dimension that holds a spatial axis")
    return size_of(signal.dims[dim])
