"""The multi-layer perceptron from image to image: what is lost without convolutions."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from shiftcheck.models.weights import load


class MLP(nn.Module):
    """A perceptron from image to image with one hidden layer: 784 -> 500 -> 784, ReLU between.

    Every unit has its own weight for every pixel, so what is learned at one place is not known at
    any other, and the number of weights grows with the number of pixels: a colour image of
    400x400 pixels has 480,000 values, and 500 hidden units on it need 480,000 x 500, that is
    240 million, weights in the first layer alone. This one has 785,284 parameters in all.

    >>> import torch
    >>> MLP()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 1, 28, 28])
    """

    def __init__(self) -> None:
        """Draw initial weights from torch's global generator."""
        super().__init__()
        self.fc1: nn.Linear = nn.Linear(28 * 28, 500)
        self.fc2: nn.Linear = nn.Linear(500, 28 * 28)

    def forward(self, x: Tensor) -> Tensor:
        """Return denoised images of standardised ones, ``x``, both ``[batch, 1, 28, 28]``.

        Raises a RuntimeError of torch where the image size does not fit the linear layers.
        """
        hidden = F.relu(self.fc1(x.reshape(-1, 28 * 28)))
        image: Tensor = self.fc2(hidden).reshape(-1, 1, 28, 28)
        return image


def mlp(pretrained: bool = False) -> MLP:
    """Return an MLP, with random weights or with those that the library ships.

    The shipped weights were trained by ``examples/train_mlp.py`` to remove noise from the 60,000
    training digits of MNIST, standardised by `shiftcheck.datasets.standardise`; they are stored
    in float16.

    Args:
        pretrained: load the shipped weights; the random generator is then left untouched.

    Returns:
        The network, in training mode as torch makes it, on the CPU, in float32.

    Raises:
        ShiftcheckError: with ``pretrained``, when ``safetensors`` is not installed.

    >>> sum(p.numel() for p in mlp().parameters())
    785284
    """
    return load(MLP, "mlp.safetensors") if pretrained else MLP()
