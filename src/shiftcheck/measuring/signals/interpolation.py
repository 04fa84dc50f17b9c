"""Shifts between pixels: ``(S_v f)(p)`` for a real ``v``, by interpolation along each axis.

On a circle a signal is read as the trigonometric polynomial through its samples. On the plane each
value is a weighted sum of its neighbours: a sinc under a Lanczos window, or a straight line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch

REACH = {"lanczos": 3, "linear": 1}
"""How many samples to each side of a place an interpolation reads, at most."""

INTERPOLATIONS = ("fourier", *REACH)


def is_whole(shift: Sequence[float]) -> bool:
    """Whether a shift is one of whole samples along every axis."""
    return all(v == int(v) for v in shift)


def fourier_shift(x: torch.Tensor, by: float, dim: int) -> torch.Tensor:
    """Turn a circle by a real number of samples: each frequency k gains the phase -2 pi k by / n.

    A real signal stays real: at an even size the frequency n/2, which has no sign, is multiplied by
    the real part of its phase, cos(pi by).
    """
    size = x.shape[dim]
    turns = torch.fft.fftfreq(size, dtype=torch.float64, device=x.device) * by
    phase = torch.polar(torch.ones_like(turns), -2 * math.pi * turns)
    if size % 2 == 0:
        phase[size // 2] = math.cos(math.pi * by)
    wide = x if x.is_complex() else x.double()
    spectrum = torch.fft.fft(wide, dim=dim)
    phase = phase.reshape(-1, *(1,) * (x.ndim - 1 - dim % x.ndim))
    turned: torch.Tensor = torch.fft.ifft(spectrum * phase, dim=dim)
    return turned if x.is_complex() else turned.real


def fourier_derivative(x: torch.Tensor, dim: int) -> torch.Tensor:
    """The derivative of ``fourier_shift(x, by, dim)`` with respect to ``by``, at by = 0.

    At an even size the frequency n/2 has none: cos(pi by) is flat there.
    """
    size = x.shape[dim]
    turns = torch.fft.fftfreq(size, dtype=torch.float64, device=x.device)
    if size % 2 == 0:
        turns[size // 2] = 0.0
    factor = torch.complex(torch.zeros_like(turns), -2 * math.pi * turns)
    factor = factor.reshape(-1, *(1,) * (x.ndim - 1 - dim % x.ndim))
    moved: torch.Tensor = torch.fft.ifft(torch.fft.fft(x.double(), dim=dim) * factor, dim=dim)
    return moved.real


def taps_of(by: float | Fraction, interpolation: str) -> tuple[int, tuple[float, ...]]:
    """The first step and the weights of ``out[p] = sum_j weights[j] x[p - first - j]``.

    Lanczos weights are divided by their sum, so that a constant stays one. A whole step has the one
    weight 1.
    """
    whole = math.floor(by)
    rest = float(by - whole)
    if rest == 0.0:
        return whole, (1.0,)
    reach = REACH[interpolation]
    steps = range(1 - reach, reach + 1)
    weights = [_kernel(step - rest, interpolation) for step in steps]
    total = math.fsum(weights)
    return whole + steps[0], tuple(w / total for w in weights)


def _kernel(t: float, interpolation: str) -> float:
    """Duchon, *Lanczos Filtering in One and Two Dimensions*, 1979; or the triangle."""
    if interpolation == "linear":
        return max(0.0, 1.0 - abs(t))
    return _sinc(t) * _sinc(t / REACH["lanczos"]) if abs(t) < REACH["lanczos"] else 0.0


def _sinc(t: float) -> float:
    return math.sin(math.pi * t) / (math.pi * t) if t else 1.0


def weighted(x: torch.Tensor, by: float | Fraction, dim: int, interpolation: str) -> torch.Tensor:
    """A signal between its samples along one dimension, in float64; what is beyond it counts as 0.

    Only places that all weights reach from inside mean anything.
    """
    first, weights = taps_of(by, interpolation)
    wide = x if x.is_complex() else x.double()
    out = torch.zeros_like(wide)
    size = x.shape[dim]
    for step, weight in enumerate(weights, first):
        count = size - abs(step)
        if count > 0:
            source = wide.narrow(dim, max(-step, 0), count)
            out.narrow(dim, max(step, 0), count).add_(source, alpha=weight)
    return out


def derivative(x: torch.Tensor, dim: int, interpolation: str) -> torch.Tensor:
    """The derivative of a signal's shift with respect to how far it is shifted, where it stands.

    On the plane that of the Lanczos kernel; what is beyond the signal counts as 0.
    """
    if interpolation == "fourier":
        return fourier_derivative(x, dim)
    out = torch.zeros_like(x, dtype=torch.float64)
    size = x.shape[dim]
    for step in range(1, min(REACH["lanczos"], size)):
        weight = (-1) ** step * _sinc(step / REACH["lanczos"]) / step
        source = x.double()
        out.narrow(dim, step, size - step).sub_(source.narrow(dim, 0, size - step), alpha=weight)
        out.narrow(dim, 0, size - step).add_(source.narrow(dim, step, size - step), alpha=weight)
    return out


def margin_of(by: float | Fraction, interpolation: str) -> int:
    """How many samples beyond its size a shifted signal takes its values from, at most."""
    first, weights = taps_of(by, interpolation)
    return max(abs(first), abs(first + len(weights) - 1))
