"""What every judgement does: the worst verdict counts, and a constant output has its reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from shiftcheck.report.causes import Cause
from shiftcheck.report.reasons import Reason


class Judged(Protocol):
    """A frozen record with a verdict of some check."""

    @property
    def verdict(self) -> Any:
        """The verdict, None where nothing was judged."""

    @property
    def reason(self) -> Reason:
        """Why."""


def worst(records: Iterable[Judged], order: Sequence[Any]) -> tuple[Any, Reason] | None:
    """The verdict that comes first in an order, with the reason of the first that has it."""
    known = list(records)
    for verdict in order:
        for record in known:
            if record.verdict is verdict:
                return verdict, record.reason
    return None


class Output(Protocol):
    """An output with what was found under each shift."""

    @property
    def reason(self) -> Reason:
        """Why its verdict is what it is."""

    @property
    def shifts(self) -> Sequence[Any]:
        """The results of the shifts."""


Some = TypeVar("Some", bound=Output)

SATURATING = ("sigmoid", "tanh", "softmax", "softsign", "relu6", "clamp", "clip", "erf")
"""In the names of what gives nearly one value for all inputs beyond some size."""


def saturates(op: str) -> bool:
    """Whether an operation gives nearly one value for all inputs beyond some size."""
    return any(word in op.lower() for word in SATURATING)


def with_reason(output: Some, reason: Reason) -> Some:
    """The output with a better reason, and those of its shifts that have the same one."""
    shifts = tuple(
        replace(s, reason=reason) if s.reason == output.reason else s for s in output.shifts
    )
    record: Any = output
    changed: Some = replace(record, reason=reason, shifts=shifts)
    return changed


def affects(cause: Cause, shift: Sequence[float]) -> bool:
    """Whether a shift moves along the axis of a cause, and is none of its period's multiples."""
    moved = [v for a, v in enumerate(shift) if v and cause.axis in (None, a)]
    return any(cause.period is None or v % cause.period for v in moved)
