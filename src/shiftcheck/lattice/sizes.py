"""The smallest size at which something works, from what a few passes tell of every axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache

from shiftcheck.lattice.outlook import Outlook

Sizes = tuple[int, ...]
Look = Callable[[Sizes], Sequence[Outlook | None] | None]
"""What a pass at some sizes tells of each axis, None of one that does not count.

None altogether where the sizes are refused.
"""

ROUND = 64
"""The size that surely suffices is a multiple of it, as most models that are choosy ask for."""

COARSE = 2048
"""A common multiple beyond that, and beyond what suffices, comes from the size itself."""

ROUNDS = 3
"""So often a size that was to suffice is enlarged."""


TINY = 3
"""From sizes that work, so many steps may be passed over at which next to nothing is left."""


class Outcome(Enum):
    """How a size fares beside one that surely suffices."""

    WORKS = auto()
    SHORT = auto()
    OTHER = auto()  # accepted, and the samples stand otherwise
    REFUSED = auto()


@dataclass(frozen=True, kw_only=True)
class Smallest:
    """The smallest sizes that work, and by which ``steps`` larger ones follow that do, too.

    A step of 0: no other size of that axis is known to work.
    """

    sizes: Sizes
    steps: Sizes


Asked = Generator[int, Outcome, tuple[int, int] | None]
"""A search along one axis: it asks for sizes and ends with the smallest and the step."""


def smallest_sizes(look: Look, given: Sizes, moved: Sequence[int], limit: int) -> Smallest | None:
    """The smallest sizes at which every axis of ``moved`` works, those kept that do as given.

    None where there are none up to ``limit``, or where a sample sees all of an axis. An axis that
    is given a size that works keeps it. Larger sizes work by the same steps: that of one pass at
    sizes that surely suffice follows the rest, and a few more verify it.
    """
    look = cache(look)
    first = look(given)
    if first is not None:
        moved = [a for a in moved if not _works(first[a])]
        if any(_endless(first[a]) for a in moved):
            return None
    if not moved:
        return Smallest(sizes=given, steps=(1,) * len(given))
    ample = _ample(look, given, moved, first, limit)
    return None if ample is None else _Search(look, given, ample, limit).smallest()


def smallest_below(look: Look, ample: Sizes) -> Smallest | None:
    """The smallest sizes that work, from some that do; None where none was found to be."""
    look = cache(look)
    seen = look(ample)
    there = {a: (n, s) for a, n in enumerate(ample) if seen is not None and (s := seen[a])}
    if not there or not all(s.works and s.possible and not s.endless for _, s in there.values()):
        return None
    return _Search(look, ample, there, max(ample), tiny=TINY).smallest()


def _works(seen: Outlook | None) -> bool:
    return seen is None or seen.works


def _endless(seen: Outlook | None) -> bool:
    return seen is not None and seen.endless


def with_sizes(given: Sizes, axes: Iterable[int], sizes: Iterable[int]) -> Sizes:
    """The given sizes, of which these axes have others."""
    changed = dict(zip(axes, sizes, strict=True))
    return tuple(changed.get(a, n) for a, n in enumerate(given))


def _ample(
    look: Look,
    given: Sizes,
    moved: Sequence[int],
    first: Sequence[Outlook | None] | None,
    limit: int,
) -> dict[int, tuple[int, Outlook]] | None:
    """Sizes of all axes at once that suffice, and what is seen there."""
    known = [s for a in moved if first is not None and (s := first[a]) is not None]
    period = math.lcm(*(s.period for s in known))
    enough = max([2 * given[a] for a in moved] + [s.ample for s in known])
    for step in _moduli(period, enough):
        wanted = enough
        for _ in range(ROUNDS):
            sizes = [wanted + (given[a] * (step == period) - wanted) % step for a in moved]
            seen = look(with_sizes(given, moved, sizes))
            if seen is None:
                break
            there = {a: (n, s) for a, n in zip(moved, sizes, strict=True) if (s := seen[a])}
            if not there or any(s.endless or not s.possible for _, s in there.values()):
                return None
            if all(s.works for _, s in there.values()):
                return there
            wanted = max(2 * wanted, *(s.ample for _, s in there.values()))
            if wanted > 2 * limit:
                break
    return None


def _moduli(period: int, enough: int) -> list[int]:
    """What the ample size is a multiple of; and the period, from the given size on."""
    common = math.lcm(period, ROUND)
    if common > max(COARSE, enough):
        common = ROUND
    return [common, period] if period != common else [common]


class _Search:
    """The search along all axes that do not work as given, side by side."""

    def __init__(
        self,
        look: Look,
        given: Sizes,
        ample: dict[int, tuple[int, Outlook]],
        limit: int,
        tiny: int = 0,
    ) -> None:
        self.look, self.given, self.ample, self.limit = look, given, ample, limit
        self.tiny = tiny

    def smallest(self) -> Smallest | None:
        """The answer, where all axes have one and work together."""
        searches = {a: _along(n, seen, self.tiny) for a, (n, seen) in self.ample.items()}
        sizes: dict[int, int] = {}
        steps: dict[int, int] = {}
        asked = {a: next(s) for a, s in searches.items()}
        while asked:
            for a, outcome in self._outcomes(asked, sizes).items():
                try:
                    asked[a] = searches[a].send(outcome)
                except StopIteration as end:
                    del asked[a]
                    if end.value is None or end.value[0] > self.limit:
                        return None
                    sizes[a], steps[a] = end.value
        answer = with_sizes(self.given, sizes, sizes.values())
        if any(self._at(answer, a, n) is not Outcome.WORKS for a, n in sizes.items()):
            return None
        common = set(steps.values())
        kept = common.pop() if len(common) == 1 else 1
        return Smallest(
            sizes=answer, steps=tuple(steps.get(a, kept or 1) for a in range(len(answer)))
        )

    def _outcomes(self, asked: dict[int, int], sizes: dict[int, int]) -> dict[int, Outcome]:
        """All axes in one pass; one by one where the sizes differ and are refused together."""
        ample = {a: n for a, (n, _) in self.ample.items()}
        together = {**ample, **sizes, **asked}
        all_at = with_sizes(self.given, together, together.values())
        outcomes = {a: self._at(all_at, a, n) for a, n in asked.items()}
        if len(set(asked.values())) > 1 and Outcome.REFUSED in outcomes.values():
            for a, n in asked.items():
                alone = {**ample, a: n}
                outcomes[a] = self._at(with_sizes(self.given, alone, alone.values()), a, n)
        return outcomes

    def _at(self, sizes: Sizes, axis: int, size: int) -> Outcome:
        """How a size of one axis fares among others."""
        if size < 1:
            return Outcome.SHORT
        row = self.look(sizes)
        if row is None:
            return Outcome.REFUSED
        here, ample = row[axis], self.ample[axis][1]
        if here is None or here.laws != ample.laws:
            return Outcome.OTHER
        return Outcome.WORKS if here.works else Outcome.SHORT


def _along(size: int, seen: Outlook, tiny: int) -> Asked:
    """The search along one axis, from a size that suffices and what is seen there."""
    guess = seen.guess
    outcome = yield guess
    if outcome is Outcome.WORKS:
        before = yield guess - 1
        if before is Outcome.WORKS:
            guess = yield from _between(seen.least - seen.period, guess - 1)
        elif before is not Outcome.SHORT:
            return (yield from _in_steps(size, seen, tiny))
    elif outcome is Outcome.SHORT:
        guess = yield from _between(guess, seen.least)
    else:
        return (yield from _in_steps(size, seen, tiny))
    here = yield guess
    after = yield guess + 1
    if here is after is Outcome.WORKS:
        return guess, 1
    return (yield from _in_steps(size, seen, tiny))


def _between(low: int, high: int) -> Generator[int, Outcome, int]:
    """The smallest size that works within one period, of which the higher end does."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if (yield middle) is Outcome.WORKS else (middle, high)
    return high


def _in_steps(size: int, seen: Outlook, tiny: int) -> Asked:
    """The search among the sizes that are whole steps from one that suffices.

    A period below the least of them too few samples are valid: that follows and is not looked at.
    """
    first = yield from _first_in_steps(size, seen, tiny)
    if first is None:
        return None
    least, step = first
    if least == size:
        return size, 0
    for factor in prime_factors(step):
        finer = step // factor
        outcome = yield least - finer
        if outcome in (Outcome.OTHER, Outcome.REFUSED):
            continue
        step = finer
        while outcome is Outcome.WORKS:
            least -= finer
            outcome = yield least - finer
    while (yield least + step) is not Outcome.WORKS:
        step *= 2
        if least + step > size:
            return least, 0
    return least, step


def _first_in_steps(
    size: int, seen: Outlook, tiny: int
) -> Generator[int, Outcome, tuple[int, int] | None]:
    """The first size that works by the lattice; by a coarser one where that is refused.

    ``tiny``: so many sizes are passed over at which the samples stand otherwise.
    """
    step, least, others = seen.period, seen.least, 0
    while least < size:
        outcome = yield least
        if outcome is Outcome.WORKS:
            return least, step
        if outcome is Outcome.OTHER:
            others += 1
            if others > tiny:
                return None
        if outcome is Outcome.REFUSED:
            step *= 2
            least = size - (size - least) // step * step
        else:
            least += step
    return size, step


def prime_factors(number: int) -> list[int]:
    """The prime factors, the smallest first, each as often as it divides.

    Example:
        >>> prime_factors(24)
        [2, 2, 2, 3]
    """
    factors, divisor = [], 2
    while number > 1:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return factors
