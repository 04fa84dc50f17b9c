"""What may be spent on an explanation, and that nothing is left out unsaid."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.measuring.effort import (
    FEW,
    STATIC_PASSES,
    TIMES,
    EffortSpentError,
    Ledger,
    charge,
    counted,
    whatever_it_costs,
)


class Padded(nn.Module):
    """Broken on the torus; large enough that explaining it is not next to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 2, 3, stride=2, padding=1)
        self.second = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.second(self.first(x).relu())
        return y


def test_a_ledger_refuses_what_is_too_much() -> None:
    ledger = Ledger()
    ledger.charge(1e6)
    ledger.bound()
    ledger.charge(TIMES * 1e6)
    with pytest.raises(EffortSpentError):
        ledger.charge(FEW + 1.0)
    assert ledger.values == (1 + TIMES) * 1e6
    for _ in range(TIMES - 1 + STATIC_PASSES):
        ledger.charge(0.0)
    with pytest.raises(EffortSpentError):
        ledger.charge(0.0)


def test_what_the_verdict_hangs_on_is_never_refused() -> None:
    with counted() as ledger:
        charge([torch.zeros(10)])
        ledger.bound()
        with whatever_it_costs():
            charge([torch.zeros(FEW, dtype=torch.float64)])
        with pytest.raises(EffortSpentError):
            charge([torch.zeros(FEW)])
    assert ledger.values == 10 + 3 * FEW


def test_without_a_ledger_nothing_is_refused() -> None:
    for _ in range(100):
        charge([torch.zeros(FEW)])


@pytest.mark.parametrize("effort", ["bounded", "full"])
def test_what_is_left_out_is_told(effort: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shiftcheck.measuring.effort.TIMES", 0)
    monkeypatch.setattr("shiftcheck.measuring.effort.STATIC_PASSES", 0)
    torch.manual_seed(0)
    x = torch.randn(1, 3, 20, 24)
    report = shiftcheck.check_equivariance(
        Padded(),
        x,
        shifts=[(1, 0), (0, 1)],
        boundary="circular",
        effort=effort,  # type: ignore[arg-type]
    )
    assert report.verdict is shiftcheck.Verdict.INCONCLUSIVE or report.guilty is not None
    if effort == "full":
        assert (report.untried, report.left_out) == ((), ())
        assert report.trials
        assert "not tried" not in str(report)
    else:
        assert report.left_out
        assert "not tried: " in str(report)
        assert "effort='full'" in str(report)
        assert shiftcheck.Report.from_json(report.to_json()) == report


def test_an_effort_that_there_is_not_is_refused() -> None:
    with pytest.raises(shiftcheck.InputError, match="effort='some': give 'bounded' or 'full'"):
        shiftcheck.check_equivariance(nn.ReLU(), torch.randn(1, 1, 8, 8), effort="some")  # type: ignore[arg-type]


def test_the_same_check_tells_the_same_again() -> None:
    torch.manual_seed(0)
    model, x = Padded(), torch.randn(1, 3, 48, 48)
    one, two = (shiftcheck.check_equivariance(model, x, boundary="circular") for _ in range(2))
    assert one.to_json() == two.to_json()
