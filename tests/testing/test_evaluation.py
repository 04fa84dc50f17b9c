"""Budgets hold the figures of a whole set of data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.report import EvaluationReport

SHIFTS = [(0, 1), (2, 0)]


def classifier(step: float = 0.0) -> Any:
    """Two means of the items; one that weighs rows differently comes in with ``step``."""

    def scores(x: torch.Tensor) -> torch.Tensor:
        weighted = (x * torch.linspace(-1, 1, x.shape[-1])).mean((1, 2, 3))
        plain = x.mean((1, 2, 3))
        return torch.stack([plain + step * weighted, 1 - plain], 1)

    return scores


def items(count: int = 12) -> torch.Tensor:
    return torch.rand(count, 1, 12, 14, generator=torch.Generator().manual_seed(0))


def evaluated(model: Any, data: Any = None, what: Any = "invariance") -> EvaluationReport:
    given = items() if data is None else data
    return shiftcheck.evaluate(model, given, what, shifts=SHIFTS, progress=False)


@pytest.fixture
def held(tmp_path: Path) -> Callable[..., EvaluationReport]:
    """Asks for a budget in a file of this test."""

    def ask(report: EvaluationReport, *, update: bool = False) -> EvaluationReport:
        with shiftcheck.budget_file(tmp_path / "budgets.json", update=update):
            return shiftcheck.assert_within_budget(report, "digits")

    return ask


def test_what_was_stored_is_within_and_what_is_worse_is_not(
    held: Callable[..., EvaluationReport],
) -> None:
    report = evaluated(classifier(0.3))
    assert held(report, update=True) is report
    held(evaluated(classifier(0.3)))
    held(evaluated(classifier(0.1)))
    with pytest.raises(
        shiftcheck.BudgetExceededError, match=r"is exceeded at output '.* invariance"
    ):
        held(evaluated(classifier(0.4)))


def test_a_single_item_that_got_worse_is_seen(held: Callable[..., EvaluationReport]) -> None:
    def model(worse: float) -> Callable[[torch.Tensor], torch.Tensor]:
        def run(x: torch.Tensor) -> torch.Tensor:
            places = torch.linspace(0, 1, 14)
            return x + 0.1 * x * places + worse * (x > 2) * x * places

        return run

    data = items(200)
    data[7] += 2
    asked: dict[str, Any] = {"shifts": SHIFTS, "progress": False}
    held(shiftcheck.evaluate(model(0.0), data, **asked), update=True)
    with pytest.raises(shiftcheck.BudgetExceededError, match="'largest equivariance of output'"):
        held(shiftcheck.evaluate(model(0.2), data, **asked))


def test_other_data_other_shifts_and_other_questions_are_not_compared(
    held: Callable[..., EvaluationReport],
) -> None:
    model = classifier(0.3)
    held(evaluated(model), update=True)
    for other in (
        evaluated(model, items(13)),
        evaluated(model, what=["invariance", "classes"]),
        shiftcheck.evaluate(model, items(), "invariance", shifts=SHIFTS[:1]),
        shiftcheck.evaluate(model, items(), "invariance", shifts=SHIFTS, fill="zeros"),
    ):
        with pytest.raises(shiftcheck.InputError, match="other circumstances"):
            held(other)


class Corrupt(torch.utils.data.Dataset[torch.Tensor]):
    """Eight items, of which one cannot be read."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, number: int) -> torch.Tensor:
        if number == 5:
            raise OSError("truncated")
        return items()[number]


@pytest.mark.parametrize("update", [True, False])
def test_what_is_inconclusive_is_neither_stored_nor_within(
    held: Callable[..., EvaluationReport], *, update: bool
) -> None:
    model = classifier(0.3)
    held(evaluated(model), update=True)
    constant = nn.Sequential(nn.Flatten(), nn.Linear(168, 4))
    nn.init.zeros_(constant[1].weight)
    cases = {
        "1 items could not be measured \\(5\\)": evaluated(model, Corrupt()),
        "is inconclusive": evaluated(constant),
        "not finite": evaluated(lambda x: model(x) / (x.mean((1, 2, 3)) > 0.5)[:, None]),
    }
    for match, report in cases.items():
        with pytest.raises(shiftcheck.InconclusiveError, match=match):
            held(report, update=update)


def test_a_mean_as_large_as_that_of_anything_is_never_stored(
    held: Callable[..., EvaluationReport],
) -> None:
    torch.manual_seed(0)
    anything = nn.Sequential(nn.Flatten(), nn.Linear(168, 4))
    with pytest.raises(shiftcheck.InconclusiveError, match="too large to mean anything"):
        held(evaluated(anything, items(1) + 0.01 * items()), update=True)


def test_another_report_is_refused() -> None:
    report: Any = shiftcheck.check_invariance(classifier(), items(2))
    with pytest.raises(shiftcheck.InputError, match="give what shiftcheck"):
        shiftcheck.assert_within_budget(report, "digits")
