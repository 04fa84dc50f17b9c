"""Changes that may make a check pass, tried one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from shiftcheck.report.equivariance import Change


class Outcome(Protocol):
    """What became of a trial."""

    @property
    def works(self) -> bool:
        """Whether the changed check passes."""


Some = TypeVar("Some", bound=Outcome)


def until_one_works(
    changes: Iterable[Change], attempt: Callable[[Change], Some | None]
) -> tuple[Some, ...]:
    """The outcome of every change up to the first that works; None is what could not be tried."""
    outcomes = []
    for change in changes:
        outcome = attempt(change)
        if outcome is not None:
            outcomes.append(outcome)
            if outcome.works:
                break
    return tuple(outcomes)
