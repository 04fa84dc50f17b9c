"""The modules and operations that are running, and the name of every call of one."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

from shiftcheck.lattice.layout import Layout
from shiftcheck.tracing.modules import is_leaf

NO_THREAD = -1

Fed = tuple[Layout | None, ...]


@dataclass(frozen=True, eq=False)
class Frame:
    """A call of a module, or of an operation that is followed part by part.

    ``leaf``: what happens inside is part of this one layer. ``fed``: what is known of each tensor
    that it was given. ``part``: of an operation, whether it is part of a layer itself. ``parents``:
    what is known of each tensor that an operation was given.
    """

    path: str
    leaf: bool
    name: str
    op: str
    fed: Fed = ()
    part: bool = False
    parents: tuple[Layout, ...] = ()


class Frames:
    """The frames of one pass, the innermost last, and the names that were given so far."""

    def __init__(self, modules: Mapping[str, torch.nn.Module]) -> None:
        self.paths = {id(m): name for name, m in reversed(list(modules.items()))}
        self.running: list[Frame] = []
        self.counts: Counter[str] = Counter()
        self.taken = set(modules)
        self.thread = threading.get_ident()
        self.depth = 0

    @property
    def outer(self) -> Frame | None:
        """The layer that is running; None where operations count as layers themselves."""
        return next((f for f in self.running if f.leaf), None)

    @property
    def inside_operation(self) -> bool:
        """Whether what runs is a part of an operation that is followed part by part."""
        return self.depth > 0

    @property
    def innermost(self) -> Frame | None:
        """What is running, a layer or what holds layers."""
        return self.running[-1] if self.running else None

    @contextmanager
    def watching(
        self, fed: Callable[[Any], Fed], left: Callable[[Frame, Any], None]
    ) -> Iterator[None]:
        """Know which module is running; the handles are global and removed at the end.

        Other threads meet them too, and may run the same modules: that is none of ours. ``fed``:
        what is known of the arguments of a layer. ``left``: called with each output of a module.
        """

        def enter(module: torch.nn.Module, args: Any) -> None:
            path = self._path(module)
            if path is None:
                return
            leaf = is_leaf(module) and path != ""
            known = fed(args) if leaf else ()
            name = self._name_of_call(path)
            self.running.append(Frame(path, leaf, name, type(module).__name__, known))

        def leave(module: torch.nn.Module, _: Any, output: Any) -> None:
            path = self._path(module)
            if path is None:
                return
            while self.running and self.running[-1].path != path:
                self.running.pop()
            if self.running:
                left(self.running.pop(), output)

        handles = register_module_forward_pre_hook(enter), register_module_forward_hook(leave)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def inside(self, frame: Frame) -> Iterator[None]:
        """Count what happens as part of one layer."""
        self.running.append(frame)
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1
            self.running.pop()

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """Modules that run here are none of ours."""
        before, self.thread = self.thread, NO_THREAD
        try:
            yield
        finally:
            self.thread = before

    def _path(self, module: torch.nn.Module) -> str | None:
        return self.paths.get(id(module)) if threading.get_ident() == self.thread else None

    def _name_of_call(self, path: str) -> str:
        self.counts[path] += 1
        calls = self.counts[path]
        return path if calls == 1 else f"{path}#{calls}"

    def name_of_function(self, op: str) -> str:
        """A new name for a call of an operation, behind that of the module that calls it."""
        path = self.innermost.path if self.innermost else ""
        stem = f"{path}.{op}" if path else op
        for number in itertools.count(self.counts["op " + stem]):
            name = f"{stem}_{number}" if number else stem
            if name not in self.taken:
                self.counts["op " + stem] = number + 1
                return name
        raise AssertionError
