"""Write every figure of the gallery into a folder.

    python examples/gallery.py figures

Needs the extras ``plot`` and ``demo``. The docstring of a function is the caption of its figure.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache
from itertools import pairwise, product
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


def tiles_side_by_side() -> Axes:
    """A U-Net on tiles that do not overlap: what each margin gets wrong, and the seams found."""
    torch.manual_seed(0)
    net = UNet().eval()

    def tiled(x: Tensor) -> Tensor:
        rows = [torch.cat([net(part) for part in row.split(48, 3)], 3) for row in x.split(48, 2)]
        return torch.cat(rows, 2)

    return plot.tiled_difference(shiftcheck.compare_tiled(net, tiled, torch.randn(1, 1, 144, 192)))


def tiles_of_a_plan() -> Axes:
    """A plan of tiles: what each writes, and, grey, what three of them read beside that."""
    net = UNet().eval()
    plan = shiftcheck.tiling(net, (1, 1, 150, 210), tile=64)
    ax: Axes = plt.subplots(figsize=(6.0, 4.2), layout="constrained")[1]
    spans = []  # of each axis and tile: what it reads, and what it writes
    for axis in plan.axes:
        reads = [(a, a + axis.size_at(a, axis.tile)) for a in axis.starts]
        writes = pairwise([0, *(a + axis.halo[0] for a in axis.starts[1:]), axis.pixels])
        spans.append(list(zip(reads, writes, strict=True)))
    for i, (read_y, (top, bottom)) in enumerate(spans[0]):
        for j, (read_x, (left, right)) in enumerate(spans[1]):
            shown = (i, j) in ((0, 0), (1, 2), (2, 0))
            if shown:
                width, height = read_x[1] - read_x[0], read_y[1] - read_y[0]
                ax.add_patch(plt.Rectangle((read_x[0], read_y[0]), width, height, color="0.82"))
            style = {"facecolor": "#9ecae1" if shown else "none", "edgecolor": "#3182bd"}
            ax.add_patch(plt.Rectangle((left, top), right - left, bottom - top, **style))
    ax.set(xlim=(-2, 212), ylim=(152, -2), aspect="equal", xlabel="column", ylabel="row")
    ax.set_title(f"{plan.tiles} tiles of {plan.tile[0]} pixels, halo {plan.halo[0][0]}")
    return ax


def seams_of_averaged_tiles() -> Axes:
    """Tiles that overlap by half and are averaged: wrong margins are halved, not mended."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 5, padding=2))

    def averaged(x: Tensor) -> Tensor:
        total, times = torch.zeros_like(x), torch.zeros_like(x)
        for i in range(0, 97, 32):
            for j in range(0, 97, 32):
                at = (..., slice(i, i + 64), slice(j, j + 64))
                total[at] += net(x[at])
                times[at] += 1
        return total / times

    found = shiftcheck.compare_tiled(net, averaged, torch.randn(1, 1, 160, 160))
    return plot.tiled_difference(found)


def sizes_that_work() -> Axes:
    """Sizes that a strided convolution and a U-Net take, pad evenly, and can be compared at."""
    net = nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), UNet())
    axis = shiftcheck.input_sizes(net, (1, 1, 64, 64)).axes[0]
    ax: Axes = plt.subplots(figsize=(7.0, 2.2), layout="constrained")[1]
    sets = {"accepted": axis.accepted, "even": axis.even, "valid": axis.valid}
    sets["comparable"] = axis.comparable
    for row, sizes in enumerate(sets.values()):
        chosen = sizes.up_to(64)
        ax.scatter(chosen, [row] * len(chosen), marker="s", s=22, color="#3182bd")
    ax.set_yticks(range(len(sets)), list(sets))
    ax.set_xticks(range(0, 65, 8))
    ax.set(xlabel="size of the input in pixels", ylim=(3.6, -0.6))
    return ax


def edge_of_a_tile() -> Axes:
    """How much the unknown outside changes the output, over the distance from a tile's edge."""
    torch.manual_seed(0)
    blur = nn.Conv2d(1, 1, 5, padding=2, bias=False)
    weights = torch.tensor([0.01, 0.2, 1.0, 0.2, 0.01])
    with torch.no_grad():
        blur.weight[0, 0] = weights[:, None] * weights
    net = nn.Sequential(*(blur, nn.ReLU()) * 5)
    return plot.effective_halo(shiftcheck.effective_halo(net, torch.randn(1, 1, 96, 96)))


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
    tiles_side_by_side,
    tiles_of_a_plan,
    seams_of_averaged_tiles,
    sizes_that_work,
    edge_of_a_tile,
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
