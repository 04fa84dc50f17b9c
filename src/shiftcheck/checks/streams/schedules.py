"""In chunks of which lengths a signal is given to a step."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shiftcheck.errors import InputError

MOST = 24
"""So many short chunks at most; the rest of the signal comes in one."""

UNEVEN = (3, 1, 5, 2, 8, 1, 13, 4, 7, 1, 2, 11)
PRIME = 7


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The lengths of chunks in words and in samples; ``demanded``: the verdict rests on them."""

    name: str
    lengths: tuple[int, ...]
    demanded: bool = True

    @property
    def starts(self) -> tuple[int, ...]:
        """The samples of the input at which chunks begin."""
        return tuple(itertools.accumulate(self.lengths, initial=0))[:-1]

    def fits(self, period: int) -> bool:
        """Whether every chunk begins on a grid."""
        return all(start % period == 0 for start in self.starts)


def read_chunk(chunk: Any) -> tuple[int, ...]:
    """The lengths that were given, one or several in turn; raises InputError for others."""
    several = chunk if isinstance(chunk, list | tuple) else (chunk,)
    good = [isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in several]
    if not several or not all(good):
        raise InputError(
            f"chunk={chunk!r}: give how many samples a chunk has, a whole number of at least 1, or"
            " several that follow each other, such as (160, 320)"
        )
    return tuple(several)


def cut(length: int, lengths: Iterable[int], most: int | None = None) -> tuple[int, ...]:
    """Chunks of these lengths in turn until all is given; after ``most``, the rest in one."""
    found: list[int] = []
    for wanted in itertools.cycle(lengths):
        left = length - sum(found)
        if not left:
            break
        last = most is not None and len(found) >= most
        found.append(left if last else min(wanted, left))
    return tuple(found)


def schedules(
    length: int, chunk: Sequence[int], period: int, lookback: float | None, *, any_chunk: bool
) -> list[Schedule]:
    """The lengths as they were given, and others on the grid and off it.

    Where the given ones are multiples of the period, those that are not are tried and not demanded,
    unless ``any_chunk``.
    """
    on_grid = all(n % period == 0 for n in chunk) and not any_chunk
    unit = period if on_grid else 1
    found = [Schedule(name="chunks as given", lengths=cut(length, chunk))]
    found += _varied(length, unit, demanded=True)
    if lookback is not None and 0 < lookback < length // 2:
        beyond = -(-(int(lookback) + 1) // unit) * unit
        found.append(Schedule(name="longer than the look-back", lengths=cut(length, (beyond,))))
    if period > 1 and unit == 1:  # what is right on the grid tells why the rest is wrong
        found += _varied(length, period, demanded=False)
    elif unit > 1:
        found += _varied(length, 1, demanded=False)
    seen: dict[tuple[int, ...], Schedule] = {}
    for schedule in found:
        seen.setdefault(schedule.lengths, schedule)
    return list(seen.values())


def _varied(length: int, unit: int, *, demanded: bool) -> list[Schedule]:
    each = f"{unit} samples each" if unit > 1 else "one sample each"
    halves = max(unit, length // 2 // unit * unit)
    wanted = {
        each: (unit,),
        f"{PRIME * unit} samples each": (PRIME * unit,),
        "uneven": [n * unit for n in UNEVEN],
        "two halves": (halves,),
        "all at once": (length,),
    }
    return [
        Schedule(name=name, lengths=cut(length, lengths, MOST), demanded=demanded)
        for name, lengths in wanted.items()
    ]
