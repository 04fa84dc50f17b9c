"""Following tensors through a forward pass: names of layers, and geometry on the right tensor."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import Verdict


def x(*shape: int) -> torch.Tensor:
    return torch.randn(*(shape or (2, 3, 14, 16)), generator=torch.Generator().manual_seed(0))


def names(model: Any, *shape: int) -> list[str]:
    return [row.name for row in shiftcheck.geometry(model, x(*shape))]


class Block(nn.Module):
    """Leaf modules, functions in between, and a name that a function would take."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.conv(x))
        y = F.relu(y + x)
        return F.relu_(y) * 2


class Net(nn.Module):
    """Two blocks and a function around them."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.blocks(x))


def test_rows_are_leaf_modules_and_functions_in_order() -> None:
    inner = ["conv", "relu", "add", "relu_1", "relu_2", "mul"]
    expected = [f"blocks.{i}.{name}" for i in (0, 1) for name in inner] + ["tanh"]
    assert names(Net()) == expected


def test_layer_takes_modules_blocks_and_functions() -> None:
    for layer in ("blocks.0", "blocks.0.add", "blocks.1.conv", "blocks"):
        report = shiftcheck.check_equivariance(Net(), x(), layer=layer)
        assert report.verdict is Verdict.EQUIVARIANT, layer
        assert not any(row.name == "tanh" for row in report)


def test_parametrizations_are_part_of_the_leaf() -> None:
    conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 2, 3))
    assert names(nn.Sequential(conv)) == ["0"]


def test_several_outputs_of_one_operation() -> None:
    assert names(lambda x: x.chunk(3, 1)[0] + x.chunk(3, 1)[1]) == [
        "chunk[0]",
        "chunk[1]",
        "chunk[2]",
        "chunk_1[0]",
        "chunk_1[1]",
        "chunk_1[2]",
        "add",
    ]


def ramp(x: torch.Tensor) -> torch.Tensor:
    return torch.linspace(0, 1, x.shape[-1])


def writes_a_view(x: torch.Tensor) -> torch.Tensor:
    y = x * 1
    y[..., :1] = 0
    return y


def writes_through_an_alias(x: torch.Tensor) -> torch.Tensor:
    y = x * 1
    flat = y.view(y.shape[0], -1)
    flat.add_(torch.linspace(0, 1, flat.shape[1]))
    return y


def adds_a_ramp_in_place(x: torch.Tensor) -> torch.Tensor:
    y = x * 1
    y += ramp(x)
    return y


def writes_out(x: torch.Tensor) -> torch.Tensor:
    y = torch.empty_like(x)
    torch.add(x, ramp(x), out=y)
    return y


def copies_into_a_buffer(x: torch.Tensor) -> torch.Tensor:
    buffer = torch.zeros(x.shape)
    buffer.copy_(x + ramp(x))
    return buffer * 1


def indexes(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y[:, :, 0, 0] = 5.0
    return y


def swaps_memory(x: torch.Tensor) -> torch.Tensor:
    y = x * 1
    y.set_((x + ramp(x)).untyped_storage(), 0, y.shape, y.stride())
    return y


def through_numpy(x: torch.Tensor) -> torch.Tensor:
    return x + torch.from_numpy(x.numpy() * ramp(x).numpy())


def through_a_list(x: torch.Tensor) -> torch.Tensor:
    return torch.tensor(x.tolist()) * ramp(x) + x


def by_a_number(x: torch.Tensor) -> torch.Tensor:
    return x * float(x[0, 0, 0, 0])


SNEAKY = [
    writes_a_view,
    writes_through_an_alias,
    adds_a_ramp_in_place,
    writes_out,
    copies_into_a_buffer,
    indexes,
    swaps_memory,
    through_numpy,
    through_a_list,
    by_a_number,
]


@pytest.mark.parametrize("model", SNEAKY, ids=lambda f: f.__name__)
def test_no_way_around_the_geometry(model: Any) -> None:
    try:
        report = shiftcheck.check_equivariance(model, x())
    except shiftcheck.ShiftcheckError:
        return
    assert report.verdict is not Verdict.EQUIVARIANT


def test_geometry_is_never_attached_to_a_freed_tensors_successor() -> None:
    weights = [torch.randn(3, 3, 3, 3) for _ in range(4)]

    def model(x: torch.Tensor) -> torch.Tensor:
        total = x
        for i in range(60):
            temporary = F.conv2d(total, weights[i % 4], padding=1)
            del temporary
            gc.collect(0)
            fresh = torch.ones(x.shape) * 0.5
            total = torch.tanh(total * fresh + F.avg_pool2d(total, 3, 1, 1))
        return total

    report = shiftcheck.check_equivariance(model, x(1, 3, 126, 8), shifts=[(1, 0)])
    assert report.verdict is Verdict.EQUIVARIANT
    assert report.outputs[0].halo[0] == (60.0, 60.0)
    assert report.outputs[0].valid[0] == ((60, 66),)


def test_operations_without_a_rule_are_named() -> None:
    report = shiftcheck.check_equivariance(lambda x: x.masked_scatter(x > 0, x), x())
    assert report.reason == "unsupported operation"
    assert report.guilty is not None
    assert report.guilty.layer == "masked_scatter"
    assert "masked_scatter" in report.guilty.detail


def test_a_rule_that_is_wrong_about_shapes_is_caught() -> None:
    @shiftcheck.register_rule("aten::masked_scatter")
    def wrong(signal: Any, *_: Any) -> Any:
        return shiftcheck.rules.views.select(signal, -1, 0)

    try:
        report = shiftcheck.check_equivariance(lambda x: x.masked_scatter(x > 0, x), x())
    finally:
        shiftcheck.rules.registry._table.pop("aten::masked_scatter")
    assert report.reason == "unsupported operation"
    assert any("the rule says shape" in cause.detail for cause in report.causes)


def test_a_layer_twice_under_one_name() -> None:
    conv = nn.Conv2d(3, 3, 3, padding=1)
    assert names(nn.Sequential(conv, nn.ReLU(), conv)) == ["0", "1", "0#2"]


def test_the_modules_a_function_refers_to_are_checked_in_eval_mode() -> None:
    norm = nn.BatchNorm2d(3)
    report = shiftcheck.check_equivariance(lambda x: norm(x), x())
    assert report.verdict is Verdict.EQUIVARIANT
    assert [row.name for row in report] == ["norm"]
    assert norm.training
    assert int(norm.num_batches_tracked) == 0
