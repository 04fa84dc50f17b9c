"""What was answered in one pass, kept for the next one over the same signals and parameters.

A rule is a pure function: asked the same again, it need not be asked at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch

from shiftcheck.lattice.causes import Site, causes_at
from shiftcheck.lattice.layout import Layout, Recipe
from shiftcheck.lattice.notes import as_slice, by_recipe, noted
from shiftcheck.lattice.windows import settled
from shiftcheck.tracing.draws import States
from shiftcheck.tracing.memory import TensorMemory
from shiftcheck.tracing.operations import Operation
from shiftcheck.tracing.torch_internals import memory_of, version_of

Key = tuple[Any, ...]


class Memo:
    """The answers of one model's rules; whoever changes a parameter has to ``forget`` them.

    ``generators``: what was drawn from, and the states in which the last pass left it.
    """

    def __init__(self) -> None:
        self.generators: States = {}
        self.of_model: dict[int, torch.Tensor] = {}
        self.kept: dict[Key, tuple[Any, list[Any]]] = {}

    def watch(self, modules: Iterable[torch.nn.Module]) -> None:
        """Know the parameters and buffers: no other constant is the same from pass to pass."""
        tensors = (t for m in modules for t in (*m.parameters(False), *m.buffers(False)))
        self.of_model = {id(t): t for t in tensors}

    def forget(self) -> None:
        """Ask every rule again."""
        self.kept.clear()

    def again(self, key: Key, held: Sequence[Any], make: Callable[[], Any]) -> Any:
        """What ``make`` gave for the key; ``held`` are the objects whose ids are in the key."""
        if key not in self.kept:
            self.kept[key] = (make(), list(held))
        return self.kept[key][0]

    def settled(self, layout: Layout, name: str, op: str) -> Layout:
        """What the tensor is where it is looked at."""
        whole: Layout = self.again((id(layout),), [layout], lambda: settled(layout))
        return layout if whole is layout else self.stamped(whole, Site(name, op, op))

    def stamped(
        self, layout: Layout, site: Site, recipe: Recipe | None = None, *, new: bool = False
    ) -> Layout:
        """The layout, its new causes with their place; ``new``: an operation has just made it."""

        def stamp() -> Layout:
            out = replace(layout, causes=causes_at(layout.causes, site))
            source = layout.source if new else None
            if source is not None:
                out = as_slice(out, source.whole, source.dim, source.chosen)
            made_by = (layout.recipe if new else None) or recipe
            out = out if made_by is None else by_recipe(out, made_by)
            return noted(out, pairs=layout.pairs, made=layout.made) if new else out

        stamped: Layout = self.again((id(layout), site), [layout], stamp)
        return stamped

    def asked(self, operation: Operation, memory: TensorMemory) -> tuple[Key, list[Any]] | None:
        """The key of a question to a rule; None where it may be another one in the next pass."""
        held: list[Any] = []
        try:
            parts = (self._part(v, memory, held) for v in (operation.args, operation.kwargs))
            key = (operation.func, *parts)
            hash(key)
        except TypeError:
            return None
        return key, held

    def _part(self, value: Any, memory: TensorMemory, held: list[Any]) -> Key:
        if isinstance(value, torch.Tensor):
            return self._tensor(value, memory, held)
        if isinstance(value, (list, tuple)):
            return (type(value), *(self._part(v, memory, held) for v in value))
        if isinstance(value, dict):
            return tuple((name, self._part(v, memory, held)) for name, v in value.items())
        return type(value), value

    def _tensor(self, tensor: torch.Tensor, memory: TensorMemory, held: list[Any]) -> Key:
        layout: Layout | None = memory.layout(tensor)
        if layout is not None:
            held.append(layout)
            return Layout, id(layout)
        if (
            id(tensor) not in self.of_model
            or tensor.is_inference()
            or memory.constants.is_random(tensor)
        ):
            raise TypeError("a constant that was made in this pass")
        held.append(tensor.untyped_storage())
        return (
            id(tensor),
            version_of(tensor),
            memory_of(tensor),
            tensor.storage_offset(),
            tensor.shape,
        )
