"""Which sizes of an axis are accepted, from few of them.

Where a model takes a size or refuses it for its strides, sizes that are whole periods apart fare
alike, but for the smallest. So the sizes of one period tell of all, with the two ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

from shiftcheck.lattice.outlook import Stretch
from shiftcheck.lattice.sizes import prime_factors
from shiftcheck.report.sizes import SizeSet

EVERY = 64
"""Up to such a period, every size of one is asked for."""

SOME = 24
"""So many of a longer one."""

FAR = (960, 64, 48, 60, 56)
"""So many periods further on most longer periods end, too: they have many divisors."""

ALONE = 320
"""Up to this size every one is asked for, where no rule holds."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a layer stands over an axis: its stride and period, its samples, and its ``edges``.

    ``edges``: how far its first and last field reach beyond the image, None where that differs
    between the phases of a period, or is infinite.
    """

    stride: Fraction
    lattice: int
    samples: int
    edges: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a pass at one size tells of an axis.

    ``layers``: by name, those that were met until the model refused, or ended. ``stretches``: of
    the outputs that have the axis; ``lost``: whether one of them has lost it. ``closed``: whether a
    circle is.
    """

    taken: bool
    layers: Mapping[str, Standing] = field(default_factory=dict)
    stretches: tuple[Stretch, ...] = ()
    lost: bool = False
    closed: bool = True


Ask = Callable[[int], Seen]


@dataclass(frozen=True, kw_only=True)
class Found:
    """The accepted sizes, and what was seen at those of one period.

    ``finite``: there are only those that were seen. ``sampled``: not every one of a period was.
    """

    accepted: SizeSet
    period: int
    seen: Mapping[int, Seen]
    finite: bool = False
    sampled: bool = False

    @cached_property
    def taken(self) -> dict[int, Seen]:
        """Of the sizes that were seen, those that are accepted."""
        return {n: s for n, s in self.seen.items() if s.taken}

    def such(self, sizes: Iterable[int]) -> SizeSet:
        """Of the accepted sizes, those that are whole periods from ``sizes``."""
        if self.finite:
            return SizeSet(others=tuple(sorted(sizes)))
        classes = {n % self.period for n in sizes}
        starts = [n for n in self.starts if n % self.period in classes]
        others = [n for n in self.accepted.others if n in sizes]
        return SizeSet(
            step=self.period,
            starts=tuple(starts),
            most=self.accepted.most,
            others=tuple(others),
        ).simplest()

    @cached_property
    def starts(self) -> list[int]:
        """The smallest accepted size of each kind, of those in steps of the period."""
        regular = SizeSet(
            step=self.accepted.step, starts=self.accepted.starts, most=self.accepted.most
        )
        top = max(self.accepted.starts, default=0) + self.period
        firsts: dict[int, int] = {}
        for n in regular.up_to(top):
            firsts.setdefault(n % self.period, n)
        return sorted(firsts.values())


def accepted_sizes(ask: Ask, base: int, limit: int) -> Found:
    """The sizes that are accepted, of which ``base`` is one; looked for up to ``limit``."""
    search = _Search(ask, base, limit)
    found = search.regular() or search.few()
    return found if search.holds(found) else search.alone()


def _stretching(seen: Seen, period: int) -> set[int]:
    """By how many periods a size that is refused is to be smaller so that a layer has one sample.

    Of the layers that stand as the last one that was met: one sample fits any number of theirs. No
    layer may be left without samples.
    """
    layers = list(seen.layers.values())
    least = min(layer.samples * abs(layer.stride) for layer in layers) // period
    alike = {layer.samples for layer in layers if layer.stride == layers[-1].stride}
    fewer = [(n - 1) * abs(layers[-1].stride) / period for n in alike]
    return {int(k) for k in fewer if k.denominator == 1 and k <= least}


def common_period(one: Seen, other: Seen | None) -> int:
    """The period of all layers that stand alike at two sizes; of all at one, where it is alone."""
    period = 1
    for name, here in one.layers.items():
        there = here if other is None else other.layers.get(name)
        if there and (here.stride, here.lattice) == (there.stride, there.lattice):
            wider = _lcm(period, here.lattice)
            period = wider if wider <= MOST else period
    return period


MOST = 4096
"""A longer period comes from the size itself."""


def _lcm(one: int, other: int) -> int:
    return Fraction(one, other).numerator * other


class _Search:
    """The search along one axis."""

    def __init__(self, ask: Ask, base: int, limit: int) -> None:
        self.ask, self.base, self.limit = ask, base, limit

    def takes(self, size: int) -> bool:
        """Whether a size is accepted."""
        return size >= 1 and self.ask(size).taken

    @cached_property
    def period(self) -> int:
        """The period that the structure tells, or what is added to the base."""
        further = next((n for n in (self.base + 64, self.base - 64) if self.takes(n)), None)
        here = self.ask(self.base)
        return common_period(here, None if further is None else self.ask(further))

    def regular(self) -> Found | None:
        """The answer where sizes are accepted in steps; None where a period further none is."""
        period = self.period
        if not (self.takes(self.base + period) or self.takes(self.base - period)):
            coarser = self._coarser()
            if coarser is None:
                return None
            period = coarser
        anchor = self._roomy(period)
        ahead = range(anchor, anchor + period)
        window = ahead if self.takes(anchor + period) else range(anchor - period + 1, anchor + 1)
        classes, sampled = self._classes(period, anchor, window)
        if not self.takes(anchor + period) and not self.takes(anchor - period):
            return None
        return self._with_ends(period, anchor, classes, window, sampled=sampled)

    def _coarser(self) -> int | None:
        """A longer period than the structure tells, as where the model asks for one itself."""
        steps = [self.period * far for far in FAR]
        around = [step for step in steps for n in (step, -step) if self.takes(self.base + n)]
        if not around:
            return None
        step, side = around[0], 1 if self.takes(self.base + around[0]) else -1
        for prime in prime_factors(step // self.period):
            if self.takes(self.base + side * step // prime):
                step //= prime
        return step

    def _roomy(self, period: int) -> int:
        """A size, whole periods above the base, at which both ends of the outputs are apart."""
        here = self.ask(self.base)
        reach = [s.reach + (s.enough or 0) * abs(s.stride) for s in here.stretches]
        finite = [r for r in reach if r != float("inf")]
        wanted = max([self.base, period, *(2 * int(r + period + 1) for r in finite)])
        further = self.base + -(-(wanted - self.base) // period) * period
        return further if further <= self.limit and self.takes(further) else self.base

    def _classes(self, period: int, anchor: int, window: range) -> tuple[set[int], bool]:
        """What accepted sizes leave when divided by the period, and whether not all were asked."""
        if period <= EVERY:
            return {n % period for n in window if self.takes(n)}, False
        step = period
        for prime in prime_factors(period):
            if self.takes(anchor + step // prime):
                step //= prime
        places = range(0, period, max(1, period // SOME))
        asked = [window[i] for i in places]
        inside = [n - (n - anchor) % step for n in asked]
        if not all(self.takes(n) for n in inside):
            step = period
        return {n % period for n in window if (n - anchor) % step == 0}, True

    def _with_ends(
        self, period: int, anchor: int, classes: set[int], window: range, *, sampled: bool
    ) -> Found:
        above = [n for n in range(anchor, self.limit + 1) if n % period in classes]
        below = [n for n in range(1, anchor + 1) if n % period in classes]
        last = above[-1] if self.takes(above[-1]) else above[self._last(above)]
        least = below[self._first(below)]
        firsts: dict[int, int] = {}
        for n in below:
            if n >= least:
                firsts.setdefault(n % period, n)
        for n in above:
            firsts.setdefault(n % period, n)
        asked = [n for n in window if period <= EVERY or n % period in classes]
        seen = {n: self.ask(n) for n in asked[:EVERY]}
        odd = self._odd(period, classes, window, least)
        return Found(
            accepted=SizeSet(
                step=period,
                starts=tuple(sorted(firsts.values())),
                most=None if last == above[-1] else last,
                others=tuple(odd),
            ).simplest(),
            period=period,
            seen=seen,
            sampled=sampled,
        )

    def _first(self, sizes: Sequence[int]) -> int:
        """The place of the first size from which on all are taken, of which the last one is."""
        low, high = -1, len(sizes) - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.takes(sizes[middle]) else (middle, high)
        return high

    def _last(self, sizes: Sequence[int]) -> int:
        """The place of the last size up to which all are taken, of which the first one is."""
        low, high = 0, len(sizes)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.takes(sizes[middle]) else (low, middle)
        return low

    def _odd(self, period: int, classes: set[int], window: range, least: int) -> list[int]:
        """Small sizes that are accepted against the rule."""
        candidates = {1, 2, 3, least - 1, least - 2}
        for n in window if period <= EVERY else ():
            seen = self.ask(n)
            if not seen.taken and seen.layers:
                candidates.update(n - k * period for k in _stretching(seen, period))
        regular = {n for n in candidates if n >= least and n % period in classes}
        return sorted(n for n in candidates - regular if self.takes(n))

    def few(self) -> Found:
        """The answer where there are no sizes a period from the base: those between."""
        reach = min(self.period, EVERY) - 1
        below = list(range(self.base - reach, self.base + 1))
        above = list(range(self.base, self.base + reach + 1))
        low, high = below[self._first(below)], above[self._last(above)]
        seen = {n: self.ask(n) for n in range(low, high + 1)}
        beside = [n for n in (1, 2, low - 1, high + 1, 2 * self.base, self.base // 2) if n >= 1]
        seen |= {n: self.ask(n) for n in beside if n not in seen}
        taken = tuple(sorted(n for n, s in seen.items() if s.taken))
        whole = SizeSet(starts=(low,), most=high)
        plain = taken == whole.up_to(high) and low < high
        return Found(
            accepted=whole if plain else SizeSet(others=taken),
            period=self.period,
            seen=seen,
            finite=True,
            sampled=self.period > EVERY,
        )

    def holds(self, found: Found) -> bool:
        """Whether sizes that were not asked for yet fare as the answer says."""
        accepted, period = found.accepted, found.period
        if found.finite:
            return True
        least = accepted.least or 1
        top = accepted.most or self.limit
        places = [least + (top - least) * i // 9 for i in range(1, 9)]
        near = [n for n in accepted.up_to(least + 2 * period) if n >= min(accepted.starts)][:3]
        told = [n for place in places for n in accepted.nearest(place) if n is not None]
        refused = [n for n in (*places, self.base + 3 * period + 1) if n not in accepted]
        for n in (*near, *told[::3], *refused[::4]):
            if n <= self.limit and self.takes(n) != (n in accepted):
                return found.sampled and self.takes(n)
        return True

    def alone(self) -> Found:
        """The answer where no rule was found: the sizes that were taken, one by one."""
        top = min(self.limit, max(ALONE, self.base))
        seen = {n: self.ask(n) for n in range(1, top + 1)}
        taken = tuple(n for n, s in seen.items() if s.taken)
        return Found(
            accepted=SizeSet(others=taken),
            period=self.period,
            seen=seen,
            finite=True,
            sampled=True,
        )
