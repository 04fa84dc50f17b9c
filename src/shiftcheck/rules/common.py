"""Steps that the rules of several families share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from shiftcheck.axis import (
    Axis,
    GeometryError,
    coarsen,
    globalise,
    invalidate,
    over_windows,
    with_break,
)
from shiftcheck.layout import (
    Dim,
    Factor,
    Gone,
    Signal,
    aligned,
    broadcast,
    canonical,
    contracted,
    flat,
    interleaved,
    lose,
    lost_alike,
    no_longer_uniform,
    plain,
    reduce_dims,
    settled,
    size_of,
    with_axis,
    with_cause,
    with_dim,
)
from shiftcheck.report import Cause
from shiftcheck.rules.operands import HIDES, BatchCoupledError, Constant


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


def note_new_causes(
    before: Signal, after: Signal, kind: str = "STRIDE", detail: str = ""
) -> Signal:
    """Name what an operation on single axes did: samples invalidated, or the period made longer."""
    out = after
    for a, (old, new) in enumerate(zip(before.axes, after.axes, strict=True)):
        if isinstance(old, Axis) and isinstance(new, Axis):
            out = _note_axis(out, a, old, new, kind, detail)
    return out


def _note_axis(out: Signal, axis: int, old: Axis, new: Axis, kind: str, detail: str) -> Signal:
    if new.lattice > old.lattice:
        out = with_cause(out, Cause(kind=kind, axis=axis, period=new.lattice, detail=detail))
    if new.circular and new.circle is None and old.circle is not None:
        pixels, step = new.pixels, abs(new.stride.numerator)
        below = pixels // step * step
        sizes = " and ".join(str(n) for n in (below, below + step) if n)
        detail = f"{pixels} pixels are no whole number of samples, {sizes} would be"
        out = with_cause(out, Cause(kind=kind, axis=axis, detail=detail))
    return out


def note_padding(before: Signal, after: Signal, axes: Iterable[int], detail: str) -> Signal:
    """Add PADDING for the axes that now have samples which read beyond the edge.

    Where nothing was valid before, nothing became invalid.
    """
    out = after
    for axis in axes:
        old, new = before.axes[axis], after.axes[axis]
        if not isinstance(old, Axis) or not isinstance(new, Axis) or not old.valid.any():
            continue
        if not new.valid.all():
            out = with_cause(out, Cause(kind="PADDING", axis=axis, detail=detail))
    return out


def note_edges(
    before: Signal,
    after: Signal,
    dims: Sequence[int],
    change: Callable[[Axis, int], Axis],
    detail: str,
) -> Signal:
    """Add PADDING for the axes in ``dims`` that ``change``, as given to map_axes, reads beyond.

    Samples that were not valid before do not count, so it is this operation that does it.
    """
    out = after
    for i, dim in enumerate(dims):
        axis = before.axis_in(dim)
        if axis is None:
            continue
        state = before.geometry(axis)
        every = replace(state, valid=np.ones(state.size, dtype=bool))
        if not change(every, i).valid.all():
            out = with_cause(out, Cause(kind="PADDING", axis=axis, detail=detail))
    return out


UNNAMED = "its rule names no cause"


def note_missing_causes(before: Sequence[Signal], after: Signal) -> Signal:
    """Add the causes that a rule left out, so that whatever an axis lost has a guilty layer."""
    out = after
    for axis, new in enumerate(after.axes):
        old = [s for s in (signal.axes[axis] for signal in before) if isinstance(s, Axis)]
        if isinstance(new, Axis) and old:
            known = [c for c in after.causes if c.axis in (None, axis) and not c.latent]
            for kind, period in _missing(old, new, known):
                cause = Cause(kind=kind, axis=axis, period=period, detail=UNNAMED)
                out = with_cause(out, cause)
    return out


def _missing(
    old: Sequence[Axis], new: Axis, known: Sequence[Cause]
) -> Iterator[tuple[str, int | None]]:
    """The kind and period of what happened between two geometries and no cause explains."""
    always = {c.kind for c in known if c.period is None}
    periods = math.lcm(*(c.period for c in known if c.period is not None))
    if new.broken and not any(s.broken for s in old) and not always:
        yield "POSITION", None
    if new.lattice > math.lcm(*(s.lattice for s in old)) and periods % new.lattice:
        yield "STRIDE", new.lattice
    if new.circular and new.circle is None and all(s.circle is not None for s in old):
        if not always & {"STRIDE", "RESIZE"}:
            yield "STRIDE", None
    elif not new.valid.all() and all(s.valid.all() for s in old) and not always and periods == 1:
        yield ("GLOBAL" if math.inf in new.halo else "PADDING"), None


def mix(signal: Signal, dim: int, size: int, what: str) -> Signal:
    """A linear map with weights of its own for each place along ``dim``, to ``size`` values.

    Places within a window that the axis was split into are the taps of a convolution.
    """
    uncoupled(signal, [dim], what)
    detail = f"{what} over a dimension that holds a spatial axis"
    whole = [a for a in signal.axes_in([dim]) if not _innermost(signal, a, dim)]
    out = lose(signal, whole, Cause(kind="MIXING", detail=detail)) if whole else signal
    return note_new_causes(signal, with_dim(contracted(out, [dim]), dim, plain(size)))


def _innermost(signal: Signal, axis: int, dim: int) -> bool:
    inside, every = signal.factors_of(axis, [dim]), signal.factors_of(axis)
    top = any(f.kind == "axis" and f.axis == axis for f in signal.dims[dim])
    keys = any(f.kind == "key" and f.axis == axis for f in flat(signal.dims[dim]))
    rest = len(every) - len(inside)
    return top and not keys and rest > 0 and inside == every[rest:]


WINDOWS = "every sample depends on all of its window"


def spread_over(signal: Signal, dims: Sequence[int], detail: str) -> Signal:
    """Every sample now depends on all samples along ``dims``: the whole axis, or its window."""
    out = signal
    for axis in signal.axes_in(dims):
        inside, every = signal.factors_of(axis, dims), signal.factors_of(axis)
        if not inside:
            continue
        state = out.geometry(axis)
        if inside[0] == every[0]:
            new = globalise(state)
        else:
            new = over_windows(state, inside[0].step * inside[0].size)
        out = with_axis(out, axis, new)
        if new.lattice > state.lattice:
            cause = Cause(kind="STRIDE", axis=axis, period=new.lattice, detail=WINDOWS)
            out = with_cause(out, cause)
        elif not new.valid.all():
            out = with_cause(out, Cause(kind="GLOBAL", axis=axis, detail=detail))
    return out


def reduce_over(signal: Signal, dims: Sequence[int], keepdim: bool, what: str) -> Signal:
    """A symmetric reduction over ``dims``: the axes in them are gone."""
    uncoupled(signal, dims, what)
    out, reduced = reduce_dims(signal, dims, keepdim=keepdim)
    for axis in reduced:
        if isinstance(out.axes[axis], Gone) and not getattr(out.axes[axis], "exact", False):
            out = with_cause(out, Cause(kind="GLOBAL", axis=axis, detail=f"{what} over the axis"))
    return note_new_causes(signal, out)


def pointwise(*operands: object) -> Signal:
    """The law of every operation that computes each sample from the same sample of its operands.

    Signals must agree in stride; a constant that varies along an axis is a POSITION.
    """
    signals = [x for x in operands if isinstance(x, Signal)]
    constants = [x for x in operands if isinstance(x, Constant)]
    return with_constants(combined(signals, [c.shape for c in constants]), constants)


def combined(signals: Sequence[Signal], shapes: Sequence[Sequence[int]] = ()) -> Signal:
    """Signals that broadcast together; an axis on which their strides differ is lost (RESIZE).

    Samples of windows that meet what is no longer an axis are channels of their window.
    """
    try:
        return _combined(signals, shapes)
    except GeometryError:
        if not any(s.splits(a) for s in signals for a in range(len(s.axes))):
            raise
        return _combined([settled(s) for s in signals], shapes)


def _combined(signals: Sequence[Signal], shapes: Sequence[Sequence[int]]) -> Signal:
    signals = aligned(_side_by_side(lost_alike(signals)))
    clash = _stride_clash(signals)
    if clash is None:
        out = broadcast(signals, shapes)
        return _note_join(signals, out)
    lost = [lose(s, clash, Cause(kind="RESIZE", detail="strides differ")) for s in signals]
    return broadcast(lost, shapes)


def _side_by_side(signals: Sequence[Signal]) -> list[Signal]:
    """The signals, with channels of coarse samples as finer samples where another has an axis."""
    out = list(signals)
    for position in range(-max(len(s.dims) for s in out), 0):
        given = [s for s in out if len(s.dims) >= -position]
        if any(s.axis_in(len(s.dims) + position) is not None for s in given):
            for i, s in enumerate(out):
                out[i] = interleaved(s, [len(s.dims) + position]) if s in given else s
    return out


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


def stochastic(signal: Signal) -> Signal:
    """The signal after something random was done to it."""
    return with_cause(signal, Cause(kind="STOCHASTIC", detail="random numbers differ per copy"))


def with_constants(signal: Signal, constants: Iterable[Constant]) -> Signal:
    """The signal after it was combined, sample by sample, with constants that broadcast to it."""
    out = signal
    for constant in constants:
        at = [d for d in range(-len(constant.shape), 0) if constant.shape[d] > 1]
        out = no_longer_uniform(out, [len(out.dims) + d for d in at])
        if constant.random:
            out = stochastic(out)
        unmasked = _without_masked_windows(out, constant)
        if unmasked is not None:
            out = unmasked
            continue
        for position in range(-min(len(constant.shape), len(out.dims)), 0):
            if constant.shape[position] > 1:
                out = _with_varying(out, constant, len(out.dims) + position)
    return out


def _without_masked_windows(signal: Signal, constant: Constant) -> Signal | None:
    """Where a constant masks what lies beyond a seam, the windows there are not valid.

    None where it is no such mask, or not of windows.
    """
    rank = len(signal.dims)
    dims = [d for d in range(rank) if d >= rank - len(constant.shape)]
    split = [a for a in signal.axes_in(dims) if signal.splits(a)]
    values = constant.mask() if split else None
    if values is None or len(constant.shape) > rank:
        return None
    sizes, names = [], []
    for d in dims:
        single = constant.shape[d - rank] == 1
        for f in signal.dims[d]:
            coarsest = f.kind == "axis" and f == signal.factors_of(f.axis)[0]
            sizes.append(1 if single else f.size)
            names.append(f.axis if coarsest and not single else -1)
    across = [i for i, name in enumerate(names) if name != -1]
    if not across or not set(names) - {-1} <= set(split):
        return None
    factors = [f for d in dims for f in signal.dims[d]]
    inner = [f for i, f in enumerate(factors) if i not in across and sizes[i] > 1]
    if not all(
        f.kind == "copies" or _is_within(signal, f, [names[i] for i in across]) for f in inner
    ):
        return None
    within = [i for i, name in enumerate(names) if name == -1]
    alike = _of_one_copy(values.reshape(sizes), factors)
    if alike is None:
        return None
    grid = alike.transpose(*across, *within)
    flat_grid = grid.reshape(*grid.shape[: len(across)], -1)
    return _invalid_windows(signal, flat_grid, [names[i] for i in across])


def _of_one_copy(
    values: NDArray[np.float64], factors: Sequence[Factor]
) -> NDArray[np.float64] | None:
    """Values with a dimension for each factor, for one copy; None where the copies differ."""
    for i, factor in enumerate(factors):
        if factor.kind == "copies":
            one = values.take([0], axis=i)
            if not bool((values == one).all()):
                return None
            values = one
    return values


def _is_within(signal: Signal, factor: Factor, windows: Sequence[int]) -> bool:
    """Whether a factor tells apart no more than the samples of a window of the axes ``windows``."""
    if factor.kind not in ("axis", "key"):
        return factor.kind == "plain"
    if factor.axis not in windows:
        return False
    state = signal.geometry(factor.axis)
    stride = factor.stride if factor.kind == "key" else state.stride
    width = signal.factors_of(factor.axis)[0].step * state.stride
    return abs(factor.step * factor.size * stride) <= abs(width)


def _invalid_windows(
    signal: Signal, values: NDArray[np.float64], axes: Sequence[int]
) -> Signal | None:
    """Windows of which ``values``, ``[*windows, values of a window]``, hide a part are not valid.

    None where the others differ from window to window.
    """
    out = signal
    masked = np.asarray((values <= HIDES).any(axis=-1))
    left = values
    if not masked.any():
        return None
    for i, axis in enumerate(axes):
        others = tuple(j for j in range(len(axes)) if j != i)
        cut = np.asarray(masked.all(axis=others))
        left = np.compress(~cut, left, axis=i)
        state = out.geometry(axis)
        keep = np.repeat(~cut, state.size // len(cut))
        out = with_axis(out, axis, invalidate(state, keep))
        cause = Cause(kind="PADDING", axis=axis, detail="windows that are masked in part")
        out = with_cause(out, cause) if cut.any() else out
        out = _periodic(out, axis, signal.factors_of(axis)[0].step)
    every = left.reshape(-1, left.shape[-1])
    return out if len(every) and bool((every == every[:1]).all()) else None


def _with_varying(signal: Signal, constant: Constant, dim: int) -> Signal:
    position = dim - len(signal.dims)
    outer = _product(constant.shape[:position])
    inner = _product(constant.shape[position:][1:])
    return _along(signal, constant, signal.dims[dim], outer, inner)


def _along(signal: Signal, constant: Constant, dim: Dim, before: int, inner: int) -> Signal:
    """Combine with a constant whose values are ``[before, size of dim, inner]``."""
    out = signal
    sizes = [f.size for f in dim]
    for i, factor in enumerate(dim):
        after = inner * _product(sizes[i + 1 :])
        if factor.kind == "joined":
            start = 0
            for piece in factor.pieces:
                n = size_of(piece)
                part = constant.part(before, factor.size, after, start, n)
                out = _along(out, part, piece, before, after)
                start += n
        elif factor.kind not in ("plain", "frequency") and factor.size > 1:
            out = _place(out, factor, constant.repeats(before, factor.size, after), constant)
        before *= factor.size
    return out


def _place(signal: Signal, factor: Factor, step: int | None, constant: Constant) -> Signal:
    axis = factor.axis
    if factor.kind == "copies":
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
    period = _repetition(factor, step, state)
    if period < state.size:
        return _periodic(signal, axis, period)
    what = "a parameter" if constant.parameter else "a constant"
    known = "that varies along the axis" if step is not None else "whose values are not known here"
    cause = Cause(kind="POSITION", axis=axis, detail=f"{what} {known}")
    return with_cause(with_axis(signal, axis, with_break(state)), cause)


def _repetition(factor: Factor, step: int | None, axis: Axis) -> Fraction:
    """After how many samples of the axis a constant repeats that has ``step`` along a factor.

    A pattern that starts anew in every window repeats with the window, unless it divides it.
    """
    whole = factor.kind == "axis" and factor.step * factor.size == axis.size
    repeats = step is not None and (whole or factor.size % step == 0)
    period = Fraction(factor.step * (step if step and repeats else factor.size))
    return period * abs(factor.stride / axis.stride) if factor.kind == "key" else period


def _periodic(signal: Signal, axis: int, samples: int | Fraction) -> Signal:
    """Combine with a constant that repeats every so many samples of the axis."""
    state = signal.geometry(axis)
    new = coarsen(state, samples)
    out = with_axis(signal, axis, new)
    if new.lattice == state.lattice and bool((new.valid == state.valid).all()):
        return out
    detail = f"a constant that repeats every {samples} samples"
    return with_cause(out, Cause(kind="POSITION", axis=axis, period=new.lattice, detail=detail))


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
    """Neighbouring dimensions as one product."""
    return canonical(f for dim in dims for f in dim)


def require_plain(signal: Signal, dim: int, what: str) -> int:
    """The size of ``dim``; raises GeometryError where it holds an axis."""
    if signal.axes_in([dim]):
        raise GeometryError(f"{what} along a dimension that holds a spatial axis")
    return size_of(signal.dims[dim])
