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
from shiftcheck.lattice.causes import with_cause
from shiftcheck.lattice.factors import Factor, plain
from shiftcheck.lattice.frequencies import with_waves
from shiftcheck.lattice.layout import Gone, Layout, Waves, with_axis, with_dim
from shiftcheck.lattice.windows import interleaved
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.rules.common import combined, need_layout, normal_dim, pointwise, uncoupled
from shiftcheck.rules.filtering import filtered, multiplied, spectrum
from shiftcheck.rules.indexing import roll
from shiftcheck.rules.note_causes import note_padding
from shiftcheck.rules.registry import register_rule

SOURCE = "the shift theorem; torch.fft"
FORWARD = "global; to frequencies: exact on one turn of a circle, and only for linear maps of each"
BACK = "back from frequencies: N/gcd(N, M) -> M/gcd(N, M) from N to M samples of a circle"
Ints = int | Sequence[int] | None


def signed(index: int, size: int) -> int:
    """The frequency of a sample of a two-sided transform of ``size`` samples."""
    return index if index < (size + 1) // 2 else index - size


def _dims(layout: Layout, dim: Ints, sizes: Ints, last: int | None) -> tuple[int, ...]:
    rank = len(layout.dims)
    if dim is None and isinstance(sizes, Sequence):
        dim = range(rank - len(sizes), rank)
    if dim is None:
        dim = range(rank) if last is None else range(rank - last, rank)
    entries = (dim,) if isinstance(dim, int) else dim
    return tuple(normal_dim(d, rank) for d in entries)


def _sizes(layout: Layout, dims: Sequence[int], sizes: Ints) -> list[int | None]:
    if sizes is None:
        return [None] * len(dims)
    entries = [sizes] if isinstance(sizes, int) else list(sizes)
    return [None if n == -1 else n for n in entries]


def _forward(x: object, sizes: Ints, dim: Ints, last: int | None, *, half: bool) -> Layout:
    """A transform of the dimensions; with ``half`` the last keeps only what is not redundant."""
    layout = need_layout(x, "the transformed tensor")
    dims = _dims(layout, dim, sizes, last)
    uncoupled(layout, dims, "a Fourier transform")
    layout = interleaved(layout, dims)
    for d, n in zip(dims, _sizes(layout, dims, sizes), strict=True):
        layout = _of_length(layout, d, n or layout.shape[d])
    out = layout
    for d in dims:
        size = layout.shape[d]
        kept = size // 2 + 1 if half and d == dims[-1] else size
        axis = layout.axis_in(d)
        if axis is None:
            if layout.axes_in([d]):
                raise GeometryError("a Fourier transform of more than an axis")
            out = with_dim(out, d, plain(kept))
            continue
        bins = tuple(k if half and d == dims[-1] else signed(k, size) for k in range(kept))
        out = _to_waves(out, d, axis, bins)
    return spectrum(layout, out, dims, half=half)


def _of_length(layout: Layout, dim: int, size: int) -> Layout:
    """The layout as long as a transform takes it: cropped, or with zeros behind it."""
    if size == layout.shape[dim]:
        return layout
    axis = layout.axis_in(dim)
    if axis is None:
        return layout if layout.axes_in([dim]) else with_dim(layout, dim, plain(size))
    state = layout.geometry(axis)
    out = with_axis(layout, axis, resample(state, window(1, [0]), size))
    return (
        note_padding(layout, out, [axis], "zeros behind the signal") if size > state.size else out
    )


def _to_waves(layout: Layout, dim: int, axis: int, bins: Sequence[int | None]) -> Layout:
    state = globalise(layout.geometry(axis))
    out = with_waves(layout, dim, axis, Waves(state, tuple(bins)))
    if state.valid.all():
        return out
    detail = "a Fourier transform of the whole axis"
    return with_cause(out, Cause(kind=CauseKind.GLOBAL, axis=axis, detail=detail))


def frequency_axis(layout: Layout, dim: int) -> int | None:
    """The axis whose frequencies dimension ``dim`` holds, None where it holds anything else."""
    factors = layout.dims[dim]
    single = len(factors) == 1 and factors[0].kind == "frequency"
    return factors[0].axis if single else None


def _back(x: object, sizes: Ints, dim: Ints, last: int | None, *, half: bool) -> Layout:
    layout = need_layout(x, "the transformed tensor")
    dims = _dims(layout, dim, sizes, last)
    uncoupled(layout, dims, "a Fourier transform")
    lengths = _sizes(layout, dims, sizes)
    convolved = filtered(layout, dims, lengths, half=half)
    if convolved is not None:
        return convolved
    out = layout
    for d, asked in zip(dims, lengths, strict=True):
        stored = layout.shape[d]
        one_sided = half and d == dims[-1]
        size = asked or (2 * (stored - 1) if one_sided else stored)
        axis = frequency_axis(layout, d)
        if axis is None:
            if layout.axes_in([d]):
                raise GeometryError("an inverse Fourier transform of an axis")
            out = with_dim(out, d, plain(size))
            continue
        if not one_sided and size != stored:
            raise GeometryError("an inverse Fourier transform that crops or pads")
        out = _from_waves(out, d, axis, size, one_sided)
    return out


def _from_waves(layout: Layout, dim: int, axis: int, size: int, one_sided: bool) -> Layout:
    waves = layout.axes[axis]
    assert isinstance(waves, Waves)
    for index, frequency in enumerate(waves.bins):
        expected = index if one_sided else signed(index, size)
        nyquist = 2 * abs(expected) == size
        same = frequency in (expected, -expected if nyquist else expected)
        if frequency is not None and not same and (not one_sided or 2 * index <= size):
            raise GeometryError("frequencies that are not where the inverse transform takes them")
    state = _resampled(waves.axis, size)
    out = layout.with_state(axis, state).with_factors(dim, (Factor("axis", size, axis),))
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

    @register_rule(f"aten::fft_{forward}{name}", law=FORWARD, source=SOURCE, keeps_frequencies=True)
    def there(x: object, s: Ints = None, dim: Ints = default, norm: str | None = None) -> Layout:
        return _forward(x, s, dim, last, half=half)

    @register_rule(f"aten::fft_{back}{name}", law=BACK, source=SOURCE, keeps_frequencies=True)
    def again(x: object, s: Ints = None, dim: Ints = default, norm: str | None = None) -> Layout:
        return _back(x, s, dim, last, half=half)


@register_rule("aten::_fft_r2c", law=FORWARD, source=SOURCE, keeps_frequencies=True)
def real_to_complex(x: object, dim: Sequence[int], normalization: int, onesided: bool) -> Layout:
    """What the transforms of real signals are made of."""
    return _forward(x, None, dim, None, half=onesided)


@register_rule("aten::_fft_c2c", law="as fft and ifft", source=SOURCE, keeps_frequencies=True)
def complex_to_complex(x: object, dim: Sequence[int], normalization: int, forward: bool) -> Layout:
    """What the transforms of complex signals are made of."""
    return (
        _forward(x, None, dim, None, half=False)
        if forward
        else _back(x, None, dim, None, half=False)
    )


@register_rule("aten::_fft_c2r", law=BACK, source=SOURCE, keeps_frequencies=True)
def complex_to_real(
    x: object, dim: Sequence[int], normalization: int, last_dim_size: int
) -> Layout:
    """What the transforms back to real signals are made of."""
    layout = need_layout(x, "the transformed tensor")
    sizes = [layout.shape[d] for d in dim[:-1]] + [last_dim_size]
    return _back(x, sizes, dim, None, half=True)


def _scaled(x: object, y: object, **_: object) -> Layout:
    """Each frequency times a number of its own."""
    layouts = [s for s in (x, y) if isinstance(s, Layout)]
    if len(layouts) > 1 and any(has_waves(s) for s in layouts):
        if not _cancel(*layouts):
            raise GeometryError("two transformed signals are multiplied")
        return pointwise(*(magnitude(s) for s in layouts))
    return multiplied(pointwise(x, y), x, y)


def _cancel(one: Layout, other: Layout) -> bool:
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


def _added(x: object, y: object, **_: object) -> Layout:
    """Frequencies added to frequencies."""
    layouts = [s for s in (x, y) if isinstance(s, Layout)]
    if not any(has_waves(s) for s in layouts):
        return pointwise(x, y)
    if len(layouts) < 2:
        raise GeometryError("a constant is added to the frequencies of a signal")
    return combined(layouts)


def _divided(x: object, y: object, **_: object) -> Layout:
    """Each frequency divided by a number of its own."""
    if isinstance(y, Layout) and has_waves(y):
        raise GeometryError("something is divided by the frequencies of a signal")
    return _scaled(x, y)


@register_rule(
    "aten::abs.default", law="1 -> 1; of frequencies: invariant on a circle", keeps_frequencies=True
)
def magnitude(x: object) -> Layout:
    """The magnitude; that of a frequency does not change with a shift."""
    layout = need_layout(x, "the tensor")
    if not has_waves(layout):
        return pointwise(layout)
    axes = tuple(_unmoved(s) if isinstance(s, Waves) else s for s in layout.axes)
    dims = tuple(
        tuple(Factor("plain", f.size) if f.kind == "frequency" else f for f in dim)
        for dim in layout.dims
    )
    return replace(layout, dims=dims, axes=axes)


def _unmoved(waves: Waves) -> Gone:
    axis = waves.axis
    return Gone(exact=axis.one_turn, lattice=axis.lattice, broken=axis.broken)


@register_rule(
    "aten::fft_fftshift", law="1 -> 1 between transforms", source=SOURCE, keeps_frequencies=True
)
def zero_in_the_middle(x: object, dim: Ints = None) -> Layout:
    """The frequencies in ascending order."""
    return _rolled(x, dim, lambda size: size // 2)


@register_rule(
    "aten::fft_ifftshift", law="1 -> 1 between transforms", source=SOURCE, keeps_frequencies=True
)
def zero_in_front(x: object, dim: Ints = None) -> Layout:
    """The frequencies in the order of the transforms again."""
    return _rolled(x, dim, lambda size: -(size // 2))


def _rolled(x: object, dim: Ints, steps: Callable[[int], int]) -> Layout:
    layout = need_layout(x, "the tensor")
    dims = _dims(layout, dim, None, None)
    return roll(layout, [steps(layout.shape[d]) for d in dims], dims)


@register_rule(
    "aten::_conj",
    "aten::conj",
    "aten::conj_physical",
    "aten::_conj_physical",
    law="1 -> 1; of frequencies: each one is its own opposite",
    source="torch.conj",
    keeps_frequencies=True,
)
def conjugate(x: object) -> Layout:
    """The complex conjugate; that of a frequency turns the other way with a shift."""
    layout = need_layout(x, "the tensor")
    out = Layout(layout.dims, layout.axes, layout.causes)
    for axis, state in enumerate(layout.axes):
        if isinstance(state, Waves):
            opposite = tuple(None if k is None else -k for k in state.bins)
            out = out.with_state(axis, replace(state, bins=opposite))
    return out


@register_rule("aten::real", "aten::imag", law="1 -> 1; not between transforms")
def part(x: object) -> Layout:
    """The real or the imaginary part."""
    return need_layout(x, "the complex tensor")


@register_rule("aten::view_as_real", law="1 -> 1; not between transforms")
def as_real(x: object) -> Layout:
    """Both parts along a new last dimension."""
    layout = need_layout(x, "the complex tensor")
    return replace(layout, dims=(*layout.dims, plain(2)))


@register_rule("aten::view_as_complex", "aten::complex", law="1 -> 1; not between transforms")
def as_complex(x: object, imaginary: object = None) -> Layout:
    """A complex tensor from both parts."""
    if imaginary is not None:
        return pointwise(x, imaginary)
    layout = need_layout(x, "the real tensor")
    return replace(layout, dims=layout.dims[:-1])


def has_waves(layout: Layout) -> bool:
    """Whether a tensor holds the frequencies of an axis."""
    return any(isinstance(state, Waves) for state in layout.axes)


for _name, _last in (("", 1), ("2", 2), ("n", None)):
    for _half in (False, True):
        _register(_name, _name == "", _half, _last)
for _law, _names in ((_scaled, ("mul",)), (_added, ("add", "sub")), (_divided, ("div",))):
    for _name in _names:
        register_rule(
            f"aten::{_name}.Tensor",
            law="1 -> 1; linear between transforms",
            keeps_uniform=True,
            keeps_frequencies=True,
        )(_law)


def refuse_frequencies(args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise GeometryError where a rule that does not keep frequencies is asked about them."""
    if any(has_waves(s) for s in _layouts([*args, *kwargs.values()])):
        raise GeometryError("only linear maps of each frequency are followed between transforms")


def _layouts(values: Iterable[Any]) -> Iterator[Layout]:
    for value in values:
        if isinstance(value, Layout):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _layouts(value)
