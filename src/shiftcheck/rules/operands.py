"""What a rule is given in the place of tensors, and what it may raise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from shiftcheck.errors import ShiftcheckError


class BatchCoupledError(ShiftcheckError):
    """The operation mixes the elements of the batch, so copies can't share one."""


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that does not depend on the input.

    ``repeats(before, size, after)`` views the values as ``[before, size, after]`` and returns the
    smallest step after which they repeat along the middle (1: uniform; size: never), or None where
    the values are not known. ``values()`` returns all of them, or None where they are random,
    too many, or not known.
    """

    shape: tuple[int, ...]
    repeats: Callable[[int, int, int], int | None]
    parameter: bool = False
    random: bool = False
    values: Callable[[], NDArray[Any] | None] = lambda: None
