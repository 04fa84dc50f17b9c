"""Over a set of data each item gives what it gives in a check by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.checks.evaluation import check, comparing
from shiftcheck.datasets import digits, standardise
from shiftcheck.models import lenet
from shiftcheck.report import Reason

DIGITS = standardise(digits()[0])


def pairs_of(
    monkeypatch: pytest.MonkeyPatch, *args: Any, **kwargs: Any
) -> dict[tuple[str, str, int, tuple[float, ...]], float | Reason]:
    """Every answer of an evaluation, by quantity, output, item and shift."""
    found = {}

    def listening(what: str, output: str, op: str, pairs: Sequence[Any], **more: Any) -> Any:
        found.update({(what, output, item, shift): v for item, shift, v in pairs})
        return tally_of(what, output, op, pairs, **more)

    tally_of = comparing.tally_of
    monkeypatch.setattr(comparing, "tally_of", listening)
    check.evaluate(*args, **kwargs)
    return found


class TwoOutputs(nn.Module):
    """A network with padding, a stride, and outputs of two sizes, one of which breaks."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 5, padding=2)
        self.second = nn.Conv2d(4, 3, 3, stride=2, padding=1)
        self.place = nn.Parameter(torch.linspace(0, 1, 28)[:, None].expand(28, 28).clone())

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = self.first(x).relu()
        return {"small": self.second(y), "placed": y + self.place}


def assert_equivariance_agrees(
    found: dict[Any, float | Reason], model: nn.Module, items: int, **kwargs: Any
) -> None:
    for item in range(items):
        shifts = sorted({key[3] for key in found if key[2] == item})
        report = shiftcheck.check_equivariance(
            model, DIGITS[item : item + 1], shifts=shifts, measure="outputs", **kwargs
        )
        for output in report.outputs:
            for result in output.shifts:
                mine = found["equivariance", output.name, item, result.shift]
                if isinstance(mine, Reason):
                    assert result.reason == mine
                else:
                    assert result.relative_error == pytest.approx(mine, rel=1e-4, abs=2e-6)


@pytest.mark.parametrize("boundary", ["valid", "circular"])
def test_gaps_are_those_of_the_check(monkeypatch: pytest.MonkeyPatch, boundary: str) -> None:
    torch.manual_seed(0)
    model = TwoOutputs()
    kwargs = {"boundary": boundary, "seed": 3}
    found = pairs_of(monkeypatch, model, DIGITS[:6], max_shift=5, batch_size=4, **kwargs)
    assert len(found) == 6 * 2 * 4
    assert_equivariance_agrees(found, model, 6, **kwargs)


def test_distances_are_those_of_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lenet(pretrained=True)
    shifts = [(0, 1), (3, -2)]
    what = ["invariance", "classes"]
    found = pairs_of(
        monkeypatch, model, DIGITS[:6], what, shifts=shifts, fill="zeros", batch_size=5
    )
    for item in range(6):
        report = shiftcheck.check_invariance(
            model, DIGITS[item : item + 1], shifts=shifts, fill="zeros"
        )
        for result in report.outputs[0].shifts:
            distance = found["invariance", "output", item, result.shift]
            assert result.distance == pytest.approx(distance, rel=1e-5)
            assert result.top1_agreement == 1.0 - found["classes", "output", item, result.shift]


def many(count: int) -> torch.Tensor:
    """The fifty digits again and again, each time with other noise."""
    noise = torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    return DIGITS.repeat(-(-count // 50), 1, 1, 1)[:count] + 0.1 * noise


@pytest.mark.slow
def test_two_hundred_digits_have_the_gaps_and_distances_of_the_checks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(1)
    images, model = many(200), TwoOutputs()
    found = pairs_of(monkeypatch, model, images, draws=2, max_shift=4, batch_size=32)
    assert len(found) == 200 * 2 * 2
    for (_, name, item, shift), value in found.items():
        if name == "['small']":
            continue
        report = shiftcheck.check_equivariance(
            model, images[item : item + 1], shifts=[shift], measure="outputs"
        )
        for output in report.outputs:
            mine = found["equivariance", output.name, item, shift]
            assert output.shifts[0].relative_error == pytest.approx(mine, rel=1e-4, abs=2e-6)
        assert not isinstance(value, Reason)
    classifier = lenet(pretrained=True)
    shifts = [(0, 3)]
    distances = pairs_of(
        monkeypatch, classifier, images, "invariance", shifts=shifts, batch_size=32
    )
    for (_, _, item, shift), distance in distances.items():
        alone = shiftcheck.check_invariance(classifier, images[item : item + 1], shifts=[shift])
        assert alone.outputs[0].shifts[0].distance == pytest.approx(distance, rel=1e-5)
