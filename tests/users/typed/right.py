"""What a user writes who has a type checker: all of it passes, in strict mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import torch
from torch import nn

import shiftcheck
from shiftcheck import Report, Verdict
from shiftcheck.report import InvarianceReport, LayerResult, LinearityReport, Reason
from shiftcheck.rules import Layout, pointwise


def checked(model: nn.Module, x: torch.Tensor) -> list[str]:
    report = shiftcheck.check_equivariance(model, x, shifts=[(1, 0), (0, 2)], boundary="circular")
    assert_type(report, Report)
    assert_type(report.reason, Reason)
    assert_type(report.layers, tuple[LayerResult, ...])
    if report.verdict is Verdict.EQUIVARIANT:
        return []
    for layer in report.layers:
        if layer.error is not None and layer.error > 1e-3:
            assert_type(layer.name, str)
    return [cause.kind for cause in report.causes if not cause.latent]


def asserted(model: nn.Module, x: torch.Tensor, photos: torch.Tensor) -> None:
    report = shiftcheck.assert_equivariant(model, x, layer="conv", budget="known", grow=(64, 64))
    assert_type(report.to_json(indent=None), str)
    assert_type(Report.from_json(report.to_json()), Report)
    report.to_html(Path("report.html"))
    invariance = shiftcheck.assert_invariant(model, photos, max_relative_error=0.5, crop=(56, 64))
    assert_type(invariance, InvarianceReport)
    assert_type(shiftcheck.check_linear(model, x), LinearityReport)


def told(model: nn.Module, x: torch.Tensor) -> str:
    try:
        shiftcheck.assert_equivariant(model, {"image": x, "time": 3}, fixed=("time",))
    except shiftcheck.NotEquivariantError as error:
        return str(error)
    except shiftcheck.InconclusiveError as error:
        return f"cannot be told: {error}"
    return ""


def structure(model: nn.Module) -> tuple[float | None, ...]:
    rows = shiftcheck.geometry(model, (1, 3, 64, 64)).outputs
    return rows[0].receptive_field


def in_tiles(model: nn.Module, x: torch.Tensor) -> Any:
    plan = shiftcheck.tiling(model, x, tile=64)
    assert_type(plan, shiftcheck.TilingPlan)
    assert_type(shiftcheck.tiled(model, plan), shiftcheck.TiledModel)
    return shiftcheck.tiled(model, plan)(x)


def moved(x: torch.Tensor) -> torch.Tensor:
    return shiftcheck.shift(x, (1, -2), fill="reflect")


@shiftcheck.register_rule("mylib::swish", law="1 -> 1")
def swish(x: Layout) -> Layout:
    return pointwise(x)


@shiftcheck.parametrize_with_layers(nn.ReLU(), (1, 1, 8, 8))
def test_layer(layer: str) -> None:
    assert layer


def by_name() -> None:
    test_layer("conv")


def digits() -> nn.Module:
    network = shiftcheck.models.lenet(pretrained=True)
    assert_type(network, shiftcheck.models.LeNet)
    assert_type(network.conv1, nn.Conv2d)
    return network


def with_a_budget(model: nn.Module, x: torch.Tensor) -> None:
    with shiftcheck.budget_file("budgets.json", update=True):
        shiftcheck.assert_equivariant(model, x, budget="mine")
