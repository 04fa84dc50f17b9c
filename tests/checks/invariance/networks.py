"""Small classifiers, with and without invariance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
MEAN = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}


class Polyphase(nn.Module):
    """Keep every second sample along two axes, from where their sum of squares is largest."""

    def forward(self, x: Tensor) -> Tensor:
        phases = torch.stack([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)
        best = phases.square().flatten(2).sum(2).argmax(1)
        return phases[torch.arange(len(x)), best]


def classifier(
    middle: nn.Module | None = None, *, padding: str = "circular", axes: int = 2, seed: int = 0
) -> nn.Sequential:
    torch.manual_seed(seed)
    conv = CONV[axes]
    return nn.Sequential(
        conv(1, 4, 3, padding=1, padding_mode=padding),
        middle or nn.Identity(),
        nn.ReLU(),
        conv(4, 8, 3, padding=1, padding_mode=padding),
        nn.ReLU(),
        MEAN[axes](1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )


def perceptron(*sizes: int, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    first, *rest = sizes
    return nn.Sequential(nn.Flatten(), nn.Linear(first, 30), nn.ReLU(), nn.Linear(30, *rest))


def signals(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
