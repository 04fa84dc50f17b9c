"""What is known of tensors, each by itself and not by its values, for as long as it lives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from weakref import ref

import torch
from torch.utils.weak import WeakIdRef


class ByTensor:
    """A dictionary by tensors that keeps none alive, and makes no reference to look one up."""

    def __init__(self) -> None:
        self.entries: dict[int, tuple[WeakIdRef, Any]] = {}
        here = ref(self)

        def forget(dead: WeakIdRef) -> None:
            table = here()
            if table is not None and table.entries.get(hash(dead), (None,))[0] is dead:
                del table.entries[hash(dead)]

        self.forget = forget

    def get(self, tensor: torch.Tensor, default: Any = None) -> Any:
        """What is known of a tensor; an id that a dead one had says nothing."""
        entry = self.entries.get(id(tensor))
        return entry[1] if entry is not None and ref.__call__(entry[0]) is tensor else default

    def __contains__(self, tensor: torch.Tensor) -> bool:
        entry = self.entries.get(id(tensor))
        return entry is not None and ref.__call__(entry[0]) is tensor

    def __getitem__(self, tensor: torch.Tensor) -> Any:
        if tensor not in self:
            raise KeyError(f"a tensor of shape {tuple(tensor.shape)}")
        return self.entries[id(tensor)][1]

    def __setitem__(self, tensor: torch.Tensor, known: Any) -> None:
        key = self.entries[id(tensor)][0] if tensor in self else WeakIdRef(tensor, self.forget)
        self.entries[id(tensor)] = (key, known)

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[torch.Tensor]:
        return self.keys()

    def pop(self, tensor: torch.Tensor, default: Any = None) -> Any:
        """Know nothing of a tensor any more, and give what was known."""
        return self.entries.pop(id(tensor))[1] if tensor in self else default

    def keys(self) -> Iterator[torch.Tensor]:
        """The tensors that live."""
        return (tensor for tensor, _ in self.items())

    def items(self) -> Iterator[tuple[torch.Tensor, Any]]:
        """The tensors that live, with what is known of each."""
        for key, known in self.entries.copy().values():
            tensor = key()
            if tensor is not None:
                yield tensor, known

    def update(self, known: Mapping[torch.Tensor, Any]) -> None:
        """Know something of several tensors."""
        for tensor, value in known.items():
            self[tensor] = value
