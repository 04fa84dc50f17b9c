"""What a model makes of shapes alone: whether it runs on them, and where it does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from shiftcheck.measuring.call import faked, home_of
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.signals.arguments import Inputs
from shiftcheck.tracing.modules import modules_of
from shiftcheck.tracing.operations import Operation
from shiftcheck.tracing.restoring.state import Originals, preserved
from shiftcheck.tracing.torch_internals import (
    TorchDispatchMode,
    fake_mode,
    is_fake,
    tensors_of,
    tree_leaves,
    tree_map,
    without_modes,
)
from shiftcheck.tracing.without_values import quiet


@dataclass(frozen=True, eq=False)
class Call:
    """A function of torch that raised, and what it was given."""

    function: Any
    args: Sequence[Any]
    kwargs: dict[str, Any]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the tensors that it was given."""
        return [tuple(t.shape) for t in tensors_of((self.args, self.kwargs))]

    @property
    def numbers(self) -> list[int]:
        """The whole numbers among its arguments, and in the shapes of its tensors."""
        return [*self.whole_numbers, *(n for shape in self.shapes for n in shape)]

    @property
    def whole_numbers(self) -> list[int]:
        """The whole numbers among its arguments."""
        return [v for v in tree_leaves((list(self.args), self.kwargs)) if type(v) is int]

    def runs_on(self, shapes: Sequence[Sequence[int]]) -> bool:
        """Whether it takes tensors of other shapes in the place of its own."""
        left = iter(shapes)

        def other(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            return torch.empty(next(left), dtype=value.dtype, device="meta")

        args, kwargs = tree_map(other, (list(self.args), self.kwargs))
        try:
            with quiet():
                self.function(*args, **kwargs)
        except Exception:
            return False
        return True


@dataclass(frozen=True, eq=False)
class Attempt:
    """A pass without values: what the model raised, if anything, and the function that did."""

    error: Exception | None = None
    call: Call | None = None

    @property
    def runs(self) -> bool:
        """Whether the model came to its end."""
        return self.error is None

    @property
    def numbers(self) -> list[int]:
        """The whole numbers that the function was given."""
        return [] if self.call is None else self.call.numbers


def attempt(plan: Plan, inputs: Inputs, *, values: bool = False) -> Attempt:
    """Run the model of a plan on other inputs, without rules and, unless asked for, without values.

    What it writes to is put back.
    """
    watching = _Watching()
    with preserved(
        modules_of(plan.model), plan.inputs.tensors, training=plan.training, model=plan.model
    ) as originals:
        try:
            with inputs.without_gradients(), _given(plan, inputs, values) as given:
                args, kwargs = inputs.call(given)
                with watching, _Keeping(originals):
                    plan.model(*args, **kwargs)
        except Exception as error:
            return Attempt(error, watching.raised)
    return Attempt()


@contextmanager
def _given(plan: Plan, inputs: Inputs, values: bool) -> Iterator[list[Any]]:
    """What the model is called with, and the place where it has no values."""
    if values:
        yield inputs.shifted(plan.zero, 0)
        return
    fake, home = fake_mode(), home_of(plan.model)
    with fake, quiet():
        yield [faked(leaf, fake, home) for leaf in inputs.leaves]


class _Keeping(TorchDispatchMode):
    """Has tensors with values kept before they are written to: some of them are, even so."""

    def __init__(self, originals: Originals) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.originals = originals

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        operation = Operation(func, args, kwargs or {})
        for tensor in operation.written:
            if not is_fake(tensor):
                with without_modes():
                    self.originals.before_write(tensor)
        return operation()


class _Watching(TorchFunctionMode):
    """Knows the last function of torch that raised."""

    raised: Call | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        try:
            return func(*args, **(kwargs or {}))
        except Exception:
            self.raised = Call(func, args, kwargs or {})
            raise


def sizes_mend(one: Call, other: Call | None) -> bool:
    """Whether a function that raised at two sizes would run, were what comes of them different.

    What comes of them is every dimension that differs between the two.
    """
    if other is None or one.function != other.function or len(one.shapes) != len(other.shapes):
        return False
    pairs = list(zip(one.shapes, other.shapes, strict=True))
    if any(len(a) != len(b) for a, b in pairs):
        return False
    given = [[n if n == m else None for n, m in zip(a, b, strict=True)] for a, b in pairs]
    return any(one.runs_on(shapes) for shapes in _filled(given, one.numbers))


LARGE = 64
"""Larger than most kernels."""


def _filled(given: list[list[int | None]], numbers: Sequence[int]) -> Iterator[list[list[int]]]:
    """The shapes with numbers at the places that are open: the same at all, or at the first."""
    if not any(n is None for shape in given for n in shape):
        return
    for number in dict.fromkeys([LARGE, *(n for n in numbers if n > 0)]):
        yield [[number if n is None else n for n in shape] for shape in given]
        yield [_first_only(shape, number) for shape in given]


def _first_only(shape: Sequence[int | None], values: int) -> list[int]:
    """A shape of so many values, or as many as there can be, along its first open dimension."""
    for n in shape:
        values = values if n is None else values // max(n, 1)
    filled, rest = [], max(values, 1)
    for n in shape:
        filled.append(rest if n is None else n)
        rest = 1 if n is None else rest
    return filled
