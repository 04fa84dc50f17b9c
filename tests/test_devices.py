"""Models on an accelerator: the same geometry and verdict as on the CPU."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import shiftcheck

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator"),
]

MODELS = {
    "equivariant": nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 2, 3)),
    "broken": nn.Sequential(nn.MaxPool2d(2), nn.Upsample(scale_factor=2), nn.Conv2d(3, 2, 3)),
    "global": nn.GroupNorm(1, 3),
}


@pytest.mark.parametrize("boundary", ["valid", "circular"])
@pytest.mark.parametrize("name", MODELS)
def test_as_on_the_cpu(name: str, boundary: str) -> None:
    model = MODELS[name].eval()
    x = torch.randn(1, 3, 24, 26, generator=torch.Generator().manual_seed(0))
    here = shiftcheck.check_equivariance(model, x, boundary=boundary)
    there = shiftcheck.check_equivariance(copy.deepcopy(model).cuda(), x.cuda(), boundary=boundary)
    assert (here.verdict, here.reason) == (there.verdict, there.reason)
    assert here.outputs[0].valid == there.outputs[0].valid
    assert there.device.startswith("cuda")


@pytest.mark.parametrize("boundary", ["valid", "circular"])
def test_linear_operators_as_on_the_cpu(boundary: str) -> None:
    mode = "zeros" if boundary == "valid" else "circular"
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, padding_mode=mode), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1)
    ).eval()
    x = torch.randn(2, 3, 24, 26, generator=torch.Generator().manual_seed(0))
    here = shiftcheck.as_convolution(model, x, boundary=boundary)
    there = shiftcheck.as_convolution(copy.deepcopy(model).cuda(), x.cuda(), boundary=boundary)
    assert all(p.is_cuda for p in there.parameters())
    assert torch.allclose(there.weight.cpu(), here.weight, rtol=1e-6, atol=1e-7)
    assert shiftcheck.check_linear(torch.relu, x.cuda()).verdict is shiftcheck.Linearity.NOT_LINEAR
    view = shiftcheck.operator_matrix(nn.AvgPool1d(2).cuda(), torch.randn(1, 1, 8).cuda())
    assert view.toeplitz == (2,)
