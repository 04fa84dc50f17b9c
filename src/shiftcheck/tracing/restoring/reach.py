"""Everything that hangs on a model: attributes, containers, variables of functions, hooks."""

from __future__ import annotations

import functools
import itertools
import queue
import random
import threading
import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum
from typing import Any

import numpy as np
import torch

from shiftcheck.tracing.by_tensor import ByTensor
from shiftcheck.tracing.restoring.by_name import (
    ClassAttributes,
    Named,
    ScriptAttributes,
    no_erasing,
)
from shiftcheck.tracing.restoring.contents import (
    ATOMS,
    ATTRIBUTE,
    ELEMENT,
    MISSING,
    Bytes,
    Cached,
    Drawn,
    Entries,
    Items,
    Kept,
    Members,
    Place,
    Queued,
    Sealed,
    Values,
    tensors_in,
)
from shiftcheck.tracing.restoring.reflection import (
    HOLDERS,
    is_foreign,
    is_of_the_user,
    names_in,
    own_attributes,
    slots_of,
    written_in_script,
)
from shiftcheck.tracing.torch_internals import CachedFunction, scripted_object

MOST_ASIDE = 20_000
"""So many things at most are looked at that functions refer to, the nearest first."""

EMPTY = frozenset({dict, OrderedDict, list, set})
PLAIN = EMPTY | {tuple, frozenset, deque, defaultdict}
"""Containers of these very types have no attributes."""

METHODS = {types.FunctionType: "", staticmethod: "__func__", classmethod: "__func__"} | {
    property: "fget",
    functools.cached_property: "func",
}
"""The kinds of methods, and where the function of each is."""


class Reach:
    """What hangs on objects, looked at once and kept; ``tensors`` with their places.

    What functions refer to is looked at last, and is ``aside``: a list of numbers or of text there
    may be someone's notes of what happened, which stay.
    """

    def __init__(self) -> None:
        self.tensors: list[tuple[torch.Tensor, Place]] = []
        self.kept: list[Kept] = []
        self.empties: list[tuple[Any, Place]] = []  # as most containers of a module are
        self.seen: dict[int, Any] = {}
        self.handlers: dict[type, Handler] = {}
        self.slotted: dict[type, dict[str, Any]] = {}
        self.classes: dict[int, type] = {}
        self.spoken: set[str] = set()
        self.methods: dict[str, list[tuple[Any, Place]]] = {}
        self.near: deque[tuple[Any, Place]] = deque()
        self.far: deque[tuple[Any, Place]] = deque()
        self.aside = False

    def look(self, roots: Iterable[Any]) -> None:
        """Keep everything that hangs on the roots."""
        self.near.extend((root, None) for root in roots)
        self._empty(self.near)
        self.aside, self.near = True, self.far
        self._empty(self.near)
        self.seen.clear()

    def differs(self) -> bool:
        """Whether something holds anything else than it did."""
        return any(kept.differs() for kept in self.everything())

    def everything(self) -> list[Kept]:
        """What is kept, and what held nothing before and does now."""
        filled = [_emptied(holder, place) for holder, place in self.empties if holder]
        return [*self.kept, *filled]

    def _empty(self, waiting: deque[tuple[Any, Place]]) -> None:
        seen = self.seen
        while waiting and (not self.aside or len(seen) < MOST_ASIDE):
            value, place = waiting.popleft()
            if id(value) in seen:
                continue
            seen[id(value)] = value
            kind = type(value)
            if kind not in self.handlers:
                self.handlers[kind] = _handler(kind)
            handle = self.handlers[kind]
            if handle is not None:
                with suppress(Exception):  # what cannot be looked at cannot be kept
                    handle(self, value, place)

    def _children(self, place: Place, form: str, keys: Iterable[Any], values: Any) -> None:
        near, empties = self.near, self.empties
        for key, value in zip(keys, values, strict=False):
            kind = type(value)
            if kind in ATOMS:
                continue
            if kind in EMPTY and not value and not self.aside:
                empties.append((value, (place, form, key)))
            else:
                near.append((value, (place, form, key)))

    # -- containers ------------------------------------------------------------------------------

    def mapping(self, value: dict[Any, Any], place: Place) -> None:
        """A dictionary of any class."""
        self._entries(value, place, ELEMENT)
        self.attributes(value, place)

    def _entries(self, value: dict[Any, Any], place: Place, form: str) -> None:
        entries = Entries.of(value, place, self.aside)
        self.kept.append(entries)
        self._children(place, form, entries.keys, entries.values)

    def contents(self, value: Any, place: Place) -> None:
        """A list, a set or a deque of any class."""
        kind = next(kept for held, kept in CONTENTS.items() if isinstance(value, held))
        kept = kind.of(value, place, self.aside)
        self.kept.append(kept)
        self._parts(kept.before, place)
        self.attributes(value, place)

    def _parts(self, values: Any, place: Place) -> None:
        if not ATOMS.issuperset(map(type, values)):
            self._children(place, ELEMENT, range(len(values)), values)

    def fixed(self, value: Any, place: Place) -> None:
        """A tuple or a frozen set of any class."""
        whole = tuple.__iter__(value) if isinstance(value, tuple) else frozenset.__iter__(value)
        self._parts(tuple(whole), place)
        self.attributes(value, place)

    def raw_bytes(self, value: bytearray, place: Place) -> None:
        """A bytearray."""
        self.kept.append(Bytes.of(value, place, self.aside))

    def view(self, value: types.MappingProxyType[Any, Any], place: Place) -> None:
        """A dictionary that is seen through a view."""
        self._children(place, ELEMENT, value.keys(), value.values())

    # -- numbers ---------------------------------------------------------------------------------

    def tensor(self, value: torch.Tensor, place: Place) -> None:
        """A tensor, with what was attached to it."""
        if not torch.nn.parameter.is_lazy(value) and value.layout == torch.strided:
            self.tensors.append((value, place))
        attached = value.__dict__
        if attached:
            self._entries(attached, place, ATTRIBUTE)

    def array(self, value: Any, place: Place) -> None:
        """An array of NumPy."""
        if value.flags.writeable and value.dtype != object:
            self.kept.append(Values.of(value, place, self.aside))

    def generator(self, value: Any, place: Place) -> None:
        """A generator of random numbers, of torch, of NumPy or of Python."""
        if isinstance(value, np.random.Generator):
            bits = value.bit_generator
            write: Callable[[Any], Any] = functools.partial(setattr, bits, "state")
            state: Any = bits.state
        elif isinstance(value, random.Random):
            write, state = value.setstate, value.getstate()
        else:
            write, state = value.set_state, value.get_state()
        self.kept.append(Drawn(place, self.aside, write, state))

    # -- objects ---------------------------------------------------------------------------------

    def attributes(self, value: Any, place: Place) -> None:
        """What an object has in its dictionary, in its slots, and from its class."""
        kind = type(value)
        if kind in PLAIN:
            return
        look = getattr if issubclass(kind, threading.local) else object.__getattribute__
        try:
            held = look(value, "__dict__")
        except AttributeError:
            held = None
        if type(held) is dict:
            self._entries(held, place, ATTRIBUTE)
        if kind not in self.slotted:
            self.slotted[kind] = self._slots(kind)
        if self.slotted[kind]:
            self._in_slots(value, self.slotted[kind], place)

    def _slots(self, kind: type) -> dict[str, Any]:
        """The slots of a class that is met for the first time; its own attributes are kept too."""
        slots: dict[str, Any] = {}
        for base in kind.__mro__:
            if is_of_the_user(base):
                slots |= slots_of(base)
                self._class(base)
        return slots

    def _in_slots(self, value: Any, slots: dict[str, Any], place: Place) -> None:
        def look(name: str) -> Any:
            try:
                return slots[name].__get__(value)
            except AttributeError:
                return MISSING

        def write(name: str, old: Any) -> None:
            slots[name].__set__(value, old)

        def erase(name: str) -> None:
            slots[name].__delete__(value)

        before = {name: look(name) for name in slots}
        self._by_name(Named(place, self.aside, before, look, write, erase), ATTRIBUTE)

    def _by_name(self, named: Named, form: str) -> None:
        self.kept.append(named)
        self._children(named.place, form, named.before.keys(), named.before.values())

    def _class(self, base: type) -> None:
        if id(base) in self.classes:
            return
        self.classes[id(base)] = base
        place: Place = (None, "class {}", base.__qualname__)
        before = own_attributes(base)

        def look(name: str) -> Any:
            return vars(base).get(name, MISSING)

        write = functools.partial(type.__setattr__, base)
        erase = functools.partial(type.__delattr__, base)
        self.kept.append(ClassAttributes(place, self.aside, before, look, write, erase, base))
        for name, value in before.items():
            if type(value) in METHODS:
                self._method(name, value, (place, ATTRIBUTE, name))
            else:
                self._children(place, ATTRIBUTE, (name,), (value,))

    def _method(self, name: str, value: Any, place: Place) -> None:
        """A method counts once some function speaks its name, or where Python calls it itself."""
        inner = getattr(value, METHODS[type(value)]) if METHODS[type(value)] else value
        if inner is None or type(inner) in ATOMS:
            return
        unspoken = name == "forward" or (name[:2] == "__" and name not in NOT_IN_A_CALL)
        if unspoken or name in self.spoken:
            self.far.append((inner, place))
        else:
            self.methods.setdefault(name, []).append((inner, place))

    def class_by_name(self, value: type, place: Place) -> None:
        """A class that something refers to."""
        if is_of_the_user(value) and not issubclass(value, Enum):
            self._class(value)

    def scripted(self, value: Any, place: Place) -> None:
        """A module of TorchScript: what its methods write to is not kept in Python."""
        self.attributes(value, place)
        inner = scripted_object(value)
        names = [name for name in written_in_script(inner) if inner.hasattr(name)]
        if names:
            before = {name: inner.getattr(name) for name in names}
            access = (inner.getattr, inner.setattr, no_erasing)
            self._by_name(ScriptAttributes(place, self.aside, before, *access), ATTRIBUTE)

    # -- functions -------------------------------------------------------------------------------

    def later(self, value: Any, place: Place) -> None:
        """A function, for when everything else was looked at."""
        if self.aside:
            self._function(value, place)
        else:
            del self.seen[id(value)]
            self.far.append((value, place))

    def _function(self, value: Any, place: Place) -> None:
        if isinstance(value, types.FunctionType):
            self._plain_function(value, place)
        elif isinstance(value, functools.partial):
            parts = (value.func, value.args, value.keywords)
            self._children(place, ".{}", ("func", "args", "keywords"), parts)
            self.attributes(value, place)
        elif isinstance(value, types.MethodType):
            self._children(place, "{}", ("", ""), (value.__self__, value.__func__))
        elif isinstance(value, types.BuiltinMethodType):
            self._children(place, "{}", ("",), (value.__self__,))
        else:
            self.kept.append(Cached(place, self.aside, value, value.cache_info().misses))
            self._children(place, ".{}", ("__wrapped__",), (value.__wrapped__,))

    def _plain_function(self, value: types.FunctionType, place: Place) -> None:
        if value.__dict__:
            self._entries(value.__dict__, place, ATTRIBUTE)
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=False):
            self._cell(name, cell)
        given = (value.__defaults__, value.__kwdefaults__)
        self._children(place, " argument {}", ("by default", "by default"), given)
        if not is_foreign(value.__globals__.get("__name__")):
            self._variables(value)

    def _cell(self, name: str, cell: types.CellType) -> None:
        if id(cell) in self.seen:
            return
        self.seen[id(cell)] = cell

        def look(_: str) -> Any:
            try:
                return cell.cell_contents
            except ValueError:
                return MISSING

        def write(_: str, old: Any) -> None:
            cell.cell_contents = old

        def erase(_: str) -> None:
            del cell.cell_contents

        self._by_name(Named(None, self.aside, {name: look(name)}, look, write, erase), "{}")

    def _variables(self, value: types.FunctionType) -> None:
        spoken, written = names_in(value.__code__)
        for name in spoken:
            if name not in self.spoken:
                self.spoken.add(name)
                self.far.extend(self.methods.pop(name, ()))
        world = value.__globals__
        before = {name: world[name] for name in spoken if name in world}
        before |= {name: MISSING for name in written if name not in world}
        self._named(world, before)
        for module in [m for m in before.values() if type(m) is types.ModuleType]:
            if not is_foreign(str(module.__name__)):
                inside = vars(module)
                self._named(inside, {name: inside[name] for name in spoken if name in inside})

    def _named(self, world: dict[str, Any], before: dict[str, Any]) -> None:
        def look(name: str) -> Any:
            return world.get(name, MISSING)

        if before:
            access = (look, world.__setitem__, world.__delitem__)
            self._by_name(Named(None, self.aside, before, *access), "{}")

    def sealed(self, value: Any, place: Place) -> None:
        """Something of C that may hold other things."""
        self.kept.append(Sealed(place, self.aside, value, tensors_in(value)))


NOT_IN_A_CALL = frozenset(
    f"__{name}__"
    for name in ("init", "new", "init_subclass", "repr", "str", "reduce", "setstate", "del", "dir")
)
"""Methods of Python that no forward pass comes to unless it speaks their names."""


def _emptied(holder: Any, place: Place) -> Kept:
    """A container that held nothing, as something to be emptied again."""
    if isinstance(holder, dict):
        return Entries(place, False, holder, (), ())
    if isinstance(holder, list):
        return Items(place, False, holder, [])
    return Members(place, False, holder, frozenset())


CONTENTS = {list: Items, set: Members, deque: Queued}
FUNCTIONS = (types.FunctionType, types.MethodType, types.BuiltinMethodType, functools.partial)

Handler = Callable[[Reach, Any, Place], None] | None

HANDLERS: tuple[tuple[type | tuple[type, ...], Handler], ...] = (
    (types.ModuleType, None),
    (Enum, None),
    (ByTensor, None),  # what a check knows that runs around this one
    (type, Reach.class_by_name),
    (torch.Tensor, Reach.tensor),
    (torch.jit.ScriptModule, Reach.scripted),
    (torch.nn.Module, Reach.attributes),
    (dict, Reach.mapping),
    ((list, set, deque), Reach.contents),
    ((tuple, frozenset), Reach.fixed),
    (bytearray, Reach.raw_bytes),
    (types.MappingProxyType, Reach.view),
    (np.ndarray, Reach.array),
    (
        (torch.Generator, np.random.Generator, np.random.RandomState, random.Random),
        Reach.generator,
    ),
    ((*FUNCTIONS, CachedFunction), Reach.later),
)


def _handler(kind: type) -> Handler:
    """What looks into objects of a type; None where there is nothing to see."""
    if kind in ATOMS:
        return None
    for known, handler in HANDLERS:
        if issubclass(kind, known):
            return handler
    if is_of_the_user(kind) or str(kind.__module__).startswith(HOLDERS):
        return Reach.attributes
    return Reach.sealed if kind in SEALED else None


SEALED = frozenset(
    {
        queue.SimpleQueue,
        types.GeneratorType,
        *map(type, (iter([]), iter(()), map(id, ()), filter(None, ()), zip(), enumerate(()))),
        *(itertools.chain, itertools.cycle, itertools.repeat, itertools.islice),
    }
)
"""Types of what holds other things and cannot be written to."""
