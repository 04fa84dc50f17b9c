"""The smallest input: the same from whatever size one starts, and what trying every size gives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from tests.networks.sized import NETWORKS, UNet
from torch import nn

import shiftcheck
from shiftcheck.checks.equivariance.examine import with_shifts
from shiftcheck.errors import ShiftcheckError
from shiftcheck.measuring import required_size
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.required_size import smallest_input
from shiftcheck.measuring.signals.arguments import Inputs
from shiftcheck.measuring.signals.read_arguments import read_inputs

STARTS = (32, 48, 64, 96, 100, 128, 160, 200, 224, 256)


def inputs_of(axes: int, size: int) -> Inputs:
    x = torch.empty(1, 1, *[size] * axes, device="meta")
    return read_inputs(x, boundary="valid", spatial_dims=None)


def plan_of(model: nn.Module, axes: int, size: int) -> Plan:
    plan, _ = with_shifts(Plan(model=model, inputs=inputs_of(axes, size)))
    return plan


def compares_enough(model: nn.Module, axes: int, size: int) -> bool:
    """Whether the chosen unit steps leave enough at this size, as the geometry says there."""
    try:
        report = shiftcheck.geometry(model, (1, 1, *[size] * axes))
    except ShiftcheckError:
        return False
    for output in report.outputs:
        for stride, period, runs in zip(output.stride, output.period, output.valid, strict=True):
            if stride is None or period is None or runs is None:
                return False
            step = abs(stride.numerator) // stride
            if abs(stride.numerator) >= size:
                return False
            valid = {i for start, stop in runs for i in range(start, stop)}
            pairs = sum(i + step in valid for i in valid)
            if pairs < 2 or 4 * pairs < len(valid):
                return False
    return True


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A list that grows with every pass of the search."""
    made: list[int] = []
    plain = required_size.read_structure

    def counted(*args: object, **kwargs: object) -> object:
        made.append(1)
        return plain(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(required_size, "read_structure", counted)
    return made


def answers(name: str, passes: list[int]) -> tuple[dict[int, int], int]:
    """The answer from every start that the network takes, and the most passes of one search."""
    make, axes = NETWORKS[name]
    model, least, most = make().eval(), {}, 0
    for start in STARTS if axes < 3 else STARTS[:4]:
        try:
            plan = plan_of(model, axes, start)
        except ShiftcheckError:
            continue
        passes.clear()
        smallest = smallest_input(plan, unmoved=True)
        most = max(most, len(passes))
        if smallest is not None and smallest.sizes != plan.inputs.pixels:
            least[start] = max(smallest.sizes)
    return least, most


def test_a_u_net_of_depth_five_needs_the_same_from_wherever_one_starts(passes: list[int]) -> None:
    model = UNet(5).eval()
    told = set()
    for start in (32, 64, 96, 128, 160):
        passes.clear()
        smallest = smallest_input(plan_of(model, 2, start), unmoved=True)
        assert smallest is not None
        told.add((smallest.sizes, smallest.steps))
        assert len(passes) <= 9
    assert len(told) == 1
    ((sizes, steps),) = told
    least = sizes[0]
    assert steps == (32, 32)
    assert compares_enough(model, 2, least)
    assert not any(compares_enough(model, 2, n) for n in range(least - 64, least))
    assert compares_enough(model, 2, least + 32)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_answer_is_what_trying_every_size_gives(name: str, passes: list[int]) -> None:
    make, axes = NETWORKS[name]
    least, most = answers(name, passes)
    model = make().eval()
    for start, size in least.items():
        assert compares_enough(model, axes, size), (start, size)
    if not least:
        return
    assert len(set(least.values())) == 1, least
    (size,) = set(least.values())
    works = [n for n in range(1, size) if compares_enough(model, axes, n)]
    assert not works
    assert most <= 12


def test_what_the_weights_allow_at_one_size_alone_is_told_quickly(passes: list[int]) -> None:
    class Positioned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 31, padding=15)
            self.table = nn.Parameter(torch.zeros(1, 1, 24, 24))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.conv(x) + self.table
            return y

    model = Positioned()
    plan = Plan(model=model.eval(), inputs=inputs_of(2, 24), shifts=((1, 0), (0, 1)))
    assert smallest_input(plan, unmoved=True) is None
    assert len(passes) <= 8


def test_an_axis_that_is_seen_as_a_whole_has_no_size(passes: list[int]) -> None:
    class Centred(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x - x.mean((2, 3), keepdim=True)

    plan = Plan(model=Centred(), inputs=inputs_of(2, 24), shifts=((1, 0), (0, 1)))
    smallest = smallest_input(plan, unmoved=True)
    assert smallest is None
    assert len(passes) == 1


def test_a_size_that_is_told_is_one_at_which_the_check_tells_something() -> None:
    torch.manual_seed(0)
    model = UNet(3).eval()
    report = shiftcheck.check_equivariance(model, torch.randn(1, 1, 16, 24))
    assert report.needed is not None
    assert f"in steps of {report.needed_steps[0]}" in str(report)
    again = shiftcheck.check_equivariance(model, torch.randn(1, 1, *report.needed))
    assert again.verdict is shiftcheck.Verdict.BROKEN  # by the strides, and no longer untold
