"""Layers that are given the size of the input as a number, which another size changes."""

from __future__ import annotations

from collections.abc import Sequence

from shiftcheck.checks.at_other_sizes import AtOtherSizes
from shiftcheck.tracing.numbers_given import same_numbers
from shiftcheck.tracing.traced import Row

DETAIL = "what it is given, or whether it runs, follows from the size of the whole"


def first_sized(others: AtOtherSizes, rows: Sequence[Row], sizes: Sequence[int]) -> Row | None:
    """The first of the ``rows`` that is another one, or has other numbers, at one of the sizes.

    None where there is none. A size that the model does not take tells nothing. On a smaller one a
    model may leave out what has no room, so there only numbers are compared, as far as it goes the
    same way.
    """
    for size in sizes:
        there = others.at(size)
        if there is None:
            continue
        row = _first_unlike(rows, there[0], whole=size > others.pixels)
        if row is not None:
            return row
    return None


def _first_unlike(rows: Sequence[Row], there: Sequence[Row], *, whole: bool) -> Row | None:
    """The first row that is not the same; where the way is to be the same as a ``whole``, too."""
    for row, twin in zip(rows, there, strict=False):
        if row.name != twin.name:
            return row if whole else None
        if not same_numbers(row.numbers, twin.numbers):
            return row
    return rows[-1] if whole and rows and len(rows) != len(there) else None
