"""Fourier transforms, and what commutes with shifts between a transform and its inverse.

A shift multiplies the sample of frequency ``k`` by ``exp(-2 pi i k v / N)``: linear maps of each
frequency for itself keep that, anything else does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from shiftcheck.lattice.axis import Axis, GeometryError, Taps, globalise, resample, window
from shiftcheck.lattice.layout import (
    Factor,
    Gone,
    Signal,
    Waves,
    plain,
    with_axis,
    with_cause,
    with_dim,
)
from shiftcheck.lattice.windows import interleaved
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.rules.common import combined, need_signal, normal_dim, pointwise, uncoupled
from shiftcheck.rules.concatenation import cat, stack
from shiftcheck.rules.elementwise import copy
from shiftcheck.rules.filtering import filtered, multiplied, spectrum
from shiftcheck.rules.indexing import flip, index_select, roll
from shiftcheck.rules.matmul import matmul
from shiftcheck.rules.note_causes import note_padding
from shiftcheck.rules.padding import constant_pad, pad
from shiftcheck.rules.registry import Rule, keeps_uniform, register_rule
from shiftcheck.rules.views import (
    chunk,
    expand,
    flatten,
    movedim,
    narrow,
    permute,
    same,
    slice_,
    split,
    squeeze,
    t,
    transpose,
    unflatten,
    unsqueeze,
    view,
)

SOURCE = "the shift theorem; torch.fft"
FORWARD = "global; to frequencies: exact on one turn of a circle, and only for linear maps of each"
BACK = "back from frequencies: N/gcd(N, M) -> M/gcd(N, M) from N to M samples of a circle"
Ints = int | Sequence[int] | None


def signed(index: int, size: int) -> int:
    """The frequency of a sample of a two-sided transform of ``size`` samples."""
    return index if index < (size + 1) // 2 else index - size


def _dims(signal: Signal, dim: Ints, sizes: Ints, last: int | None) -> tuple[int, ...]:
    rank = len(signal.dims)
    if dim is None and isinstance(sizes, Sequence):
        dim = range(rank - len(sizes), rank)
    if dim is None:
        dim = range(rank) if last is None else range(rank - last, rank)
    entries = (dim,) if isinstance(dim, int) else dim
    return tuple(normal_dim(d, rank) for d in entries)


def _sizes(signal: Signal, dims: Sequence[int], sizes: Ints) -> list[int | None]:
    if sizes is None:
        return [None] * len(dims)
    entries = [sizes] if isinstance(sizes, int) else list(sizes)
    return [None if n == -1 else n for n in entries]


def _forward(x: object, sizes: Ints, dim: Ints, last: int | None, *, half: bool) -> Signal:
    """A transform of the dimensions; with ``half`` the last keeps only what is not redundant."""
    signal = need_signal(x, "the transformed tensor")
    dims = _dims(signal, dim, sizes, last)
    uncoupled(signal, dims, "a Fourier transform")
    signal = interleaved(signal, dims)
    for d, n in zip(dims, _sizes(signal, dims, sizes), strict=True):
        signal = _of_length(signal, d, n or signal.shape[d])
    out = signal
    for d in dims:
        size = signal.shape[d]
        kept = size // 2 + 1 if half and d == dims[-1] else size
        axis = signal.axis_in(d)
        if axis is None:
            if signal.axes_in([d]):
                raise GeometryError("a Fourier transform of more than an axis")
            out = with_dim(out, d, plain(kept))
            continue
        bins = tuple(k if half and d == dims[-1] else signed(k, size) for k in range(kept))
        out = _to_waves(out, d, axis, bins)
    return spectrum(signal, out, dims, half=half)


def _of_length(signal: Signal, dim: int, size: int) -> Signal:
    """The signal as long as a transform takes it: cropped, or with zeros behind it."""
    if size == signal.shape[dim]:
        return signal
    axis = signal.axis_in(dim)
    if axis is None:
        return signal if signal.axes_in([dim]) else with_dim(signal, dim, plain(size))
    state = signal.geometry(axis)
    out = with_axis(signal, axis, resample(state, window(1, [0]), size))
    return (
        note_padding(signal, out, [axis], "zeros behind the signal") if size > state.size else out
    )


def _to_waves(signal: Signal, dim: int, axis: int, bins: Sequence[int | None]) -> Signal:
    state = globalise(signal.geometry(axis))
    axes = [Waves(state, tuple(bins)) if a == axis else s for a, s in enumerate(signal.axes)]
    factor = Factor("frequency", len(bins), axis)
    dims = [(factor,) if d == dim else f for d, f in enumerate(signal.dims)]
    out = Signal(tuple(dims), tuple(axes), signal.causes)
    if state.valid.all():
        return out
    detail = "a Fourier transform of the whole axis"
    return with_cause(out, Cause(kind=CauseKind.GLOBAL, axis=axis, detail=detail))


def frequency_axis(signal: Signal, dim: int) -> int | None:
    """The axis whose frequencies dimension ``dim`` holds, None where it holds anything else."""
    factors = signal.dims[dim]
    single = len(factors) == 1 and factors[0].kind == "frequency"
    return factors[0].axis if single else None


def _back(x: object, sizes: Ints, dim: Ints, last: int | None, *, half: bool) -> Signal:
    signal = need_signal(x, "the transformed tensor")
    dims = _dims(signal, dim, sizes, last)
    uncoupled(signal, dims, "a Fourier transform")
    lengths = _sizes(signal, dims, sizes)
    convolved = filtered(signal, dims, lengths, half=half)
    if convolved is not None:
        return convolved
    out = signal
    for d, asked in zip(dims, lengths, strict=True):
        stored = signal.shape[d]
        one_sided = half and d == dims[-1]
        size = asked or (2 * (stored - 1) if one_sided else stored)
        axis = frequency_axis(signal, d)
        if axis is None:
            if signal.axes_in([d]):
                raise GeometryError("an inverse Fourier transform of an axis")
            out = with_dim(out, d, plain(size))
            continue
        if not one_sided and size != stored:
            raise GeometryError("an inverse Fourier transform that crops or pads")
        out = _from_waves(out, d, axis, size, one_sided)
    return out


def _from_waves(signal: Signal, dim: int, axis: int, size: int, one_sided: bool) -> Signal:
    waves = signal.axes[axis]
    assert isinstance(waves, Waves)
    for index, frequency in enumerate(waves.bins):
        expected = index if one_sided else signed(index, size)
        nyquist = 2 * abs(expected) == size
        same = frequency in (expected, -expected if nyquist else expected)
        if frequency is not None and not same and (not one_sided or 2 * index <= size):
            raise GeometryError("frequencies that are not where the inverse transform takes them")
    state = _resampled(waves.axis, size)
    axes = tuple(state if a == axis else s for a, s in enumerate(signal.axes))
    dims = [(Factor("axis", size, axis),) if d == dim else f for d, f in enumerate(signal.dims)]
    out = Signal(tuple(dims), axes, signal.causes)
    if state.lattice == waves.axis.lattice:
        return out
    cause = Cause(
        kind=CauseKind.RESIZE,
        axis=axis,
        period=state.lattice,
        detail="to another number of samples",
    )
    return with_cause(out, cause)


def _resampled(axis: Axis, size: int) -> Axis:
    """The same turn of a circle, or the same whole axis, in another number of samples."""
    if size == axis.size:
        return axis
    common = math.gcd(axis.size, size)
    taps = Taps(num=axis.size // common, phases=((0,),) * (size // common))
    return resample(axis, taps, size, wrap=True)


def _register(name: str, one: bool, half: bool, last: int | None) -> None:
    """A transform and its inverse; ``one``: of one dimension, else of ``last`` or all of them."""
    forward, back = ("rfft", "irfft") if half else ("fft", "ifft")
    default = -1 if one else None

    @register_rule(f"aten::fft_{forward}{name}", law=FORWARD, source=SOURCE)
    def there(x: object, s: Ints = None, dim: Ints = default, norm: str | None = None) -> Signal:
        return _forward(x, s, dim, last, half=half)

    @register_rule(f"aten::fft_{back}{name}", law=BACK, source=SOURCE)
    def again(x: object, s: Ints = None, dim: Ints = default, norm: str | None = None) -> Signal:
        return _back(x, s, dim, last, half=half)

    KEEPING.update((there, again))


@register_rule("aten::_fft_r2c", law=FORWARD, source=SOURCE)
def real_to_complex(x: object, dim: Sequence[int], normalization: int, onesided: bool) -> Signal:
    """What the transforms of real signals are made of."""
    return _forward(x, None, dim, None, half=onesided)


@register_rule("aten::_fft_c2c", law="as fft and ifft", source=SOURCE)
def complex_to_complex(x: object, dim: Sequence[int], normalization: int, forward: bool) -> Signal:
    """What the transforms of complex signals are made of."""
    return (
        _forward(x, None, dim, None, half=False)
        if forward
        else _back(x, None, dim, None, half=False)
    )


@register_rule("aten::_fft_c2r", law=BACK, source=SOURCE)
def complex_to_real(
    x: object, dim: Sequence[int], normalization: int, last_dim_size: int
) -> Signal:
    """What the transforms back to real signals are made of."""
    signal = need_signal(x, "the transformed tensor")
    sizes = [signal.shape[d] for d in dim[:-1]] + [last_dim_size]
    return _back(x, sizes, dim, None, half=True)


def _scaled(x: object, y: object, **_: object) -> Signal:
    """Each frequency times a number of its own."""
    signals = [s for s in (x, y) if isinstance(s, Signal)]
    if len(signals) > 1 and any(has_waves(s) for s in signals):
        if not _cancel(*signals):
            raise GeometryError("two transformed signals are multiplied")
        return pointwise(*(magnitude(s) for s in signals))
    return multiplied(pointwise(x, y), x, y)


def _cancel(one: Signal, other: Signal) -> bool:
    """Whether each frequency meets its own opposite: what a shift does to both is nothing."""
    if one.dims != other.dims:
        return False
    pairs = list(zip(one.axes, other.axes, strict=True))
    if not all(isinstance(a, Waves) == isinstance(b, Waves) for a, b in pairs):
        return False
    bins = [
        zip(a.bins, b.bins, strict=True)
        for a, b in pairs
        if isinstance(a, Waves) and isinstance(b, Waves)
    ]
    return all(j is None or k is None or j == -k for waves in bins for j, k in waves)


def _added(x: object, y: object, **_: object) -> Signal:
    """Frequencies added to frequencies."""
    signals = [s for s in (x, y) if isinstance(s, Signal)]
    if not any(has_waves(s) for s in signals):
        return pointwise(x, y)
    if len(signals) < 2:
        raise GeometryError("a constant is added to the frequencies of a signal")
    return combined(signals)


def _divided(x: object, y: object, **_: object) -> Signal:
    """Each frequency divided by a number of its own."""
    if isinstance(y, Signal) and has_waves(y):
        raise GeometryError("something is divided by the frequencies of a signal")
    return _scaled(x, y)


@register_rule("aten::abs.default", law="1 -> 1; of frequencies: invariant on a circle")
def magnitude(x: object) -> Signal:
    """The magnitude; that of a frequency does not change with a shift."""
    signal = need_signal(x, "the tensor")
    if not has_waves(signal):
        return pointwise(signal)
    axes = [_unmoved(s) if isinstance(s, Waves) else s for s in signal.axes]
    dims = [
        tuple(Factor("plain", f.size) if f.kind == "frequency" else f for f in dim)
        for dim in signal.dims
    ]
    return Signal(tuple(dims), tuple(axes), signal.causes)


def _unmoved(waves: Waves) -> Gone:
    axis = waves.axis
    return Gone(exact=axis.one_turn, lattice=axis.lattice, broken=axis.broken)


@register_rule("aten::fft_fftshift", law="1 -> 1 between transforms", source=SOURCE)
def zero_in_the_middle(x: object, dim: Ints = None) -> Signal:
    """The frequencies in ascending order."""
    return _rolled(x, dim, lambda size: size // 2)


@register_rule("aten::fft_ifftshift", law="1 -> 1 between transforms", source=SOURCE)
def zero_in_front(x: object, dim: Ints = None) -> Signal:
    """The frequencies in the order of the transforms again."""
    return _rolled(x, dim, lambda size: -(size // 2))


def _rolled(x: object, dim: Ints, steps: Callable[[int], int]) -> Signal:
    signal = need_signal(x, "the tensor")
    dims = _dims(signal, dim, None, None)
    return roll(signal, [steps(signal.shape[d]) for d in dims], dims)


@register_rule(
    "aten::_conj",
    "aten::conj",
    "aten::conj_physical",
    "aten::_conj_physical",
    law="1 -> 1; of frequencies: each one is its own opposite",
    source="torch.conj",
)
def conjugate(x: object) -> Signal:
    """The complex conjugate; that of a frequency turns the other way with a shift."""
    signal = need_signal(x, "the tensor")
    axes = [
        replace(s, bins=tuple(None if k is None else -k for k in s.bins))
        if isinstance(s, Waves)
        else s
        for s in signal.axes
    ]
    return Signal(tuple(signal.dims), tuple(axes), signal.causes)


@register_rule("aten::real", "aten::imag", law="1 -> 1; not between transforms")
def part(x: object) -> Signal:
    """The real or the imaginary part."""
    return need_signal(x, "the complex tensor")


@register_rule("aten::view_as_real", law="1 -> 1; not between transforms")
def as_real(x: object) -> Signal:
    """Both parts along a new last dimension."""
    signal = need_signal(x, "the complex tensor")
    return replace(signal, dims=(*signal.dims, plain(2)))


@register_rule("aten::view_as_complex", "aten::complex", law="1 -> 1; not between transforms")
def as_complex(x: object, imaginary: object = None) -> Signal:
    """A complex tensor from both parts."""
    if imaginary is not None:
        return pointwise(x, imaginary)
    signal = need_signal(x, "the real tensor")
    return replace(signal, dims=signal.dims[:-1])


def has_waves(signal: Signal) -> bool:
    """Whether a tensor holds the frequencies of an axis."""
    return any(isinstance(state, Waves) for state in signal.axes)


KEEPING: set[Rule] = {
    real_to_complex,
    complex_to_complex,
    complex_to_real,
    magnitude,
    conjugate,
    *(cat, chunk, expand, flatten, movedim, narrow, permute, slice_, split, squeeze, stack),
    *(t, transpose, unflatten, unsqueeze, view, matmul, roll, flip, index_select),
    *(same, copy, pad, constant_pad, zero_in_the_middle, zero_in_front),
}
"""The rules that may be asked about frequencies: whatever else is done to them is not followed."""

for _name, _last in (("", 1), ("2", 2), ("n", None)):
    for _half in (False, True):
        _register(_name, _name == "", _half, _last)
for _law, _names in ((_scaled, ("mul",)), (_added, ("add", "sub")), (_divided, ("div",))):
    for _name in _names:
        register_rule(f"aten::{_name}.Tensor", law="1 -> 1; linear between transforms")(_law)
    KEEPING.add(keeps_uniform(_law))


def refuse_frequencies(rule: Rule, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise GeometryError where a rule that is not linear is asked about frequencies."""
    if rule not in KEEPING and any(has_waves(s) for s in _signals([*args, *kwargs.values()])):
        raise GeometryError("only linear maps of each frequency are followed between transforms")


def _signals(values: Iterable[Any]) -> Iterator[Signal]:
    for value in values:
        if isinstance(value, Signal):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _signals(value)
