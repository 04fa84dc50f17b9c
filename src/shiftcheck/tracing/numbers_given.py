"""The numbers that operations are given besides what is followed.

A model may take the size of its input for a number, as in ``x / x.shape[-1]``. No law of an
operation tells that, but runs on two sizes do: what is given there differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from shiftcheck.tracing.constant_memory import ConstantMemory
from shiftcheck.tracing.operations import Operation
from shiftcheck.tracing.torch_internals import tree_map

FEW = 2**12
"""A constant of at most so many values is looked at."""

SIZED = ("aten::upsample", "aten::_upsample", "aten::grid_sampler", "aten::arange")
"""Operations whose numbers follow from sizes, which their laws know; by how they begin."""

PADS = "aten::constant_pad_nd"

Number = tuple[Any, ...]
"""A kind or shape, and what has to be the same where these are."""


def numbers_of(operation: Operation, constants: ConstantMemory | None) -> Iterator[Number]:
    """The numbers of an operation, and the few values of constants; None: only Python's numbers."""
    if operation.packet.startswith(SIZED):
        return
    given: list[Any] = []
    args = operation.args[2:] if operation.packet == PADS else operation.args
    tree_map(given.append, (args, dict(operation.kwargs)))
    sizes_count = not (operation.is_pointwise or operation.packet == PADS)
    for leaf in given:
        if isinstance(leaf, float | complex) or (type(leaf) is int and not sizes_count):
            yield ("number", leaf)
    for tensor in operation.inputs if constants is not None else ():
        few = tensor.numel() <= FEW and not isinstance(tensor, torch.nn.Parameter)
        values = constants.values_of(tensor) if few and constants is not None else None
        held = None if values is None else np.ascontiguousarray(values).tobytes()
        yield (tuple(tensor.shape), held)


def same_numbers(one: Sequence[Number], other: Sequence[Number]) -> bool:
    """Whether two passes gave the same; of constants of two shapes nothing is said."""
    return len(one) == len(other) and all(
        a == b or a[0] != b[0] for a, b in zip(one, other, strict=True)
    )
