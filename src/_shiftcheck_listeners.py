"""Who is told what each check found, and where budgets are kept; without importing the package.

This module stands beside the package because importing the package imports torch, and a pytest run
that uses no check shall not pay for that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shiftcheck.report.base import AnyReport
    from shiftcheck.testing.budgets import OpenBudgets, Ruling


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one call of a check found; ``ruling`` is that of its budget, where it had one.

    ``passed``: whether that was good enough, where the verdict alone does not tell.
    """

    report: AnyReport
    ruling: Ruling | None = None
    passed: bool | None = None


Listener = Callable[[Outcome], None]

listeners: list[Listener] = []
"""The last one is told: a pytest run inside another one keeps its checks to itself."""

budget_files: list[Callable[[], OpenBudgets]] = []
"""The last one counts; each opens its file when a budget is asked for, not before."""


def tell(outcome: Outcome) -> None:
    """Tell the listener that came last, if there is one."""
    if listeners:
        listeners[-1](outcome)
