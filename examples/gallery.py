"""Write every figure of ``shiftcheck.plot`` into a folder, from the LeNet on a digit.

    python examples/gallery.py figures

Needs the extras ``plot`` and ``demo``.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import matplotlib

matplotlib.use("agg")

import torch

import shiftcheck
from shiftcheck import plot
from shiftcheck.datasets import digits, embed, standardise
from shiftcheck.models import lenet


def main() -> None:
    """Read the folder, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    model = lenet(pretrained=True)
    digit = standardise(embed(digits()[0][3:4], (38, 38)))
    shifts = list(product(range(-5, 6), repeat=2))
    report = shiftcheck.check_equivariance(model, digit, layer="max_pool2d", shifts=shifts)
    torus = shiftcheck.check_equivariance(
        model, digit, layer="max_pool2d", shifts=shifts, boundary="circular"
    )
    kernel = shiftcheck.impulse_response(model.conv1, torch.randn(1, 1, 20, 20))
    figures = {
        "layers": plot.layers(report),
        "layers-on-a-torus": plot.layers(torus),
        "shifts": plot.shifts(report, "max_pool2d"),
        "shifts-on-a-torus": plot.shifts(torus, "max_pool2d"),
        "receptive-field": plot.receptive_field(report, "conv4", (11, 11)),
        "impulse-response": plot.impulse_response(kernel, out=2),
        "feature-maps": plot.feature_maps(model, digit, (4, -3), "conv4")[0],
    }
    for name, ax in figures.items():
        ax.figure.savefig(folder / f"{name}.png", dpi=110)
        print(folder / f"{name}.png")


if __name__ == "__main__":
    main()
