"""Where tiles and whole differ, and the bands and boxes that these places form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from shiftcheck.checks.seams.running import Values
from shiftcheck.measuring.tolerance import Tolerance
from shiftcheck.report.placing import Placement
from shiftcheck.report.seams import Box

Array = np.ndarray[Any, Any]

MOST_PARTS = 16
"""So many single wrong tiles are told one by one."""

LEAST = 0.05
"""So large a part of all lines along an axis lies in no seam of another."""

NEAR = 2
"""Wrong places up to so many samples apart belong to one part."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Along:
    """What the structure says of an output along an axis, None where it says nothing.

    ``circular``: the axis closes on itself.
    """

    placement: Placement | None = None
    stride: Fraction | None = None
    period: int | None = None
    halo: tuple[float, float] | None = None
    circular: bool = False

    @property
    def reach(self) -> tuple[int, int] | None:
        """Samples before and behind a cut that see beyond it; None where it is all of them."""
        if self.halo is None or not self.stride or not all(map(math.isfinite, self.halo)):
            return None
        left, right = self.halo
        return math.ceil(right / self.stride), math.ceil(left / self.stride)

    @property
    def sees_everything(self) -> bool:
        """Whether no overlap is enough along the axis."""
        return self.halo is not None and not all(map(math.isfinite, self.halo))

    @property
    def block(self) -> int:
        """The period in samples, 1 where there is none."""
        if self.period is None or not self.stride:
            return 1
        return max(1, math.ceil(self.period / self.stride))


@dataclass(frozen=True, kw_only=True, eq=False)
class Difference:
    """Two outputs of one shape; ``spatial``: how many axes at the end are.

    ``whole`` and ``tiled`` are ``[batch and channels, *spatial]``; ``error`` and ``wrong`` are over
    space, the former relative to the largest magnitude of the channel. ``discrete``: these are
    whole numbers.
    """

    whole: Array
    tiled: Array
    scale: Array
    allowed: Array
    error: Array
    wrong: Array
    shape: tuple[int, ...]
    discrete: bool

    def worst(self) -> tuple[tuple[int, ...], float, float, float, float]:
        """The index of the largest excess, whole, tiled, relative error and allowance there."""
        gap = _gap(self.whole, self.tiled)
        over = gap - self.allowed
        flat = int(np.argmax(over))
        at = np.unravel_index(flat, over.shape)
        channel = int(at[0])
        scale = float(self.scale[channel].flat[0])
        index = tuple(int(i) for i in np.unravel_index(flat, self.shape))
        return (
            index,
            _real(self.whole[at]),
            _real(self.tiled[at]),
            float(gap[at]) / scale,
            float(self.allowed[channel].flat[0]) / scale,
        )

    def agrees(self, one: Array, other: Array) -> Array:
        """At which places two arrays of these channels agree within what is allowed."""
        return np.asarray((_gap(one, other) <= self.allowed).all(axis=0))


def _real(value: Any) -> float:
    return float(abs(value)) if isinstance(value, complex) else float(value)


def _gap(one: Array, other: Array) -> Array:
    """Magnitudes of the differences; infinite where one of both is no finite number."""
    with np.errstate(invalid="ignore"):
        gap: Array = np.abs(one - other)
    return np.where(np.isfinite(gap), gap, np.inf)


def difference(
    whole: Values, tiled: Values, spatial: int, rtol: float | None, atol: float | None
) -> Difference:
    """Compare two outputs of one shape, channel by channel.

    What may differ is the noise of the model's own type; a coarser one of the other has no say.
    """
    shape = whole.array.shape
    space = shape[len(shape) - spatial :]
    lead = shape[: len(shape) - spatial]
    channels = lead[1] if len(lead) > 1 else 1
    one, other = (v.array.reshape(-1, *space) for v in (whole, tiled))
    by_channel = np.abs(whole.array).reshape(*_channel_first(lead), -1)
    scale = by_channel.max(axis=(0, 2), initial=0.0) if by_channel.size else np.zeros(channels)
    floor = float(scale.max(initial=0.0)) or 1.0
    tolerance = Tolerance(eps=whole.eps, rtol=rtol, atol=atol)
    allowance = [tolerance.relative(s) * s if tolerance.given or s else 0.0 for s in scale]
    if tolerance.given and atol:
        allowance = [a or atol for a in allowance]
    if not tolerance.given and whole.eps == 0.0:
        allowance = [0.0] * channels
    repeats = max(1, one.shape[0] // max(1, channels))
    ones = (1,) * spatial
    scales = np.tile(np.where(scale > 0, scale, floor), repeats).reshape(-1, *ones)
    allowed = np.tile(np.array(allowance), repeats).reshape(-1, *ones)
    gap = _gap(one, other)
    return Difference(
        whole=one,
        tiled=other,
        scale=scales,
        allowed=allowed,
        error=(gap / scales).max(axis=0, initial=0.0),
        wrong=np.asarray((gap > allowed).any(axis=0)),
        shape=shape,
        discrete=whole.eps == 0.0,
    )


def _channel_first(lead: Sequence[int]) -> tuple[int, int]:
    batch = lead[0] if lead else 1
    return batch, math.prod(lead[1:2])


def profile(diff: Difference, axis: int) -> Array:
    """The largest wrong error at each sample of an axis, where seams of other axes are not."""
    wrong = np.where(diff.wrong, diff.error, 0.0)
    most: Array = _lines(wrong, axis)[:, clean_lines(diff, axis)].max(axis=1, initial=0.0)
    return most


def clean_lines(diff: Difference, axis: int) -> Array:
    """Which lines along an axis, flattened, have few wrong places, so that they lie in no seam.

    A line along which the output hardly changes, as in a background, shows no seam and counts not.
    """
    counts = _lines(diff.wrong, axis).sum(axis=0)
    changes = (np.diff(diff.whole, axis=axis + 1) != 0).any(axis=0)
    changing = _lines(changes, axis).sum(axis=0)
    telling = changing >= changing.max(initial=0) / 2
    ordered = np.sort(counts[telling])
    small = np.minimum(ordered[:-1], diff.wrong.shape[axis] - ordered[:-1]) / 2
    jumps = np.diff(ordered) > np.maximum(2, small)
    large = np.arange(1, len(ordered)) >= LEAST * len(ordered)
    first = np.flatnonzero(jumps & large)
    limit = ordered[first[0]] if len(first) else (ordered[0] + ordered[-1]) / 2
    return np.asarray(telling & (counts <= limit))


def lines_between_seams(diff: Difference, axis: int) -> Array:
    """Over space, the lines along an axis that lie in no seam of another."""
    chosen = clean_lines(diff, axis)
    others = tuple(n for a, n in enumerate(diff.wrong.shape) if a != axis)
    return np.broadcast_to(np.expand_dims(chosen.reshape(others), axis), diff.wrong.shape)


def _lines(values: Array, axis: int) -> Array:
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


def bands(wrong: Array, gap: int) -> list[tuple[int, int]]:
    """Runs of wrong samples; those with fewer than ``gap`` right ones between them are one."""
    found: list[tuple[int, int]] = []
    for place in map(int, np.flatnonzero(wrong)):
        if found and place - found[-1][1] < gap:
            found[-1] = (found[-1][0], place + 1)
        else:
            found.append((place, place + 1))
    return found


def boxes(wrong: Array) -> Iterator[Box]:
    """Boxes around wrong places that lie together, the first ``MOST_PARTS``."""
    left = wrong.copy()
    for _ in range(MOST_PARTS):
        if not left.any():
            return
        box = _grown(left)
        yield box
        left[slices(box)] = False


def _grown(wrong: Array) -> Box:
    first = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    box: Box = tuple((int(i), int(i) + 1) for i in first)
    while True:
        wide = tuple(
            (max(0, a - NEAR), min(n, b + NEAR)) for (a, b), n in zip(box, wrong.shape, strict=True)
        )
        inside = wrong[slices(wide)]
        places = [np.flatnonzero(_any_but(inside, axis)) for axis in range(wrong.ndim)]
        grown: Box = tuple(
            (a + int(p[0]), a + int(p[-1]) + 1) for (a, _), p in zip(wide, places, strict=True)
        )
        if grown == box:
            return box
        box = grown


def _any_but(inside: Array, axis: int) -> Array:
    others = tuple(a for a in range(inside.ndim) if a != axis)
    return np.asarray(inside.any(axis=others))


def slices(box: Box) -> tuple[slice, ...]:
    """The box as an index."""
    return tuple(slice(a, b) for a, b in box)
