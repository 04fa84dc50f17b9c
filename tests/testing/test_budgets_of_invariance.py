"""Error budgets of invariance: a classifier of photographs may not get worse than it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import InconclusiveError, InputError, NotInvariantError
from shiftcheck.report import InvarianceVerdict


class Weighted(nn.Module):
    """A mean over all places, in which the first rows count more."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular")
        self.weight = weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = 1 + self.weight * (torch.arange(x.shape[-2]) < 2)[:, None]
        return (self.conv(x).relu() * weights).mean((2, 3))


X = torch.rand(3, 1, 16, 12, generator=torch.Generator().manual_seed(0))
X *= torch.arange(1.0, 4.0)[:, None, None, None]
OPEN: dict[str, Any] = {"fill": "reflect", "shifts": [(1, 0), (0, 1)]}


def check(path: Path, model: Any, *, update: bool = False, **options: Any) -> Any:
    with shiftcheck.budget_file(path, update=update):
        return shiftcheck.assert_invariant(model, X, budget="it", **options)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "budgets.json"


@pytest.mark.parametrize("options", [{}, OPEN], ids=["on circles", "on photographs"])
def test_a_model_that_got_worse_is_over_its_budget(path: Path, options: dict[str, Any]) -> None:
    report = check(path, Weighted(0.2), update=True, **options)
    stored = json.loads(path.read_text())["budgets"]["it"]
    assert stored["check"] == "invariance"
    assert stored["boundary"] == " ".join(report.fill)
    error = stored["outputs"]["output"]["relative_error"]
    assert report.relative_error <= error <= report.relative_error * 1.001
    assert check(path, Weighted(0.2), **options).relative_error == report.relative_error
    with pytest.raises(NotInvariantError, match="budget 'it' is exceeded at output 'output'"):
        check(path, Weighted(2.0), **options)


def test_a_better_model_is_within_its_budget(path: Path) -> None:
    check(path, Weighted(0.2), update=True)
    assert check(path, Weighted(0.1)).verdict is InvarianceVerdict.NOT_INVARIANT
    assert check(path, Weighted(0.0)).verdict is InvarianceVerdict.INVARIANT


def test_an_output_that_moves_as_much_as_signals_differ_has_no_budget(path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    with pytest.raises(InconclusiveError, match="a shift changes it as much as another signal"):
        check(path, model, update=True)
    assert not path.exists()


def test_what_is_inconclusive_is_never_stored_nor_within(path: Path) -> None:
    with pytest.raises(InconclusiveError, match=r"inconclusive \(constant output\); that is never"):
        check(path, lambda x: 0 * x.mean((2, 3)) + 1, update=True)
    assert not path.exists()


def test_a_doubt_about_the_whole_run_counts(path: Path) -> None:
    torch.manual_seed(0)
    with pytest.raises(
        InconclusiveError, match=r"inconclusive \(nondeterministic\); that is never"
    ):
        check(path, lambda x: x.mean((2, 3)) + torch.rand(()), update=True)
    assert not path.exists()


def test_one_inconclusive_output_is_enough(path: Path) -> None:
    model = Weighted(0.2)
    with pytest.raises(InconclusiveError, match=r"'output\[1\]' is inconclusive \(dead output\)"):
        check(path, lambda x: (model(x), 0 * x.mean((2, 3))), update=True)


@pytest.mark.parametrize(
    "options",
    [
        {"fill": "zeros", "shifts": OPEN["shifts"]},
        {**OPEN, "shifts": [(1, 0)]},
        {**OPEN, "seed": 1},
    ],
)
def test_what_was_measured_otherwise_is_not_compared(path: Path, options: dict[str, Any]) -> None:
    check(path, Weighted(0.2), update=True, **OPEN)
    with pytest.raises(InputError, match="measured under other circumstances"):
        check(path, Weighted(0.2), **options)


def test_a_crop_is_a_circumstance(path: Path) -> None:
    check(path, Weighted(0.2), update=True, crop=(12, 8), shifts=[(1, 0)])
    with pytest.raises(InputError, match=r"a crop of 12x8', now .*a crop of 12x10'"):
        check(path, Weighted(0.2), crop=(12, 10), shifts=[(1, 0)])


def test_a_budget_of_equivariance_is_another_one(path: Path) -> None:
    conv = nn.Conv2d(1, 1, 3, padding=1)
    with shiftcheck.budget_file(path, update=True):
        shiftcheck.assert_equivariant(conv, X, boundary="circular", budget="it")
    assert "check" not in json.loads(path.read_text())["budgets"]["it"]
    with pytest.raises(InputError, match="check 'equivariance', now 'invariance'"):
        check(path, Weighted(0.2))


def test_a_budget_is_a_bound(path: Path) -> None:
    with pytest.raises(InputError, match="a budget is a bound that was measured"):
        check(path, Weighted(0.2), max_relative_error=0.1)


def test_rounding_alone_exceeds_no_budget(path: Path) -> None:
    report = check(path, Weighted(0.2), update=True)
    data = json.loads(path.read_text())
    output = data["budgets"]["it"]["outputs"]["output"]
    output["relative_error"] = report.relative_error * (1 - 1e-5)
    path.write_text(json.dumps(data))
    check(path, Weighted(0.2))
    output["relative_error"] *= 1 - 1e-2
    path.write_text(json.dumps(data))
    with pytest.raises(NotInvariantError):
        check(path, Weighted(0.2))
