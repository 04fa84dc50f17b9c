"""ResNet with bottleneck blocks: He et al., Deep Residual Learning for Image Recognition, 2015."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a shortcut; ``first`` puts the stride in the first 1x1, as originally."""

    def __init__(self, channels: int, width: int, stride: int, *, first: bool) -> None:
        super().__init__()
        one, three = (stride, 1) if first else (1, stride)
        self.conv1 = nn.Conv2d(channels, width, 1, one, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, three, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels != 4 * width:
            shortcut = nn.Conv2d(channels, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(4 * width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The residual and the shortcut, added and rectified."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += self.downsample(x)
        return self.relu(out)


class ResNet(nn.Module):
    """Stem, four stages, and, if ``classes``, a global pool and a linear layer."""

    def __init__(
        self, blocks: Sequence[int], *, first: bool = False, width: int = 64, classes: int = 0
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels, stages = width, []
        for stage, count in enumerate(blocks):
            layers = []
            for block in range(count):
                stride = 2 if stage and block == 0 else 1
                layers.append(Bottleneck(channels, width * 2**stage, stride, first=first))
                channels = 4 * width * 2**stage
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.fc = nn.Linear(channels, classes) if classes else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The last feature map, or the class scores."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.stages(x)
        return x if self.fc is None else self.fc(x.mean((2, 3)))


def resnet50(*, first: bool = False, width: int = 64) -> ResNet:
    """The network with 50 layers; its receptive field is 483 with ``first``, else 427."""
    return ResNet((3, 4, 6, 3), first=first, width=width)
