"""What a rule is given in the place of tensors, and what it may raise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftcheck.errors import ShiftcheckError
from shiftcheck.lattice.axis import Axis

HIDES = -50.0
"""What is added to a score hides it where it is at most this: its share of a softmax is nothing."""


class BatchCoupledError(ShiftcheckError):
    """The operation mixes the elements of the batch, so copies can't share one.

    Example:
        >>> from shiftcheck.rules import BatchCoupledError, Factor, Layout, find_rule
        >>> x = Layout(((Factor("copies", 3), Factor("plain", 2)),), ())
        >>> try:
        ...     find_rule("aten::mean", "dim")(x, [0])
        ... except BatchCoupledError as error:
        ...     print(error)
        a reduction mixes the elements of the batch
    """


def _unknown_part(before: int, size: int, after: int, start: int, length: int) -> Constant:
    return Constant((before, length, after), lambda *_: None)


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that does not depend on the input.

    ``repeats(before, size, after)`` views the values as ``[before, size, after]`` and returns the
    smallest step after which they repeat along the middle (1: uniform; size: never), or None where
    the values are not known. ``part(before, size, after, start, length)`` is the constant of shape
    ``[before, length, after]`` that starts at ``start`` of that middle. ``mask()`` is all values of
    what may be an additive mask, some of them far below zero; None where there are none such.
    ``values()`` returns all of them, or None where they are random, too many, or not known.
    ``nonzero()`` returns, for each dimension, the entries at which something is not zero; None
    where that is not known.
    ``window(before, size, after)`` is the geometry along that middle of a constant that local
    operations made of a uniform one, None of any other.

    Example:
        >>> from shiftcheck.rules import Constant
        >>> ones = Constant((3, 4), lambda before, size, after: 1)
        >>> ones.repeats(3, 4, 1)  # the same value everywhere
        1
    """

    shape: tuple[int, ...]
    repeats: Callable[[int, int, int], int | None]
    parameter: bool = False
    random: bool = False
    part: Callable[[int, int, int, int, int], Constant] = _unknown_part
    mask: Callable[[], NDArray[np.float64] | None] = lambda: None
    values: Callable[[], NDArray[Any] | None] = lambda: None
    nonzero: Callable[[], list[list[int]] | None] = lambda: None
    window: Callable[[int, int, int], Axis | None] = lambda *_: None
