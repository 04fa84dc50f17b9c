"""Leaving everything as it was found: flags, buffers, attributes, random numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch


@dataclass
class Originals:
    """Copies of tensors of the model and the caller, made just before they are written to."""

    watched: list[torch.Tensor]
    saved: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)

    def before_write(self, tensor: torch.Tensor) -> None:
        """Keep the present values of every watched tensor in the memory of ``tensor``."""
        memory = _memory(tensor)
        for own in self.watched:
            if _memory(own) == memory and not any(own is kept for kept, _ in self.saved):
                self.saved.append((own, own.detach().clone()))

    def restore(self) -> None:
        """Write the kept values back."""
        with torch.no_grad():
            for own, values in self.saved:
                own.data.copy_(values)


def _memory(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


@contextmanager
def preserved(
    modules: list[torch.nn.Module], tensors: list[torch.Tensor], *, training: bool
) -> Iterator[Originals]:
    """Evaluate in eval mode (unless ``training``) and put everything back, also on exceptions."""
    flags = [(m, m.training) for m in modules]
    attributes = [_attributes(m) for m in modules]
    own = [t for m in modules for t in (*m.parameters(False), *m.buffers(False))]
    originals = Originals([*own, *tensors])
    python, numpy = random.getstate(), np.random.get_state()
    fast_path = torch.backends.mha.get_fastpath_enabled()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        with torch.random.fork_rng(devices):
            for module in modules:
                module.training = module.training and training
            yield originals
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        random.setstate(python)
        np.random.set_state(numpy)
        for module, kept in zip(modules, attributes, strict=True):
            _put_back(module, kept)
        for module, flag in flags:
            module.training = flag
        originals.restore()


def _attributes(module: torch.nn.Module) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in vars(module).items():
        kept[name] = dict(value) if isinstance(value, dict) else value
    return kept


def _put_back(module: torch.nn.Module, kept: dict[str, Any]) -> None:
    now = vars(module)
    for name in [n for n in now if n not in kept]:
        del now[name]
    for name, value in kept.items():
        present = now.get(name)
        if isinstance(value, dict) and isinstance(present, dict):
            present.clear()
            present.update(value)
        else:
            now[name] = value
