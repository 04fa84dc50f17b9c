"""Cells in micrographs: a U-Net with two levels."""

import torch
from torch import nn


def block(enters: int, leaves: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(enters, leaves, 3, padding=1, bias=False), nn.BatchNorm2d(leaves), nn.ReLU()
    )


class UNet(nn.Module):
    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.outer, self.inner = block(1, 8), block(8, 16)
        self.bottom = block(16, 16)
        self.rise, self.last = block(32, 8), block(16, 8)
        self.classes = nn.Conv2d(8, classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        outer = self.outer(image)
        inner = self.inner(nn.functional.max_pool2d(outer, 2))
        bottom = self.bottom(nn.functional.max_pool2d(inner, 2))
        up = nn.functional.interpolate(bottom, scale_factor=2, mode="nearest")
        up = self.rise(torch.cat([inner, up], dim=1))
        up = nn.functional.interpolate(up, scale_factor=2, mode="nearest")
        return self.classes(self.last(torch.cat([outer, up], dim=1)))
