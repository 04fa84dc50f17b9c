"""Which dimension of the input is the time."""

from __future__ import annotations

from typing import Any

from shiftcheck.errors import InputError


def time_of(shape: tuple[int, ...], axis: Any) -> tuple[int, int]:
    """The dimension of a signal that is the time, counted from the front, and its rank.

    Raises InputError for what is no dimension, and for the batch.
    """
    rank = len(shape)
    whole_number = isinstance(axis, int) and not isinstance(axis, bool)
    if not whole_number or not -rank <= axis < rank:
        raise InputError(
            f"axis={axis!r} is no dimension of x, which has shape {shape}: give the one that is the"
            " time, such as -1 for [batch, channels, time] or 1 for [batch, time, channels]"
        )
    if axis % rank == 0:
        raise InputError(
            f"axis={axis}: dimension 0 of x, of shape {shape}, is the batch: give the one that is"
            " the time, and add a batch dimension with x[None] if there is none"
        )
    return axis % rank, rank
