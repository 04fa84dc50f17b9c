"""Whether a comparison looks at enough of an axis to tell anything."""

from __future__ import annotations

LEAST = 2
"""So many samples along an axis at least."""

PARTS = 4
"""And at least one of so many valid ones."""


def is_fair(compared: int, valid: int) -> bool:
    """Whether so many of the valid samples along an axis are enough.

    Example:
        >>> is_fair(16, 64), is_fair(15, 64), is_fair(1, 2)
        (True, False, False)
    """
    return compared >= LEAST and PARTS * compared >= valid


def leaves_room(valid: int) -> bool:
    """Whether a step of one sample would leave enough of so many valid ones.

    Example:
        >>> leaves_room(2), leaves_room(3)
        (False, True)
    """
    return is_fair(valid - 1, valid)


def fewest(steps: int) -> int:
    """The fewest valid samples in a row of which a shift by so many leaves enough.

    Example:
        >>> fewest(1), fewest(9)
        (3, 12)
    """
    return max(steps + LEAST, -(-PARTS * steps // (PARTS - 1)))
