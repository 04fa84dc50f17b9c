"""Which dimension of the input is time."""

from __future__ import annotations

from typing import Any

from shiftcheck.errors import InputError
from shiftcheck.measuring.signals.arguments import Inputs


def time_axis(inputs: Inputs, axis: Any) -> int:
    """The number of the spatial axis that ``axis``, a dimension of x, means.

    Raises InputError for a dimension that is not time: the batch, the channels, one of size 1.
    """
    shape = tuple(inputs.main.tensor.shape)
    rank, spatial = len(shape), inputs.main.spatial
    if isinstance(axis, bool) or not isinstance(axis, int) or not -rank <= axis < rank:
        raise InputError(
            f"axis={axis!r} is no dimension of x, which has shape {shape}: give a whole number from"
            f" {-rank} to {rank - 1}, such as -1 for the last one"
        )
    dim = axis % rank
    if dim == 0:
        raise InputError(
            f"axis={axis} is the batch of x, which has shape {shape}, and not time: give the"
            " dimension that is time, such as axis=-1, and move time there with x.movedim(0, -1)"
        )
    if dim not in spatial:
        known = " or ".join(f"axis={d}" for d in spatial)
        raise InputError(
            f"axis={axis} holds the channels of x, which has shape {shape}, and not time: give"
            f" {known}, or where time stands there, spatial_dims=({dim},) as well"
        )
    if shape[dim] < 2:
        raise InputError(
            f"axis={axis}: x has shape {shape} and one sample along it, so nothing goes by: give a"
            " longer x"
        )
    return spatial.index(dim)
