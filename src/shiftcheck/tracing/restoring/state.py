"""Leaving everything as it was found: flags, buffers, attributes, what is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch

from shiftcheck.tracing.restoring.contents import Kept, name_of
from shiftcheck.tracing.restoring.generators import undisturbed
from shiftcheck.tracing.restoring.reach import Reach
from shiftcheck.tracing.restoring.tensors import Handle, writable
from shiftcheck.tracing.restoring.turns import one_at_a_time
from shiftcheck.tracing.torch_internals import HOOKS_OF_ALL_MODULES, memories_of

LEFT = "could not be put back"


@dataclass(eq=False)
class Originals:
    """What the model and the caller had, to be put back.

    ``watched``: tensors by their ids, which they keep as long as they are held here; of those that
    are written to, copies are ``saved`` just before. ``left``: what could not be put back, in
    words, known when all is over.
    """

    watched: dict[int, torch.Tensor]
    saved: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    reach: Reach = field(default_factory=Reach)

    def look(self, roots: Sequence[Any]) -> None:
        """Keep what hangs on the roots."""
        self.reach.look(roots)
        for tensor, place in self.reach.tensors:
            with suppress(Exception):  # a tensor of another library may have no memory of its own
                self.kept.append(Handle.of(tensor, place))
                self.watched[id(tensor)] = tensor

    def before_write(self, tensor: torch.Tensor) -> None:
        """Keep the present values of every watched tensor in the memory of ``tensor``."""
        memory, *others = memories_of((tensor, *self.watched.values()))
        for watched, other in zip(self.watched.values(), others, strict=True):
            if other == memory and not any(watched is saved for saved, _ in self.saved):
                self.saved.append((watched, watched.detach().clone()))

    def changed(self) -> list[torch.Tensor]:
        """The tensors that hold other values than the kept ones."""
        return [t for t, values in self.saved if not _same_values(t, values)]

    def differs(self) -> bool:
        """Whether the model holds something else than it did: it may remember what it saw."""
        return self.reach.differs()

    def rewind(self) -> None:
        """Begin the check again, with everything as it was given."""
        self.restore()
        self.left.clear()

    def restore(self) -> None:
        """Put everything back, each thing by itself: what fails is left, and stops nothing."""
        for kept in (*self.reach.everything(), *self.kept):
            try:
                kept.put_back()
            except Exception as error:  # whatever the classes of other people may raise
                holder = type(getattr(kept, "holder", None)).__name__
                self._leave(name_of(kept.place), "" if holder == "NoneType" else holder, error)
        for tensor, values in self.saved:
            try:
                with writable(tensor):
                    tensor.data.copy_(values)
            except Exception as error:
                self._leave(f"a tensor of shape {tuple(tensor.shape)}", "", error)

    def _leave(self, name: str, kind: str, error: Exception) -> None:
        what = f"{name!r} ({kind})" if kind else repr(name)
        self.left.append(f"{what} {LEFT}: {error}".splitlines()[0])


def _same_values(one: torch.Tensor, other: torch.Tensor) -> bool:
    neither_is_a_number = (one != one) & (other != other)
    return bool(((one == other) | neither_is_a_number).all())


@contextmanager
def preserved(
    modules: Sequence[torch.nn.Module],
    tensors: Sequence[torch.Tensor],
    *,
    training: bool,
    model: Any = None,
) -> Iterator[Originals]:
    """Evaluate in eval mode (unless ``training``) and put everything back, also on exceptions.

    ``model``: what the modules are parts of, where that is a function.
    """
    with one_at_a_time():
        originals = Originals({id(t): t for t in tensors})
        flags = _flags(modules)
        process = _process()
        try:
            torch.backends.mha.set_fastpath_enabled(False)
            for module, flag in flags:
                module.training = flag and training
            originals.look((*modules, model, *HOOKS_OF_ALL_MODULES))
            with undisturbed():
                yield originals
        finally:
            process()
            originals.restore()
            for module, flag in flags:
                with suppress(Exception):  # a module that refuses was never changed
                    _set_flag(module, flag)


def _flags(modules: Sequence[torch.nn.Module]) -> list[tuple[torch.nn.Module, bool]]:
    """The training flag of each module that has one; one that TorchScript froze has none."""
    return [(m, m.training) for m in modules if hasattr(m, "training")]


def _set_flag(module: torch.nn.Module, flag: bool) -> None:
    if module.training != flag:
        module.training = flag


@contextmanager
def exchanged(
    tensors: Sequence[torch.Tensor], change: Callable[[torch.Tensor], torch.Tensor]
) -> Iterator[int]:
    """Have other values, in other memory, in every floating tensor; gives how many there are."""
    with one_at_a_time():
        floating = {id(t): t for t in tensors if t.is_floating_point()}
        before = {key: t.data for key, t in floating.items()}
        try:
            for t in floating.values():
                with writable(t):
                    t.data = change(t.data)
            yield len(floating)
        finally:
            for key, t in floating.items():
                with torch.inference_mode(before[key].is_inference()):
                    t.data = before[key]


def weights_of(modules: Sequence[torch.nn.Module]) -> list[torch.Tensor]:
    """Every parameter, once."""
    return list({id(p): p for m in modules for p in m.parameters(False)}.values())


def _process() -> Callable[[], None]:
    """What belongs to the process: the default type, the fast path."""
    fast_path, dtype = torch.backends.mha.get_fastpath_enabled(), torch.get_default_dtype()

    def restore() -> None:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        torch.set_default_dtype(dtype)

    return restore
