"""The table of rules: which function knows the law of which operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import torch

from shiftcheck.errors import InputError

Rule = Callable[..., Any]
SomeRule = TypeVar("SomeRule", bound=Rule)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One rule: its function, its law in words, where the formula comes from, and its marks.

    ``keeps_uniform``: it may be told which dimensions are uniform, and never says so wrongly; to
    all others such a dimension is a plain one. ``keeps_frequencies``: it may be asked about
    frequencies, as it is a linear map of each; whatever else is done to them is not followed.
    """

    rule: Rule
    law: str
    source: str
    keeps_uniform: bool = False
    keeps_frequencies: bool = False


_table: dict[str, Entry] = {}
table: Mapping[str, Entry] = MappingProxyType(_table)
"""Every rule by the name of its operation, such as ``aten::conv2d`` or ``aten::conv2d.padding``."""

_shipped: dict[str, Entry] = {}


def ship() -> None:
    """Take every rule so far for one of the library: those that follow are a user's own."""
    _shipped.update(_table)


def register_rule(
    *operations: Any,
    law: str = "",
    source: str = "",
    keeps_uniform: bool = False,
    keeps_frequencies: bool = False,
) -> Callable[[SomeRule], SomeRule]:
    """Register the rule of one or more operations; use as a decorator.

    Args:
        operations: names such as ``"mylib::blur"`` or operations such as ``torch.ops.mylib.blur``.
        law: which input shift becomes which output shift, in words.
        source: where the formula comes from.
        keeps_uniform: whether the rule may be told along which dimensions all values are the same.
        keeps_frequencies: whether it may be asked about the frequencies of an axis.

    The rule mirrors the operation's signature. A tensor that depends on the input arrives as a
    ``Layout``, another one as a ``Constant``; it returns the ``Layout`` of the output, or a tuple
    of them, and raises ``GeometryError`` for what it does not understand.

    Returns:
        A decorator that gives the rule back as it is.

    Raises:
        InputError: where an operation is neither a name nor a torch operation, or where two of the
            library's own rules are for one operation.

    Example:
        >>> import shiftcheck
        >>> from shiftcheck.rules import pointwise
        >>> @shiftcheck.register_rule("mylib::swish", law="1 -> 1")
        ... def swish(x):
        ...     return pointwise(x)
    """
    names = [_name_of(operation) for operation in operations]
    if not names:
        raise InputError("register_rule needs at least one operation, such as 'mylib::blur'")

    def add(rule: SomeRule) -> SomeRule:
        for name in names:
            if name in _table and not _shipped:
                raise InputError(f"{name!r} has a rule already, {_table[name].rule.__qualname__}")
            _table[name] = Entry(
                rule=rule,
                law=law,
                source=source,
                keeps_uniform=keeps_uniform,
                keeps_frequencies=keeps_frequencies,
            )
        return rule

    return add


def find_rule(packet: str, overload: str, *, tagged: bool = False) -> Rule | None:
    """The function of ``find_entry``, None where there is no rule.

    Example:
        >>> from shiftcheck.rules import find_rule
        >>> find_rule("aten::relu", "default") is find_rule("aten::relu_", "default")
        True
        >>> find_rule("mylib::unheard_of", "default") is None
        True
    """
    entry = find_entry(packet, overload, tagged=tagged)
    return None if entry is None else entry.rule


def find_entry(packet: str, overload: str, *, tagged: bool = False) -> Entry | None:
    """The rule of an operation by its overload, then by its packet; None where there is none.

    A variant that works in place has the rule of its own name, or that of the name without the
    underscore. A user's rule comes before those of the library. ``tagged``: torch calls the
    operation pointwise, so of the library's rules only one for this very overload counts.
    """
    names = dict.fromkeys((packet, packet.rstrip("_")))
    exact = [n for n in (f"{name}.{overload}" for name in names) if n in _table]
    packets = [name for name in names if name in _table]
    of_a_user = [n for n in (*exact, *packets) if _table[n] is not _shipped.get(n)]
    chosen = of_a_user or exact or ([] if tagged else packets)
    return _table[chosen[0]] if chosen else None


OPERATIONS = (type(torch.ops.aten.add), type(torch.ops.aten.add.Tensor))
"""The classes of operations: of all overloads together, and of one."""


def _name_of(operation: Any) -> str:
    if isinstance(operation, str) and "::" in operation:
        return operation
    if isinstance(operation, OPERATIONS):
        return str(operation).replace(".", "::", 1)
    raise InputError(
        f"operations={operation!r} is no operation: give a name such as 'mylib::blur', or"
        " torch.ops.mylib.blur"
    )
