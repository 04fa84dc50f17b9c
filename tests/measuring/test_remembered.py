"""A structure is read once in a check, and anew where anything differs on which it may hang."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.checks.equivariance.tables import left_out
from shiftcheck.measuring import structure_pass
from shiftcheck.measuring.effort import Ledger, counted
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.remembered import remembering
from shiftcheck.measuring.signals.arguments import Inputs
from shiftcheck.measuring.signals.read_arguments import read_inputs
from shiftcheck.measuring.structure_pass import read_structure
from shiftcheck.report.causes import CauseKind
from shiftcheck.report.equivariance import Change
from shiftcheck.tracing.restoring.state import Originals
from shiftcheck.tracing.traced import Row


@pytest.fixture(autouse=True)
def passes() -> Iterator[Ledger]:
    """How many there were."""
    with counted() as ledger:
        yield ledger


def inputs_of(x: torch.Tensor) -> Inputs:
    return read_inputs(x, boundary="valid", spatial_dims=None)


def pools() -> nn.Module:
    """Takes every type."""
    return nn.Sequential(nn.AvgPool2d(3, 1), nn.AvgPool2d(3, 1)).eval()


X = torch.randn(1, 1, 8, 8)


def read(plan: Plan, *, computed: bool = False) -> list[Row]:
    rows, _, _ = read_structure(
        plan.model,
        plan.inputs,
        layer=plan.layer,
        training=plan.training,
        alone=plan.alone,
        computed=computed,
    )
    return rows


def test_a_failing_check_reads_the_structure_once_at_each_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    sizes: Counter[tuple[int, ...]] = Counter()

    def counting(plan: Plan, originals: Originals) -> Any:
        sizes[*plan.inputs.pixels, *plan.inputs.circular] += 1
        return without_values(plan, originals)

    without_values = structure_pass._read
    monkeypatch.setattr(structure_pass, "_read", counting)
    layers = [nn.Conv2d(1 if i == 0 else 2, 2, 9, padding=4) for i in range(5)]
    x = torch.randn(1, 1, 1100, 300)
    report = shiftcheck.check_equivariance(nn.Sequential(*layers, nn.MaxPool2d(256)), x)
    assert report.needed is not None
    assert len(sizes) > 3
    assert set(sizes.values()) == {1}


CHANGES: dict[str, Callable[[Plan], Plan]] = {
    "size": lambda p: replace(p, inputs=p.inputs.with_main(torch.randn(1, 1, 8, 9))),
    "type": lambda p: replace(p, inputs=p.inputs.with_main(X.double())),
    "strides": lambda p: replace(p, inputs=p.inputs.with_main(X.mT)),
    "circle": lambda p: replace(p, inputs=replace(p.inputs, circular=(True, True))),
    "layer": lambda p: replace(p, layer="0"),
    "training": lambda p: replace(p, training=True),
    "alone": lambda p: replace(p, alone=True),
    "gradients": lambda p: replace(p, inputs=replace(p.inputs, gradients=True)),
    "outputs": lambda p: replace(p, inputs=replace(p.inputs, outputs=(0,))),
    "model": lambda p: replace(p, model=pools()),
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_differs_is_read_anew(name: str, passes: Ledger) -> None:
    plan = Plan(model=pools(), inputs=inputs_of(X))
    with remembering():
        read(plan)
        first = read(plan)
        assert passes.passes == 1
        read(CHANGES[name](plan))
        assert passes.passes == 2
        assert read(plan) == first
        assert passes.passes == 2
    read(plan)
    assert passes.passes == 3


def test_a_shape_is_what_a_signal_of_this_shape_is(passes: Ledger) -> None:
    plan = Plan(model=pools(), inputs=inputs_of(X))
    shape = torch.empty(X.shape, device="meta")
    with remembering():
        read(plan)
        read(replace(plan, inputs=plan.inputs.with_main(shape)))
        assert passes.passes == 1


def test_what_is_read_off_values_holds_for_these_alone(passes: Ledger) -> None:
    plan = Plan(model=pools(), inputs=inputs_of(X))
    with remembering():
        for _ in range(2):
            read(plan, computed=True)
        assert passes.passes == 1
        read(replace(plan, inputs=plan.inputs.with_main(X + 1)), computed=True)
        assert passes.passes == 2


def test_what_a_caller_does_to_the_rows_is_its_own() -> None:
    plan = Plan(model=pools(), inputs=inputs_of(X))
    with remembering():
        rows = read(plan)
        count = len(rows)
        rows.clear()
        assert len(read(plan)) == count > 0


class ByValues(nn.Module):
    """Its stride hangs on a value, so that nothing is told without values."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[..., :: 1 + int(x.mean() > 0)]


def test_what_a_real_run_told_is_not_kept() -> None:
    plan, shapes = Plan(model=ByValues(), inputs=inputs_of(X)), []
    with remembering():
        for x in (X.abs(), -X.abs()):
            rows = read(replace(plan, inputs=plan.inputs.with_main(x)))
            shapes.append(rows[-1].layout.shape)
    assert shapes == [(1, 1, 8, 4), (1, 1, 8, 8)]


class Table(nn.Module):
    """Adds a table, or nothing where all of it is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, 1, 8, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.table


def test_nothing_is_known_of_a_model_that_is_changed_in_its_place(passes: Ledger) -> None:
    model = Table()
    plan = Plan(model=model, inputs=inputs_of(X))
    with remembering():
        before = kinds(plan)
        with left_out(plan, Change(constants=("table",))):
            without = kinds(plan)
        after = kinds(plan)
    assert CauseKind.POSITION in before
    assert CauseKind.POSITION not in without
    assert after == before
    assert passes.passes == 2


def kinds(plan: Plan) -> list[CauseKind]:
    causes = read(plan, computed=True)[-1].layout.causes
    return [cause.kind for cause in causes if not cause.latent]
