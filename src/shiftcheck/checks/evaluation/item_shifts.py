"""The shifts of an item, from a seed and the number of the item alone."""

from __future__ import annotations

import hashlib
import itertools
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from shiftcheck.errors import InputError
from shiftcheck.report.evaluation import Shift

Whole = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ItemShifts:
    """Which shifts an item gets: all that were ``given``, or ``draws`` of its own.

    ``reach``: the largest drawn shift in pixels, once or for each axis. Neither the order of the
    items, nor how they are put in batches, nor which of several processes has them matters.

    Example:
        >>> shifts = ItemShifts(seed=0, draws=2, reach=(5, 5))
        >>> shifts.of(7341, (1, 1)) == shifts.of(7341, (1, 1)) != shifts.of(7342, (1, 1))
        True
    """

    seed: int
    given: tuple[Shift, ...] = ()
    draws: int = 0
    reach: Whole | None = None

    def require_axes(self, axes: int) -> None:
        """Raise InputError where the reach is not for so many axes."""
        if self.reach is not None and len(self.reach) not in (1, axes):
            raise InputError(
                f"max_shift={self.reach} has {len(self.reach)} entries, the items have {axes}"
                " spatial axes: give one number, or one for each of them"
            )

    def of(self, item: int, unit: Whole, pixels: Whole = ()) -> tuple[Shift, ...]:
        """The shifts of an item, none of them zero; drawn ones are different multiples of units.

        ``pixels``: the size of the item, of which an eighth is the reach where none was given; at
        least one unit.
        """
        if self.given:
            return self.given
        steps = self._steps(unit, pixels)
        if not any(steps):
            unit, steps = (1,) * len(unit), self._steps((1,) * len(unit), pixels)
        sizes = [2 * s + 1 for s in steps]
        places = math.prod(sizes)
        drawn: dict[int, None] = {}
        numbers = _numbers(self.seed, item)
        while len(drawn) < min(self.draws, places - 1):
            place = next(numbers) % (places - 1)
            drawn[place + (place >= places // 2)] = None  # the middle one is no shift
        return tuple(_shift(place, sizes, steps, unit) for place in drawn)

    def _steps(self, unit: Whole, pixels: Whole) -> list[int]:
        """How many units a shift may be along each axis."""
        if self.reach is None:
            return [max(n // 8 // u, int(u < n)) for u, n in zip(unit, pixels, strict=True)]
        reach = self.reach * len(unit) if len(self.reach) == 1 else self.reach
        steps = [r // u for r, u in zip(reach, unit, strict=True)]
        if not any(steps):
            raise InputError(
                f"max_shift={self.reach} is less than one sample of the outputs, which is {unit}"
                " pixels: give more, or name the shifts with shifts="
            )
        return steps


def _numbers(seed: int, item: int) -> Iterator[int]:
    """Numbers of 64 bits without an end, the same on every machine."""
    for block in itertools.count():
        digest = hashlib.blake2b(f"{seed} {item} {block}".encode()).digest()
        yield from struct.unpack("<8Q", digest)


def _shift(place: int, sizes: list[int], steps: list[int], unit: Whole) -> Shift:
    """The shift with a number among all of them, counted axis by axis."""
    along = []
    for size, most, step in zip(reversed(sizes), reversed(steps), reversed(unit), strict=True):
        place, at = divmod(place, size)
        along.append((at - most) * step)
    return tuple(reversed(along))
