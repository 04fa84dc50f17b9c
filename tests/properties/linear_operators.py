"""Random linear operators, equivariant with some period, on the plane, the torus and cylinders."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch
from torch import nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
LINEAR_RESIZES = ("linear", "bilinear", "trilinear")


class Roll(nn.Module):
    """Turn one axis of the circle."""

    def __init__(self, steps: int, axis: int) -> None:
        super().__init__()
        self.steps, self.axis = steps, axis

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.roll(x, self.steps, self.axis + 2)


class Residual(nn.Module):
    """The signal and what a layer makes of it, added."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)


class Padded(nn.Module):
    """Different padding on each side, before a layer."""

    def __init__(self, pads: list[int], mode: str, inner: nn.Module) -> None:
        super().__init__()
        self.pads, self.mode, self.inner = pads, mode, inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(nn.functional.pad(x, self.pads, mode=self.mode))


@dataclass(frozen=True)
class Case:
    model: nn.Module
    x: torch.Tensor
    boundary: str | tuple[str, ...]


def operator(seed: int, *, dtype: torch.dtype = torch.float64) -> Case:
    """The operator of a seed with a signal that its strides divide."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    axes = draw.choice((1, 2, 2, 3))
    circular = draw.random() < 0.4
    channels = draw.randint(1, 3)
    base = 24 if axes == 1 else 12
    sizes = [base * draw.randint(1, 2 if axes < 3 else 1) for _ in range(axes)]
    if not circular:
        sizes = [n + draw.randint(0, 4) for n in sizes]
    layers, width = [], channels
    left = 4 if circular else 3  # how much stride there may still be
    for _ in range(draw.randint(1, 3)):
        layer, width, stride = _layer(draw, axes, width, circular, left)
        left //= stride
        layers.append(layer)
    model = nn.Sequential(*layers).to(dtype).eval()
    x = torch.randn(draw.randint(1, 2), channels, *sizes, dtype=dtype)
    return Case(model, x, "circular" if circular else "valid")


def _layer(
    draw: random.Random, axes: int, width: int, circular: bool, left: int
) -> tuple[nn.Module, int, int]:
    kinds = ["conv"] * 4 + ["norm", "residual"]
    kinds += ["roll", "nearest"] if circular else ["transposed", "pool", "resize", "padded"] * 2
    kind = draw.choice(kinds)
    if kind == "norm":
        return _norm(axes, width), width, 1
    if kind == "residual":
        return Residual(_same(axes, width, circular)), width, 1
    if kind == "roll":
        return Roll(draw.randint(1, 5), draw.randrange(axes)), width, 1
    if kind == "nearest":
        return nn.Upsample(scale_factor=2), width, 1
    if kind == "resize":
        mode = draw.choice(("nearest", LINEAR_RESIZES[axes - 1]))
        return nn.Upsample(scale_factor=draw.choice((2, 3)), mode=mode), width, 1
    if kind == "pool":
        stride = draw.randint(1, min(2, left))
        return POOLS[axes - 1](2, stride=stride), width, stride
    if kind == "transposed":
        layer, wide = _transposed(draw, axes, width)
        return layer, wide, 1
    layer, wide, stride = _conv(draw, axes, width, circular, left)
    if kind == "padded":
        pads = [draw.randint(0, 2) for _ in range(2 * axes)]
        layer = Padded(pads, draw.choice(("reflect", "replicate", "constant")), layer)
    return layer, wide, stride


def _conv(
    draw: random.Random, axes: int, width: int, circular: bool, left: int
) -> tuple[nn.Module, int, int]:
    groups = draw.choice([g for g in (1, 1, width) if g])
    wide = groups * draw.randint(1, 3)
    kernel = tuple(draw.randint(1, 4) for _ in range(axes))
    dilation = tuple(draw.choice((1, 1, 2)) for _ in range(axes))
    stride = draw.choice([s for s in (1, 1, 2) if s <= left])
    steps = tuple(draw.choice((1, stride)) for _ in range(axes))
    padding = tuple(
        (k - 1) * d // 2 if circular else draw.randint(0, (k - 1) * d)
        for k, d in zip(kernel, dilation, strict=True)
    )
    if circular:  # on the torus, kernels of one parity keep the size
        kernel = tuple(k | 1 for k in kernel)
        padding = tuple((k - 1) * d // 2 for k, d in zip(kernel, dilation, strict=True))
    layer = CONVOLUTIONS[axes - 1](
        width,
        wide,
        kernel,
        stride=steps,
        dilation=dilation,
        padding=padding,
        groups=groups,
        bias=draw.random() < 0.5,
        padding_mode="circular" if circular else "zeros",
    )
    return layer, wide, max(steps)


def _transposed(draw: random.Random, axes: int, width: int) -> tuple[nn.Module, int]:
    wide = draw.randint(1, 3)
    stride = tuple(draw.randint(1, 3) for _ in range(axes))
    kernel = tuple(draw.randint(1, 4) for _ in range(axes))
    more = tuple(draw.randint(0, s - 1) for s in stride)
    padding = tuple(draw.randint(0, k - 1) for k in kernel)
    layer = TRANSPOSED[axes - 1](
        width,
        wide,
        kernel,
        stride=stride,
        padding=padding,
        output_padding=more,
        bias=draw.random() < 0.5,
    )
    return layer, wide


def _norm(axes: int, width: int) -> nn.Module:
    norm = NORMS[axes - 1](width)
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
        norm.weight.normal_()
        norm.bias.normal_()
    return norm


def _same(axes: int, width: int, circular: bool) -> nn.Module:
    mode = "circular" if circular else "zeros"
    return CONVOLUTIONS[axes - 1](width, width, 3, padding=1, padding_mode=mode)


def relative_gap(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest gap of a channel over its largest magnitude."""
    gap = (one - other).abs().movedim(1, 0).flatten(1).amax(1)
    size = one.abs().movedim(1, 0).flatten(1).amax(1)
    return float(torch.where(size > 0, gap / size, gap * math.inf).nan_to_num(0.0).max())
