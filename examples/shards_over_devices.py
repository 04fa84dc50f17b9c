"""Which samples each shard needs at every layer of a small decoder, as a figure.

python examples/shards_over_devices.py shards.png

Needs matplotlib. Takes seconds: nothing is computed but shapes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from torch import nn

import shiftcheck
from shiftcheck.report import ShardedLayer, ShardingPlan

COLOURS = ("#4477aa", "#ee8866", "#228833")
HALO = 0.35
"""How strongly the samples of neighbours are drawn."""


def network() -> nn.Sequential:
    """A small network that goes down and up again, with a norm over all places."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2),
        nn.Conv2d(8, 8, 3, stride=2, padding=1),
        nn.GroupNorm(2, 8),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2),
        nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1),
        nn.Conv2d(4, 1, 3, padding=1),
    )


def plan() -> ShardingPlan:
    """The plan of the network for three shards of an image that is 48 pixels wide."""
    return shiftcheck.sharding(network().eval(), (1, 1, 32, 48), 3)


def draw_layer(ax: Any, layer: ShardedLayer, row: float) -> None:
    """A bar for the input of a layer: what each shard owns, and above it what it reads."""
    scale = 48 / layer.inputs
    for i, shard in enumerate(layer.shards):
        (start, stop), (left, right) = shard.owns, shard.halo
        ax.barh(row, (stop - start) * scale, 0.34, start * scale, color=COLOURS[i])
        level = row - 0.26 - 0.12 * (i % 2)
        width = (stop - start + left + right) * scale
        ax.barh(level, width, 0.1, (start - left) * scale, color=COLOURS[i], alpha=HALO)
        ax.barh(level, (stop - start) * scale, 0.1, start * scale, color=COLOURS[i])


def draw(path: Path) -> None:
    """Draw the plan, one row for each layer."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    found = plan()
    figure, ax = plt.subplots(figsize=(8.0, 3.8))
    for row, layer in enumerate(found.layers):
        draw_layer(ax, layer, row)
    ax.set_yticks(range(len(found.layers)), [told(layer) for layer in found.layers])
    for bound in found.bounds[1:-1]:
        ax.axvline(bound, color="black", linewidth=0.6, linestyle=":")
    ax.set_xlim(0, found.pixels)
    ax.set_xlabel("column of the input image")
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def told(layer: ShardedLayer) -> str:
    """The name of a row: the layer, and what it needs."""
    need = "{}, {}".format(*layer.halo) if any(layer.halo) else layer.statistic or "nothing"
    return f"{layer.op}: {need}"


def main() -> None:
    """Read the arguments, draw the figure and print the plan."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("figure", type=Path, help="the file to write")
    draw(parser.parse_args().figure)
    print(plan())


if __name__ == "__main__":
    main()
