"""Quantised networks: every sample is rounded by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.ao.quantization.fx import _decomposed  # registers operations

import shiftcheck
from shiftcheck import Verdict

assert _decomposed
X = torch.randn(1, 4, 16, 18, generator=torch.Generator().manual_seed(0))
torch.manual_seed(0)
CONV = nn.Conv2d(4, 4, 3, padding=1)
STEPS = torch.tensor([0.05, 0.1, 0.2, 0.15])
ZEROS = torch.zeros(4, dtype=torch.int32)
EXPORTED: Any = torch.ops.quantized_decomposed


def stepped(x: torch.Tensor, steps: torch.Tensor, dim: int) -> torch.Tensor:
    zeros = torch.zeros(len(steps), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(x, steps, zeros, dim, -128, 127)


GOOD: dict[str, Callable[[torch.Tensor], Any]] = {
    "there and back": lambda x: torch.quantize_per_tensor(x, 0.1, 3, torch.qint8).dequantize(),
    "as tensors": lambda x: torch.quantize_per_tensor(
        x, torch.tensor(0.1), torch.tensor(0), torch.quint8
    ).dequantize(),
    "channels": lambda x: torch.quantize_per_channel(x, STEPS, ZEROS, 1, torch.qint8).dequantize(),
    "whole numbers": lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8).int_repr().float(),
    "quantised output": lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
    "faked": lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127),
    "faked by tensors": lambda x: torch.fake_quantize_per_tensor_affine(
        x, torch.tensor(0.1), torch.tensor(0, dtype=torch.int32), -128, 127
    ),
    "faked channels": lambda x: stepped(x, STEPS, 1),
    "learned": lambda x: torch._fake_quantize_learnable_per_tensor_affine(
        x, torch.tensor([0.1]), torch.tensor([0.0]), -128, 127
    ),
    "exported": lambda x: EXPORTED.dequantize_per_tensor(
        EXPORTED.quantize_per_tensor(x, 0.1, 0, -128, 127, torch.int8),
        0.1, 0, -128, 127, torch.int8,
    ),
    "exported channels": lambda x: EXPORTED.dequantize_per_channel(
        EXPORTED.quantize_per_channel(x, STEPS, ZEROS, 1, -128, 127, torch.int8),
        STEPS, ZEROS, 1, -128, 127, torch.int8,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_rounding_each_sample_is_equivariant(name: str) -> None:
    report = shiftcheck.assert_equivariant(lambda x: GOOD[name](CONV(x)), X)
    assert report.outputs[0].valid == (((1, 15),), ((1, 17),))


BROKEN: dict[str, Callable[[torch.Tensor], Any]] = {
    "steps along a spatial axis": lambda x: stepped(x, torch.linspace(0.05, 0.3, 18), 3),
    "a map of steps": lambda x: torch.fake_quantize_per_tensor_affine(
        x + torch.linspace(0, 1, 18), 0.1, 0, -128, 127
    ),
    "per channel of a spatial axis": lambda x: torch.quantize_per_channel(
        x, torch.linspace(0.05, 0.3, 16), torch.zeros(16, dtype=torch.int32), 2, torch.qint8
    ).dequantize(),
}


@pytest.mark.parametrize("name", BROKEN)
def test_steps_that_depend_on_the_place_are_found(name: str) -> None:
    report = shiftcheck.check_equivariance(BROKEN[name], X)
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert report.guilty.kind == "POSITION"


def test_a_step_from_all_values_is_global() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return torch.quantize_per_tensor_dynamic(x, torch.qint8, False).dequantize()

    report = shiftcheck.check_equivariance(model, X)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "no valid region")
    assert report.guilty is not None
    assert report.guilty.kind == "GLOBAL"
    assert shiftcheck.assert_equivariant(model, X, boundary="circular")


def test_a_module_for_training_with_rounding() -> None:
    faked = torch.ao.quantization.FakeQuantize()
    faked.disable_observer()
    assert shiftcheck.assert_equivariant(nn.Sequential(CONV, faked), X)
