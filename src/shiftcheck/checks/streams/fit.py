"""How well what came from a step fits what the model gives on the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from shiftcheck.checks.seams.differences import Difference, difference
from shiftcheck.checks.seams.running import Values, values_of
from shiftcheck.checks.streams.session import Channel, Streamed

Array = np.ndarray[Any, Any]

LEAST = 8
"""So many samples have to agree for a delay to be told from chance."""


def arranged(tensor: torch.Tensor, dim: int) -> Values:
    """A tensor as ``[batch, channels, time, ...]``."""
    values = values_of(tensor)
    array = values.array
    if array.ndim < 3:
        array = np.moveaxis(array, dim, -1).reshape(-1, 1, array.shape[dim])
    else:
        array = np.moveaxis(array, dim, 2)
    return replace(values, array=array)


def part_of(values: Values, start: int, stop: int) -> Values:
    """Some samples of an arranged output."""
    return replace(values, array=values.array[:, :, start:stop])


def first_of(values: Values) -> Values:
    """The first element of the batch of an arranged output."""
    return replace(values, array=values.array[:1])


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """An output of a run against the whole, as it was declared.

    ``wrong`` and ``error``: for each sample that both have; ``missing``: how many of the whole did
    not come, below 0 for too many. ``cuts``: the sample with which each chunk begins.
    """

    channel: Channel
    whole: Values
    came: Values
    delay: int
    wrong: Array
    error: Array
    cuts: tuple[int, ...]
    worst: float
    allowance: float

    @property
    def missing(self) -> int:
        """Samples of the whole that did not come."""
        return int(self.whole.array.shape[2] - (self.came.array.shape[2] - self.delay))

    @property
    def count(self) -> int:
        """The samples that were compared."""
        return len(self.wrong)

    @property
    def agrees(self) -> bool:
        """Whether all samples that came are right."""
        return not self.wrong.any() and self.count > 0

    def chunk_of(self, sample: int) -> int:
        """The number of the call that gave a sample."""
        return max(0, int(np.searchsorted(self.cuts, sample, side="right")) - 1)


class Fitting:
    """Compares what came with what an output is on the whole, within what is allowed."""

    def __init__(
        self, whole: Sequence[Values], delay: int, rtol: float | None, atol: float | None
    ) -> None:
        self.whole, self.delay, self.rtol, self.atol = tuple(whole), delay, rtol, atol

    def of(self, channel: Channel, streamed: Streamed) -> Fit:
        """The fit of one output."""
        whole = self.whole[channel.number]
        came = arranged(streamed.whole(channel), channel.dim) if streamed.counts(channel) else None
        came = part_of(whole, 0, 0) if came is None else came
        starts = np.cumsum([0, *streamed.counts(channel)])[:-1] - self.delay
        shared = max(0, min(whole.array.shape[2], came.array.shape[2] - self.delay))
        diff = self.difference(whole, part_of(came, self.delay, self.delay + shared), shared)
        worst, allowed = 0.0, 0.0
        if diff is not None and diff.wrong.size:
            _, _, _, worst, allowed = diff.worst()
        return Fit(
            channel=channel,
            whole=whole,
            came=came,
            delay=self.delay,
            wrong=_over_time(diff.wrong, np.any) if diff else np.zeros(0, bool),
            error=_over_time(diff.error, np.max) if diff else np.zeros(0),
            cuts=tuple(map(int, starts)),
            worst=worst,
            allowance=allowed,
        )

    def difference(self, whole: Values, came: Values, shared: int) -> Difference | None:
        """The first samples of both, channel by channel, by the scale of all of the whole."""
        if not shared:
            return None
        rest = whole.array[:, :, shared:]
        both = replace(came, array=np.concatenate([came.array[:, :, :shared], rest], 2))
        diff = difference(whole, both, whole.array.ndim - 2, self.rtol, self.atol)
        return replace(
            diff,
            whole=diff.whole[:, :shared],
            tiled=diff.tiled[:, :shared],
            error=diff.error[:shared],
            wrong=diff.wrong[:shared],
            shape=(*diff.shape[:2], shared, *diff.shape[3:]),
        )

    def changed(self, whole: Values, other: Values) -> Array:
        """Which samples of two runs of one output differ by more than is allowed."""
        shared = min(whole.array.shape[2], other.array.shape[2])
        diff = self.difference(whole, other, shared)
        return np.zeros(0, bool) if diff is None else _over_time(diff.wrong, np.any)

    def found_delay(self, fit: Fit) -> int | None:
        """The delay at which all that came would be right; None where there is none, or several."""
        whole, came = fit.whole.array, fit.came.array
        size, length = came.shape[2], whole.shape[2]
        most = max(size, length) - LEAST
        found = [k for k in self._candidates(fit, most) if k != fit.delay and self._fits_at(fit, k)]
        return found[0] if len(found) == 1 else None

    def _candidates(self, fit: Fit, most: int) -> list[int]:
        """The delays at which three samples in the middle agree."""
        whole, came = fit.whole.array, fit.came.array
        length = whole.shape[2]
        flat = [a.reshape(-1, a.shape[2], *a.shape[3:]) for a in (whole, came)]
        scale = np.abs(whole).max() or 1.0
        near = 1e-3 * scale
        known: set[int] | None = None
        for at in (length // 3, length // 2, 2 * length // 3):
            gaps = np.abs(flat[1] - flat[0][:, at : at + 1])
            close = np.flatnonzero(_over_time_of(gaps, np.max) <= near)
            here = {int(place) - at for place in close}
            known = here if known is None else known & here
        return sorted((k for k in known or () if abs(k) <= most), key=abs)

    def _fits_at(self, fit: Fit, delay: int) -> bool:
        first = max(0, -delay)
        whole, came = fit.whole, part_of(fit.came, max(0, delay), fit.came.array.shape[2])
        whole = part_of(whole, first, whole.array.shape[2])
        shared = min(whole.array.shape[2], came.array.shape[2])
        if shared < LEAST or shared < fit.whole.array.shape[2] // 2:
            return False
        return not self.changed(part_of(whole, 0, shared), part_of(came, 0, shared)).any()


def _over_time(values: Array, how: Any) -> Array:
    """One value for each sample, over all that stand behind time."""
    rest = tuple(range(1, values.ndim))
    return np.asarray(how(values, axis=rest)) if rest else values


def _over_time_of(gaps: Array, how: Any) -> Array:
    rest = (0, *range(2, gaps.ndim))
    return np.asarray(how(gaps, axis=rest))
