"""Leaving everything as it was found: flags, buffers, attributes, what is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from shiftcheck.generators import undisturbed

Restore = Callable[[], None]
ATOMS = frozenset({bool, int, float, str})
CONTAINERS = (dict, list, set, tuple)
NOTHING: tuple[()] = ()
"""What the empty ones hold, as most of a module are: nothing is made to say so."""

DEPTH = 6
"""How deep nested lists and dictionaries of a module are looked into."""


@dataclass
class Originals:
    """Copies of tensors of the model and the caller, made just before they are written to.

    ``watched``: the tensors by their ids, which they keep as long as they are held here.
    """

    watched: dict[int, torch.Tensor]
    saved: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    modules: list[Restore] = field(default_factory=list)
    start: Restore = lambda: None

    def before_write(self, tensor: torch.Tensor) -> None:
        """Keep the present values of every watched tensor in the memory of ``tensor``."""
        memory = _memory(tensor)
        for own in self.watched.values():
            if _memory(own) == memory and not any(own is kept for kept, _ in self.saved):
                self.saved.append((own, own.detach().clone()))

    def changed(self) -> list[torch.Tensor]:
        """The tensors that hold other values than the kept ones."""
        return [own for own, values in self.saved if not _same_values(own, values)]

    def rewind(self) -> None:
        """Begin the check again, with the modules as they were given."""
        self.restore()
        self.start()

    def restore(self) -> None:
        """Put the modules back, and write the kept values."""
        for put_back in self.modules:
            put_back()
        with torch.no_grad():
            for own, values in self.saved:
                own.data.copy_(values)


def _same_values(one: torch.Tensor, other: torch.Tensor) -> bool:
    neither_is_a_number = (one != one) & (other != other)
    return bool(((one == other) | neither_is_a_number).all())


def held(modules: Sequence[torch.nn.Module]) -> list[object]:
    """What the attributes of modules refer to, and how much is in it: state shows as a change."""
    found: list[object] = []
    for module in modules:
        for kept in (vars(module), module._buffers, module._parameters):
            found.append(id(module))
            for name, value in kept.items():
                length = len(value) if isinstance(value, list | dict | set) else -1
                found += name, id(value), length
    return found


def _memory(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


@contextmanager
def preserved(
    modules: Sequence[torch.nn.Module], tensors: Sequence[torch.Tensor], *, training: bool
) -> Iterator[Originals]:
    """Evaluate in eval mode (unless ``training``) and put everything back, also on exceptions."""
    originals = Originals({id(t): t for t in tensors})
    process = _process()
    originals.modules = [_module(m, originals.watched) for m in modules]
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        with undisturbed():
            originals.start = partial(_evaluate, modules, training)
            originals.start()
            yield originals
    finally:
        process()
        originals.restore()


@contextmanager
def exchanged(
    tensors: Sequence[torch.Tensor], change: Callable[[torch.Tensor], torch.Tensor]
) -> Iterator[int]:
    """Have other values, in other memory, in every floating tensor; gives how many there are."""
    own = {id(t): t for t in tensors if t.is_floating_point()}
    before = {key: t.data for key, t in own.items()}
    try:
        for t in own.values():
            t.data = change(t.data)
        yield len(own)
    finally:
        for key, t in own.items():
            t.data = before[key]


def weights_of(modules: Sequence[torch.nn.Module]) -> list[torch.Tensor]:
    """Every parameter, once."""
    return list({id(p): p for m in modules for p in m.parameters(False)}.values())


def _evaluate(modules: Sequence[torch.nn.Module], training: bool) -> None:
    for module in modules:
        module.training = module.training and training


def _process() -> Restore:
    """What belongs to the process: the default type, the fast path."""
    fast_path, dtype = torch.backends.mha.get_fastpath_enabled(), torch.get_default_dtype()

    def restore() -> None:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        torch.set_default_dtype(dtype)

    return restore


def _module(module: torch.nn.Module, watched: dict[int, torch.Tensor]) -> Restore:
    attributes = _Attributes(watched)
    attributes.look(vars(module), DEPTH)
    own = [*module.parameters(False), *module.buffers(False)]
    tensors = [_tensor(t) for t in own if not torch.nn.parameter.is_lazy(t)]

    def restore() -> None:
        attributes.restore()
        for tensor in tensors:
            tensor()

    return restore


def _tensor(tensor: torch.Tensor) -> Restore:
    """The memory that a parameter or buffer points to, its gradient, and whether it wants one."""
    data, grad, wants = tensor.data, tensor.grad, tensor.requires_grad

    def restore() -> None:
        if tensor.device != data.device or tensor.data_ptr() != data.data_ptr():
            tensor.data = data
        tensor.grad = grad
        tensor.requires_grad_(wants)

    return restore


class _Attributes:
    """What containers hold and other values are, to be put back; tensors are watched."""

    def __init__(self, watched: dict[int, torch.Tensor]) -> None:
        self.watched = watched
        self.contents: list[tuple[Any, Any]] = []
        self.others: list[Restore] = []

    def look(self, value: Any, depth: int) -> None:
        """Keep a value and, if it is a container, what is in it."""
        if depth and isinstance(value, CONTAINERS):
            if not isinstance(value, tuple):
                self.contents.append((value, value.copy() if value else NOTHING))
            for part in list(value.values()) if isinstance(value, dict) else value:
                if part is not None and type(part) not in ATOMS:
                    self.look(part, depth - 1)
        elif isinstance(value, torch.Tensor):
            if value.layout == torch.strided:
                self.watched[id(value)] = value
        elif isinstance(value, np.ndarray):
            array = value.copy()
            self.others.append(lambda: np.copyto(value, array) if value.flags.writeable else None)
        elif isinstance(value, torch.Generator):
            self.others.append(partial(_set_state, value, value.get_state()))
        elif isinstance(value, np.random.Generator):
            bits = value.bit_generator
            self.others.append(partial(setattr, bits, "state", bits.state))

    def restore(self) -> None:
        """Put everything back."""
        for container, before in self.contents:
            if not before and not container:
                continue
            container.clear()
            if isinstance(container, list):
                container.extend(before)
            else:
                container.update(before)
        for put_back in self.others:
            put_back()


def _set_state(generator: torch.Generator, state: torch.Tensor) -> None:
    generator.set_state(state)
