"""A pass in which reductions over the places of a tile use the statistics of the whole."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch

from shiftcheck.tracing.operations import Operation
from shiftcheck.tracing.reductions import Reduction, Statistic, reduction_of
from shiftcheck.tracing.torch_internals import (
    Mode,
    is_overload,
    memory_of,
    tensors_of,
    without_modes,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class MetReduction:
    """A reduction that was met: its number, where, over which dimensions, and on which level."""

    number: int
    op: str
    layer: str
    dims: tuple[int, ...]
    level: int

    @property
    def written(self) -> str:
        """All of it as text, since whatever a pass keeps is put back as it was before."""
        dims = ",".join(map(str, self.dims))
        return SEPARATOR.join((str(self.number), self.op, self.layer, dims, str(self.level)))

    @classmethod
    def read(cls, text: str) -> Self:
        """The reduction that is written in a text, wherever in it."""
        number, op, layer, dims, level = text.split(SEPARATOR)
        return cls(
            number=int(number.rpartition("'")[2]),
            op=op,
            layer=layer,
            dims=tuple(map(int, filter(None, dims.split(",")))),
            level=int(level.partition("'")[0]),
        )


SEPARATOR = "|"
RETURNED, FED = "returned", "fed"
"""The keys of what a seeking model returns: the outputs, and what the reductions are fed with."""


class AllCollected(BaseException):
    """Ends a pass when all is there; no except Exception of a model catches it."""


class _Counting(Mode):
    """Meets every operation, and numbers the reductions."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """What runs here is never compiled, so nothing needs to be wrapped to say so."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if not is_overload(func):
            return func(*args, **kwargs)
        reduction = reduction_of(func, args, kwargs)
        if reduction is None:
            return self.other(func, args, kwargs)
        self.count += 1
        return self.met(self.count - 1, reduction, lambda: func(*args, **kwargs))

    def other(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What is no reduction."""
        return func(*args, **kwargs)

    def met(self, number: int, reduction: Reduction, call: Callable[[], Any]) -> Any:
        """The result of a reduction; ``call`` gives that of the operation itself."""
        raise NotImplementedError


class _Seeking(_Counting):
    """Keeps what each reduction is fed with, and goes on as if the ``known`` had their statistics.

    ``layer``: where the pass is. The level of a reduction is one more than those of the known ones
    that its input comes from.
    """

    def __init__(self, known: Collection[int], layer: Callable[[], str]) -> None:
        super().__init__()
        self.known, self.layer = known, layer
        self.fed: list[torch.Tensor] = []
        self.reductions: list[MetReduction] = []
        self.levels: dict[int, int] = {}
        self.alive: list[torch.Tensor] = []

    def other(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Goes on, and carries the level along."""
        out = func(*args, **kwargs)
        self._note(self._level(tensors_of((args, kwargs))), tensors_of(out))
        return out

    def met(self, number: int, reduction: Reduction, call: Callable[[], Any]) -> Any:
        """Keeps a copy of what it is fed with."""
        level = self._level([reduction.x])
        self.fed.append(reduction.x.clone())
        if number in self.known:
            level += 1
            out = reduction.finish(reduction.x, reduction.unknown())
        else:
            out = call()
        self._note(level, tensors_of(out))
        self.reductions.append(
            MetReduction(
                number=number,
                op=reduction.op,
                layer=self.layer(),
                dims=reduction.dims,
                level=level,
            )
        )
        return out

    def _level(self, tensors: Sequence[torch.Tensor]) -> int:
        return max((self.levels.get(memory_of(t), 0) for t in tensors), default=0)

    def _note(self, level: int, tensors: Sequence[torch.Tensor]) -> None:
        for tensor in tensors if level else ():
            self.levels[memory_of(tensor)] = max(level, self._level([tensor]))
            self.alive.append(tensor)  # else another one might have its memory


class Seeking:
    """A model that returns, beside its outputs, what each of its reductions is fed with.

    Both stand in a dictionary, the reductions as the keys of what they are fed with. ``known``:
    those that go on as if they knew the statistics of the whole.
    """

    def __init__(self, function: Callable[..., Any], known: Collection[int] = ()) -> None:
        self.function, self.known = function, frozenset(known)
        self.__name__ = str(getattr(function, "__name__", type(function).__name__))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the model returns, and the tensors."""
        where = _Where(self.function)
        mode = _Seeking(self.known, where.layer)
        with where, mode:
            returned = self.function(*args, **kwargs)
        fed = {met.written: x for met, x in zip(mode.reductions, mode.fed, strict=True)}
        return {RETURNED: returned, FED: fed}


class _Where:
    """Knows which module is running."""

    def __init__(self, model: Any) -> None:
        modules = model.named_modules() if isinstance(model, torch.nn.Module) else ()
        self.names = {id(module): name for name, module in modules}
        self.running: list[str] = []
        self.handles: list[Any] = []

    def __enter__(self) -> None:
        hooks = torch.nn.modules.module
        self.handles = [
            hooks.register_module_forward_pre_hook(self._begins),
            hooks.register_module_forward_hook(self._ends, always_call=True),
        ]

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _begins(self, module: torch.nn.Module, args: Any) -> None:
        self.running.append(self.names.get(id(module), ""))

    def _ends(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        if self.running:
            self.running.pop()

    def layer(self) -> str:
        """The name of the module that is running; empty outside of all that have one."""
        return self.running[-1] if self.running else ""


class Pooled(_Counting):
    """A pass in which the reductions that are ``known`` have the statistics of the whole.

    ``collect``: what to do with the input of others; when all of these were met, the pass ends.
    ``on_write``: called with each tensor before it is written to. ``look``: with each reduction.
    """

    def __init__(
        self,
        known: Mapping[int, Statistic],
        collect: Mapping[int, Callable[[Reduction], None]],
        on_write: Callable[[torch.Tensor], None],
        look: Callable[[int, Reduction], None] | None = None,
    ) -> None:
        super().__init__()
        self.known, self.collect, self.on_write, self.look = known, collect, on_write, look
        self.left = set(collect)

    @property
    def has_all(self) -> bool:
        """Whether all that was to be looked at was met."""
        return bool(self.collect) and not self.left

    def other(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Goes on, and says before what is written to."""
        written = Operation(func, args, kwargs).written
        if written:
            with without_modes():
                for tensor in written:
                    self.on_write(tensor)
        return func(*args, **kwargs)

    def met(self, number: int, reduction: Reduction, call: Callable[[], Any]) -> Any:
        """Has the known statistic used, or the input looked at."""
        if self.look is not None:
            with without_modes():
                self.look(number, reduction)
        if number in self.known:
            with without_modes():
                return reduction.finish(reduction.x, self.known[number])
        if number in self.collect:
            with without_modes():
                self.collect[number](reduction)
            self.left.discard(number)
            if not self.left:
                raise AllCollected
        return call()
