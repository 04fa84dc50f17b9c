"""The smallest size: the same from any start, by a few static passes, and that of trying all."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from tests.networks.sized import NETWORKS, UNet, lenet, mobilenet
from torch import nn

import shiftcheck
from shiftcheck.checks.prepare import prepared
from shiftcheck.errors import ShiftcheckError
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.outlook import compares
from shiftcheck.lattice.sizes import Smallest
from shiftcheck.measuring import required_size
from shiftcheck.measuring.choose_shifts import choose_shifts, unit_steps
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.required_size import smallest_input
from shiftcheck.measuring.structure_pass import read_structure

STARTS = (4, 8, 16, 24, 31, 32, 48, 50, 64, 96, 100, 128, 160, 200, 224, 256)
MOST = 6
"""So many static passes at most; a bisection takes about as many for each axis alone, and more."""


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The sizes of the static passes of the search."""
    seen: list[tuple[int, ...]] = []

    def counted(model: Any, inputs: Any, **options: Any) -> Any:
        seen.append(inputs.pixels)
        return read_structure(model, inputs, **options)

    monkeypatch.setattr(required_size, "read_structure", counted)
    return seen


def smallest_from(model: Any, sizes: tuple[int, ...]) -> Smallest | None:
    """The answer of the search; raises where the model does not take the sizes."""
    given = prepared(model, torch.zeros(1, 1, *sizes), "valid")
    plan = Plan(model=given.model, inputs=given.inputs)
    shifts, _ = choose_shifts(plan)
    moved = any(any(shift) for shift in shifts)
    plan = Plan(model=given.model, inputs=given.inputs, shifts=shifts)
    return smallest_input(plan, unmoved=not moved)


@cache
def size_works(make: Callable[[], nn.Module], ndim: int, size: int) -> tuple[bool, ...]:
    """Whether one step of the outputs leaves enough along each axis, by one pass at a size."""
    x = torch.empty(1, 1, *(size,) * ndim, device="meta")
    given = prepared(make(), x, "valid", values=False)
    try:
        _, outputs, _ = read_structure(given.model, given.inputs, layer=None, training=False)
    except ShiftcheckError:
        return (False,) * ndim
    units = unit_steps([row.layout for row in outputs], given.inputs)
    assert units is not None
    return tuple(
        units[a] < size
        and all(
            isinstance(state := row.layout.axes[a], Axis) and compares(state, units[a])
            for row in outputs
        )
        for a in range(ndim)
    )


def by_trying_all(name: str, axis: int, *, until: int = 2000) -> int:
    make, ndim = NETWORKS[name]
    return next(n for n in range(1, until) if size_works(make, ndim, n)[axis])


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_answer_is_that_of_trying_every_size(name: str, passes: list[Any]) -> None:
    make, ndim = NETWORKS[name]
    least = [by_trying_all(name, axis) for axis in range(ndim)]
    period = max(
        s.lattice
        for s in axes_at(make(), (2 * max(least) // 32 * 32 + 64,) * ndim)
        if isinstance(s, Axis)
    )
    steps, searched = set(), 0
    for start in STARTS if ndim < 3 else STARTS[:5]:
        try:
            if not all(isinstance(s, Axis) for s in axes_at(make(), (start,) * ndim)):
                continue  # it is not for too few samples that nothing is told there
            works = size_works(make, ndim, start)
            passes.clear()
            answer = smallest_from(make(), (start,) * ndim)
        except ShiftcheckError:
            continue
        if all(works):
            continue
        searched += 1
        assert answer is not None
        assert answer.sizes == tuple(start if ok else n for n, ok in zip(least, works, strict=True))
        assert len(passes) <= MOST
        steps.add(answer.steps)
    if "crop" in name:
        assert not searched  # whatever it takes is large enough
        return
    assert len(steps) == 1
    for axis, step in enumerate(steps.pop()):
        beyond = range(least[axis] + 1, least[axis] + 2 * period + 1)
        every = {n for n in beyond if size_works(make, ndim, n)[axis]}
        assert every == {n for n in beyond if (n - least[axis]) % step == 0}


def axes_at(model: Any, sizes: tuple[int, ...]) -> list[Any]:
    given = prepared(model, torch.empty(1, 1, *sizes, device="meta"), "valid", values=False)
    _, outputs, _ = read_structure(given.model, given.inputs, layer=None, training=False)
    return [state for row in outputs for state in row.layout.axes]


TYPICAL: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], Smallest]] = {
    "lenet": (lenet, (12, 20, 24), Smallest(sizes=(26, 26), steps=(1, 1))),
    "mobilenet": (
        mobilenet,
        (7, 32, 64, 100, 224, 256),
        Smallest(sizes=(382, 382), steps=(1, 1)),
    ),
    "u-net": (
        lambda: UNet(5),
        (32, 64, 96, 128, 160, 224, 256),
        Smallest(sizes=(384, 384), steps=(32, 32)),
    ),
    "u-net that resizes": (
        lambda: UNet(3, "resize"),
        (24, 32, 48, 64),
        Smallest(sizes=(96, 96), steps=(8, 8)),
    ),
    "u-net that pads": (
        lambda: UNet(3, "pad"),
        (24, 32, 50, 64),
        Smallest(sizes=(94, 94), steps=(1, 1)),
    ),
}


@pytest.mark.parametrize("name", TYPICAL)
def test_few_passes_and_the_same_answer_from_every_start(name: str, passes: list[Any]) -> None:
    make, starts, expected = TYPICAL[name]
    for start in starts:
        passes.clear()
        assert smallest_from(make(), (start, start)) == expected
        assert len(passes) <= MOST


def test_unequal_axes_are_searched_together(passes: list[Any]) -> None:
    assert smallest_from(UNet(4), (128, 160)) == Smallest(sizes=(192, 192), steps=(16, 16))
    assert len(passes) <= MOST
    assert smallest_from(UNet(4), (128, 224)) == Smallest(sizes=(192, 224), steps=(16, 16))
    make, _ = NETWORKS["unlike axes"]
    passes.clear()
    assert smallest_from(make(), (12, 16)) == Smallest(sizes=(27, 17), steps=(1, 1))
    assert len(passes) <= MOST


class Embedded(nn.Module):
    """With a position embedding for one size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.table = nn.Conv2d(1, 1, 31, padding=15), nn.Parameter(torch.ones(24, 24))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) + self.table  # type: ignore[no-any-return]


def test_a_size_that_the_weights_fix_takes_three_passes(passes: list[Any]) -> None:
    assert smallest_from(Embedded(), (24, 24)) is None
    assert len(passes) <= 3


def test_what_sees_the_whole_axis_takes_one_pass(passes: list[Any]) -> None:
    assert smallest_from(nn.InstanceNorm2d(1), (24, 24)) is None
    assert len(passes) == 1


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("start", [31, 33, 48, 66, 100, 129])
def test_no_size_from_which_on_it_works_is_named_where_there_is_none(
    align: bool, start: int
) -> None:
    """The samples are as many at every size: 127 may work and 128 not."""
    model = nn.Upsample(size=64, mode="bilinear", align_corners=align)
    x = torch.randn(1, 1, start, start, generator=torch.Generator().manual_seed(0))
    report = shiftcheck.check_equivariance(model, x)
    assert "at least" not in " ".join(line for line in str(report).split("\n") if "input" in line)
    assert report.needed is None


def test_what_is_said_of_larger_sizes_is_so() -> None:
    torch.manual_seed(1)  # some weights leave nothing of so few channels
    model, x = UNet(2), torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    report = shiftcheck.check_equivariance(model, x, shifts=[(4, 0), (0, 4)])
    assert report.needed == (52, 52)
    assert report.needed_steps == (4, 4)
    assert "give a larger input: at least 52 x 52, in steps of 4" in " ".join(str(report).split())
    again = shiftcheck.Report.from_json(report.to_json())
    assert again.needed_steps == (4, 4)
    for n in (52, 56, 104):
        larger = torch.randn(1, 1, n, n, generator=torch.Generator().manual_seed(0))
        passed = shiftcheck.check_equivariance(model, larger, shifts=[(4, 0), (0, 4)])
        assert passed.verdict is shiftcheck.Verdict.EQUIVARIANT
