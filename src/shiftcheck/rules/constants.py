"""Constants that meet a signal: positions, patterns that repeat, masks of windows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from shiftcheck.lattice.axis import Axis, coarsen, invalidate, with_break
from shiftcheck.lattice.causes import with_cause
from shiftcheck.lattice.factors import Dim, Factor, flat, size_of
from shiftcheck.lattice.gather import runs
from shiftcheck.lattice.layout import Layout, no_longer_uniform, with_axis
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.rules.operands import HIDES, BatchCoupledError, Constant


def stochastic(layout: Layout) -> Layout:
    """The layout after something random was done to it."""
    return with_cause(
        layout, Cause(kind=CauseKind.STOCHASTIC, detail="random numbers differ per copy")
    )


def with_constants(layout: Layout, constants: Iterable[Constant]) -> Layout:
    """The layout after it was combined, sample by sample, with constants that broadcast to it."""
    out = layout
    for constant in constants:
        if not constant.random and _is_over_channels(out, constant):
            continue
        at = [d for d in range(-len(constant.shape), 0) if _varies(out, constant, d)]
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


def _is_over_channels(layout: Layout, constant: Constant) -> bool:
    """Whether a constant varies along dimensions alone that hold no place and no copy."""
    rank = len(layout.dims)
    if len(constant.shape) > rank:
        return False
    met = zip(layout.dims[rank - len(constant.shape) :], constant.shape, strict=True)
    return all(size == 1 or all(f.kind == "plain" for f in dim) for dim, size in met)


def _varies(layout: Layout, constant: Constant, position: int) -> bool:
    """Whether values that are the same along a dimension may differ there after the constant."""
    size, kinds = constant.shape[position], {f.kind for f in flat(layout.dims[position])}
    if size == 1 or "uniform" not in kinds:
        return size > 1
    before, after = _product(constant.shape[:position]), _product(constant.shape[position:][1:])
    return constant.repeats(before, size, after) != 1


def _without_masked_windows(layout: Layout, constant: Constant) -> Layout | None:
    """Where a constant masks what lies beyond a seam, the windows there are not valid.

    None where it is no such mask, or not of windows.
    """
    rank = len(layout.dims)
    dims = [d for d in range(rank) if d >= rank - len(constant.shape)]
    split = [a for a in layout.axes_in(dims) if layout.splits(a)]
    values = constant.mask() if split else None
    if values is None or len(constant.shape) > rank:
        return None
    factors = [f for d in dims for f in layout.dims[d]]
    varies = [constant.shape[d - rank] != 1 for d in dims for _ in layout.dims[d]]
    sizes = [f.size if v else 1 for f, v in zip(factors, varies, strict=True)]
    across = [
        i
        for i, f in enumerate(factors)
        if varies[i] and f.kind == "axis" and f == layout.factors_of(f.axis)[0]
    ]
    windows = [factors[i].axis for i in across]
    if not across or not set(windows) <= set(split):
        return None
    within = [i for i in range(len(factors)) if i not in across]
    if not all(_is_within(layout, factors[i], windows) for i in within if sizes[i] > 1):
        return None
    alike = _of_one_copy(values.reshape(sizes), factors)
    if alike is None:
        return None
    grid = alike.transpose(*across, *within)
    return _invalid_windows(layout, grid.reshape(*grid.shape[: len(across)], -1), windows)


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


def _is_within(layout: Layout, factor: Factor, windows: Sequence[int]) -> bool:
    """Whether a factor tells apart no more than the samples of a window of the axes ``windows``."""
    if factor.kind not in ("axis", "key"):
        return factor.kind in ("plain", "copies")
    if factor.axis not in windows:
        return False
    state = layout.geometry(factor.axis)
    stride = factor.stride if factor.kind == "key" else state.stride
    width = layout.factors_of(factor.axis)[0].step * state.stride
    return abs(factor.step * factor.size * stride) <= abs(width)


def _invalid_windows(
    layout: Layout, values: NDArray[np.float64], axes: Sequence[int]
) -> Layout | None:
    """Windows of which ``values``, ``[*windows, values of a window]``, hide a part are not valid.

    None where the others differ from window to window.
    """
    out = layout
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
        cause = Cause(kind=CauseKind.PADDING, axis=axis, detail="windows that are masked in part")
        out = with_cause(out, cause) if cut.any() else out
        out = _periodic(out, axis, layout.factors_of(axis)[0].step)
    every = left.reshape(-1, left.shape[-1])
    return out if len(every) and bool((every == every[:1]).all()) else None


def _with_varying(layout: Layout, constant: Constant, dim: int) -> Layout:
    position = dim - len(layout.dims)
    outer = _product(constant.shape[:position])
    inner = _product(constant.shape[position:][1:])
    axis, size = layout.axis_in(dim), constant.shape[position]
    field = None if axis is None else constant.window(outer, size, inner)
    if field is not None and axis is not None and constant.repeats(outer, size, inner) != 1:
        step = _repeats_inside(constant, field, outer, inner)
        known = None if step is None else _leaving(layout, axis, field, step)
        if known is not None:
            return known
    return _along(layout, constant, layout.dims[dim], outer, inner)


def _repeats_inside(constant: Constant, field: Axis, before: int, after: int) -> int | None:
    """After how many samples a constant repeats where its field stays in its window.

    By its geometry ``field`` alone where the values are not known. None where it does not repeat.
    """
    inside = max(runs(field.valid), key=lambda run: run[1] - run[0], default=None)
    if inside is None or field.period is None:
        return None
    start, stop = inside
    step = constant.part(before, field.size, after, start, stop - start).repeats(
        before, stop - start, after
    )
    if step is None:
        step = int(field.period / abs(field.stride))
    return step if step == 1 or step < stop - start else None


def _leaving(layout: Layout, axis: int, field: Axis, step: int) -> Layout | None:
    """Combine with a constant that repeats but for where its field leaves its window.

    There the samples are as those that see padding. None where they are neither that already, nor
    see a part of the window: such a constant is another one at a fixed place.
    """
    state = layout.geometry(axis)
    if field.size != state.size:
        return None
    places = np.arange(field.size)
    partly = (field.last_of(places) >= 0) & (field.first_of(places) <= field.pixels - 1)
    if (state.valid & ~field.valid & ~partly).any():
        return None
    out = _periodic(layout, axis, step) if step > 1 else layout
    left = with_axis(out, axis, invalidate(out.geometry(axis), field.valid))
    if not (state.valid & ~field.valid).any():
        return left
    detail = "a constant whose own field leaves the window there"
    return with_cause(left, Cause(kind=CauseKind.PADDING, axis=axis, detail=detail))


def _along(layout: Layout, constant: Constant, dim: Dim, before: int, inner: int) -> Layout:
    """Combine with a constant whose values are ``[before, size of dim, inner]``."""
    out = layout
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


def _place(layout: Layout, factor: Factor, step: int | None, constant: Constant) -> Layout:
    axis = factor.axis
    if factor.kind == "copies":
        if step == 1:
            return layout
        raise BatchCoupledError("a constant differs between the elements of the batch")
    if step == 1:
        cause = Cause(
            kind=CauseKind.POSITION,
            axis=axis,
            latent=True,
            detail="a parameter for each place, uniform now",
        )
        return with_cause(layout, cause) if constant.parameter else layout
    state = layout.geometry(axis)
    period = _repetition(factor, step, state)
    if period < state.size:
        return _periodic(layout, axis, period, always=_is_whole(factor, state))
    what = "a parameter" if constant.parameter else "a constant"
    known = "that varies along the axis" if step is not None else "whose values are not known here"
    cause = Cause(kind=CauseKind.POSITION, axis=axis, detail=f"{what} {known}")
    return with_cause(with_axis(layout, axis, with_break(state)), cause)


def _repetition(factor: Factor, step: int | None, axis: Axis) -> Fraction:
    """After how many samples of the axis a constant repeats that has ``step`` along a factor.

    A pattern that starts anew in every window repeats with the window, unless it divides it.
    """
    repeats = step is not None and (_is_whole(factor, axis) or factor.size % step == 0)
    period = Fraction(factor.step * (step if step and repeats else factor.size))
    return period * abs(factor.stride / axis.stride) if factor.kind == "key" else period


def _is_whole(factor: Factor, axis: Axis) -> bool:
    """Whether a factor is all of its axis, as opposed to its windows or the places in one."""
    return factor.kind == "axis" and factor.step * factor.size == axis.size


def _periodic(
    layout: Layout, axis: int, samples: int | Fraction, *, always: bool = False
) -> Layout:
    """Combine with a constant that repeats every so many samples of the axis.

    ``always``: it is a cause of its own even where the period was as long before.
    """
    state = layout.geometry(axis)
    new = coarsen(state, samples)
    out = with_axis(layout, axis, new)
    if not always and new.lattice == state.lattice and bool((new.valid == state.valid).all()):
        return out
    detail = f"a constant that repeats every {samples} samples"
    return with_cause(
        out, Cause(kind=CauseKind.POSITION, axis=axis, period=new.lattice, detail=detail)
    )


def _product(sizes: Iterable[int]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total
