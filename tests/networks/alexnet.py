"""AlexNet with one column: Krizhevsky, One weird trick, 2014, up to its last pool."""

from __future__ import annotations

import torch
from torch import nn


class AlexNet(nn.Module):
    """Five convolutions and three pools; ``width`` is the number of channels of the first one."""

    def __init__(self, *, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 11, 4)
        self.pool1 = nn.MaxPool2d(3, 2)
        self.conv2 = nn.Conv2d(width, 3 * width, 5, padding=2)
        self.pool2 = nn.MaxPool2d(3, 2)
        self.conv3 = nn.Conv2d(3 * width, 6 * width, 3, padding=1)
        self.conv4 = nn.Conv2d(6 * width, 6 * width, 3, padding=1)
        self.conv5 = nn.Conv2d(6 * width, 4 * width, 3, padding=1)
        self.pool5 = nn.MaxPool2d(3, 2)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The last feature map."""
        x = self.pool1(self.relu(self.conv1(x)))
        x = self.pool2(self.relu(self.conv2(x)))
        x = self.relu(self.conv4(self.relu(self.conv3(x))))
        return self.pool5(self.relu(self.conv5(x)))
