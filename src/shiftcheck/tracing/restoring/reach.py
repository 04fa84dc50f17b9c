"""Everything that hangs on a model: attributes, containers, variables of functions, hooks."""

from __future__ import annotations

import dis
import functools
import itertools
import queue
import random
import sys
import threading
import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum
from typing import Any

import numpy as np
import torch

from shiftcheck.tracing.restoring.contents import (
    ATOMS,
    ATTRIBUTE,
    ELEMENT,
    MISSING,
    Bytes,
    Cached,
    Drawn,
    Empties,
    Entries,
    Items,
    Kept,
    Members,
    Named,
    Place,
    Queued,
    Sealed,
    Values,
    tensors_in,
)
from shiftcheck.tracing.torch_internals import CachedFunction, graphs_of_script, scripted_object

MOST_ASIDE = 20_000
"""So many things at most are looked at that functions refer to, the nearest first."""

FOREIGN = sys.stdlib_module_names | {"torch", "numpy", "_pytest", "pytest", "pluggy", "hypothesis"}
"""Packages whose own classes and variables are no state of a model."""

HOLDERS = (
    *("types", "collections", "weakref", "_weakrefset", "functools", "argparse", "queue"),
    *("_thread", "_threading_local", "torch.nn", "torch.distributions", "torch.optim"),
)
"""Modules in these packages whose objects people keep things in."""

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
        self.empties = Empties([], [])
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
        filled = [_emptied(holder, place) for holder, place in self.empties.filled()]
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
                empties.holders.append(value)
                empties.places.append((place, form, key))
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

    def sequence(self, value: list[Any], place: Place) -> None:
        """A list of any class."""
        items = Items.of(value, place, self.aside)
        self.kept.append(items)
        self._parts(items.before, place)
        self.attributes(value, place)

    def _parts(self, values: Any, place: Place) -> None:
        if not ATOMS.issuperset(map(type, values)):
            self._children(place, ELEMENT, range(len(values)), values)

    def members(self, value: set[Any], place: Place) -> None:
        """A set of any class."""
        members = Members.of(value, place, self.aside)
        self.kept.append(members)
        self._parts(members.before, place)
        self.attributes(value, place)

    def fixed(self, value: Any, place: Place) -> None:
        """A tuple or a frozen set of any class."""
        whole = tuple.__iter__(value) if isinstance(value, tuple) else frozenset.__iter__(value)
        self._parts(tuple(whole), place)
        self.attributes(value, place)

    def queue(self, value: deque[Any], place: Place) -> None:
        """A deque of any class."""
        queued = Queued.of(value, place, self.aside)
        self.kept.append(queued)
        self._parts(queued.before, place)
        self.attributes(value, place)

    def raw_bytes(self, value: bytearray, place: Place) -> None:
        """A bytearray."""
        self.kept.append(Bytes(place, self.aside, value, bytes(value)))

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

    def torch_numbers(self, value: torch.Generator, place: Place) -> None:
        """A generator of torch."""
        self.kept.append(Drawn(place, self.aside, value.set_state, value.get_state()))

    def numpy_numbers(self, value: np.random.Generator, place: Place) -> None:
        """A generator of NumPy."""
        bits = value.bit_generator
        write = functools.partial(setattr, bits, "state")
        self.kept.append(Drawn(place, self.aside, write, bits.state))

    def older_numbers(self, value: np.random.RandomState, place: Place) -> None:
        """A generator of NumPy, as it was before."""
        self.kept.append(Drawn(place, self.aside, value.set_state, value.get_state()))

    def python_numbers(self, value: random.Random, place: Place) -> None:
        """A generator of Python."""
        self.kept.append(Drawn(place, self.aside, value.setstate, value.getstate()))

    # -- objects ---------------------------------------------------------------------------------

    def attributes(self, value: Any, place: Place) -> None:
        """What an object has in its dictionary, in its slots, and from its class."""
        kind = type(value)
        if kind in PLAIN:
            return
        own = getattr if issubclass(kind, threading.local) else object.__getattribute__
        try:
            held = own(value, "__dict__")
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
            if _is_of_the_user(base):
                slots |= _slots_of(base)
                self._class(base)
        return slots

    def _in_slots(self, value: Any, slots: dict[str, Any], place: Place) -> None:
        def look(name: str) -> Any:
            try:
                return slots[name].__get__(value)
            except AttributeError:
                return MISSING

        before = {name: look(name) for name in slots}
        self.kept.append(
            Named(
                place,
                self.aside,
                before,
                look,
                lambda name, old: slots[name].__set__(value, old),
                lambda name: slots[name].__delete__(value),
            )
        )
        self._children(place, ATTRIBUTE, before.keys(), before.values())

    def _class(self, base: type) -> None:
        if id(base) in self.classes:
            return
        self.classes[id(base)] = base
        place: Place = (None, "class {}", base.__qualname__)
        before = _own(base)

        def look(name: str) -> Any:
            return vars(base).get(name, MISSING)

        kept = ClassAttributes(
            place,
            self.aside,
            before,
            look,
            functools.partial(type.__setattr__, base),
            functools.partial(type.__delattr__, base),
            base,
        )
        self.kept.append(kept)
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
        if _is_of_the_user(value) and not issubclass(value, Enum):
            self._class(value)

    def scripted(self, value: Any, place: Place) -> None:
        """A module of TorchScript: what its methods write to is not kept in Python."""
        self.attributes(value, place)
        inner = scripted_object(value)
        names = [name for name in _written_in_script(inner) if inner.hasattr(name)]
        if not names:
            return
        before = {name: inner.getattr(name) for name in names}
        self.kept.append(
            ScriptAttributes(place, self.aside, before, inner.getattr, inner.setattr, _no_erasing)
        )
        self._children(place, ATTRIBUTE, before.keys(), before.values())

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
            self._cell(name, cell, place)
        given = (value.__defaults__, value.__kwdefaults__)
        self._children(place, " argument {}", ("by default", "by default"), given)
        if not _is_foreign(value.__globals__.get("__name__")):
            self._variables(value)

    def _cell(self, name: str, cell: types.CellType, place: Place) -> None:
        if id(cell) in self.seen:
            return
        self.seen[id(cell)] = cell

        def look(_: str) -> Any:
            try:
                return cell.cell_contents
            except ValueError:
                return MISSING

        before = {name: look(name)}
        self.kept.append(
            Named(
                place,
                self.aside,
                before,
                look,
                lambda _, old: setattr(cell, "cell_contents", old),
                lambda _: delattr(cell, "cell_contents"),
            )
        )
        self._children(None, "{}", before.keys(), before.values())

    def _variables(self, value: types.FunctionType) -> None:
        spoken, written = _names_in(value.__code__)
        for name in spoken:
            if name not in self.spoken:
                self.spoken.add(name)
                self.far.extend(self.methods.pop(name, ()))
        world = value.__globals__
        before = {name: world[name] for name in spoken if name in world}
        before |= {name: MISSING for name in written if name not in world}
        self._named(world, before)
        for module in [m for m in before.values() if type(m) is types.ModuleType]:
            if not _is_foreign(str(module.__name__)):
                inside = vars(module)
                self._named(inside, {name: inside[name] for name in spoken if name in inside})

    def _named(self, world: dict[str, Any], before: dict[str, Any]) -> None:
        if not before:
            return
        kept = Named(
            None,
            self.aside,
            before,
            lambda name: world.get(name, MISSING),
            world.__setitem__,
            world.__delitem__,
        )
        self.kept.append(kept)
        self._children(None, "{}", before.keys(), before.values())

    def sealed(self, value: Any, place: Place) -> None:
        """Something of C that may hold other things."""
        self.kept.append(Sealed(place, self.aside, value, tensors_in(value)))


NOT_IN_A_CALL = frozenset(
    f"__{name}__"
    for name in ("init", "new", "init_subclass", "repr", "str", "reduce", "setstate", "del", "dir")
)
"""Methods of Python that no forward pass comes to unless it speaks their names."""


class ClassAttributes(Named):
    """The attributes of a class, new ones included."""

    __slots__ = ("base",)

    def __init__(self, *parts: Any) -> None:
        *rest, self.base = parts
        super().__init__(*rest)

    def changed(self) -> bool:
        """Whether an attribute is another one, or new."""
        return self._now() != self.before.keys() or Named.changed(self)

    def differs(self) -> bool:
        """Whether one changed."""
        return self.changed()

    def _now(self) -> Any:
        return _own(self.base).keys()

    def put_back(self) -> None:
        """Name by name."""
        for name in self._now() - self.before.keys():
            self.erase(name)
        Named.put_back(self)


class ScriptAttributes(Named):
    """Attributes that TorchScript keeps: numbers and containers come as copies."""

    __slots__ = ()

    def changed(self) -> bool:
        """Whether one is another one."""
        return any(not _alike(self.look(name), value) for name, value in self.before.items())

    def put_back(self) -> None:
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


def _no_erasing(name: str) -> None:
    raise TypeError(f"TorchScript does not take {name!r} away")


def _emptied(holder: Any, place: Place) -> Kept:
    """A container that held nothing, as something to be emptied again."""
    if isinstance(holder, dict):
        return Entries(place, False, holder, (), ())
    if isinstance(holder, list):
        return Items(place, False, holder, [])
    return Members(place, False, holder, frozenset())


def _is_foreign(module: Any) -> bool:
    return str(module).partition(".")[0] in FOREIGN


def _is_of_the_user(kind: type) -> bool:
    """Whether a class is written in Python, outside of the packages that are not looked into.

    Python says of a class without a module, as of one made by exec, that it is of builtins.
    """
    made = kind.__module__ == "builtins" and bool(kind.__flags__ & HEAP_TYPE)
    return made or not _is_foreign(kind.__module__)


HEAP_TYPE = 1 << 9


def _own(base: type) -> dict[str, Any]:
    """The attributes of a class itself, without those that Python keeps."""
    return {
        name: value
        for name, value in vars(base).items()
        if name[:2] != "__" or type(value) is types.FunctionType
    }


def _slots_of(base: type) -> dict[str, Any]:
    return {k: v for k, v in vars(base).items() if type(v) is types.MemberDescriptorType}


@functools.lru_cache(maxsize=4096)
def _names_in(code: types.CodeType) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names that a function speaks of beside its own variables, and those that it writes."""
    spoken, written = set(code.co_names), set()
    if STORE_GLOBAL in code.co_code[::2]:
        written |= {i.argval for i in dis.get_instructions(code) if i.opcode == STORE_GLOBAL}
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            inner = _names_in(part)
            spoken |= set(inner[0])
            written |= set(inner[1])
    return tuple(sorted(spoken)), tuple(sorted(written))


STORE_GLOBAL = dis.opmap["STORE_GLOBAL"]


def _written_in_script(inner: Any) -> list[str]:
    """The attributes that methods of TorchScript may change: assigned ones, and containers."""
    names: set[str] = set()
    for graph in graphs_of_script(inner):
        names |= {node.s("name") for node in graph.findAllNodes("prim::SetAttr")}
        for node in graph.findAllNodes("prim::GetAttr"):
            if node.output().type().kind() in ("DictType", "ListType"):
                names.add(node.s("name"))
    return sorted(names)


Handler = Callable[[Reach, Any, Place], None] | None

HANDLERS: tuple[tuple[type | tuple[type, ...], Handler], ...] = (
    (types.ModuleType, None),
    (Enum, None),
    (type, Reach.class_by_name),
    (torch.Tensor, Reach.tensor),
    (torch.jit.ScriptModule, Reach.scripted),
    (torch.nn.Module, Reach.attributes),
    (dict, Reach.mapping),
    (list, Reach.sequence),
    (set, Reach.members),
    ((tuple, frozenset), Reach.fixed),
    (deque, Reach.queue),
    (bytearray, Reach.raw_bytes),
    (types.MappingProxyType, Reach.view),
    (np.ndarray, Reach.array),
    (torch.Generator, Reach.torch_numbers),
    (np.random.Generator, Reach.numpy_numbers),
    (np.random.RandomState, Reach.older_numbers),
    (random.Random, Reach.python_numbers),
    (
        (
            types.FunctionType,
            types.MethodType,
            types.BuiltinMethodType,
            functools.partial,
            CachedFunction,
        ),
        Reach.later,
    ),
)


def _handler(kind: type) -> Handler:
    """What looks into objects of a type; None where there is nothing to see."""
    if kind in ATOMS:
        return None
    for known, handler in HANDLERS:
        if issubclass(kind, known):
            return handler
    if _is_of_the_user(kind) or str(kind.__module__).startswith(HOLDERS):
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
