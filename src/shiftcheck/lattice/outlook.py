"""What the geometry of an axis at one size tells of other sizes.

The samples at the beginning of an axis do not see its end, nor those at the end its beginning. So
at a size that is whole periods smaller the same samples are valid, less those of these periods in
the middle, as long as both ends are apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.pairing import pair
from shiftcheck.lattice.shares import LEAST, fewest, is_fair


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """The valid samples of an output along an axis, and how many are ``enough`` in a row.

    ``start``: the first of them; ``count``: how many there are. ``ends``: for each phase of the
    lattice, the last pixel that a sample sees. ``later``: so many pixels later than those its
    samples become valid. ``enough`` is None where no number would do, ``works`` what is so here.
    """

    pixels: int
    stride: Fraction
    lattice: int
    start: int
    count: int
    ends: tuple[float, ...]
    reach: float
    later: int
    enough: int | None
    works: bool

    def least(self, period: int) -> int:
        """The smallest size, whole periods from this one, at which the valid samples are enough."""
        samples = Fraction(period) / abs(self.stride)
        periods = (self.count - (self.enough or 0)) // samples
        return self.pixels - int(periods) * period

    def guess(self) -> int:
        """The size at which the last of enough samples has in sight all that it sees."""
        last = self.start + (self.enough or 0) - 1
        near = range(max(self.start, last - len(self.ends)), last + 1)
        return int(max(end_of(self.ends, self.lattice, q) for q in near)) + 1 + self.later


def end_of(ends: Sequence[float], lattice: int, sample: int) -> float:
    """The last pixel that a sample sees, from those of the samples of one period."""
    turns, phase = divmod(sample, len(ends))
    return ends[phase] + turns * lattice


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What is known of an axis from one size, all outputs together.

    ``works``: whether the size does. ``period``: sizes that differ by it are alike. ``least``: the
    smallest of these that works, ``guess``: the smallest of all, if no layer crops. ``laws``: what
    is the same at all sizes that are comparable. ``ample``: a size that surely suffices.
    ``endless``: whether a sample sees all of the axis. ``possible``: whether any size may do.
    """

    works: bool
    period: int
    least: int
    guess: int
    laws: tuple[tuple[Fraction, int] | None, ...]
    ample: int
    endless: bool
    possible: bool


def outlook(stretches: Sequence[Stretch | None]) -> Outlook | None:
    """All outputs together, None for those that do not count; None where none counts."""
    counting = [s for s in stretches if s is not None]
    if not counting:
        return None
    period = math.lcm(*(s.lattice for s in counting))
    endless = any(math.isinf(s.reach) for s in counting)
    possible = all(s.enough is not None for s in counting)
    known = possible and not endless
    room = [s.reach + (s.enough or 0) * abs(s.stride) for s in counting if known]
    least = max((s.least(period) for s in counting if known), default=0)
    guess = max((s.guess() for s in counting if known), default=0)
    return Outlook(
        works=all(s.works for s in counting),
        period=period,
        least=least,
        guess=max(min(guess, least), least - period + 1),
        laws=tuple(None if s is None else (s.stride, s.lattice) for s in stretches),
        ample=2 * (math.ceil(max(room, default=0)) + period),
        endless=endless,
        possible=possible,
    )


def compares(state: object, v: int) -> bool:
    """Whether a shift of ``v`` pixels leaves enough to compare along an axis."""
    if not isinstance(state, Axis):
        return True
    pairing = pair(state, v)
    valid = state.size if state.circular else int(state.readable.sum())
    return pairing is not None and is_fair(int(pairing.ok.sum()), valid)


def stretch_of(state: object, v: int) -> Stretch | None:
    """What a shift by ``v`` pixels asks of an axis, None for what is no such axis."""
    if not isinstance(state, Axis):
        return None
    steps = abs(v / state.stride)
    enough = fewest(int(steps)) if steps.denominator == 1 else None
    if state.circular:
        enough = None if enough is None else max(LEAST, int(steps) + 1)
    valid = np.ones(state.size, dtype=bool) if state.circular else state.readable
    places = np.flatnonzero(valid)
    start, stop = (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)
    ends = tuple(float(end) for end in state.last)
    beyond = end_of(ends, state.lattice, stop)
    cropped = len(places) > 0 and math.isfinite(beyond) and not state.circular
    return Stretch(
        pixels=state.pixels,
        stride=state.stride,
        lattice=state.lattice,
        start=start,
        count=len(places),
        ends=ends,
        reach=sum(state.halo),
        later=max(0, state.pixels - int(beyond)) if cropped and beyond < state.pixels else 0,
        enough=enough,
        works=compares(state, v) and v < state.pixels,
    )
