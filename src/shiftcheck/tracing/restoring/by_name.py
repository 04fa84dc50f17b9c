"""Values by name, of a class, a slot, a cell, a module of Python: no dictionary holds them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from shiftcheck.tracing.restoring.contents import MISSING, Kept, are_notes
from shiftcheck.tracing.restoring.reflection import own_attributes


@dataclass(slots=True, eq=False)
class Named(Kept):
    """Values by name.

    ``look`` gives the value of a name, or MISSING; ``write`` sets it, ``erase`` takes it away.
    """

    before: dict[str, Any]
    look: Callable[[str], Any]
    write: Callable[[str, Any], None]
    erase: Callable[[str], None]

    def changed(self) -> bool:
        """Whether a name stands for another value."""
        return any(self.look(name) is not value for name, value in self.before.items())

    def only_notes(self) -> bool:
        """Whether the names that changed stand for notes."""
        pairs = [(self.look(name), value) for name, value in self.before.items()]
        changed = [pair for pair in pairs if pair[0] is not pair[1]]
        return all(are_notes(v for v in pair if v is not MISSING) for pair in changed)

    def restore(self) -> None:
        """Name by name."""
        for name, value in self.before.items():
            now = self.look(name)
            if now is not value and value is MISSING:
                self.erase(name)
            elif now is not value:
                self.write(name, value)


@dataclass(slots=True, eq=False)
class ClassAttributes(Named):
    """The attributes of a class, new ones included."""

    base: type

    def changed(self) -> bool:
        """Whether an attribute is another one, or new."""
        return self._now() != self.before.keys() or Named.changed(self)

    def only_notes(self) -> bool:
        """None are: a class is no place for them."""
        return False

    def _now(self) -> Any:
        return own_attributes(self.base).keys()

    def restore(self) -> None:
        """Name by name."""
        for name in self._now() - self.before.keys():
            self.erase(name)
        Named.restore(self)


class ScriptAttributes(Named):
    """Attributes that TorchScript keeps: numbers and containers come as copies."""

    __slots__ = ()

    def changed(self) -> bool:
        """Whether one is another one."""
        return any(not _alike(self.look(name), value) for name, value in self.before.items())

    def restore(self) -> None:
        """Name by name."""
        for name, value in self.before.items():
            if not _alike(self.look(name), value):
                self.write(name, value)


def _alike(one: Any, other: Any) -> bool:
    """Whether two copies hold the same numbers, text and tensors, in the same order."""
    if isinstance(one, torch.Tensor) or type(one) is not type(other):
        return one is other
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(_alike, one.values(), other.values()))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    return bool(one == other)


def no_erasing(name: str) -> None:
    """Raise TypeError: TorchScript keeps what it has."""
    raise TypeError(f"TorchScript does not take {name!r} away")
