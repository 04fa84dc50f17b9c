"""The law of each operation: claimed by geometry, and true in float64 at that shift only."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck

Layer = Callable[[torch.Tensor], torch.Tensor]
SIZE = 60


def conv(**options: object) -> nn.Module:
    return nn.Conv1d(2, 3, **options)  # type: ignore[arg-type]


def up(**options: object) -> nn.Module:
    return nn.ConvTranspose1d(2, 3, **options)  # type: ignore[arg-type]


def batch_norm() -> nn.Module:
    norm = nn.BatchNorm1d(2).eval()
    norm.running_mean, norm.running_var = torch.tensor([0.3, -1.0]), torch.tensor([2.0, 0.5])
    return norm


def channel_norm(x: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(x.transpose(1, 2), [2]).transpose(1, 2)


LAWS: dict[str, tuple[Layer, int, int]] = {
    "convolution": (conv(kernel_size=3), 1, 1),
    "even kernel": (conv(kernel_size=4, padding=2), 1, 1),
    "dilation": (conv(kernel_size=3, dilation=4, padding=4), 1, 1),
    "same": (conv(kernel_size=4, padding="same"), 1, 1),
    "circular mode": (conv(kernel_size=3, padding=1, padding_mode="circular"), 1, 1),
    "reflect mode": (conv(kernel_size=3, padding=1, padding_mode="reflect"), 1, 1),
    "replicate mode": (conv(kernel_size=3, padding=1, padding_mode="replicate"), 1, 1),
    "groups": (nn.Conv1d(2, 4, 3, groups=2), 1, 1),
    "batch norm": (batch_norm(), 1, 1),
    "channel layer norm": (channel_norm, 1, 1),
    "relu": (F.relu, 1, 1),
    "gelu": (F.gelu, 1, 1),
    "softmax over channels": (lambda x: x.softmax(1), 1, 1),
    "stride 2": (conv(kernel_size=3, stride=2, padding=1), 2, 1),
    "stride 3": (conv(kernel_size=2, stride=3), 3, 1),
    "max pool 2": (nn.MaxPool1d(2), 2, 1),
    "max pool 2, stride 1": (nn.MaxPool1d(2, 1), 1, 1),
    "max pool ceil": (nn.MaxPool1d(3, 2, 1, ceil_mode=True), 2, 1),
    "avg pool": (nn.AvgPool1d(3, 2, 1, count_include_pad=False), 2, 1),
    "lp pool": (nn.LPPool1d(2, 2), 2, 1),
    "patches": (conv(kernel_size=4, stride=4), 4, 1),
    "transposed 2": (up(kernel_size=3, stride=2), 1, 2),
    "transposed 2, output padding": (
        up(kernel_size=4, stride=2, padding=1, output_padding=1),
        1,
        2,
    ),
    "transposed 3": (up(kernel_size=5, stride=3, dilation=2), 1, 3),
    "adaptive average 60 to 15": (nn.AdaptiveAvgPool1d(15), 4, 1),
    "adaptive maximum 60 to 40": (nn.AdaptiveMaxPool1d(40), 3, 2),
    "every second sample": (lambda x: x[..., 1::2], 2, 1),
    "crop": (lambda x: x[..., 3:-4], 1, 1),
}


def moved(layer: Layer, v: int, w: int) -> float:
    """The largest gap between layer(S_v x) and S_w layer(x) well inside, in float64."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, 2, SIZE, dtype=torch.float64, generator=generator)
    fresh = torch.randn(1, 2, SIZE, dtype=torch.float64, generator=generator)
    shifted = torch.cat([fresh[..., :v], x[..., : SIZE - v]], dim=-1)
    with torch.no_grad():
        base, copy = layer(x), layer(shifted)
    inner = 16 * base.shape[-1] // SIZE
    size = base.shape[-1]
    here = copy[..., inner : size - inner]
    there = base[..., inner - w : size - inner - w]
    return float((here - there).abs().max())


@pytest.mark.parametrize("name", LAWS)
def test_law(name: str) -> None:
    layer, v, w = LAWS[name]
    if isinstance(layer, nn.Module):
        layer = layer.double().eval()
    out = shiftcheck.geometry(layer, torch.zeros(1, 2, SIZE, dtype=torch.float64)).outputs[0]
    assert out.stride == (Fraction(v, w),)
    assert out.period == (v,)
    assert moved(layer, v, w) < 1e-13
    for smaller in range(1, v):
        for step in range(w + 1):
            assert moved(layer, smaller, step) > 1e-6, f"{smaller} -> {step} holds as well"


NONE: dict[str, tuple[Layer, str]] = {
    "select": (lambda x: x + x[..., :1].expand(-1, -1, SIZE), "UNSUPPORTED_OP"),
    "position embedding": (lambda x: x + torch.linspace(0, 1, SIZE), "POSITION"),
    "flatten and linear": (
        lambda x: (x.flatten(1) @ torch.randn(120, 120)).view(1, 2, SIZE),
        "MIXING",
    ),
    "softmax over the axis": (lambda x: x.softmax(-1), "GLOBAL"),
    "mean over the axis": (lambda x: x * x.mean(-1, keepdim=True), "GLOBAL"),
    "layer norm over everything": (lambda x: F.layer_norm(x, [2, SIZE]), "GLOBAL"),
    "instance norm": (nn.InstanceNorm1d(2), "GLOBAL"),
    "group norm": (nn.GroupNorm(1, 2), "GLOBAL"),
    "an operation without a rule": (lambda x: torch.special.i0(x).sort(-1)[0], "UNSUPPORTED_OP"),
}


@pytest.mark.parametrize("name", NONE)
def test_no_law(name: str) -> None:
    layer, kind = NONE[name]
    report = shiftcheck.check_equivariance(layer, torch.randn(1, 2, SIZE))
    assert report.verdict is not shiftcheck.Verdict.EQUIVARIANT
    assert kind in {cause.kind for cause in report.causes}


def test_rules_agree_with_torch_on_sizes() -> None:
    for name, (layer, _, _) in LAWS.items():
        module = layer.float() if isinstance(layer, nn.Module) else layer
        for size in (24, 30, 36, 41):
            if "adaptive" in name and size % 4:
                continue
            x = torch.zeros(1, 2, size)
            with torch.no_grad():
                expected = module(x).shape
            out = shiftcheck.geometry(module, x).outputs[0]
            assert out.shape == tuple(expected), name
            assert out.stride != (None,), name
