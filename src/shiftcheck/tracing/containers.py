"""What stands inside of containers of any class: where it is, and the same with other values."""

from __future__ import annotations

import copy
import dataclasses
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from shiftcheck.errors import InputError
from shiftcheck.tracing.torch_internals import (
    keystr,
    tree_flatten,
    tree_flatten_with_path,
    tree_unflatten,
)


class Step(NamedTuple):
    """A step into a container: how it is written behind its name, and the bare key."""

    written: str
    key: str


Steps = tuple[Step, ...]


@dataclass(frozen=True, eq=False)
class Opened:
    """The parts of a container, and what makes one like it of as many others."""

    parts: list[tuple[Step, Any]]
    again: Callable[[Sequence[Any]], Any]


NO_CONTAINER = (
    torch.Tensor,
    torch.nn.Module,
    np.ndarray,
    np.generic,
    str,
    bytes,
    bytearray,
    int,
    float,
    complex,
    type,
    types.ModuleType,
    torch.dtype,
    torch.device,
    type(None),
)


def leaves_of(value: Any, *, hidden: bool = False) -> list[tuple[Steps, Any]]:
    """Every leaf of a nested value with the steps to it.

    Containers are those that torch knows, mappings and sequences of any class, sets of one
    element, dataclasses and plain objects with attributes. ``hidden``: tensors, too, that are
    attributes of a container besides its items.

    Example:
        >>> from types import SimpleNamespace
        >>> [("".join(s.written for s in steps), leaf) for steps, leaf in leaves_of(
        ...     {"maps": [1, 2], "rest": SimpleNamespace(size=3)})]
        [("['maps'][0]", 1), ("['maps'][1]", 2), ("['rest'].size", 3)]
    """
    return list(_leaves(value, (), frozenset(), hidden))


def _leaves(
    value: Any, steps: Steps, around: frozenset[int], hidden: bool
) -> Iterator[tuple[Steps, Any]]:
    box = None if id(value) in around else opened(value)
    if box is None:
        yield steps, value
        return
    met, inner = set(), around | {id(value)}
    for step, part in box.parts:
        for leaf in _leaves(part, (*steps, step), inner, hidden):
            met.add(id(leaf[1]))
            yield leaf
    if hidden and type(value) not in (list, tuple, dict):
        for name, part in _attributes(value).items():
            for where, leaf in _leaves(part, (*steps, _attribute(name)), inner, hidden):
                if isinstance(leaf, torch.Tensor) and id(leaf) not in met:
                    met.add(id(leaf))
                    yield where, leaf


def with_leaves(value: Any, leaves: Sequence[Any]) -> Any:
    """The value with other leaves, in the order of ``leaves_of``; what stays is not copied.

    Raises InputError where a container does not let its parts be exchanged.
    """
    return _with_leaves(value, iter(leaves), frozenset())


def _with_leaves(value: Any, leaves: Iterator[Any], around: frozenset[int]) -> Any:
    box = None if id(value) in around else opened(value)
    if box is None:
        return next(leaves)
    old = [part for _, part in box.parts]
    new = [_with_leaves(part, leaves, around | {id(value)}) for part in old]
    if all(a is b for a, b in zip(new, old, strict=True)):
        return value
    try:
        return box.again(new)
    except Exception as error:  # whatever a class of the user's may raise
        raise InputError(
            f"x holds a {type(value).__name__}, and a copy of it with shifted tensors cannot be"
            f" made ({error}): give its entries as a dict or a tuple"
        ) from error


def opened(value: Any) -> Opened | None:
    """The parts of a container; None where the value is none."""
    if isinstance(value, NO_CONTAINER):
        return None
    known = _by_torch(value)
    if known is not None:
        return known
    if isinstance(value, Mapping):
        keys = list(value)
        steps = [Step(f"[{key!r}]", str(key)) for key in keys]
        parts = [(step, value[key]) for step, key in zip(steps, keys, strict=True)]
        return Opened(parts, lambda new: _with_items(value, keys, new))
    if isinstance(value, Sequence):
        if isinstance(value, range | memoryview):
            return None
        return Opened(_numbered(value), lambda new: _like_sequence(value, new))
    if isinstance(value, set | frozenset):
        if len(value) > 1:  # in another order in each pass
            return None
        return Opened(_numbered(list(value)), lambda new: type(value)(new))
    return _by_attributes(value)


def _by_torch(value: Any) -> Opened | None:
    """One level of what torch knows to flatten."""
    whole = [value]

    def is_part(node: Any) -> bool:
        return node is not whole[0]

    children, structure = tree_flatten(value, is_leaf=is_part)
    try:
        if structure.is_leaf():
            return None
        paths = [path for path, _ in tree_flatten_with_path(value, is_leaf=is_part)[0]]
        steps = [Step(keystr(path), _bare(path[-1])) for path in paths]
    except (ValueError, IndexError):  # a class that torch has no names for
        steps = [step for step, _ in _numbered(children)]
    finally:
        whole.clear()  # torch's function refers to itself: it and ours stay until Python collects
    return Opened(
        list(zip(steps, children, strict=True)), lambda new: tree_unflatten(list(new), structure)
    )


def _bare(entry: Any) -> str:
    """The key of one entry of a path of torch's."""
    for name in ("key", "idx", "name"):
        if hasattr(entry, name):
            return str(getattr(entry, name))
    return str(entry)


def _numbered(values: Sequence[Any]) -> list[tuple[Step, Any]]:
    return [(Step(f"[{i}]", str(i)), value) for i, value in enumerate(values)]


def _with_items(value: Any, keys: Sequence[Any], new: Sequence[Any]) -> Any:
    made = copy.copy(value)
    for key, part in zip(keys, new, strict=True):
        if made[key] is not part:
            made[key] = part
    return made


def _like_sequence(value: Any, new: Sequence[Any]) -> Any:
    if isinstance(value, tuple):
        return type(value)(new)
    return _with_items(value, range(len(new)), new)


def _by_attributes(value: Any) -> Opened | None:
    """A dataclass, or an object that is nothing but its attributes."""
    if dataclasses.is_dataclass(value):
        names = [f.name for f in dataclasses.fields(value) if hasattr(value, f.name)]
        steps = [Step(f"[{name!r}]", name) for name in names]
    elif _is_plain(value):
        names = list(_attributes(value))
        steps = [_attribute(name) for name in names]
    else:
        return None
    parts = [(step, getattr(value, name)) for step, name in zip(steps, names, strict=True)]
    return Opened(parts, lambda new: _with_attributes(value, names, new))


HEAP_TYPE = 1 << 9
"""The flag of a class that was made by a class statement, and not in C."""


def _is_plain(value: Any) -> bool:
    """Whether everything that an object holds is in its attributes, as far as can be told."""
    if isinstance(value, types.SimpleNamespace):
        return True
    if not _attributes(value):
        return False
    return all(kind is object or kind.__flags__ & HEAP_TYPE for kind in type(value).__mro__)


def _attributes(value: Any) -> dict[str, Any]:
    """The attributes of an object itself, those in slots included."""
    names = dict.fromkeys(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        names |= dict.fromkeys((slots,) if isinstance(slots, str) else slots)
    for name in ("__dict__", "__weakref__"):
        names.pop(name, None)
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _attribute(name: str) -> Step:
    return Step(f".{name}", name)


def _with_attributes(value: Any, names: Sequence[str], new: Sequence[Any]) -> Any:
    made = copy.copy(value)
    for name, part in zip(names, new, strict=True):
        object.__setattr__(made, name, part)  # of frozen ones, too
    return made
