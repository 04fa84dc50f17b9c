"""Whether values are those of the whole, but for the digits that a coarser type does not have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch

from shiftcheck.checks.seams.differences import Array
from shiftcheck.checks.seams.running import Values

COARSER = (torch.float32, torch.float16, torch.bfloat16)
"""The types that values may have been rounded to, the finest first."""

AS_ROUNDED = 64
"""So many times the eps of such a type may be between them."""


def holds_fewer_digits(whole: Array, other: Array, rough: float) -> bool:
    """Whether ``other`` fits in a type in which the whole does not, and differs as little as that.

    ``rough``: the largest difference of both, relative to its channel.
    """
    if np.iscomplexobj(other):
        return False
    for dtype in COARSER:
        near = rough < AS_ROUNDED * torch.finfo(dtype).eps
        if near and _fits(other, dtype) and not _fits(whole, dtype):
            return True
    return False


def _fits(array: Array, dtype: torch.dtype) -> bool:
    values = torch.from_numpy(np.ascontiguousarray(array))
    return bool((values.to(dtype).to(values.dtype) == values).all())


def with_noise_of(whole: Values, others: Iterable[Values]) -> Values | None:
    """The whole with the noise of a coarser type of which others are; None where none is."""
    eps = max((values.eps for values in others), default=0.0)
    return replace(whole, eps=eps) if 0 < whole.eps < eps else None
