"""The smallest size at which something works."""

from __future__ import annotations

from collections.abc import Callable


def smallest_size(works: Callable[[int], bool], start: int, limit: int) -> int | None:
    """The smallest size from ``start`` to ``limit`` at which ``works``, by doubling and bisection.

    ``works`` need not be monotonic; the answer is checked itself, smaller ones by bisection only.
    """
    low, high = start - 1, start
    while not works(high):
        if high >= limit:
            return None
        low, high = high, min(2 * high, limit)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high
