"""An operation as it was called: its arguments, what it writes to, and which rule is about it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from shiftcheck.rules import pointwise
from shiftcheck.rules.registry import Entry as Rule
from shiftcheck.rules.registry import find_entry
from shiftcheck.tracing.torch_internals import (
    arguments_of,
    is_fake,
    is_mutable,
    overload_name,
    packet_name,
    returns_of,
    tags_of,
    tensors_of,
    without_modes,
)

UNDECLARED = ("aten::batch_norm", "aten::native_batch_norm", "aten::instance_norm")
"""In training they write to running statistics, their arguments 3 and 4, and do not say so."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Declared:
    """What torch declares of an operation, whatever it is called with.

    ``packet``: its qualified name, such as ``aten::add``; ``op``: that in short, without what says
    that it works in place. ``writes``: the place and the name of each argument that it writes to.
    ``shares_memory``: what it gives may be a view of what it was given. ``draws``: it may draw
    random numbers. ``returns_written``: it has one result, which is what it wrote to.
    """

    packet: str
    op: str
    overload: str
    is_pointwise: bool
    draws: bool
    shares_memory: bool
    returns_written: bool
    writes: tuple[tuple[int, str], ...]


@functools.cache
def declared(func: Any) -> Declared:
    """What torch declares of an operation."""
    packet, returns = packet_name(func), returns_of(func)
    arguments = enumerate(arguments_of(func) if is_mutable(func) else ())
    return Declared(
        packet=packet,
        op=packet.removeprefix("aten::").rstrip("_"),
        overload=overload_name(func),
        is_pointwise=_is_pointwise(func),
        draws=torch.Tag.nondeterministic_seeded in tags_of(func),
        shares_memory=any(r.alias_info is not None for r in returns),
        returns_written=len(returns) == 1 and _is_written(returns[0]),
        writes=tuple((i, a.name) for i, a in arguments if _is_written(a)),
    )


def may_write(func: Any) -> bool:
    """Whether an operation writes to some of its arguments, or does in training."""
    known = declared(func)
    return bool(known.writes) or known.packet in UNDECLARED


def _is_written(argument: Any) -> bool:
    return argument.alias_info is not None and bool(argument.alias_info.is_write)


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation of torch and the arguments that it was called with."""

    func: Any
    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    def __call__(self) -> Any:
        """What it gives."""
        return self.func(*self.args, **self.kwargs)

    @functools.cached_property
    def inputs(self) -> list[torch.Tensor]:
        """The tensors that it was given."""
        return tensors_of((self.args, self.kwargs))

    @functools.cached_property
    def written(self) -> list[torch.Tensor]:
        """The tensors that it writes to."""
        if self.packet in UNDECLARED and self.args[5]:
            return [t for t in self.args[3:5] if isinstance(t, torch.Tensor)]
        written: list[torch.Tensor] = []
        for i, name in self.declared.writes:
            written += tensors_of(self.args[i] if i < len(self.args) else self.kwargs.get(name))
        return written

    @functools.cached_property
    def declared(self) -> Declared:
        """What torch declares of it."""
        return declared(self.func)

    @property
    def packet(self) -> str:
        """The qualified name, such as ``aten::add``."""
        return self.declared.packet

    @property
    def op(self) -> str:
        """The name in short, without what says that it works in place."""
        return self.declared.op

    @functools.cached_property
    def rule(self) -> Rule | None:
        """What says what becomes of the geometry; None where nothing does."""
        tagged = self.is_pointwise
        rule = find_entry(self.packet, self.declared.overload, tagged=tagged)
        return rule or (POINTWISE if tagged else None)

    @property
    def is_pointwise(self) -> bool:
        """Whether torch says so of the operation, or of what it does when not in place."""
        return self.declared.is_pointwise

    @property
    def draws(self) -> bool:
        """Whether it may draw random numbers."""
        return self.declared.draws

    @property
    def shares_memory(self) -> bool:
        """Whether what it gives may be a view of what it was given."""
        return self.declared.shares_memory

    def constant(self) -> Any:
        """What does not depend on the input, with real values and as an ordinary tensor.

        A model may keep it in a cache, which must be of use after the check.
        """
        if any(map(is_fake, self.inputs)):
            return self()
        if any(t.is_inference() for t in self.inputs):
            with without_modes():
                return self()
        with without_modes(), torch.inference_mode(False), torch.no_grad():
            return self()

    def itself(self, out: Any) -> Any:
        """What it returns in place: the tensor that it wrote to, with values or without.

        Given a tensor with values, a pass without them returns another one.
        """
        written = self.written
        if len(written) != 1 or not self.declared.returns_written:
            return out
        same = isinstance(out, torch.Tensor) and out.shape == written[0].shape
        return written[0] if same else out


def _is_pointwise(func: Any) -> bool:
    other = _out_of_place(func)
    tags = tags_of(func) if other is None else tags_of(func) | tags_of(other)
    return torch.Tag.pointwise in tags and torch.Tag.nondeterministic_seeded not in tags


def _out_of_place(func: Any) -> Any:
    stem = packet_name(func).partition("::")[2]
    if not is_mutable(func) or not stem.endswith("_"):
        return None
    packet = getattr(getattr(torch.ops, func.namespace), stem.rstrip("_"), None)
    return getattr(packet, overload_name(func), None)


def pointwise_rule(*operands: Any, **named: Any) -> Any:
    """The law of everything that carries torch's tag for pointwise operations."""
    named.pop("out", None)
    return pointwise(*operands, *named.values())


POINTWISE = Rule(rule=pointwise_rule, law="1 -> 1", source="", keeps_uniform=True)
