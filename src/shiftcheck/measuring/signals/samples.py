"""Signals that are named by a seed, a shape and a kind, so that a failure can be written down."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from shiftcheck.errors import InputError

Maker = Callable[[Sequence[int], Sequence[int], torch.Generator], torch.Tensor]


def sample_signal(
    shape: Sequence[int],
    *,
    kind: str = "white",
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """The signal of a kind that a seed stands for, the same one every time.

    Args:
        shape: ``[batch, channels, *spatial]`` with one to three spatial axes.
        kind: ``"white"``: normal noise; ``"band-limited"``: noise without frequencies above a
            quarter of a cycle per pixel; ``"impulses"``: few places of either sign, the rest zero;
            ``"blobs"``: a few Gaussian bumps of several widths and either sign.
        seed: a whole number of at least 0.
        dtype: a real floating dtype; the values are drawn in float64 and rounded to it.

    Raises:
        InputError: for arguments that cannot be used.

    Example:
        >>> x = sample_signal((1, 2, 8, 9), kind="impulses", seed=3)
        >>> x.shape, int((x != 0).sum())
        (torch.Size([1, 2, 8, 9]), 4)
    """
    sizes = checked_shape(shape)
    checked_kind(kind)
    checked_dtype(dtype)
    if not is_whole(seed) or seed < 0:
        raise InputError(f"seed={seed!r}: give a whole number of at least 0")
    generator = torch.Generator().manual_seed(seed)
    return KINDS[kind](sizes[:2], sizes[2:], generator).to(dtype)


def checked_shape(shape: Any) -> tuple[int, ...]:
    """The shape as a tuple; raises InputError where it is none of a signal."""
    fits = isinstance(shape, Sequence) and not isinstance(shape, str) and 3 <= len(shape) <= 5
    if not fits or not all(is_whole(n) and n >= 1 for n in shape):
        raise InputError(
            f"shape={shape!r}: give (batch, channels, *spatial), whole numbers of at least 1 with"
            " one to three spatial sizes, such as (1, 3, 32, 40)"
        )
    return tuple(shape)


def checked_kind(kind: Any) -> None:
    """Raise InputError where ``kind`` names no signal."""
    if not isinstance(kind, str) or kind not in KINDS:
        raise InputError(f"kind={kind!r}: give one of {', '.join(map(repr, KINDS))}")


def checked_dtype(dtype: Any) -> None:
    """Raise InputError where no signal can have ``dtype``."""
    if dtype not in DTYPES:
        raise InputError(
            f"dtype={dtype!r}: give one of {', '.join(map(str, DTYPES))}; a signal is real and"
            " floating"
        )


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, and not a truth value."""
    return isinstance(value, int) and not isinstance(value, bool)


DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _white(front: Sequence[int], sizes: Sequence[int], draw: torch.Generator) -> torch.Tensor:
    return torch.randn((*front, *sizes), generator=draw, dtype=torch.float64, device="cpu")


HIGHEST = 0.25
"""Cycles per pixel that are left in a band-limited signal, but the first harmonic in any case."""


def _band_limited(
    front: Sequence[int], sizes: Sequence[int], draw: torch.Generator
) -> torch.Tensor:
    dims = tuple(range(2, 2 + len(sizes)))
    spectrum = torch.fft.fftn(_white(front, sizes, draw), dim=dims)
    for dim, size in zip(dims, sizes, strict=True):
        kept = torch.fft.fftfreq(size, dtype=torch.float64, device="cpu").abs() <= max(
            HIGHEST, 1 / size
        )
        spectrum *= kept.reshape(-1, *(1,) * (dims[-1] - dim))
    signal: torch.Tensor = torch.fft.ifftn(spectrum, dim=dims).real
    return signal / signal.std(correction=0).clamp_min(1e-9)


def _impulses(front: Sequence[int], sizes: Sequence[int], draw: torch.Generator) -> torch.Tensor:
    total = math.prod(sizes)
    places = torch.rand((*front, total), generator=draw, device="cpu").argsort(-1)[
        ..., : 1 + total // 64
    ]
    heights = torch.randn(places.shape, generator=draw, dtype=torch.float64, device="cpu")
    heights += heights.sign()
    flat = torch.zeros((*front, total), dtype=torch.float64, device="cpu").scatter(
        -1, places, heights
    )
    return flat.reshape(*front, *sizes)


BLOBS = 3


def _blobs(front: Sequence[int], sizes: Sequence[int], draw: torch.Generator) -> torch.Tensor:
    def uniform() -> torch.Tensor:
        return torch.rand((*front, BLOBS), generator=draw, dtype=torch.float64, device="cpu")

    heights = torch.randn((*front, BLOBS), generator=draw, dtype=torch.float64, device="cpu")
    heights += heights.sign()
    widths = 0.7 + uniform() * max(1.0, max(sizes) / 8)
    bumps = heights.reshape(*front, BLOBS, *(1,) * len(sizes))
    for axis, size in enumerate(sizes):
        away = torch.arange(size, dtype=torch.float64, device="cpu") - size * uniform()[..., None]
        bump = (-0.5 * (away / widths[..., None]) ** 2).exp()
        places = (1,) * axis + (size,) + (1,) * (len(sizes) - axis - 1)
        bumps = bumps * bump.reshape(*front, BLOBS, *places)
    return bumps.sum(2)


KINDS: dict[str, Maker] = {
    "white": _white,
    "band-limited": _band_limited,
    "impulses": _impulses,
    "blobs": _blobs,
}
