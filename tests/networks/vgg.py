"""VGG: Simonyan and Zisserman, Very Deep Convolutional Networks, 2014, up to its last pool."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

VGG16 = (2, 2, 3, 3, 3)


class VGG(nn.Module):
    """Stages of 3x3 convolutions, each ended by a pool; ``width`` is the first one's channels."""

    def __init__(self, convolutions: Sequence[int] = VGG16, *, width: int = 64) -> None:
        super().__init__()
        channels, layers = 3, []
        for stage, count in enumerate(convolutions):
            for _ in range(count):
                wide = width * 2 ** min(stage, 3)
                layers += [nn.Conv2d(channels, wide, 3, padding=1), nn.ReLU()]
                channels = wide
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The last feature map."""
        return self.features(x)
