"""The networks that checks are measured on, with random weights."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.networks.mobilenet import MobileNet
from tests.networks.resnet import resnet50
from tests.networks.sized import UNet as SmallUNet

WIDTHS = (64, 64, 128, 256, 512)
UP = (256, 128, 64, 32, 16)


def normed(channels: int, out: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution, BatchNorm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, out, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
    )


class Basic(nn.Module):
    """The block of ResNet-18 and ResNet-34."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = normed(channels, out, stride=stride)
        self.second = nn.Sequential(nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out))
        plain = channels == out and stride == 1
        self.short: nn.Module = nn.Identity()
        if not plain:
            self.short = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The sum of both branches."""
        return F.relu(self.second(self.first(x)) + self.short(x), inplace=True)


class UNet(nn.Module):
    """As segmentation_models_pytorch builds it: a ResNet-34 down, five steps of nearest up."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = normed(3, 64, 7, 2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        stages, channels = [], 64
        for i, (out, blocks) in enumerate(zip(WIDTHS[1:], (3, 4, 6, 3), strict=True)):
            made = [Basic(channels if j == 0 else out, out, 1 + (i > 0 and j == 0))
                    for j in range(blocks)]  # fmt: skip
            stages.append(nn.Sequential(*made))
            channels = out
        self.stages = nn.ModuleList(stages)
        kept = (*WIDTHS[-2::-1], 0)
        self.up = nn.ModuleList(
            nn.Sequential(normed(below + beside, out), normed(out, out))
            for (below, out), beside in zip(pairwise((WIDTHS[-1], *UP)), kept, strict=True)
        )
        self.head = nn.Conv2d(UP[-1], 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The mask before its sigmoid, as large as the image."""
        kept = [self.stem(x)]
        x = self.pool(kept[0])
        for stage in self.stages:
            x = stage(x)
            kept.append(x)
        kept.pop()
        for block in self.up:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = block(torch.cat([x, kept.pop()], 1) if kept else x)
        return self.head(x)


class Dense(nn.Module):
    """A layer of a DenseNet, which takes all that came before it in its block."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(channels), nn.Conv2d(channels, 4 * growth, 1)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1)

    def forward(self, kept: list[torch.Tensor]) -> torch.Tensor:
        """What is new."""
        x = self.conv1(F.relu(self.norm1(torch.cat(kept, 1))))
        return self.conv2(F.relu(self.norm2(x)))


class DenseNet(nn.Module):
    """DenseNet-121 (Huang et al., 2017) up to its last feature map."""

    def __init__(self, blocks: tuple[int, ...] = (6, 12, 24, 16), growth: int = 32) -> None:
        super().__init__()
        channels = 2 * growth
        self.stem = nn.Sequential(normed(3, channels, 7, 2), nn.MaxPool2d(3, 2, 1))
        self.blocks, self.between = nn.ModuleList(), nn.ModuleList()
        for i, layers in enumerate(blocks):
            made = [Dense(channels + j * growth, growth) for j in range(layers)]
            channels += layers * growth
            self.blocks.append(nn.ModuleList(made))
            last = i == len(blocks) - 1
            halved = [] if last else [nn.Conv2d(channels, channels // 2, 1), nn.AvgPool2d(2)]
            self.between.append(nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), *halved))
            channels //= 1 if last else 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The last feature map."""
        x = self.stem(x)
        for block, between in zip(self.blocks, self.between, strict=True):
            assert isinstance(block, nn.ModuleList)
            kept = [x]
            for layer in block:
                kept.append(layer(kept))
            x = between(torch.cat(kept, 1))
        return x


def convnext() -> nn.Module:
    """The smallest ConvNeXt V2 of transformers, up to its last feature map."""
    import transformers  # comes with the extra zoo

    settings: dict[str, Any] = {"depths": [2, 2, 6, 2], "hidden_sizes": [40, 80, 160, 320]}
    model: nn.Module = transformers.ConvNextV2Backbone(transformers.ConvNextV2Config(**settings))
    return Last(model)


class Last(nn.Module):
    """The last feature map of a backbone."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[batch, channels, *spatial]``."""
        found: torch.Tensor = self.backbone(x).feature_maps[-1]
        return found


def monai_unet() -> nn.Module:
    """The U-Net of MONAI for volumes."""
    from monai.networks import nets  # comes with the extra others

    model: nn.Module = nets.UNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=2,
        channels=(16, 32, 64, 128),
        strides=(2, 2, 2),
        num_res_units=2,
        norm="batch",
    )
    return model


class Classifier(nn.Module):
    """A small ResNet with a mean over all places, whose answer should not depend on a shift."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(normed(3, 16), Basic(16, 16, 1), Basic(16, 32, 1))
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The scores."""
        return self.head(self.trunk(x).mean((2, 3)))


def small_unet() -> nn.Module:
    """Three times down and up, two channels wide."""
    return SmallUNet(3)


FAILING = {
    "unet": ("U-Net on a ResNet-34, 128x160", UNet, (1, 3, 128, 160)),
    "convnext": ("ConvNeXt V2 (transformers), 96x96", convnext, (1, 3, 96, 96)),
    "mobilenet": ("MobileNet v1, 64x64", MobileNet, (1, 3, 64, 64)),
    "monai": ("U-Net of MONAI, 32x32x32", monai_unet, (1, 1, 32, 32, 32)),
    "densenet": ("DenseNet-121, 128x128", DenseNet, (1, 3, 128, 128)),
    "small unet": ("small U-Net, 64x64", small_unet, (1, 1, 64, 64)),
}
"""Networks whose default check does not pass: name, how to make one, the shape of its input."""

__all__ = ["FAILING", "Classifier", "DenseNet", "resnet50"]
