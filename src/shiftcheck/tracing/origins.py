"""Where the constants of a pass come from: what nobody has seen being made may hold anything.

A constant was there before the pass, or was made in it from constants. In a pass without values the
first kind has values all the same, and so it is known there; of a pass with values it is known
which tensors were made in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from shiftcheck.tracing.by_tensor import ByTensor
from shiftcheck.tracing.memory import dense
from shiftcheck.tracing.torch_internals import is_fake, memory_of, tensors_of

Place = tuple[str, str, int]
"""Where a constant is met: the layer, the operation and which of its tensors it is."""

FRESH = "aten::lift_fresh"
"""What torch does to a tensor that it has just made of numbers of Python or NumPy."""


@dataclass(frozen=True, kw_only=True)
class Met:
    """The constants that a pass met: ``strangers`` of unknown origin, and those that are ``known``.

    A stranger with values may have been there before, which a pass without values tells.
    """

    strangers: frozenset[Place] = frozenset()
    known: frozenset[Place] = frozenset()


NOTHING_MET = Met()


class Origins:
    """Follows where constants come from; ``of_model``: the tensors of the model, by their ids.

    ``without_values``: whether the pass is one, in which nothing that has values was made of x.
    """

    def __init__(self, of_model: Mapping[int, torch.Tensor]) -> None:
        self.of_model = of_model
        self.without_values = False
        self.made = ByTensor()
        self.memories: dict[int, StorageWeakRef] = {}
        self.written: dict[int, Any] = {}
        self.strangers: set[Place] = set()
        self.known: set[Place] = set()

    def note(self, made: Any) -> None:
        """What was given to the model, or made of constants."""
        for tensor in tensors_of(made):
            if self._is_new(tensor):
                self.made[tensor] = True
                if dense(tensor):
                    self.memories[memory_of(tensor)] = StorageWeakRef(tensor.untyped_storage())

    def write(self, tensors: Iterable[torch.Tensor]) -> None:
        """Values of unknown origin were written into tensors."""
        self.written.update({memory_of(t): t.untyped_storage() for t in tensors if dense(t)})

    def is_stranger(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor was made in a pass, or written to, and nobody has seen of what."""
        if self.written and dense(tensor) and memory_of(tensor) in self.written:
            return True
        if not self._is_new(tensor) or tensor in self.made or id(tensor) in self.of_model:
            return False
        return not self._is_of_known_memory(tensor)

    def _is_of_known_memory(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is one that was seen being made, as after a change of its class."""
        known = self.memories.get(memory_of(tensor)) if dense(tensor) else None
        return known is not None and not known.expired()

    def any_strangers(self, tensors: Iterable[torch.Tensor]) -> bool:
        """Whether one of the tensors is a stranger."""
        return any(map(self.is_stranger, tensors))

    def meet(self, layer: str, op: str, constants: Sequence[tuple[int, torch.Tensor]]) -> bool:
        """Note constants that meet what is followed; whether one of them is unknown for certain."""
        for i, tensor in constants:
            kind = self.strangers if self.is_stranger(tensor) else self.known
            if kind is self.strangers or self.without_values:
                kind.add((layer, op, i))
        return self.without_values and bool(self.strangers)

    def _is_new(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor was made in a pass, as far as it tells."""
        return is_fake(tensor) if self.without_values else tensor.is_inference()

    @property
    def met(self) -> Met:
        """What was met so far."""
        return Met(strangers=frozenset(self.strangers), known=frozenset(self.known))
