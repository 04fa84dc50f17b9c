"""Keywords in a stream: causal convolutions, then a mean over all of the time."""

import torch
from torch import nn


class Causal(nn.Conv1d):
    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        left = (self.kernel_size[0] - 1) * self.dilation[0]
        return super().forward(nn.functional.pad(sound, (left, 0)))


class Keywords(nn.Module):
    def __init__(self, words: int = 5) -> None:
        super().__init__()
        self.low = Causal(1, 8, 5)
        self.high = Causal(8, 8, 3, dilation=2)
        self.frames = nn.Conv1d(8, 8, 4, stride=4)
        self.words = nn.Linear(8, words)

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        sound = torch.relu(self.low(sound))
        sound = torch.relu(self.high(sound))
        return self.words(self.frames(sound).mean(dim=-1))
