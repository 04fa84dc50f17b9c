"""The way of a pass: its operations in their order, which another pass can go without any rule.

Where no value was read, the values do not decide which operations follow. A pass over other values
is still held against the way as it runs: what takes another one is not compared.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from shiftcheck.tracing.draws import is_off
from shiftcheck.tracing.operations import Operation
from shiftcheck.tracing.subclasses import is_plain
from shiftcheck.tracing.torch_internals import tensors_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """An operation; ``constant``: nothing that it is given depends on the input.

    ``outside``: it writes to a tensor that is not followed, such as a buffer.
    """

    func: Any
    constant: bool
    outside: bool


Place = tuple[int, int]
"""The number of a step, and of a tensor that it gave."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Way:
    """The steps of a pass; ``ends``: where its outputs come from, if it was stopped after a layer.

    Of a pass that came to its end, what the model returns are the outputs.
    """

    steps: Sequence[Step]
    ends: Sequence[Place] | None


class WayMarks:
    """Notes the steps of a pass while it runs; ``lost``: it cannot be gone again without rules."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.lost = False
        self._gave: list[list[weakref.ref[torch.Tensor]]] = []

    def note(self, operation: Operation, out: Any, *, constant: bool, outside: bool) -> None:
        """An operation was carried out."""
        draws = operation.draws and not is_off(operation.func, operation.args, operation.kwargs)
        given = tensors_of(out)
        self.lost = self.lost or draws or not all(map(is_plain, given))
        self.steps.append(Step(func=operation.func, constant=constant, outside=outside))
        self._gave.append([weakref.ref(t) for t in given])

    def way(self, outputs: Sequence[torch.Tensor], *, stopped: bool) -> Way | None:
        """The way to these outputs; None where it is lost."""
        if self.lost:
            return None
        if not stopped:
            return Way(steps=tuple(self.steps), ends=None)
        places = [self._place_of(tensor) for tensor in outputs]
        ends = [place for place in places if place is not None]
        return Way(steps=tuple(self.steps), ends=ends) if len(ends) == len(places) else None

    def _place_of(self, tensor: torch.Tensor) -> Place | None:
        for step in reversed(range(len(self._gave))):
            for number, given in enumerate(self._gave[step]):
                if given() is tensor:
                    return step, number
        return None
