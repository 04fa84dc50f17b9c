"""Parts of an output that are wrong as a whole: what happened to them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from shiftcheck.checks.seams.differences import Along, Array, Difference, slices
from shiftcheck.checks.seams.digits import holds_fewer_digits
from shiftcheck.checks.seams.running import Runner
from shiftcheck.errors import ShiftcheckError
from shiftcheck.report.seams import Box, TilingFault, WrongPart

ENOUGH = 0.25
"""An explanation holds where it gives so many of the values: margins may be wrong besides, and
values agree to the last digits by no chance."""

MOST = 0.5
"""A turned tile has as many, since what is symmetric agrees anyway."""

NEARLY_ALL = 0.6
"""One displacement of everything explains so many; two tiles exchanged have one each."""

FEW = 4
"""So few values are constant by chance."""

MANY = 64
"""And so few, where the model itself often gives that value, as a ReLU gives zero."""

COMMON = 0.01
"""A value is common where it is so large a part of all."""

CONTROLS = (2, 3, 5)
"""By these parts of its size, the whole is moved to see what agrees by chance."""

CANDIDATES = 64
RUNS = 48
SAMPLES = 256
"""So many places, and so many runs of the model, are tried; so many samples are looked at first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """Finds out what happened to a part; ``name``: of the output."""

    diff: Difference
    name: str
    along: tuple[Along, ...]
    runner: Runner

    def judged(self, box: Box, *, lines: Array | None = None) -> WrongPart:
        """The part with its fault. ``lines``: over space, the places that count; all if None."""
        counts = self._counts(box, lines)
        if self.missing(box):
            return WrongPart(box=box, fault=TilingFault.DROPPED)
        shift = self._displaced(counts, ENOUGH)
        if shift is not None:
            return WrongPart(box=box, fault=TilingFault.DISPLACED, shift=shift)
        if self._turned(box, counts[slices(box)]):
            return WrongPart(box=box, fault=TilingFault.TURNED)
        if self._coarser(box):
            return WrongPart(box=box, fault=TilingFault.PRECISION)
        if self._off_grid(counts):
            return WrongPart(box=box, fault=TilingFault.OFF_GRID)
        return WrongPart(box=box, fault=TilingFault.OTHER)

    def missing(self, box: Box) -> bool:
        """Whether nothing was written to a part."""
        at = (slice(None), *slices(box))
        tiled, whole = (a[at].reshape(a.shape[0], -1) for a in (self.diff.tiled, self.diff.whole))
        if not np.isfinite(tiled).all():
            return True
        first = tiled[:, :1]
        if not (tiled == first).all() or (whole == whole[:, :1]).all():
            return False
        all_of_it = self.diff.whole.reshape(self.diff.whole.shape[0], -1)
        common = bool((all_of_it == first).mean() > COMMON)
        few = tiled.shape[1] < FEW and bool(first.any())
        return not few and (not common or tiled.shape[1] >= MANY)

    def _telling(self) -> Array:
        """Places at which tiles and whole do not agree by chance, as at zeros of a ReLU."""
        axes = tuple(range(1, self.diff.whole.ndim))
        found = np.ones(self.diff.wrong.shape, bool)
        for part in CONTROLS:
            by = [max(1, n // part) for n in self.diff.wrong.shape]
            found &= ~self.diff.agrees(np.roll(self.diff.whole, by, axes), self.diff.tiled)
        return found

    # -- values of another place -----------------------------------------------------------------

    def displaced(self, box: Box) -> tuple[int, ...] | None:
        """By how many samples nearly all that is wrong in a part stands elsewhere, if it does."""
        return self._displaced(self._counts(box, None), NEARLY_ALL)

    def _counts(self, box: Box, lines: Array | None) -> Array:
        """The places of a part that count: wrong ones, as far as they tell anything."""
        counts = np.zeros(self.diff.wrong.shape, bool)
        counts[slices(box)] = True
        for fewer in (self.diff.wrong, lines, self._telling()):
            if fewer is not None and (counts & fewer).any():
                counts &= fewer
        return counts

    def _displaced(self, counts: Array, enough: float) -> tuple[int, ...] | None:
        """By how many samples the values of the whole stand elsewhere; None where they do not."""
        places = np.argwhere(counts)
        if not len(places):
            return None
        some = places[:: max(1, len(places) // SAMPLES)]
        tried: set[tuple[int, ...]] = set()
        for share in (0.5, 0.25, 0.75, 0.4, 0.6):
            anchor = places[int(share * (len(places) - 1))]
            value = self.diff.tiled[(slice(None), *anchor)]
            value = value.reshape(-1, *(1 for _ in anchor))
            same = np.argwhere(
                self.diff.agrees(self.diff.whole, np.broadcast_to(value, self.diff.whole.shape))
            )
            for source in same[:CANDIDATES]:
                shift = tuple(int(a - s) for a, s in zip(anchor, source, strict=True))
                if shift in tried or not any(shift):
                    continue
                tried.add(shift)
                if (
                    self._agree_there(shift, some)
                    and _share(self._agrees_at(shift), counts) >= enough
                ):
                    return shift
        return None

    def _agree_there(self, shift: tuple[int, ...], places: Array) -> bool:
        """Whether some of the places agree, which is seen without looking at all of them."""
        sources = places - np.array(shift)
        inside = ((sources >= 0) & (sources < self.diff.wrong.shape)).all(axis=1)
        to = (slice(None), *places[inside].T)
        origin = (slice(None), *sources[inside].T)
        allowed = self.diff.allowed.reshape(-1, 1)
        same = np.abs(self.diff.tiled[to] - self.diff.whole[origin]) <= allowed
        return bool(same.all(axis=0).sum() >= ENOUGH / 2 * len(places))

    def _agrees_at(self, shift: tuple[int, ...]) -> Array:
        moved = np.full(self.diff.whole.shape, np.nan, self.diff.whole.dtype)
        pairs = list(zip(shift, self.diff.wrong.shape, strict=True))
        to = tuple(slice(max(0, s), n + min(0, s)) for s, n in pairs)
        origin = tuple(slice(max(0, -s), n + min(0, -s)) for s, n in pairs)
        moved[(slice(None), *to)] = self.diff.whole[(slice(None), *origin)]
        return self.diff.agrees(moved, self.diff.tiled)

    # -- axes in another order -------------------------------------------------------------------

    def _turned(self, box: Box, counts: Array) -> bool:
        sides = [stop - start for start, stop in box]
        at = (slice(None), *slices(box))
        tiled, whole = self.diff.tiled[at], self.diff.whole[at]
        for axes in _orders(sides):
            turned = whole
            for axis in axes:
                turned = np.flip(turned, axis + 1)
            if _share(self.diff.agrees(turned, tiled), counts) > MOST:
                return True
        for one, other in itertools.combinations(range(len(box)), 2):
            if sides[one] != sides[other]:
                continue
            swapped = whole.swapaxes(one + 1, other + 1)
            if _share(self.diff.agrees(swapped, tiled), counts) > MOST:
                return True
            read = self._read_across(box, one, other)
            if read is not None and _share(self.diff.agrees(read, tiled), counts) > MOST:
                return True
        return False

    def _read_across(self, box: Box, one: int, other: int) -> Array | None:
        """What the model gives there on the signal with two axes exchanged."""
        dims = self.runner.inputs.main.spatial
        found = self.on(self.runner.inputs.main.tensor.transpose(dims[one], dims[other]))
        if found is None:
            return None
        order = list(box)
        order[one], order[other] = box[other], box[one]
        read = found[(slice(None), *slices(tuple(order)))]
        fits = read.shape == self.diff.whole[(slice(None), *slices(box))].shape
        return read if fits else None

    # -- other causes ----------------------------------------------------------------------------

    def _coarser(self, box: Box) -> bool:
        """Whether the values are those of the whole, but for digits that they do not have."""
        at = (slice(None), *slices(box))
        rough = float(self.diff.error[slices(box)].max())
        return holds_fewer_digits(self.diff.whole[at], self.diff.tiled[at], rough)

    def _off_grid(self, counts: Array) -> bool:
        """Whether the values are those of the model on a signal that begins between the grid."""
        agrees = np.zeros(self.diff.wrong.shape, bool)
        for starts in itertools.islice(self._starts(), RUNS):
            for expected in self._from(starts):
                agrees |= self.diff.agrees(expected, self.diff.tiled)
            if _share(agrees, counts) >= ENOUGH:
                return True
        return False

    def _starts(self) -> Iterator[tuple[int, ...]]:
        periods = [along.period or 1 for along in self.along]
        for phase in range(1, max(periods, default=1)):
            for axis, period in enumerate(periods):
                if phase < period:
                    yield tuple(phase * (a == axis) for a in range(len(periods)))
            if len(periods) > 1:
                yield tuple(min(phase, period - 1) for period in periods)

    def _from(self, starts: tuple[int, ...]) -> Iterator[Array]:
        """What the model gives on the signal without its first pixels, at the places of the whole.

        Where these are no whole samples, rounded down and up.
        """
        main = self.runner.inputs.main.tensor
        for dim, start, along in zip(
            self.runner.inputs.main.spatial, starts, self.along, strict=True
        ):
            if start:
                length = main.shape[dim] - (along.period or 1)
                if length < 1:
                    return
                main = main.narrow(dim, start, length)
        found = self.on(main)
        if found is None:
            return
        exact = [
            Fraction(start) / (along.stride or Fraction(1))
            for start, along in zip(starts, self.along, strict=True)
        ]
        floor, ceil = [int(e // 1) for e in exact], [int(-(-e // 1)) for e in exact]
        for offset in dict.fromkeys((tuple(floor), tuple(ceil))):
            canvas = np.full(self.diff.whole.shape, np.nan, self.diff.whole.dtype)
            room = tuple(slice(o, o + n) for o, n in zip(offset, found.shape[1:], strict=True))
            held = canvas[(slice(None), *room)]
            canvas[(slice(None), *room)] = found[
                (slice(None), *(slice(0, n) for n in held.shape[1:]))
            ]
            yield canvas

    def on(self, main: torch.Tensor) -> Any:
        """What the model gives on another signal; None where it does not run on that."""
        try:
            values = self.runner.on(main).get(self.name)
        except ShiftcheckError:  # that it cannot run so is no fault of the tiles
            return None
        if values is None or values.array.ndim != len(self.diff.shape):
            return None
        spatial = len(self.along)
        found = values.array.reshape(-1, *values.array.shape[-spatial:])
        return found if found.shape[0] == self.diff.whole.shape[0] else None


def _share(agrees: Array, counts: Array) -> float:
    total = int(counts.sum())
    return float((agrees & counts).sum() / total) if total else 0.0


def _orders(sides: list[int]) -> Iterator[tuple[int, ...]]:
    """The axes that may be mirrored, one or several."""
    axes = [a for a, side in enumerate(sides) if side > 1]
    for count in range(1, len(axes) + 1):
        yield from itertools.combinations(axes, count)
