"""Changes that may make a check pass, tried one after another as long as that may cost more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from shiftcheck.measuring.effort import EffortSpentError
from shiftcheck.report.equivariance import Change
from shiftcheck.report.left_out import LeftOut


class Outcome(Protocol):
    """What became of a trial."""

    @property
    def works(self) -> bool:
        """Whether the changed check passes."""


Some = TypeVar("Some", bound=Outcome)


@dataclass(frozen=True, kw_only=True)
class Trials(Generic[Some]):
    """What was tried, the changes for which nothing was left to spend, and what else was not."""

    outcomes: tuple[Some, ...] = ()
    untried: tuple[Change, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def until_one_works(
    changes: Iterable[Change], attempt: Callable[[Change], Some | None]
) -> Trials[Some]:
    """The outcome of every change up to the first that works; None is what could not be tried."""
    outcomes: list[Some] = []
    untried: list[Change] = []
    left_out: tuple[LeftOut, ...] = ()
    try:
        for change in changes:
            try:
                outcome = attempt(change)
            except EffortSpentError:
                untried.append(change)
                continue
            if outcome is not None:
                outcomes.append(outcome)
                if outcome.works:
                    untried = []
                    break
    except EffortSpentError:  # what to try next is found by passes, too
        left_out = (LeftOut.FURTHER_CHANGES,)
    return Trials(outcomes=tuple(outcomes), untried=tuple(untried), left_out=left_out)
