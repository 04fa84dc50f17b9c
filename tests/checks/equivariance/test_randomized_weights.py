"""What holds for any weights, and what only for these."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import Verdict
from shiftcheck.checks.equivariance.randomized_weights import randomized_weights

X = torch.randn(1, 2, 16, 18, generator=torch.Generator().manual_seed(0))


class Embedded(nn.Module):
    """Adds a position embedding that is zero at the beginning of training."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(1, 2, 16, 18))
        self.conv = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x + self.table)  # type: ignore[no-any-return]


def test_a_break_that_these_weights_hide() -> None:
    model = Embedded()
    assert shiftcheck.check_equivariance(model, X).verdict is Verdict.EQUIVARIANT
    report = shiftcheck.check_equivariance(model, X, weights="randomized")
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.layer) == ("POSITION", "add")
    assert [(d.seed, d.verdict) for d in report.draws] == [(i, Verdict.BROKEN) for i in range(3)]
    with pytest.raises(shiftcheck.NotEquivariantError, match=r"randomised weights \(2 draws\)"):
        shiftcheck.assert_equivariant(model, X, weights="randomized", draws=2)


def test_dead_weights_say_nothing_of_the_architecture() -> None:
    model = nn.Conv2d(2, 2, 3, padding=1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    assert shiftcheck.check_equivariance(model, X).reason == "dead output"
    report = shiftcheck.assert_equivariant(model, X, weights="randomized")
    assert all(draw.verdict is Verdict.EQUIVARIANT for draw in report.draws)


def test_the_worst_draw_decides() -> None:
    class Sometimes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sign = nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.relu() * 1.0 if self.sign.item() > 0 else x * torch.arange(18.0)

    with_each = []
    for seed in range(6):
        with randomized_weights([model := Sometimes()], seed):
            with_each.append(model.sign.item() > 0)
    assert len(set(with_each)) == 2
    report = shiftcheck.check_equivariance(model, X, weights="randomized", draws=6)
    verdicts = [draw.verdict is Verdict.EQUIVARIANT for draw in report.draws]
    assert verdicts == with_each
    assert report.verdict is Verdict.BROKEN
    assert "the draws: " in str(report)
    assert shiftcheck.Report.from_json(report.to_json()) == report


def weights_of(model: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def test_the_own_weights_come_back() -> None:
    class Raises(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[0] > 1:
                raise ValueError("no batches")
            raise RuntimeError("nothing at all")

    for model in (nn.Conv2d(2, 2, 3), Raises(2, 2, 3)):
        before, memory = weights_of(model), [p.data_ptr() for p in model.parameters()]
        try:
            shiftcheck.check_equivariance(model, X, weights="randomized")
        except shiftcheck.ModelError:
            assert isinstance(model, Raises)
        assert [p.data_ptr() for p in model.parameters()] == memory
        assert all(map(torch.equal, weights_of(model), before))


def test_draws_differ_and_come_again() -> None:
    model = nn.Conv2d(2, 2, 3)
    own = weights_of(model)

    def drawn(seed: int) -> list[torch.Tensor]:
        with randomized_weights([model], seed):
            return weights_of(model)

    assert all(map(torch.equal, drawn(1), drawn(1)))
    assert not any(map(torch.equal, drawn(1), drawn(2)))
    weight = drawn(1)[0]
    assert float(weight.std()) == pytest.approx(float(own[0].std()), rel=0.5)


def test_a_shared_parameter_stays_shared_and_types_stay() -> None:
    one, two = nn.Conv2d(2, 2, 3).half(), nn.Conv2d(2, 2, 3).half()
    two.weight = one.weight
    with randomized_weights([one, two], 0):
        assert torch.equal(one.weight, two.weight)
        assert one.weight.dtype is torch.float16


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (nn.ReLU(), {"weights": "randomized"}, "weights='randomized': the model has no param"),
        (nn.Conv2d(2, 2, 3), {"weights": "random"}, "weights='random': give 'own' or 'random"),
        (nn.Conv2d(2, 2, 3), {"draws": 0}, "draws=0: give a whole number of at least 1"),
        (nn.Conv2d(2, 2, 3), {"draws": True}, "draws=True: give a whole number"),
    ],
)
def test_bad_input(model: nn.Module, options: dict[str, Any], words: str) -> None:
    with pytest.raises(shiftcheck.InputError, match=words.replace("(", r"\(")):
        shiftcheck.check_equivariance(model, X, **options)
