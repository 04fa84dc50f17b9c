"""Things of the user, what was in them, and how to put it back with the methods of plain types.

Elements are compared by identity, and what did not change is not touched.
"""

from __future__ import annotations

import gc
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from operator import is_
from typing import Any, Self

import numpy as np
import torch

from shiftcheck.tracing.torch_internals import TABLES_OF_MODULES, is_fake

MISSING = object()
"""What stands where nothing is."""

ATOMS: frozenset[Any] = frozenset(
    {bool, int, float, complex, str, bytes, type(None), type(...), slice, range, types.ModuleType}
) | {torch.dtype, torch.device, torch.Size, torch.layout, torch.memory_format}
"""Types of what holds nothing that could change."""

MOST_BYTES = 2**26
"""Of a larger array only some values are kept, which tell whether it changed."""

SAMPLES = 4096

Place = tuple[Any, str, Any] | None
"""How something is reached: the place of its holder, the form of a step, and its key."""

ATTRIBUTE, ELEMENT = ".{}", "[{!r}]"


@dataclass(slots=True, eq=False)
class Kept:
    """A thing of the user and what it was.

    ``place``: how it is reached. ``aside``: a function refers to it, no attribute of a module.
    """

    place: Place
    aside: bool

    def changed(self) -> bool:
        """Whether it holds something else than it did."""
        raise NotImplementedError

    def differs(self) -> bool:
        """Whether what it holds may change what the model gives: beside it, notes do not."""
        return self.changed() and not (self.aside and self.only_notes())

    def only_notes(self) -> bool:
        """Whether nothing but notes changed."""
        return False

    def put_back(self) -> None:
        """Make it hold what it did, where it does not."""
        if self.changed():
            self.restore()

    def restore(self) -> None:
        """Make it hold what it did."""
        raise NotImplementedError


@dataclass(slots=True, eq=False)
class Entries(Kept):
    """A dictionary of any class."""

    holder: dict[Any, Any]
    keys: tuple[Any, ...]
    values: tuple[Any, ...]

    @staticmethod
    def of(holder: dict[Any, Any], place: Place, aside: bool) -> Entries:
        """A dictionary as it is now."""
        plain = _plain(holder)
        return Entries(place, aside, holder, tuple(plain.keys(holder)), tuple(plain.values(holder)))

    def changed(self) -> bool:
        """Whether a key or a value is another one."""
        plain = _plain(self.holder)
        return (
            len(self.keys) != dict.__len__(self.holder)
            or not all(map(is_, self.values, plain.values(self.holder)))
            or not all(map(is_, self.keys, plain.keys(self.holder)))
        )

    def only_notes(self) -> bool:
        """Whether the entries that changed are notes."""
        plain, before = _plain(self.holder), dict(zip(self.keys, self.values, strict=True))
        now = dict(plain.items(self.holder))
        return all(
            are_notes([key, now.get(key), before.get(key)])
            for key in now | before
            if now.get(key, MISSING) is not before.get(key, MISSING)
        )

    def restore(self) -> None:
        """Entry by entry, so that nobody ever finds it empty; in order, where that changed."""
        plain, before = _plain(self.holder), dict(zip(self.keys, self.values, strict=True))
        for key in [k for k in plain.keys(self.holder) if k not in before]:
            plain.__delitem__(self.holder, key)
        for key, value in before.items():
            if plain.get(self.holder, key, MISSING) is not value:
                plain.__setitem__(self.holder, key, value)
        if self.changed():
            plain.clear(self.holder)
            for key, value in before.items():
                plain.__setitem__(self.holder, key, value)


def _plain(holder: dict[Any, Any]) -> Any:
    return OrderedDict if issubclass(type(holder), OrderedDict) else dict


@dataclass(slots=True, eq=False)
class Contents(Kept):
    """Something that holds others in an order, and what it held ``before``."""

    holder: Any
    before: Any

    @classmethod
    def of(cls, holder: Any, place: Place, aside: bool) -> Self:
        """Something as it is now."""
        return cls(place, aside, holder, cls.read(holder))

    @staticmethod
    def read(holder: Any) -> Any:
        """What it holds now."""
        raise NotImplementedError

    def changed(self) -> bool:
        """Whether an element is another one."""
        now = self.read(self.holder)
        return len(now) != len(self.before) or not all(map(is_, now, self.before))


class Items(Contents):
    """A list of any class."""

    __slots__ = ()

    @staticmethod
    def read(holder: Any) -> Any:
        """All elements."""
        return list.__getitem__(holder, slice(None))

    def changed(self) -> bool:
        """Whether an element is another one; more notes in a list of notes are no difference."""
        if not Contents.changed(self):
            return False
        now = self.read(self.holder)
        more = now[len(self.before) :]
        return not (self.aside and all(map(is_, self.before, now)) and more and are_notes(more))

    def restore(self) -> None:
        """All at once."""
        list.__setitem__(self.holder, slice(None), self.before)


class Members(Contents):
    """A set of any class."""

    __slots__ = ()

    @staticmethod
    def read(holder: Any) -> Any:
        """All members."""
        return frozenset(set.__iter__(holder))

    def changed(self) -> bool:
        """Whether a member is another one; more notes in a set of notes are no difference."""
        now = self.read(self.holder)
        if now == self.before:
            return False
        return not (self.aside and self.before < now and are_notes(now - self.before))

    def restore(self) -> None:
        """Member by member."""
        set.intersection_update(self.holder, self.before)
        set.update(self.holder, self.before)


class Queued(Contents):
    """A deque of any class."""

    __slots__ = ()

    @staticmethod
    def read(holder: Any) -> Any:
        """All elements."""
        return tuple(deque.__iter__(holder))

    def restore(self) -> None:
        """All of them."""
        deque.clear(self.holder)
        deque.extend(self.holder, self.before)


class Bytes(Contents):
    """A bytearray of any class."""

    __slots__ = ()

    @staticmethod
    def read(holder: Any) -> Any:
        """All bytes."""
        return bytes(holder)

    def restore(self) -> None:
        """All at once."""
        bytearray.__setitem__(self.holder, slice(None), self.before)


class Values(Contents):
    """An array of NumPy; of a large one, some values."""

    __slots__ = ()

    @classmethod
    def of(cls, holder: Any, place: Place, aside: bool) -> Self:
        """An array as it is now."""
        return cls(place, aside, holder, np.array(cls.read(holder), copy=True))

    @staticmethod
    def read(holder: Any) -> Any:
        """The values that are looked at."""
        if holder.nbytes <= MOST_BYTES:
            return holder
        return holder.flat[np.linspace(0, holder.size - 1, SAMPLES).astype(np.int64)]

    def changed(self) -> bool:
        """Whether a value is another one."""
        now = self.read(self.holder)
        return bool(now.shape != self.before.shape or now.tobytes() != self.before.tobytes())

    def restore(self) -> None:
        """All at once; raises ValueError where not all are known."""
        if self.before.shape != self.holder.shape:
            raise ValueError("its values changed, and they are too many to be kept")
        np.copyto(self.holder, self.before)


@dataclass(slots=True, eq=False)
class Drawn(Kept):
    """A generator of random numbers: what it drew is no state of the model."""

    write: Callable[[Any], Any]
    state: Any

    def changed(self) -> bool:
        """Not asked."""
        return False

    def put_back(self) -> None:
        """Draw the same again."""
        self.write(self.state)


@dataclass(slots=True, eq=False)
class Cached(Kept):
    """A function's own cache, which can only be emptied: so it is where it cannot be used."""

    holder: Any
    misses: int

    def changed(self) -> bool:
        """Whether tensors without values, or of inference mode, were put into it."""
        if self.holder.cache_info().misses == self.misses:
            return False
        return any(is_fake(t) or t.is_inference() for t in tensors_in(self.holder))

    def restore(self) -> None:
        """Empty it: what is asked for again is computed again."""
        self.holder.cache_clear()


@dataclass(slots=True, eq=False)
class Sealed(Kept):
    """What Python cannot write to: only whether there are new tensors in it can be told."""

    holder: Any
    before: list[torch.Tensor]

    def changed(self) -> bool:
        """Whether a tensor was put into it."""
        known = set(map(id, self.before))
        return any(id(t) not in known for t in tensors_in(self.holder))

    def restore(self) -> None:
        """Raises TypeError: it cannot be."""
        raise TypeError("it holds tensors of the check, and cannot be written to")


def tensors_in(holder: Any, depth: int = 3) -> list[torch.Tensor]:
    """The tensors that an object refers to, whatever it is, or things that it refers to."""
    tensors: list[torch.Tensor] = []
    for part in gc.get_referents(holder):
        kind = type(part)
        if issubclass(kind, torch.Tensor):
            tensors.append(part)
        elif depth and kind not in ATOMS and not issubclass(kind, type | types.FunctionType):
            tensors += tensors_in(part, depth - 1)
    return tensors


def are_notes(values: Iterable[Any], depth: int = 3) -> bool:
    """Whether values are plain ones, of which someone took notes: numbers, text, types, sizes."""
    return all(_is_note(value, depth) for value in values)


def _is_note(value: Any, depth: int) -> bool:
    if type(value) in ATOMS or issubclass(type(value), Enum | type):
        return True
    if not depth or type(value) not in (list, tuple, set, frozenset, dict):
        return False
    parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
    return are_notes(parts, depth - 1)


def name_of(place: Place) -> str:
    """The way to a place in words, as ``encoder.cache['key'][0]``."""
    steps: list[str] = []
    while place is not None:
        place, form, key = place
        if not (form == ATTRIBUTE and key in TABLES_OF_MODULES):
            steps.append(form.format(key))
    return "".join(reversed(steps)).removeprefix(".")
