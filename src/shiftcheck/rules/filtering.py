"""Convolutions by way of frequencies: a transform, times that of a short kernel, and back.

Between a transform and its inverse every frequency depends on the whole axis, and yet the result
may be local: where what the frequencies are multiplied by is the transform of a few taps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftcheck.lattice.axis import Axis, resample, window
from shiftcheck.lattice.factors import Dim
from shiftcheck.lattice.layout import Layout, map_axes
from shiftcheck.rules.note_causes import note_edges, note_new_causes
from shiftcheck.rules.operands import Constant

NOISE = 8.0
"""A tap of less than so many units of rounding of the transform is none."""

Lags = Mapping[int, tuple[int, int]]
"""For each transformed dimension the first and the last lag of a kernel, in samples."""


@dataclass(frozen=True, eq=False)
class Spectrum(Layout):
    """A transform that was multiplied by that of a kernel with few taps, and by nothing else.

    ``before``: the layout that was transformed, as long as the transform. ``own``: the dimensions,
    which are this very object only as long as nothing else was done to the values.
    """

    own: tuple[Dim, ...] = ()
    before: Layout = field(default_factory=lambda: Layout((), ()))
    transformed: tuple[int, ...] = ()
    lags: Lags = field(default_factory=dict)
    half: bool = False

    @property
    def untouched(self) -> bool:
        """Whether nothing else was done to the values."""
        return self.dims is self.own


def spectrum(before: Layout, out: Layout, dims: Sequence[int], *, half: bool) -> Layout:
    """The transform ``out`` of the dimensions ``dims``, known to be one, if they are all axes."""
    if any(before.axis_in(d) is None for d in dims):
        return out
    lags = {d: (0, 0) for d in dims}
    return Spectrum(out.dims, out.axes, out.causes, out.dims, before, tuple(dims), lags, half)


def multiplied(out: Layout, *operands: object) -> Layout:
    """The product ``out``, known to be a transform where it is one times that of a kernel."""
    spectra = [s for s in operands if isinstance(s, Spectrum) and s.untouched]
    rest = [o for o in operands if o is not (spectra[0] if spectra else None)]
    if len(spectra) != 1 or out.shape != spectra[0].shape:
        return out
    lags: Lags | None = spectra[0].lags
    if isinstance(rest[0], Constant):
        lags = _added(lags, _lags_of(rest[0], spectra[0]), spectra[0])
    elif not isinstance(rest[0], int | float | complex):
        return out
    if lags is None:
        return out
    return replace(
        spectra[0], dims=out.dims, axes=out.axes, causes=out.causes, own=out.dims, lags=lags
    )


def _added(one: Lags | None, other: Lags | None, of: Spectrum) -> Lags | None:
    """The lags of two kernels after another; None where they fill more than half the transform.

    A kernel that is as long as that may be another one for another size.
    """
    if one is None or other is None:
        return None
    both = {d: (one[d][0] + other[d][0], one[d][1] + other[d][1]) for d in one}
    sizes = of.before.shape
    return both if all(2 * (b - a) <= sizes[d] for d, (a, b) in both.items()) else None


def _lags_of(kernel: Constant, of: Spectrum) -> Lags | None:
    """The lags of the kernel that a constant is the transform of; None where it is not known."""
    values = kernel.values()
    rank = len(of.dims)
    if values is None or values.ndim > rank:
        return None
    wide = values.reshape((1,) * (rank - values.ndim) + values.shape)
    for d in of.transformed:
        if wide.shape[d] == 1:
            wide = np.repeat(wide, of.shape[d], axis=d)
    sizes = [of.before.shape[d] for d in of.transformed]
    back = np.fft.irfftn if of.half else np.fft.ifftn
    taps = np.abs(back(wide, s=sizes, axes=of.transformed))
    power = float(np.sqrt(np.mean(np.abs(wide) ** 2)))
    seen = taps > NOISE * _rounding(values) * power
    arcs = {d: _arc(seen, d) for d in of.transformed}
    return {d: arc for d, arc in arcs.items() if arc is not None} if all(arcs.values()) else None


def _rounding(values: NDArray[Any]) -> float:
    single = values.dtype in (np.complex64, np.float32)
    return float(np.finfo(np.float32 if single else np.float64).eps)


def _arc(seen: NDArray[np.bool_], dim: int) -> tuple[int, int] | None:
    """The shortest arc of the circle of lags that holds all that are seen; None without any."""
    others = tuple(d for d in range(seen.ndim) if d != dim)
    places = np.flatnonzero(seen.any(axis=others))
    if len(places) == 0:
        return None
    size = seen.shape[dim]
    gaps = np.diff(np.append(places, places[0] + size))
    start = int(places[(int(gaps.argmax()) + 1) % len(places)])
    length = size - int(gaps.max())
    start -= size if start > size // 2 else 0
    return start, start + length


def filtered(
    layout: Layout, dims: Sequence[int], lengths: Sequence[int | None], *, half: bool
) -> Layout | None:
    """What a transform back of the frequencies is, as a convolution; None where it is not known."""
    if not isinstance(layout, Spectrum) or not layout.untouched or layout.half != half:
        return None
    before, lags = layout.before, layout.lags
    sizes = [before.shape[d] for d in dims]
    stored = [layout.shape[d] for d in dims]
    default = [
        2 * (n - 1) if half and d == dims[-1] else n for d, n in zip(dims, stored, strict=True)
    ]
    asked = [n or m for n, m in zip(lengths, default, strict=True)]
    if tuple(dims) != layout.transformed or asked != sizes:
        return None

    def change(axis: Axis, i: int) -> Axis:
        first, last = lags[dims[i]]
        taps = window(1, [-lag for lag in range(first, last + 1)])
        return resample(axis, taps, axis.size, wrap=True)

    out = note_new_causes(before, map_axes(before, dims, change, sizes))
    for axis in before.axes_in(dims):
        if before.geometry(axis).valid.any() and not out.geometry(axis).valid.any():
            return None  # a kernel as long as all that: every sample sees the whole axis
    return note_edges(before, out, dims, change, "a convolution around the end of the transform")
