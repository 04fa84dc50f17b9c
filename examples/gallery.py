"""Write every figure of the gallery into a folder.

    python examples/gallery.py figures

Needs the extras ``plot`` and ``demo``. The docstring of a function is the caption of its figure.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path

import matplotlib

matplotlib.use("agg")

import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from torch import Tensor, nn

import shiftcheck
from shiftcheck import plot
from shiftcheck.datasets import digits, embed, standardise
from shiftcheck.models import lenet

NEAR = list(product(range(-5, 6), repeat=2))
"""All shifts by up to five pixels."""


@cache
def digit() -> Tensor:
    """A digit on a canvas of 38 by 38 pixels, ``[1, 1, 38, 38]``."""
    return standardise(embed(digits()[0][3:4], (38, 38)))


class UNet(nn.Module):
    """One step down, one step up, and the fine map beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(1, 8, 3, padding=1)
        self.down = nn.MaxPool2d(2)
        self.middle = nn.Conv2d(8, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.leave = nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """A map of the size of ``x``."""
        fine = torch.relu(self.enter(x))
        return self.leave(torch.cat([fine, self.up(self.middle(self.down(fine)))], 1))


def features() -> nn.Sequential:
    """What comes before the head of a small classifier, with zero padding and a pool."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
    )


def classifier_features() -> Axes:
    """The features of a classifier: off where padding is seen, and exact inside."""
    return plot.layers(shiftcheck.check_equivariance(features(), digit()))


def classifier_on_a_circle() -> Axes:
    """The same on a circle: there is no border that could be left out, so padding breaks it."""
    return plot.layers(shiftcheck.check_equivariance(features(), digit(), boundary="circular"))


def segmentation_layers() -> Axes:
    """A U-Net at single pixels: behind the step up every layer is off."""
    torch.manual_seed(0)
    return plot.layers(shiftcheck.check_equivariance(UNet(), torch.randn(1, 1, 48, 56)))


def segmentation_shifts() -> Axes:
    """The output of a U-Net over all shifts: it moves with the input by multiples of its period."""
    torch.manual_seed(0)
    report = shiftcheck.check_equivariance(UNet(), torch.randn(1, 1, 48, 56), shifts=NEAR)
    return plot.shifts(report, "leave")


def simulation_shifts() -> Axes:
    """A step of a simulation, which is closed along the second axis only, asked on the torus."""
    torch.manual_seed(0)

    class Step(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            x = nn.functional.pad(x, (1, 1, 0, 0), mode="circular")
            return super().forward(nn.functional.pad(x, (0, 0, 1, 1)))

    state = torch.randn(1, 1, 32, 36)
    report = shiftcheck.check_equivariance(
        nn.Sequential(Step(1, 1, 3)), state, shifts=NEAR, boundary="circular"
    )
    return plot.shifts(report, "0")


def audio_shifts() -> Axes:
    """Frames and back: a vocoder with a hop of four samples over every delay."""
    torch.manual_seed(0)
    vocoder = nn.Sequential(nn.Conv1d(1, 8, 8, stride=4), nn.ConvTranspose1d(8, 1, 8, stride=4))
    delays = [(m,) for m in range(-12, 13)]
    report = shiftcheck.check_equivariance(vocoder, torch.randn(1, 1, 400), shifts=delays)
    return plot.shifts(report, "1")


def receptive_field() -> Axes:
    """What one sample of the fourth convolution sees, and where its valid samples stand."""
    geometry = shiftcheck.geometry(lenet(), digit().shape, layer="conv4")
    return plot.receptive_field(geometry, "conv4", (11, 11))


def feature_maps() -> Axes:
    """The map of a shifted digit, the shifted map of the digit, and their difference."""
    return plot.feature_maps(lenet(pretrained=True), digit(), (4, -3), "conv4")[0]


def impulse_response() -> Axes:
    """The kernel of a layer that is linear and equivariant, with its origin."""
    kernel = shiftcheck.impulse_response(lenet(pretrained=True).conv1, torch.randn(1, 1, 20, 20))
    return plot.impulse_response(kernel, out=2)


FIGURES: tuple[Callable[[], Axes], ...] = (
    classifier_features,
    classifier_on_a_circle,
    segmentation_layers,
    segmentation_shifts,
    simulation_shifts,
    audio_shifts,
    receptive_field,
    feature_maps,
    impulse_response,
)


def write(folder: Path) -> list[Path]:
    """Draw all figures into a folder, which need not exist; returns their files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for draw in FIGURES:
        figure = draw().figure
        files.append(folder / f"{draw.__name__}.png")
        figure.savefig(files[-1], dpi=110, bbox_inches="tight")
        plt.close(figure)
    return files


def main() -> None:
    """Read the folder, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    print(*write(parser.parse_args().folder), sep="\n")


if __name__ == "__main__":
    main()
