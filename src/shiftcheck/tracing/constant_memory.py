"""What is known of the constants of a pass: values, and whether they are random or uniform."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shiftcheck.rules import Constant
from shiftcheck.rules.operands import HIDES
from shiftcheck.tracing.by_tensor import ByTensor
from shiftcheck.tracing.local_constants import LocalConstants
from shiftcheck.tracing.operations import Operation
from shiftcheck.tracing.torch_internals import is_fake, memory_of, tensors_of, tree_map

MOST_REPLAYED = 2**16
"""A constant with more values than that is not made again."""

MOST_VALUES = 2**20
"""A constant with more values than that is not looked into."""

LONGEST_STEP = 64
"""The longest step after which the values of a constant are looked at for a repetition."""


class ConstantMemory:
    """What cannot be read off a constant itself, by the tensor or by the memory that it has.

    ``untraced``: a context in which operations are not followed. ``shared``: whether two tensors
    are views of the same memory. ``local``: what local operations made of uniform constants.
    """

    def __init__(
        self,
        untraced: Callable[[], AbstractContextManager[None]],
        shared: Callable[[torch.Tensor, torch.Tensor], bool],
    ) -> None:
        self.untraced = untraced
        self.uniform = ByTensor()
        self.random = ByTensor()
        self.real = ByTensor()
        self.changed: dict[int, Any] = {}
        self.drawn: dict[int, Any] = {}
        self.forgotten: dict[int, Any] = {}
        self.local = LocalConstants(untraced, self.constant, shared)

    def is_random(self, tensor: torch.Tensor) -> bool:
        """Whether random numbers went into a constant."""
        return tensor in self.random or (bool(self.drawn) and memory_of(tensor) in self.drawn)

    def is_uniform(self, tensor: torch.Tensor) -> bool:
        """Whether a constant without values is known to be the same everywhere."""
        return tensor in self.uniform and memory_of(tensor) not in self.changed

    def adopt(self, tensor: torch.Tensor, source: torch.Tensor) -> None:
        """Know of a tensor what is known of another one."""
        for known in (self.uniform, self.random, self.real):
            known.pop(tensor, None)
            if source in known:
                known[tensor] = known[source]

    def constant(self, tensor: torch.Tensor) -> Constant:
        """A tensor that does not depend on the input, as a rule sees it."""
        uniform, is_random = self.is_uniform(tensor), self.is_random(tensor)

        def repeats(before: int, size: int, after: int) -> int | None:
            if uniform:
                return 1
            real = self.real_of(tensor)
            with self.untraced():
                return None if real is None else _repeats(real, before, size, after)

        def part(before: int, size: int, after: int, start: int, length: int) -> Constant:
            if uniform:
                return replace(whole, shape=(before, length, after))
            real = self.real_of(tensor)
            if real is None:
                return Constant((before, length, after), lambda *_: None, random=is_random)
            with self.untraced():
                values = real.detach().reshape(before, size, after)
                piece = self.constant(values[:, start : start + length])
                return replace(piece, random=is_random, parameter=whole.parameter)

        def mask() -> NDArray[np.float64] | None:
            real = None if uniform or is_random else self.real_of(tensor)
            with self.untraced():
                return None if real is None else _mask(real)

        whole = Constant(
            shape=tuple(tensor.shape),
            repeats=repeats,
            parameter=isinstance(tensor, torch.nn.Parameter),
            random=is_random,
            part=part,
            mask=mask,
            values=lambda: self.values_of(tensor),
            nonzero=lambda: self._nonzero(tensor),
            window=lambda *middle: self.local.window(tensor, *middle),
        )
        return whole

    def values_of(self, tensor: torch.Tensor) -> NDArray[Any] | None:
        """The values of a constant; None where they are random, too many, or not known."""
        if self.is_random(tensor) or tensor.numel() > MOST_VALUES:
            return None
        real = self.real_of(tensor)
        with self.untraced():
            return None if real is None else _to_numpy(real)

    def _nonzero(self, tensor: torch.Tensor) -> list[list[int]] | None:
        """The entries of each dimension at which something is not zero; None if not known."""
        real = None if self.is_random(tensor) else self.real_of(tensor)
        if real is None:
            return None
        with self.untraced():
            there = real.detach() != 0
            each = [there.movedim(d, 0).flatten(1).any(1) for d in range(there.ndim)]
            return [one.nonzero().flatten().tolist() for one in each]

    def real_of(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """A tensor with the values that a constant would have; None where they are not known."""
        if memory_of(tensor) in self.forgotten:
            return None
        if not is_fake(tensor):
            return None if tensor.is_meta else tensor
        known: torch.Tensor | None = self.real.get(tensor)
        return known

    def replay(self, operation: Operation, out: Any) -> None:
        """Do an operation on small constants without values again, on tensors that have values.

        A list of indices that a model makes on its way is known so, in a pass without values, too.
        """
        tensors, made, written = operation.inputs, tensors_of(out), operation.written
        if not any(is_fake(t) for t in [*tensors, *made]):
            return
        small = all(t.numel() <= MOST_REPLAYED for t in [*made, *written])
        real = {id(t): self.real_of(t) for t in tensors}
        if not small or any(t is None for t in real.values()):
            self.forgotten.update({memory_of(t): t.untyped_storage() for t in written})
            return

        def known(value: Any) -> Any:
            return real[id(value)] if isinstance(value, torch.Tensor) else value

        with self.untraced():
            named = {k: known(v) for k, v in operation.kwargs.items()}
            again = operation.func(*tree_map(known, list(operation.args)), **named)
        values = tensors_of(again)
        self.real.update({t: v for t, v in zip(made, values, strict=True) if is_fake(t)})


def _mask(tensor: torch.Tensor) -> NDArray[np.float64] | None:
    """All values where some hide what they are added to, as in an additive mask; else None."""
    if not tensor.is_floating_point() or not bool((tensor <= HIDES).any()):
        return None
    return np.asarray(tensor.detach().double().cpu().numpy())


def _to_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    whole = tensor.detach().cpu()
    narrow = whole.is_floating_point() and whole.dtype != torch.float64
    return np.copy((whole.double() if narrow else whole).numpy())


def _repeats(tensor: torch.Tensor, before: int, size: int, after: int) -> int | None:
    """The smallest step after which the middle of ``[before, size, after]`` repeats."""
    if is_fake(tensor) or tensor.is_meta:
        return None
    values = tensor.detach().reshape(before, size, after)
    for step in range(1, min(size // 2, LONGEST_STEP) + 1):
        if torch.equal(values[:, step:], values[:, :-step]):
            return step
    return 1 if size == 1 else size
