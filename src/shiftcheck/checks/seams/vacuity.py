"""Outputs of which a comparison tells nothing: dead, constant, random, or blind to the input."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from shiftcheck.checks.seams.differences import difference
from shiftcheck.checks.seams.running import Runner, Values
from shiftcheck.errors import ShiftcheckError
from shiftcheck.report.reasons import Reason


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """An output of the model on the whole, in a second run, and for other values of the signal.

    ``spatial``: how many axes at the end of the output are; ``axes``: how many at the end of the
    ``signal`` are.
    """

    whole: Values
    again: Values | None
    other: Values | None
    spatial: int
    signal: torch.Tensor
    axes: int


def spatial_of(rank: int, axes: int) -> int:
    """How many axes at the end of an output are spatial."""
    return axes if rank > axes else 0


def why_nothing_is_told(seen: Seen, rtol: float | None, atol: float | None) -> Reason:
    """Why a comparison of the output would tell nothing; NONE where it tells something."""
    array = seen.whole.array
    if not array.size:
        return Reason.EMPTY
    if not np.isfinite(array).all():
        return Reason.NOT_FINITE
    again = seen.again
    if again is None or again.array.shape != array.shape:
        return Reason.UNSTEADY
    if difference(seen.whole, again, 0, rtol, atol).wrong.any():
        return Reason.UNSTEADY
    if not array.any():
        return Reason.DEAD
    space = array.reshape(-1, math.prod(array.shape[array.ndim - seen.spatial :]))
    if seen.spatial and bool((space == space[:, :1]).all()):
        signal = seen.signal.flatten(-seen.axes) if seen.axes else seen.signal
        varies = bool((signal != signal[..., :1]).any())
        return Reason.CONSTANT if varies else Reason.CONSTANT_INPUT
    if seen.other is not None and np.array_equal(seen.other.array, array):
        alike = bool((seen.signal == seen.signal.flatten()[:1]).all())
        return Reason.CONSTANT_INPUT if alike else Reason.IGNORES
    if rtol is not None and atol is not None:
        largest = float(np.abs(array).max())
        if atol + rtol * largest >= largest:
            return Reason.TOO_TOLERANT
    return Reason.NONE


def on_other_values(runner: Runner) -> dict[str, Values]:
    """The outputs for the values of the signal in another order; none where the model refuses."""
    main = runner.inputs.main.tensor
    order = torch.randperm(main.numel(), generator=torch.Generator().manual_seed(0), device="cpu")
    try:
        return runner.on(main.flatten()[order.to(main.device)].reshape(main.shape))
    except ShiftcheckError:  # a model may refuse such values: then that tells nothing
        return {}
