"""A callable that is looked at from outside alone, because torch does not see what it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from shiftcheck.tracing.torch_internals import tree_leaves, tree_map

BLACK_BOX = "callable"
"""The name of the one layer that it is."""


class BlackBox:
    """A callable as one single operation of tensors.

    ``arrays``: it takes and returns NumPy arrays.
    """

    def __init__(self, function: Callable[..., Any], *, arrays: bool) -> None:
        self.function, self.arrays = function, arrays
        self.__name__ = str(getattr(function, "__name__", type(function).__name__))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Tensors in, tensors out."""
        if not self.arrays:
            return self.function(*args, **kwargs)
        given = tree_map(_to_array, (list(args), kwargs))
        return tree_map(_to_tensor, self.function(*given[0], **given[1]))


def _to_array(value: Any) -> Any:
    return value.detach().numpy().copy() if isinstance(value, torch.Tensor) else value


def _to_tensor(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    try:
        return torch.from_numpy(np.array(value, order="C"))
    except TypeError:  # a type that torch does not have
        return value


def returns_arrays(returned: Any) -> bool:
    """Whether a NumPy array is among what a callable returned."""
    return any(isinstance(value, np.ndarray) for value in tree_leaves(returned))
