"""What Python says of classes and functions: whose they are, and which names they speak."""

from __future__ import annotations

import dis
import functools
import sys
import types
from typing import Any

from shiftcheck.tracing.torch_internals import graphs_of_script

FOREIGN = sys.stdlib_module_names | {"torch", "numpy", "_pytest", "pytest", "pluggy", "hypothesis"}
"""Packages whose own classes and variables are no state of a model."""

HOLDERS = (
    *("types", "collections", "weakref", "_weakrefset", "functools", "argparse", "queue"),
    *("_thread", "_threading_local", "torch.nn", "torch.distributions", "torch.optim"),
)
"""Modules in these packages whose objects people keep things in."""


def is_foreign(module: Any) -> bool:
    """Whether a module belongs to a package that is not looked into."""
    return str(module).partition(".")[0] in FOREIGN


def is_of_the_user(kind: type) -> bool:
    """Whether a class is written in Python, outside of the packages that are not looked into.

    Python says of a class without a module, as of one made by exec, that it is of builtins.
    """
    made = kind.__module__ == "builtins" and bool(kind.__flags__ & HEAP_TYPE)
    return made or not is_foreign(kind.__module__)


HEAP_TYPE = 1 << 9


def own_attributes(base: type) -> dict[str, Any]:
    """The attributes of a class itself, without those that Python keeps."""
    return {
        name: value
        for name, value in vars(base).items()
        if name[:2] != "__" or type(value) is types.FunctionType
    }


def slots_of(base: type) -> dict[str, Any]:
    """The slots of a class itself."""
    return {k: v for k, v in vars(base).items() if type(v) is types.MemberDescriptorType}


@functools.lru_cache(maxsize=4096)
def names_in(code: types.CodeType) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names that a function speaks of beside its own variables, and those that it writes."""
    spoken, written = set(code.co_names), set()
    if STORE_GLOBAL in code.co_code[::2]:
        written |= {i.argval for i in dis.get_instructions(code) if i.opcode == STORE_GLOBAL}
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            inner = names_in(part)
            spoken |= set(inner[0])
            written |= set(inner[1])
    return tuple(sorted(spoken)), tuple(sorted(written))


STORE_GLOBAL = dis.opmap["STORE_GLOBAL"]


def written_in_script(inner: Any) -> list[str]:
    """The attributes that methods of TorchScript may change: assigned ones, and containers."""
    names: set[str] = set()
    for graph in graphs_of_script(inner):
        names |= {node.s("name") for node in graph.findAllNodes("prim::SetAttr")}
        for node in graph.findAllNodes("prim::GetAttr"):
            if node.output().type().kind() in ("DictType", "ListType"):
                names.add(node.s("name"))
    return sorted(names)
