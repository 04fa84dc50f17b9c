"""How much memory a pass needs at once, found on tensors without values."""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from typing import Any

import torch

from shiftcheck.tracing.torch_internals import (
    Mode,
    is_overload,
    packet_name,
    tensors_of,
)

CONVOLUTIONS = tuple(
    f"aten::{name}"
    for name in (
        "conv1d",
        "conv2d",
        "conv3d",
        "convolution",
        "conv_transpose1d",
        "conv_transpose2d.input",
        "conv_transpose2d",
        "conv_transpose3d",
        "conv_transpose3d.input",
    )
)
BY_BLOCKS = (torch.float32, torch.bfloat16, torch.float16)
"""The types in which a CPU convolves what it has copied to blocks of channels."""

BLOCK = 16
"""Channels of a block, which may be filled up."""


class LiveMemory(Mode):
    """Counts the bytes of all tensors that live at one time, and finds their ``peak``.

    A convolution is counted with what it copies its operands to.
    """

    def __init__(self, given: Sequence[torch.Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live, self.peak = 0, 0
        self.known: dict[int, int] = {}
        for tensor in given:
            self._note(tensor)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """What runs here is never compiled, so nothing needs to be wrapped to say so."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        for tensor in tensors_of(out):
            self._note(tensor)
        beside = 0
        if is_overload(func) and packet_name(func) in CONVOLUTIONS:
            beside = _scratch(tensors_of((args, kwargs)), tensors_of(out))
        self.peak = max(self.peak, self.live + beside)
        return out

    def _note(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = id(storage)
        if key in self.known:
            return
        size = storage.nbytes()
        self.known[key] = size
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self.live -= self.known.pop(key, 0)


def _scratch(given: Sequence[torch.Tensor], made: Sequence[torch.Tensor]) -> int:
    """What a convolution on a CPU needs beside its operands and its result."""
    if len(given) < 2 or not made:
        return 0
    x, weight, out = given[0], given[1], made[0]
    if x.dtype in BY_BLOCKS:
        return sum(
            t.numel() // max(1, t.shape[1]) * -(-t.shape[1] // BLOCK) * BLOCK * t.element_size()
            for t in (x, out)
        )
    taps = math.prod(weight.shape[1:])
    places = max(x.shape[0] * math.prod(x.shape[2:]), out.shape[0] * math.prod(out.shape[2:]))
    return taps * places * x.element_size()
