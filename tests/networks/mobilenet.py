"""MobileNet v1: Howard et al., MobileNets, 2017, up to its last feature map."""

from __future__ import annotations

import torch
from torch import nn

BLOCKS = ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *[(16, 1)] * 5, (32, 2), (32, 1))
"""For each block: its channels in units of ``width``, and its stride."""


def separable(channels: int, out: int, stride: int) -> nn.Sequential:
    """A 3x3 convolution of each channel for itself, then a 1x1 one of all of them."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU6(),
        nn.Conv2d(channels, out, 1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU6(),
    )


class MobileNet(nn.Module):
    """A strided convolution and thirteen separable ones; ``width`` is the first one's channels."""

    def __init__(self, *, width: int = 32) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU6()
        channels, blocks = width, []
        for units, stride in BLOCKS:
            blocks.append(separable(channels, units * width, stride))
            channels = units * width
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The last feature map."""
        return self.blocks(self.relu(self.bn1(self.conv1(x))))
