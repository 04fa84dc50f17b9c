"""Networks that differ in the sizes they take and in what they need to be compared."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F


def convs(channels: int, width: int, padding: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=padding),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=padding),
        nn.ReLU(),
    )


class UNet(nn.Module):
    """Down ``depth`` times and up again; ``meet`` says how what comes up meets what was kept.

    ``"cat"`` as it is, which raises at other sizes than multiples; ``"resize"`` to its size;
    ``"pad"`` to its size; ``"crop"`` of what was kept, as in the first one.
    """

    def __init__(self, depth: int, meet: str = "cat", width: int = 2) -> None:
        super().__init__()
        self.meet = meet
        padding = 0 if meet == "crop" else 1
        self.down = nn.ModuleList(
            convs(1 if i == 0 else width, width, padding) for i in range(depth)
        )
        self.bottom = convs(width, width, padding)
        self.up = nn.ModuleList(
            nn.Upsample(scale_factor=2)
            if meet == "resize"
            else nn.ConvTranspose2d(width, width, 2, stride=2)
            for _ in range(depth)
        )
        self.joined = nn.ModuleList(convs(2 * width, width, padding) for _ in range(depth))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = []
        for block in self.down:
            x = block(x)
            kept.append(x)
            x = F.max_pool2d(x, 2)
        x = self.bottom(x)
        for up, block in zip(self.up, self.joined, strict=True):
            x = block(self.met(up(x), kept.pop()))
        return x

    def met(self, x: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        lacking = [k - n for k, n in zip(kept.shape[2:], x.shape[2:], strict=True)]
        if self.meet == "crop":
            top, left = (n // 2 for n in lacking)
            kept = kept[:, :, top : top + x.shape[2], left : left + x.shape[3]]
        elif self.meet == "pad":
            x = F.pad(x, (0, lacking[1], 0, lacking[0]))
        elif self.meet == "resize" and any(lacking):
            x = F.interpolate(x, size=kept.shape[2:])
        return torch.cat([kept, x], 1)


class Residual(nn.Module):
    """The first layers of a ResNet, and two strided blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 2, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2, 2, 3, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 3, 1, 1))
            for _ in range(2)
        )
        self.short = nn.ModuleList(nn.Conv2d(2, 2, 1, 2) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block, short in zip(self.blocks, self.short, strict=True):
            x = block(x) + short(x)
        return x


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.MaxPool2d(2)
    )


def mobilenet() -> nn.Module:
    """The strides and paddings of MobileNetV1, two channels wide."""
    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
    layers = [nn.Conv2d(1, 2, 3, 2, 1)]
    for stride in strides:
        layers += [nn.Conv2d(2, 2, 3, stride, 1, groups=2), nn.Conv2d(2, 2, 1)]
    return nn.Sequential(*layers)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "lenet": (lenet, 2),
    "mobilenet": (mobilenet, 2),
    "strided": (
        lambda: nn.Sequential(nn.Conv2d(1, 1, 5, 3, 1), nn.Conv2d(1, 1, 3, 2), nn.Conv2d(1, 1, 4)),
        2,
    ),
    "dilated": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 1, 3, padding=4, dilation=4), nn.Conv2d(1, 1, 3, 2, 8, dilation=8)
        ),
        2,
    ),
    "unlike axes": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 1, (9, 5), (2, 3), (4, 0)), nn.MaxPool2d((2, 1)), nn.Conv2d(1, 1, 3)
        ),
        2,
    ),
    "even kernels": (
        lambda: nn.Sequential(nn.Conv2d(1, 1, 4, 2, 1), nn.Conv2d(1, 1, 2, padding=1)),
        2,
    ),
    "transposed": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 1, 5, 4, 2), nn.ConvTranspose2d(1, 1, 4, 2, 1), nn.Conv2d(1, 1, 3, 1, 1)
        ),
        2,
    ),
    "transposed and cropped": (
        lambda: nn.Sequential(nn.Conv1d(1, 1, 9, 4, 4), nn.ConvTranspose1d(1, 1, 8, 4, 6)),
        1,
    ),
    "upsampled": (
        lambda: nn.Sequential(
            nn.MaxPool2d(4), nn.Conv2d(1, 1, 3, padding=1), nn.Upsample(scale_factor=2)
        ),
        2,
    ),
    "upsampled linearly": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 1, 7, 2, 3), nn.Upsample(scale_factor=3, mode="bilinear")
        ),
        2,
    ),
    "ceil mode": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 1, 3, padding=1),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.AvgPool2d(4, ceil_mode=True),
            nn.Conv2d(1, 1, 3, padding=1),
        ),
        2,
    ),
    "residual": (Residual, 2),
    "a line": (lambda: nn.Sequential(nn.Conv1d(1, 1, 31, padding=15), nn.AvgPool1d(3)), 1),
    "three axes": (
        lambda: nn.Sequential(nn.Conv3d(1, 1, 5, padding=2), nn.MaxPool3d(2), nn.Conv3d(1, 1, 3)),
        3,
    ),
    "thirds": (
        lambda: nn.Sequential(
            nn.AvgPool2d(3), nn.Conv2d(1, 1, 5, padding=2), nn.AvgPool2d(2), nn.AvgPool2d(3)
        ),
        2,
    ),
    **{f"u-net {d}": (lambda d=d: UNet(d), 2) for d in (2, 3, 4, 5)},
    **{f"u-net 3, {m}": (lambda m=m: UNet(3, m), 2) for m in ("resize", "pad", "crop")},
}
"""How to make a network with one channel, and the number of its axes."""
