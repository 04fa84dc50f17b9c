"""Passes that tell nothing more are not run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.measuring.batched import measure, measure_agreeing
from shiftcheck.measuring.effort import Ledger, counted
from shiftcheck.measuring.passes import Passes
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.signals.read_arguments import read_inputs
from shiftcheck.tracing.modules import modules_of
from shiftcheck.tracing.restoring.state import preserved
from shiftcheck.tracing.traced import Traced

SIZE = 24
SHIFTS = ((1, 0), (0, 1), (2, 1))


def plan_of(model: nn.Module, **options: object) -> Plan:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1, SIZE, SIZE, generator=generator)
    inputs = read_inputs(x, boundary=options.pop("boundary", "valid"), spatial_dims=None)
    return Plan(model=model.eval(), inputs=inputs, shifts=SHIFTS, shifts_given=True, **options)  # type: ignore[arg-type]


@contextmanager
def passes_of(plan: Plan) -> Iterator[tuple[Passes, Ledger]]:
    modules = modules_of(plan.model)
    with (
        counted() as ledger,
        preserved(modules, plan.inputs.tensors, training=False, model=plan.model) as originals,
    ):
        yield Passes(plan, originals), ledger


def signals(ledger: Ledger) -> float:
    return ledger.values / SIZE**2


def test_copies_of_what_leaves_nothing_do_not_run() -> None:
    torch.manual_seed(0)
    wide = nn.Conv2d(1, 1, 2 * SIZE + 1, padding=SIZE)
    with passes_of(plan_of(wide)) as (passes, ledger):
        assert measure_agreeing(passes) is None
    assert signals(ledger) == 1


def test_nor_where_one_output_of_several_leaves_nothing() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.near = nn.Conv2d(1, 1, 3)
            self.far = nn.Conv2d(1, 1, 2 * SIZE + 1, padding=SIZE)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.near(x), self.far(x)

    torch.manual_seed(0)
    with passes_of(plan_of(Two())) as (passes, ledger):
        assert measure_agreeing(passes) is None
    assert signals(ledger) == 1


def test_copies_of_what_leaves_something_do() -> None:
    with passes_of(plan_of(nn.Conv2d(1, 1, 3, padding=1))) as (passes, ledger):
        assert measure_agreeing(passes) is not None
    assert signals(ledger) == 1 + len(SHIFTS)


@pytest.mark.parametrize("circular_padding", [False, True])
def test_x_runs_in_a_batch_only_where_that_may_tell_something(circular_padding: bool) -> None:
    torch.manual_seed(0)
    broken = nn.Sequential(
        nn.Conv2d(1, 1, 3, padding=1), nn.MaxPool2d(2), nn.Upsample(scale_factor=2)
    )
    signals_of = {}
    errors = {}
    for alike in (False, True):
        plan = plan_of(
            broken,
            boundary="circular",
            circular_padding=circular_padding,
            alike_in_a_batch=alike,
        )
        with passes_of(plan) as (passes, ledger):
            (entry,) = measure(passes).outputs.values()
        signals_of[alike] = signals(ledger)
        errors[alike] = [gap.relative for gap in entry.gaps]
    assert signals_of[True] == 1 + len(SHIFTS) < signals_of[False]
    assert errors[True] == pytest.approx(errors[False], rel=1e-5)
    assert max(errors[True]) > 0.1


class Far(nn.Module):
    """Sees 13 pixels to each side, padded by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 27, padding=13)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.layer(x)
        return y


@pytest.mark.parametrize("few", [0, 2**18])
def test_a_trial_that_cannot_be_ended_is_not_begun(
    few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shiftcheck.measuring.effort.FEW", few)
    monkeypatch.setattr("shiftcheck.measuring.effort.TIMES", 1)
    torch.manual_seed(0)
    sizes: list[int] = []
    run = Passes.run

    def watched(self: Passes, values: list[torch.Tensor], *args: Any, **options: Any) -> Traced:
        sizes.append(values[0].shape[-1])
        return run(self, values, *args, **options)

    monkeypatch.setattr(Passes, "run", watched)
    report = shiftcheck.check_equivariance(Far(), torch.randn(1, 1, SIZE, SIZE))
    assert report.needed is not None
    tried = [trial.change.size for trial in report.trials if trial.change.size]
    untried = [change.size for change in report.untried if change.size]
    assert (tried, untried) == (([report.needed], []) if few else ([], [report.needed]))
    assert (max(sizes) > SIZE) == bool(few)
