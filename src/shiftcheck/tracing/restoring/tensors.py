"""A tensor of the user: the memory that it points to, its gradient, whether it wants one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from shiftcheck.tracing.restoring.contents import Kept, Place


@dataclass(slots=True, eq=False)
class Handle(Kept):
    """A tensor, apart from its values."""

    holder: torch.Tensor
    data: torch.Tensor
    grad: torch.Tensor | None
    wants: bool
    leaf: bool

    @staticmethod
    def of(tensor: torch.Tensor, place: Place) -> Handle:
        """A tensor as it is now."""
        grad = tensor.grad if tensor.is_leaf else None
        return Handle(place, False, tensor, tensor.data, grad, tensor.requires_grad, tensor.is_leaf)

    def changed(self) -> bool:
        """Whether it points to other memory, or has another gradient."""
        tensor = self.holder
        other_grad = tensor.is_leaf and tensor.grad is not self.grad
        return other_grad or tensor.requires_grad != self.wants or not self._same_memory()

    def _same_memory(self) -> bool:
        now, before = self.holder, self.data
        if now.device != before.device or now.shape != before.shape:
            return False
        try:
            return now.data_ptr() == before.data_ptr()
        except RuntimeError:  # it has no values now
            return False

    def restore(self) -> None:
        """Point to the memory, and have the gradient."""
        with writable(self.holder):
            if not self._same_memory():
                self.holder.data = self.data
            if self.leaf and not self.holder.is_leaf:  # it was written to with gradients
                self.holder.detach_()
            if self.holder.requires_grad != self.wants:
                self.holder.requires_grad_(self.wants)
            if self.holder.is_leaf and self.holder.grad is not self.grad:
                self.holder.grad = self.grad


@contextmanager
def writable(tensor: torch.Tensor) -> Iterator[None]:
    """Where a tensor may be written to: one of inference mode, in inference mode alone."""
    with torch.inference_mode(tensor.is_inference()), torch.no_grad():
        yield
