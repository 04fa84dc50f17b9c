"""An accelerator that is none: it counts what is read from it, and tells who mixes devices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from shiftcheck.measuring.gaps import read
from shiftcheck.measuring.passes import Passes

READING = ("_local_scalar_dense", "equal", "nonzero", "is_nonzero", "masked_select", "_unique2")
"""What tells a value of a tensor, or has a result whose shape depends on one."""

_to, _numpy, _run = torch.Tensor.to, torch.Tensor.numpy, Passes.run


class Accelerator(TorchDispatchMode):
    """Some tensors are away, and so is what is computed from them, until somebody calls ``cpu``.

    ``reads``: how often values were read, by the operation that did it.
    """

    def __init__(self, *tensors: torch.Tensor) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()
        self._away: dict[int, Any] = {}
        self._here: dict[int, Any] = {}  # the storages are kept: none gets the place of another
        for tensor in tensors:
            self._note(tensor, self._away)

    def is_away(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is on the accelerator."""
        return _place(tensor) in self._away

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [t for t in tree_leaves((args, kwargs)) if _is_dense(t)]
        away = any(map(self.is_away, given))
        here = any(_place(t) in self._here for t in given if t.ndim)
        name = func.overloadpacket.__name__
        assert not (away and here), f"{name} is given tensors of two devices"
        out = func(*args, **(kwargs or {}))
        if away and name in READING:
            self.reads[name] += 1
        elif away or here:
            for tensor in filter(_is_dense, tree_leaves(out)):
                self._note(tensor, self._away if away else self._here)
        return out

    def cpu(self, tensor: torch.Tensor) -> torch.Tensor:
        """As ``Tensor.cpu``: a copy, if the tensor is on the accelerator."""
        if not self.is_away(tensor):
            return tensor
        self.reads["cpu"] += 1
        return self._sent(tensor, self._here)

    def to(self, tensor: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        """As ``Tensor.to``, which sends what was read to the accelerator."""
        if any(isinstance(a, torch.device) for a in args) and _place(tensor) in self._here:
            return self._sent(tensor, self._away)
        return _to(tensor, *args, **options)

    def numpy(self, tensor: torch.Tensor, **options: Any) -> Any:
        """As ``Tensor.numpy``, which no accelerator allows."""
        assert not self.is_away(tensor), "numpy sees no tensor of an accelerator"
        return _numpy(tensor, **options)

    def run(self, passes: Passes, values: Any, on_row: Any, **options: Any) -> Any:
        """As ``Passes.run``, which shows each layer where no mode sees it."""

        def seen(row: Any, tensor: torch.Tensor) -> Any:
            with self:
                return on_row(row, tensor)

        return _run(passes, values, seen, **options)

    def _sent(self, tensor: torch.Tensor, to: dict[int, Any]) -> torch.Tensor:
        with _disable_current_modes():
            copy = tensor.detach().clone()
        self._note(copy, to)
        return copy

    def _note(self, tensor: torch.Tensor, places: dict[int, Any]) -> None:
        places[_place(tensor)] = tensor.untyped_storage()


def _is_dense(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.layout == torch.strided


def _place(tensor: torch.Tensor) -> int:
    place: int = tensor.untyped_storage()._cdata
    return place


@contextmanager
def accelerator(model: torch.nn.Module, x: torch.Tensor) -> Iterator[Accelerator]:
    """As if the model and x were on an accelerator, while this lasts."""
    device = Accelerator(x, *model.parameters(), *model.buffers())
    with pytest.MonkeyPatch.context() as patch, device:
        patch.setattr(read, "waits", device.is_away)
        patch.setattr(Passes, "run", lambda p, *a, **k: device.run(p, *a, **k))
        for name in ("cpu", "to", "numpy"):
            method = getattr(device, name)
            patch.setattr(torch.Tensor, name, lambda t, *a, m=method, **k: m(t, *a, **k))
        yield device
