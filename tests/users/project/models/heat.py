"""One step of a learned solver on a torus, and one whose padding forgets the torus."""

import torch
from torch import nn


class Step(nn.Module):
    def __init__(self, padding_mode: str = "circular") -> None:
        super().__init__()
        self.stencil = nn.Conv2d(2, 16, 5, padding=2, padding_mode=padding_mode)
        self.change = nn.Conv2d(16, 2, 3, padding=1, padding_mode=padding_mode)

    def forward(self, field: torch.Tensor) -> torch.Tensor:
        return field + 0.1 * self.change(torch.tanh(self.stencil(field)))
