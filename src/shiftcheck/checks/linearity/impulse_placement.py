"""Where impulses stand along one axis, and at which samples the taps of the kernel are read.

Along an axis of period P with Q output samples in it, an operator that is linear and equivariant is
``out[Q t + r] = sum_j W[r, j] in[P t + j]``. The tap ``W[r, j]`` is what an impulse at pixel
``P t + j`` adds to the sample ``Q t + r``, for any ``t`` at which that sample is valid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from shiftcheck.lattice.axis import Indices, Mask
from shiftcheck.lattice.shares import is_fair

SLACK = 1e-6
"""Halos are floating-point numbers: a pixel that far beyond still belongs to them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Span:
    """What the structure says of an axis, as needed to find its kernel.

    ``size``: stored output samples, of which ``valid`` count. ``low`` and ``taps``: the taps are
    ``W[:, low : low + taps]``; on a circle that they go all around, modulo ``pixels``. ``endless``:
    every sample may depend on all of the axis, so that another size may have other taps.
    """

    pixels: int
    size: int
    stride: Fraction
    period: int
    valid: Mask
    low: int
    taps: int
    halo: tuple[float, float]
    circular: bool
    endless: bool = False

    @property
    def phases(self) -> int:
        """The number of output samples in one period."""
        return int(self.period / self.stride)

    @property
    def whole(self) -> bool:
        """Whether the taps take up the whole circle, so that they hold for this size alone."""
        return self.circular and self.taps >= self.pixels

    @property
    def blocks(self) -> int:
        """The number of periods that the stored output samples begin."""
        return -(-self.size // self.phases)

    @property
    def extension(self) -> tuple[int, int]:
        """How many pixels the taps reach before the first pixel and beyond the last one."""
        last = self.period * (self.blocks - 1) + self.low + self.taps - 1
        return -self.low, last - (self.pixels - 1)

    @property
    def offsets(self) -> tuple[int, int]:
        """The first offset of the impulse response, in 1/denominator pixels, and their number."""
        fine = self.stride.denominator
        if self.whole:
            return -((self.pixels * fine - 1) // 2), self.pixels * fine
        first = math.ceil(-self.halo[1] * fine - SLACK)
        return first, math.floor(self.halo[0] * fine + SLACK) - first + 1

    def with_period(self, period: int) -> Span:
        """The same axis with a divisor of its period: the later phases repeat the first ones."""
        taps = self.taps if self.whole else self.taps - (self.period - period)
        return replace(self, period=period, taps=taps)

    def with_taps(self, start: int, taps: int) -> Span:
        """The same axis with so many of its taps, from that index on, nearest to offset zero."""
        low = self.low + start
        if self.circular:
            low -= self.pixels * round((low + (taps - 1) / 2) / self.pixels)
        last = float((self.phases - 1) * self.stride)
        return replace(self, low=low, taps=taps, halo=(last - low, float(low + taps - 1)))

    def pairs(self) -> bool:
        """Whether enough valid samples are one period apart; on a circle, any that are stored."""
        if self.circular or self.phases >= self.size:
            return self.circular
        both = self.valid[self.phases :] & self.valid[: -self.phases]
        return is_fair(int(both.sum()), int(self.valid.sum()))


def span(
    *,
    pixels: int,
    size: int,
    stride: Fraction,
    period: int,
    halo: tuple[float, float],
    valid: Sequence[tuple[int, int]],
    circular: bool,
) -> Span:
    """The taps that a halo allows; on a circle at most all of its pixels."""
    mask = np.zeros(size, dtype=bool)
    for start, stop in valid:
        mask[start:stop] = True
    low, taps = 0, pixels
    if math.isfinite(sum(halo)):
        last = int(period / stride) - 1
        low = math.ceil(-halo[0] - SLACK)
        taps = math.floor(float(last * stride) + halo[1] + SLACK) - low + 1
    if circular and taps >= pixels:
        low, taps = -((pixels - 1) // 2), pixels
    return Span(
        pixels=pixels,
        size=size,
        stride=stride,
        period=period,
        valid=mask,
        low=low,
        taps=taps,
        halo=halo,
        circular=circular,
        endless=math.inf in halo,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Placement:
    """The impulses of one axis, and what is read from the response to each of them.

    ``taps[i]`` are flat indices ``r * span.taps + j - span.low`` of the taps that the response to
    the impulse at pixel ``impulses[i]`` gives, and ``samples[i]`` the samples to read them at.
    ``bases``: for each phase, a valid sample that has it.
    """

    impulses: tuple[int, ...]
    taps: tuple[Indices, ...]
    samples: tuple[Indices, ...]
    bases: Indices


def place(span: Span) -> Placement | None:
    """As few impulses as show every tap, near the middle; None where a phase is nowhere valid."""
    samples = np.flatnonzero(span.valid)
    if len(np.unique(samples % span.phases)) < span.phases:
        return None
    middle = (span.size - 1) / 2
    samples = samples[np.argsort(np.abs(samples - middle), kind="stable")]
    bases = np.array([samples[samples % span.phases == r][0] for r in range(span.phases)])
    pixel, tap, sample = _readings(span, samples)
    chosen = _fewest(pixel, tap, span)
    if chosen is None:
        return None
    taken = np.zeros(span.phases * span.taps, dtype=bool)
    taps, read = [], []
    for p in chosen:
        here = pixel == p
        new, first = np.unique(tap[here], return_index=True)
        fresh = ~taken[new]
        taken[new] = True
        taps.append(new[fresh])
        read.append(sample[here][first][fresh])
    return Placement(impulses=chosen, taps=tuple(taps), samples=tuple(read), bases=bases)


def _readings(span: Span, samples: Indices) -> tuple[Indices, Indices, Indices]:
    """Every way to read a tap: the pixel of the impulse, the flat tap, the sample, one by one."""
    j = np.arange(span.taps)
    turns, phase = np.divmod(samples, span.phases)
    pixel = turns[:, None] * span.period + span.low + j
    tap = phase[:, None] * span.taps + j
    sample = np.broadcast_to(samples[:, None], pixel.shape)
    if span.circular:
        return (pixel % span.pixels).ravel(), tap.ravel(), sample.ravel()
    stored = (pixel >= 0) & (pixel < span.pixels)
    return pixel[stored], tap[stored], sample[stored]


def _fewest(pixel: Indices, tap: Indices, span: Span) -> tuple[int, ...] | None:
    """Pixels that show every tap that any pixel shows, greedily.

    A tap that none shows would lie outside the signal at a valid sample, and so is zero.
    """
    shows = np.zeros((span.pixels, span.phases * span.taps), dtype=bool)
    shows[pixel, tap] = True
    missing = shows.any(0)
    centre = -np.abs(np.arange(span.pixels) - (span.pixels - 1) / 2) / span.pixels
    chosen: list[int] = []
    while missing.any():
        counts = (shows & missing).sum(1)
        best = int((counts + centre).argmax())
        if counts[best] == 0:
            return None
        chosen.append(best)
        missing &= ~shows[best]
    return tuple(chosen)
