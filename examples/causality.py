"""Which input samples each output sample sees, of networks that are causal and not quite.

Each input sample is replaced in turn, and what changes is drawn: a network is causal where nothing
is above the diagonal. The figure of docs/causality.md is drawn by

python examples/causality.py docs/_static/causality.png
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import shiftcheck

SAMPLES = 48
SHOWN = 32
QUIET = 1e-9


class Padded(nn.Module):
    """A dilated convolution between two strides, with its padding on the left or on both sides."""

    def __init__(self, left: int, norm: bool = False) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.ConstantPad1d((2, 0), 0.0), nn.Conv1d(1, 4, 3, stride=2))
        self.inner = nn.Sequential(nn.ConstantPad1d((left, 4 - left), 0.0), nn.Conv1d(4, 4, 5))
        self.norm = nn.GroupNorm(1, 4) if norm else nn.Identity()
        self.up = nn.Upsample(scale_factor=2)
        self.last = nn.Conv1d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """As many samples as there were."""
        return self.last(self.up(self.norm(self.inner(self.down(x)).tanh())))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "padded on the left": lambda: Padded(4),
    "padded on both sides, behind a stride": lambda: Padded(2),
    "group norm over time": lambda: Padded(4, norm=True),
    "padding mirrored": lambda: nn.Sequential(nn.ReflectionPad1d((6, 0)), nn.Conv1d(1, 1, 7)),
}


def seen(model: nn.Module) -> np.ndarray:
    """How much of each output sample (columns) changes with each input sample (rows)."""
    x = torch.randn(1, 1, SAMPLES, dtype=torch.float64)
    with torch.no_grad():
        base = model(x)
        rows = []
        for time in range(SAMPLES):
            other = x.clone()
            other[..., time] += 1
            rows.append((model(other) - base).abs()[0, 0])
    return (torch.stack(rows) / base.abs().max()).numpy()


def draw(path: Path) -> None:
    """One panel a network; what is above the diagonal comes from the future."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, (name, make) in zip(
        figure.subplots(1, len(NETWORKS)), NETWORKS.items(), strict=True
    ):
        torch.manual_seed(0)
        changes = seen(make().double())[:SHOWN, :SHOWN]
        future = np.arange(SHOWN)[:, None] > np.arange(SHOWN)
        strength = np.log10(np.maximum(changes, QUIET))
        past = np.where(future | (changes <= QUIET), np.nan, strength)
        leak = np.where(~future | (changes <= QUIET), np.nan, strength)
        panel.imshow(past, cmap="Blues", vmin=-7, vmax=0.5, origin="lower")
        panel.imshow(leak, cmap="Reds", vmin=-7, vmax=0.5, origin="lower")
        panel.plot([-0.5, SHOWN - 0.5], [-0.5, SHOWN - 0.5], color="black", linewidth=0.8)
        panel.set_title(name, fontsize=10)
        panel.set_xlabel("output sample")
    figure.axes[0].set_ylabel("input sample that is changed")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print what the library says of each network, and draw what single samples say."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("figure", type=Path, nargs="?", help="where the figure is written")
    options = parser.parse_args()
    for name, make in NETWORKS.items():
        torch.manual_seed(0)
        report = shiftcheck.check_causality(make(), torch.randn(1, 1, SAMPLES))
        print(f"{name}: {str(report).splitlines()[0]}")
    if options.figure is not None:
        draw(options.figure)


if __name__ == "__main__":
    main()
