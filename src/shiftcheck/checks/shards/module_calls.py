"""The modules that a run calls, with what each was given and gave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from shiftcheck.tracing.modules import is_leaf, named_modules_of, takes_hooks
from shiftcheck.tracing.torch_internals import tensors_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Call:
    """One call of a module: its name among the rows of the model, and its first tensors."""

    name: str
    op: str
    given: torch.Tensor | None
    gave: torch.Tensor | None


class _Recorder:
    """Keeps the calls of modules, by hooks."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def hook(self, name: str) -> Any:
        """A forward hook for the module of a name."""

        def keep(module: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            op = type(module).__name__
            given, gave = _first((args, kwargs)), _first(output)
            self.calls.append(Call(name=name or op, op=op, given=given, gave=gave))

        return keep


@contextmanager
def recorded(model: Any, user: Any = None) -> Iterator[list[Call]]:
    """Keep what the innermost modules of a model are given and give; nothing where it is None.

    Nothing either where a module takes no hooks: what it does would be blamed on the next one.

    ``user``: a callable whose own copies of the model count as well.
    """
    recorder, handles = _Recorder(), []
    named = [] if model is None else list(named_modules_of(model).items())
    met = [*named, *_copies(dict(named), user)]
    for name, module in met if all(takes_hooks(m) for _, m in met) else ():
        if is_leaf(module):
            handles.append(module.register_forward_hook(recorder.hook(name), with_kwargs=True))
    try:
        yield recorder.calls
    finally:
        for handle in handles:
            handle.remove()


def _copies(own: Mapping[str, torch.nn.Module], user: Any) -> Iterator[tuple[str, torch.nn.Module]]:
    """The modules to which a callable refers that stand where one of the model's does."""
    known = {id(module) for module in own.values()}
    for label, module in named_modules_of(user).items() if own and user is not None else ():
        path = label.partition(".")[2]
        if id(module) not in known and type(own.get(path)) is type(module):
            yield path, module


def _first(values: Any) -> torch.Tensor | None:
    """A copy of the first tensor, in ordinary memory and of no class of its own."""
    for tensor in tensors_of(values):
        local: Any = tensor.to_local() if hasattr(tensor, "to_local") else tensor
        return local.detach().cpu().clone()  # type: ignore[no-any-return]
    return None


def by_shard(
    whole: Sequence[Call], calls: Sequence[Any], parts: int
) -> list[tuple[str, Call, tuple[Call, ...]]]:
    """The calls on the whole, by their names as rows, each with those of the shards.

    ``calls``: of each shard, or of all of them in one list, shard after shard or layer after layer.
    Left out: what the shards were not seen to call as often as the whole.
    """
    each = [list(c) for c in calls] if _is_split(calls) else _split(whole, list(calls), parts)
    numbered = [_numbered(own) for own in each]
    met = _numbered(whole)
    return [
        (name, call, tuple(own[name] for own in numbered))
        for name, call in met.items()
        if len(numbered) == parts and all(name in own for own in numbered)
    ]


def _is_split(calls: Sequence[Any]) -> bool:
    return bool(calls) and not isinstance(calls[0], Call)


def _split(whole: Sequence[Call], calls: list[Call], parts: int) -> list[list[Call]]:
    """The calls of each shard, of all that were made in one process, in whatever order."""
    names, expected = [c.name for c in calls], [c.name for c in whole]
    layers = [name for name in expected for _ in range(parts)]
    if names == layers:  # one layer after the other, unless it is one shard after the other too
        return [] if layers == expected * parts and len(expected) > 1 else _every(calls, parts)
    return _dealt(calls, expected, parts) or _once(calls, expected, parts)


def _every(calls: list[Call], parts: int) -> list[list[Call]]:
    return [calls[i::parts] for i in range(parts)]


def _dealt(calls: list[Call], expected: list[str], parts: int) -> list[list[Call]]:
    """Each call to the first shard that has it next; nothing where some call is none's."""
    held: list[list[Call]] = [[] for _ in range(parts)]
    for call in calls:
        turn = [own for own in held if expected[len(own) : len(own) + 1] == [call.name]]
        if not turn:
            return []
        turn[0].append(call)
    return held if all(len(own) == len(expected) for own in held) else []


def _once(calls: list[Call], expected: list[str], parts: int) -> list[list[Call]]:
    """The modules that the whole calls once, and each shard, too."""
    once, often = Counter(expected), Counter(call.name for call in calls)
    clear = [name for name in once if once[name] == 1 and often[name] == parts]
    found = [[call for call in calls if call.name == name] for name in clear]
    return [[every[i] for every in found] for i in range(parts)]


def _numbered(calls: Sequence[Call]) -> dict[str, Call]:
    """The calls by their names, with a number from the second call of a module on."""
    counts: Counter[str] = Counter()
    found: dict[str, Call] = {}
    for call in calls:
        counts[call.name] += 1
        number = counts[call.name]
        found[call.name if number == 1 else f"{call.name}#{number}"] = call
    return found
