"""Compiled parts of a model are run as they were before, and torch's compiler is not imported."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

import torch

from shiftcheck.tracing.torch_internals import COMPILER


@contextmanager
def eagerly() -> Iterator[None]:
    """Compile nothing, and use nothing that is compiled.

    Importing the compiler takes longer than most checks. Where nothing has imported it, nothing is
    compiled; a model that imports it on its way meets it as it would have from the start.
    """
    with ExitStack() as until_the_end:

        def begin() -> None:
            until_the_end.enter_context(torch.compiler.set_stance("force_eager"))

        if COMPILER in sys.modules:
            begin()
        else:
            until_the_end.enter_context(_watching(_Imports(begin)))
        yield


@contextmanager
def _watching(imports: _Imports) -> Iterator[None]:
    sys.meta_path.insert(0, imports)
    try:
        yield
    finally:
        sys.meta_path.remove(imports)


class _Imports(MetaPathFinder):
    """Does something as soon as the compiler is imported, and leaves all other imports alone."""

    def __init__(self, then: Callable[[], None]) -> None:
        self.then = then

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where the compiler is, with a loader that tells when it is there."""
        spec = PathFinder.find_spec(name, path, target) if name == COMPILER else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Once(spec.loader, self._loaded)
        return spec

    def _loaded(self) -> None:
        if self in sys.meta_path:  # another thread may have gone on importing after the end
            self.then()


class _Once(Loader):
    """Loads a module as its own loader does, which then takes its place, and tells so."""

    def __init__(self, loader: Loader, then: Callable[[], None]) -> None:
        self.loader, self.then = loader, then

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        module.__loader__ = self.loader
        self.loader.exec_module(module)
        self.then()
