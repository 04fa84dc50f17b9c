"""What shards would give if they were cut, padded or averaged in some wrong way: runs of the model.

They tell the faults apart where no layer was seen to run.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from shiftcheck.checks.seams.running import Runner, Values
from shiftcheck.checks.shards.cutting import Cut
from shiftcheck.errors import ShiftcheckError

Array = np.ndarray[Any, Any]

MOST = 24
"""So many halos or overlaps are tried."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Guesses:
    """Outputs of one name, of shards of the signal that the model runs on alone.

    ``dim``: the dimension of the output that holds the axis, ``stride``: that of its samples, in
    pixels. ``period``: of the grid, in pixels.
    """

    runner: Runner
    name: str
    cut: Cut
    along: int
    dim: int
    stride: Fraction
    period: int

    def alone(self) -> Array | None:
        """Every shard by itself, as if each were an image; None where that does not fit."""
        parts = [self._run(a, b) for a, b in itertools.pairwise(self.cut)]
        known = [part for part in parts if part is not None]
        return np.concatenate(known, self.dim) if len(known) == len(parts) else None

    def with_halos(self, halo: tuple[int, int]) -> Iterator[tuple[tuple[int, int], Array]]:
        """Shards that were given less than ``halo`` pixels, in steps of the period."""
        left, right = (range(0, h + self.period, self.period) for h in halo)
        pairs = sorted(itertools.product(left, right), key=sum, reverse=True)
        for pair in itertools.islice(pairs, MOST):
            if any(pair) and (pair[0] < halo[0] or pair[1] < halo[1]):
                found = self._cropped(pair)
                if found is not None:
                    yield pair, found

    def averaged(self, most: int) -> Iterator[Array]:
        """Shards that overlap by some pixels on each side, averaged where they do."""
        for overlap in itertools.islice(range(self.period, most, self.period), MOST):
            total: Array | None = None
            count: Array | None = None
            for a, b in itertools.pairwise(self.cut):
                low, high = max(0, a - overlap), min(self.cut[-1], b + overlap)
                part, at = self._run(low, high), Fraction(low) / self.stride
                if part is None or at.denominator != 1:
                    return
                if total is None or count is None:
                    shape = list(part.shape)
                    shape[self.dim] = int(self.cut[-1] / self.stride)
                    total, count = np.zeros(shape, part.dtype), np.zeros(shape)
                room = slice(int(at), int(at) + part.shape[self.dim])
                index = (*(slice(None),) * self.dim, room)
                if total[index].shape != part.shape:
                    return
                total[index] += part
                count[index] += 1
            if total is not None and count is not None and count.all():
                yield total / count

    def _cropped(self, halo: tuple[int, int]) -> Array | None:
        parts = []
        for a, b in itertools.pairwise(self.cut):
            low, high = max(0, a - halo[0]), min(self.cut[-1], b + halo[1])
            part = self._run(low, high)
            skip, stop = Fraction(a - low) / self.stride, Fraction(b - low) / self.stride
            if part is None or skip.denominator != 1:
                return None
            end = (
                part.shape[self.dim]
                if b == self.cut[-1]
                else -(-stop.numerator // stop.denominator)
            )
            parts.append(part.take(range(int(skip), min(int(end), part.shape[self.dim])), self.dim))
        return np.concatenate(parts, self.dim)

    def _run(self, start: int, stop: int) -> Array | None:
        main = self.runner.inputs.main
        part = main.tensor.narrow(main.spatial[self.along], start, stop - start)
        try:
            values: Values | None = self.runner.on(part).get(self.name)
        except ShiftcheckError:  # that it cannot run so is no fault of the shards
            return None
        return None if values is None or values.array.ndim <= self.dim else values.array
