"""What a check may spend on explaining why it does not pass, beyond what measuring has cost.

It is counted in signals and in passes, not in seconds: so the same check tells the same on every
machine, however busy that is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

TIMES = 3
"""Explaining may cost so many times what measuring has cost,"""

STATIC_PASSES = 12
"""and so many passes more."""

FEW = 2**18
"""Input values that may be spent besides: it is next to nothing."""

IN_FLOAT64 = 3.0
"""A value in float64 costs so many times one in float32: 2.5 to 3.1 for convolutions on a CPU."""


class EffortSpentError(BaseException):
    """Nothing more may be spent; no except Exception on the way catches it."""


class Ledger:
    """The passes of one check, with or without values, and the values of the signals in them."""

    def __init__(self) -> None:
        self.values, self.passes = 0.0, 0.0
        self.most_values, self.most_passes = float("inf"), float("inf")

    def charge(self, values: float, passes: float = 1.0) -> None:
        """Note a pass of so many input values; raise EffortSpentError where it is one too many.

        ``passes``: 0 for one without rules, which costs no more than its values.
        """
        self.require(values, passes)
        self.values += values
        self.passes += passes

    def require(self, values: float, passes: float = 1.0) -> None:
        """Raise EffortSpentError where passes of so many input values would be too many."""
        too_many = self.values + values > self.most_values
        if too_many or self.passes + passes > self.most_passes:
            raise EffortSpentError

    def bound(self, *, without_rules: int = 0) -> None:
        """From now on, as much again as was spent so far, three times, and twelve passes.

        ``without_rules``: so many passes needed none, and count as if they had needed them.
        """
        self.most_values = (1 + TIMES) * self.values + FEW
        self.most_passes = self.passes + TIMES * (self.passes + without_rules) + STATIC_PASSES


_open: ContextVar[Ledger | None] = ContextVar("ledger", default=None)


@contextmanager
def counted() -> Iterator[Ledger]:
    """Note the passes of this thread in a new ledger."""
    token = _open.set(Ledger())
    try:
        yield ledger()
    finally:
        _open.reset(token)


def ledger() -> Ledger:
    """The one that is open; a new one where none is."""
    return _open.get() or Ledger()


@contextmanager
def whatever_it_costs() -> Iterator[None]:
    """What is done here is noted, and never refused."""
    account = ledger()
    most = account.most_values, account.most_passes
    account.most_values = account.most_passes = float("inf")
    try:
        yield
    finally:
        account.most_values, account.most_passes = most


def charge(values: Iterable[Any] = (), passes: int = 1, share: float = 1.0) -> None:
    """Note a pass over some tensors, or without values, in the ledger that is open, if any is.

    ``share``: of the model, what it goes through.
    """
    ledger().charge(cost_of(values) * share, passes * share)


def require(values: Iterable[Any], times: int, share: float = 1.0) -> None:
    """Raise EffortSpentError where a tensor and its copies, so many in all, would cost too much."""
    ledger().require(times * cost_of(values) * share, share)


def cost_of(values: Iterable[Any]) -> float:
    """The values of some tensors, as they are counted."""
    tensors = [v for v in values if isinstance(v, torch.Tensor)]
    return sum(t.numel() * (IN_FLOAT64 if t.dtype == torch.float64 else 1.0) for t in tensors)
