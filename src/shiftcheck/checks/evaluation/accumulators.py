"""What is kept of a set of data: whole numbers and exact sums, so that any order gives the same.

Counts, sums, extremes, buckets and worst cases of parts are merged into those of all. Merging is
exactly associative and commutative: sums are kept as whole multiples of the smallest float64, and
rounded when they are read.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from shiftcheck.report.evaluation import Shift
from shiftcheck.report.reasons import Reason

SMALLEST = 1074
"""Every float64 is a whole multiple of two to the power of minus so much."""

PER_DECADE = 120
"""Buckets for each power of ten: each is 1.9 % wide, so its middle is right to one percent."""

FEWEST_DECADES, MOST_DECADES = -18, 18
"""Values outside are in the outermost buckets."""

KEPT = 8
"""So many worst cases, and first numbers of items, are kept."""

KEPT_ERRORS = 32
"""So many corrupt items are kept with their errors."""


@dataclass(frozen=True)
class ExactSum:
    """A sum of float64 numbers without any rounding; ``units``: of the smallest one.

    Example:
        >>> ExactSum.of([1e16, 1.0, -1e16]).value, ExactSum.of([0.1] * 10).value
        (1.0, 1.0)
    """

    units: int = 0

    @classmethod
    def of(cls, values: Iterable[float]) -> ExactSum:
        """The sum of finite numbers."""
        units = 0
        for value in values:
            numerator, denominator = value.as_integer_ratio()
            units += numerator << (SMALLEST + 1 - denominator.bit_length())
        return cls(units)

    @property
    def value(self) -> float:
        """The sum, rounded once; infinite where it is larger than any float64."""
        try:
            return self.units / (1 << SMALLEST)
        except OverflowError:
            return math.inf if self.units > 0 else -math.inf

    def over(self, count: int) -> float:
        """The mean, rounded once."""
        return self.units / (count << SMALLEST)


def sum_of_sums(sums: Iterable[ExactSum]) -> ExactSum:
    """The sum of all that is in several."""
    return ExactSum(sum(s.units for s in sums))


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Values of at least 0: how many, their sum, their extremes, and how many in each bucket.

    ``buckets``: their numbers and counts; bucket ``k`` holds what lies from ``10 ** (k / 120)`` to
    below that of the next. ``zeros`` are in none. The buckets are those of Masson, Rim and Lee,
    *DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees* (2019).
    """

    count: int = 0
    total: ExactSum = ExactSum()
    smallest: float = math.inf
    largest: float = -math.inf
    zeros: int = 0
    buckets: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """That of some values.

        Example:
            >>> Spread.of([0.0, 1.0, 3.0]).count, Spread.of([0.0, 1.0, 3.0]).zeros
            (3, 1)
        """
        if not values:
            return cls()
        buckets = Counter(bucket_of(v) for v in values if v > 0)
        return cls(
            count=len(values),
            total=ExactSum.of((math.fsum(values),)),
            smallest=min(values),
            largest=max(values),
            zeros=sum(v == 0 for v in values),
            buckets=tuple(sorted(buckets.items())),
        )


def bucket_of(value: float) -> int:
    """The number of the bucket of a positive value."""
    place = math.floor(math.log10(value) * PER_DECADE)
    return min(max(place, FEWEST_DECADES * PER_DECADE), MOST_DECADES * PER_DECADE)


def merged_spreads(parts: Sequence[Spread]) -> Spread:
    """That of the values of all parts."""
    buckets: Counter[int] = Counter()
    for part in parts:
        buckets.update(dict(part.buckets))
    return Spread(
        count=sum(p.count for p in parts),
        total=sum_of_sums(p.total for p in parts),
        smallest=min((p.smallest for p in parts), default=math.inf),
        largest=max((p.largest for p in parts), default=-math.inf),
        zeros=sum(p.zeros for p in parts),
        buckets=tuple(sorted(buckets.items())),
    )


@dataclass(frozen=True, kw_only=True)
class AtShift:
    """The values under one shift."""

    shift: Shift
    count: int
    total: ExactSum
    largest: float


@dataclass(frozen=True, kw_only=True, order=True)
class Worst:
    """A value with its item and shift; in the order of the list that is kept, largest first."""

    negative: float
    item: int
    shift: Shift

    @property
    def value(self) -> float:
        """The value."""
        return -self.negative


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Pairs without a value, for one reason; the first numbers of their items."""

    reason: Reason
    pairs: int
    items: int
    first: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Tally:
    """All that is kept of one quantity of one output.

    ``place``: where it stands among others. ``sums``, ``counts``: further exact sums and numbers by
    name; ``lows``, ``highs``: extremes.
    """

    what: str
    output: str
    op: str = "output"
    place: int = 0
    pairs: Spread = Spread()
    items: Spread = Spread()
    shifts: tuple[AtShift, ...] = ()
    worst: tuple[Worst, ...] = ()
    missing: tuple[Missing, ...] = ()
    sums: tuple[tuple[str, ExactSum], ...] = ()
    counts: tuple[tuple[str, int], ...] = ()
    lows: tuple[tuple[str, float], ...] = ()
    highs: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Corrupt:
    """An item that raised."""

    item: int
    where: str
    error: str


@dataclass(frozen=True, kw_only=True)
class State:
    """All that is kept of the items so far; ``shapes``: of the inputs, one item each."""

    items: int = 0
    pairs: int = 0
    corrupt: int = 0
    corrupt_items: tuple[Corrupt, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()
    notes: tuple[str, ...] = ()
    tallies: tuple[Tally, ...] = ()
    schema_version: int = 1


NOTHING = State()


def merged(parts: Sequence[State]) -> State:
    """What is kept of the items of all parts; each of them is in one part only.

    Example:
        >>> merged([State(items=2), State(items=3), State()]).items
        5
    """
    corrupt = sorted((c for p in parts for c in p.corrupt_items), key=lambda c: c.item)
    named: dict[tuple[str, str], list[Tally]] = {}
    for part in parts:
        for tally in part.tallies:
            named.setdefault((tally.what, tally.output), []).append(tally)
    return State(
        items=sum(p.items for p in parts),
        pairs=sum(p.pairs for p in parts),
        corrupt=sum(p.corrupt for p in parts),
        corrupt_items=tuple(corrupt[:KEPT_ERRORS]),
        shapes=tuple(sorted({s for p in parts for s in p.shapes})[:KEPT]),
        notes=tuple(sorted({note for p in parts for note in p.notes})[:KEPT]),
        tallies=tuple(merged_tallies(named[key]) for key in sorted(named)),
    )


def merged_tallies(parts: Sequence[Tally]) -> Tally:
    """What is kept of one quantity of one output, over all parts."""
    return Tally(
        what=parts[0].what,
        output=parts[0].output,
        op=min(p.op for p in parts),
        place=min(p.place for p in parts),
        pairs=merged_spreads([p.pairs for p in parts]),
        items=merged_spreads([p.items for p in parts]),
        shifts=_merged_shifts(parts),
        worst=tuple(sorted(w for p in parts for w in p.worst)[:KEPT]),
        missing=_merged_missing(parts),
        sums=_by_name((p.sums for p in parts), lambda a, b: ExactSum(a.units + b.units)),
        counts=_by_name((p.counts for p in parts), lambda a, b: a + b),
        lows=_by_name((p.lows for p in parts), min),
        highs=_by_name((p.highs for p in parts), max),
    )


V = TypeVar("V")


def _by_name(
    parts: Iterable[Sequence[tuple[str, V]]], join: Callable[[V, V], V]
) -> tuple[tuple[str, V], ...]:
    known: dict[str, V] = {}
    for part in parts:
        for name, value in part:
            known[name] = join(known[name], value) if name in known else value
    return tuple(sorted(known.items(), key=lambda pair: pair[0]))


def _merged_shifts(parts: Sequence[Tally]) -> tuple[AtShift, ...]:
    at: dict[Shift, AtShift] = {}
    for part in parts:
        for entry in part.shifts:
            known = at.get(entry.shift)
            at[entry.shift] = entry if known is None else _both(known, entry)
    return tuple(at[shift] for shift in sorted(at))


def _both(one: AtShift, other: AtShift) -> AtShift:
    return AtShift(
        shift=one.shift,
        count=one.count + other.count,
        total=ExactSum(one.total.units + other.total.units),
        largest=max(one.largest, other.largest),
    )


def _merged_missing(parts: Sequence[Tally]) -> tuple[Missing, ...]:
    of_reason: dict[Reason, list[Missing]] = {}
    for part in parts:
        for missing in part.missing:
            of_reason.setdefault(Reason(missing.reason), []).append(missing)
    return tuple(
        Missing(
            reason=reason,
            pairs=sum(m.pairs for m in of_reason[reason]),
            items=sum(m.items for m in of_reason[reason]),
            first=tuple(sorted(i for m in of_reason[reason] for i in m.first)[:KEPT]),
        )
        for reason in sorted(of_reason)
    )


Pair = tuple[int, Shift, float | Reason]
"""An item, a shift, and the value they gave or why they gave none."""


def tally_of(what: str, output: str, op: str, pairs: Sequence[Pair], **more: Any) -> Tally:
    """What is kept of some pairs, which hold all pairs of their items; ``more``: sums and so on."""
    valued = [(item, shift, v) for item, shift, v in pairs if not isinstance(v, Reason)]
    largest: dict[int, tuple[float, int, Shift]] = {}
    for item, shift, value in valued:
        case = (-value, item, shift)
        known = largest.get(item)
        if known is None or case < known:
            largest[item] = case
    cases = sorted(largest.values())[:KEPT]
    return Tally(
        what=what,
        output=output,
        op=op,
        pairs=Spread.of([v for _, _, v in valued]),
        items=Spread.of([-negative for negative, _, _ in largest.values()]),
        shifts=at_shifts(valued),
        worst=tuple(Worst(negative=v, item=item, shift=shift) for v, item, shift in cases),
        missing=_missing(pairs),
        **more,
    )


def at_shifts(
    valued: Sequence[tuple[int, Shift, float]], *, every: bool = False
) -> tuple[AtShift, ...]:
    """What is kept of each shift that has figures of its own, or of ``every`` one."""
    of_shift: dict[Shift, list[float]] = {}
    for _, shift, value in valued:
        of_shift.setdefault(shift, []).append(value)
    return tuple(
        AtShift(
            shift=shift,
            count=len(values),
            total=ExactSum.of((math.fsum(values),)),
            largest=max(values),
        )
        for shift, values in sorted(of_shift.items())
        if every or is_mapped(shift)
    )


MAPPED = {1: 500, 2: 16, 3: 4}
"""By the number of axes: shifts of at most so many pixels along each have figures of their own."""


def is_mapped(shift: Shift) -> bool:
    """Whether a shift has figures of its own, so that their number does not grow with the data."""
    return all(abs(v) <= MAPPED[len(shift)] for v in shift)


def _missing(pairs: Sequence[Pair]) -> tuple[Missing, ...]:
    of_reason: dict[Reason, list[int]] = {}
    for item, _, value in pairs:
        if isinstance(value, Reason):
            of_reason.setdefault(value, []).append(item)
    return tuple(
        Missing(
            reason=reason,
            pairs=len(items),
            items=len(set(items)),
            first=tuple(sorted(set(items))[:KEPT]),
        )
        for reason, items in sorted(of_reason.items())
    )
