"""NaN for what is made of other whole numbers, which cannot be NaN themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from shiftcheck.tracing.not_a_number import FollowedNaN
from shiftcheck.tracing.operations import Operation
from shiftcheck.tracing.torch_internals import Mode, tensors_of, without_modes


def _of_aten(*names: str) -> frozenset[str]:
    return frozenset(f"aten::{name}" for name in names)


MOVING = _of_aten(
    *("view", "_unsafe_view", "_reshape_alias", "reshape", "unsqueeze", "squeeze", "transpose"),
    *("permute", "t", "expand", "slice", "select", "split", "split_with_sizes", "unbind"),
    *("narrow", "chunk", "unfold", "alias", "detach", "clone", "copy_", "copy", "contiguous"),
    *("cat", "stack", "roll", "flip", "constant_pad_nd", "pad", "lift_fresh"),
)
"""Operations that put numbers elsewhere as they are."""

UNREAD = _of_aten(
    *("fill_", "zero_", "zeros_like", "ones_like", "empty_like", "full_like"),
    *("new_zeros", "new_ones", "new_empty", "new_full"),
)
"""Operations to which what stands in their first argument makes no difference."""

LOOKING_UP = _of_aten("index", "index_select", "gather", "take", "embedding")
"""Operations that take out of a table what stands at indices."""

CASTING = _of_aten("_to_copy", "to")


@dataclass(frozen=True, kw_only=True, eq=False)
class Met:
    """An operation that was given whole numbers or truth values, and what it made of them."""

    func: Any
    given: Sequence[torch.Tensor]
    made: Sequence[torch.Tensor]


class Recorded(Mode):
    """Keeps all operations of a pass that were given whole numbers, in their order."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.met: list[Met] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        before = _copies(_whole(tensors_of((args, kwargs or {}))))
        out = func(*args, **(kwargs or {}))
        if before:
            self.met.append(Met(func=func, given=before, made=_copies(tensors_of(out))))
        return out


class NaNForOthers(FollowedNaN):
    """Puts NaN where another floating number is made of whole numbers than in the recorded pass.

    What gives the same for other whole numbers, as comparisons and differences may, is noted as
    swallowing, and so is a pass that goes another way.
    """

    def __init__(self, record: Sequence[Met]) -> None:
        super().__init__()
        self.record, self.at = record, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        before = _copies(_whole(tensors_of((args, kwargs or {}))))
        out = super().__torch_dispatch__(func, types, args, kwargs)
        if before:
            met = self.record[self.at] if self.at < len(self.record) else None
            self.at += 1
            with without_modes():
                operation = Operation(func, args, kwargs or {})
                self._look_at(operation, before, tensors_of(out), met)
        return out

    def _look_at(
        self,
        operation: Operation,
        given: list[torch.Tensor],
        made: list[torch.Tensor],
        met: Met | None,
    ) -> None:
        same_way = met is not None and met.func is operation.func
        if met is None or not same_way or _shapes(met.made) != _shapes(made):
            self.swallowing.add("another way")
            return
        if _shapes(met.given) != _shapes(given):
            self.swallowing.add("another way")
            return
        others = [a != b for a, b in zip(given, met.given, strict=True)]
        if not any(bool(other.any()) for other in others):
            return
        differing = [tensor != base for tensor, base in zip(made, met.made, strict=True)]
        for tensor, differs in zip(made, differing, strict=True):
            if tensor.is_floating_point() or tensor.is_complex():
                tensor.masked_fill_(differs, torch.nan)
        if not all(_shows(operation, others, differs) for differs in differing):
            self.swallowing.add(str(operation.func))


def _shows(operation: Operation, others: Sequence[torch.Tensor], differs: torch.Tensor) -> bool:
    """Whether each number that is made of another one than before is another one as well.

    ``others``: where the whole numbers that an operation was given are others.
    """
    packet = operation.packet
    if packet in MOVING or packet in UNREAD:
        return True
    if packet in LOOKING_UP:
        table = operation.args[0]
        floating = table.is_floating_point() or table.is_complex()
        indices = list(others if floating else others[1:])
        if not any(bool(other.any()) for other in indices):
            return True
        return len(indices) == 1 and _covers(differs, indices[0])
    if packet == "aten::cumsum":
        return _covers(differs, others[0].cumsum(operation.args[1]) > 0)
    if operation.is_pointwise or packet in CASTING:
        wanted = torch.zeros_like(differs)
        for other in others:
            if torch.broadcast_shapes(other.shape, differs.shape) != differs.shape:
                return False
            wanted |= other
        return _covers(differs, wanted)
    return False


def _covers(differs: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Whether something differs wherever it is wanted, in all that belongs to one index."""
    if differs.shape[: wanted.ndim] != wanted.shape:
        return False
    found = differs if differs.ndim == wanted.ndim else differs.flatten(wanted.ndim).any(-1)
    return bool((found | ~wanted).all())


def _whole(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [t for t in tensors if not t.is_floating_point() and not t.is_complex()]


def _copies(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    with without_modes():
        return [t.clone() for t in tensors]


def _shapes(tensors: Sequence[torch.Tensor]) -> list[Any]:
    return [(t.shape, t.dtype) for t in tensors]
