"""The four-layer convolutional network of digits: equivariant up to its last convolution."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from shiftcheck.models.weights import load


class LeNet(nn.Module):
    """Four 5x5 convolutions without padding, one pooling, one linear layer: 67,415 parameters.

    The convolutions take images of any size; the linear layer takes 28x28 pixels only. On a larger
    canvas, run the network up to its last convolution (``layer="conv4"`` in the checks).

    >>> import torch
    >>> LeNet()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(self) -> None:
        """Draw initial weights from torch's global generator."""
        super().__init__()
        self.conv1: nn.Conv2d = nn.Conv2d(1, 20, 5, 1)
        self.conv2: nn.Conv2d = nn.Conv2d(20, 40, 5, 1)
        self.conv3: nn.Conv2d = nn.Conv2d(40, 40, 5, 1)
        self.conv4: nn.Conv2d = nn.Conv2d(40, 5, 5, 1)
        self.fc1: nn.Linear = nn.Linear(6 * 6 * 5, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores ``[batch, 10]`` of standardised images, ``x``.

        They have the shape ``[batch, 1, 28, 28]``, or larger where the check ends at a layer.

        Raises a RuntimeError of torch where the image size does not fit the linear layer. A size
        whose feature map has a multiple of 180 values *does* pass ``view(-1, 180)``, which then
        takes pieces of one image for several images.
        """
        x = F.relu(self.conv1(x))  # [batch, 20, 24, 24]
        x = F.relu(self.conv2(x))  # [batch, 40, 20, 20]
        x = F.relu(self.conv3(x))  # [batch, 40, 16, 16]
        x = F.relu(self.conv4(x))  # [batch, 5, 12, 12]
        x = F.max_pool2d(x, 2, 2)  # [batch, 5, 6, 6]
        x = x.view(-1, 6 * 6 * 5)
        scores: Tensor = self.fc1(x)
        return scores


def lenet(pretrained: bool = False) -> LeNet:
    """Return a LeNet, with random weights or with those that the library ships.

    The shipped weights were trained by ``examples/train_lenet.py`` on the 60,000 training digits
    of MNIST, standardised by `shiftcheck.datasets.standardise`.

    Args:
        pretrained: load the shipped weights; the random generator is then left untouched.

    Returns:
        The network, in training mode as torch makes it, on the CPU, in float32.

    Raises:
        ShiftcheckError: with ``pretrained``, when ``safetensors`` is not installed.

    >>> sum(p.numel() for p in lenet().parameters())
    67415
    """
    return load(LeNet, "lenet.safetensors") if pretrained else LeNet()
