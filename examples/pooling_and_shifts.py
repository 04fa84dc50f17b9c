"""What pooling does to a classifier of shifted digits: learnt in the centre, asked elsewhere.

Nine networks learn digits in the centre of a canvas. Then the digits move, and the script prints
how far the class scores move with them, how often the class stays the same, and how often it is
right.

python examples/pooling_and_shifts.py FOLDER --figure pooling.png

It takes some minutes on a CPU. Without FOLDER, the fifty digits that the library ships are both
learnt and asked: enough to try the script, not to learn anything.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import shiftcheck
from shiftcheck.datasets import digits, mnist, standardise
from training import fit, prepare

CANVAS = 32
REACH = 8
CLASSES = 10
BLACK = standardise(torch.zeros(())).item()


class MaxPool(nn.Module):
    """The largest value of every 2x2 window, and every second of them."""

    def forward(self, x: Tensor) -> Tensor:
        """From maps ``[batch, channels, height, width]`` to maps of half the size."""
        return F.max_pool2d(x, 2)


class Densely(nn.Module):
    """The largest value of the 2x2 window at every place of the torus: nothing is left out."""

    def forward(self, x: Tensor) -> Tensor:
        """From maps ``[batch, channels, height, width]`` to maps of the same size."""
        return F.max_pool2d(F.pad(x, (0, 1, 0, 1), mode="circular"), 2, stride=1)


class Blur(nn.Module):
    """A binomial filter before every second sample is taken (Zhang 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        """From maps ``[batch, channels, height, width]`` to maps of half the size."""
        taps = x.new_tensor([1.0, 2.0, 1.0]) / 4
        kernel = (taps[:, None] * taps).expand(x.shape[1], 1, 3, 3)
        around = F.pad(x, (1, 1, 1, 1), mode="circular")
        return F.conv2d(around, kernel, stride=2, groups=x.shape[1])


class AdaptivePolyphase(nn.Module):
    """Every second sample, from the phase with the largest norm (Chaman & Dokmanic 2020).

    A shift by one pixel exchanges the phases, and the largest norm finds the same one again.
    """

    def forward(self, x: Tensor) -> Tensor:
        """From maps ``[batch, channels, height, width]`` to maps of half the size."""
        phases = torch.stack([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)
        best = torch.linalg.vector_norm(phases.flatten(2), dim=2).argmax(1)
        return phases[torch.arange(len(x)), best]


def convolutional(pool: Callable[[], nn.Module], *, side: int, flat: bool) -> nn.Sequential:
    """Three convolutions of the torus with two pools between, and a linear layer.

    ``side``: of the last feature map. ``flat``: whether the linear layer has weights of its own for
    each place; otherwise it is given the mean over all places.
    """
    channels = (1, 8, 16, 32)
    layers: list[nn.Module] = []
    for level, (before, after) in enumerate(itertools.pairwise(channels)):
        size = 5 if level == 0 else 3
        layers.append(
            nn.Conv2d(before, after, size, padding=size // 2, padding_mode="circular", bias=False)
        )
        layers += [nn.BatchNorm2d(after), nn.ReLU(), *([pool()] if level < 2 else [])]
    head = [nn.Flatten()] if flat else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    values = channels[-1] * side**2 if flat else channels[-1]
    return nn.Sequential(*layers, *head, nn.Linear(values, CLASSES))


def perceptron() -> nn.Sequential:
    """Two linear layers: a weight of its own for every pixel of the canvas."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(CANVAS**2, 128), nn.ReLU(), nn.Linear(128, CLASSES)
    )


def blur_pool() -> nn.Module:
    """The largest of every window, blurred before it is thinned out."""
    return nn.Sequential(Densely(), Blur())


def aps_pool() -> nn.Module:
    """The largest of every window, and the phase of it that is chosen from the values."""
    return nn.Sequential(Densely(), AdaptivePolyphase())


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "MLP": perceptron,
    "MLP, shown moved digits": perceptron,
    "stride-less, flattened": lambda: convolutional(nn.Identity, side=CANVAS, flat=True),
    "max-pooled, flattened": lambda: convolutional(MaxPool, side=CANVAS // 4, flat=True),
    "blur-pooled, flattened": lambda: convolutional(blur_pool, side=CANVAS // 4, flat=True),
    "max-pooled, global mean": lambda: convolutional(MaxPool, side=CANVAS // 4, flat=False),
    "blur-pooled, global mean": lambda: convolutional(blur_pool, side=CANVAS // 4, flat=False),
    "APS, global mean": lambda: convolutional(aps_pool, side=CANVAS // 4, flat=False),
    "stride-less, global mean": lambda: convolutional(nn.Identity, side=CANVAS, flat=False),
}
SHOWN = {"MLP, shown moved digits": 3}
"""The networks that learn digits at other places, too: up to so many pixels from the centre."""


def on_canvas(images: Tensor) -> Tensor:
    """Standardised digits ``[n, 1, 28, 28]`` in the middle of a black canvas."""
    margin = (CANVAS - images.shape[-1]) // 2
    return F.pad(images, (margin,) * 4, value=BLACK)


def learn(name: str, images: Tensor, labels: Tensor, *, epochs: int, seed: int) -> nn.Module:
    """Train the network called ``name`` on bytes ``[n, 28, 28]``, each digit in the centre."""
    torch.manual_seed(seed)
    model = NETWORKS[name]()
    reach = SHOWN.get(name, 0)

    def loss_of(batch: Tensor, targets: Tensor) -> Tensor:
        m, n = torch.randint(-reach, reach + 1, (2,)).tolist()
        return F.cross_entropy(model(on_canvas(batch).roll((m, n), (2, 3))), targets)

    print(name)
    fit(model, images, labels, loss_of, epochs=epochs, seed=seed)
    return model.eval()


def shifts_of(distance: int) -> list[tuple[int, int]]:
    """The shifts by so many pixels along one of the axes, either way."""
    if distance == 0:
        return [(0, 0)]
    return [(distance, 0), (-distance, 0), (0, distance), (0, -distance)]


@dataclass(frozen=True)
class Curve:
    """One network, a number for each distance: means over the digits and four shifts.

    ``moved``: how far the class scores move, where the scores of different digits are 1 apart.
    ``agreement``: the share of the digits that are given the same class as in the centre.
    ``accuracy``: the share that is given the right one.
    """

    name: str
    moved: tuple[float, ...]
    agreement: tuple[float, ...]
    accuracy: tuple[float, ...]
    verdict: str


@torch.inference_mode()
def right(model: nn.Module, x: Tensor, labels: Tensor, shift: tuple[int, int]) -> float:
    """The share of the digits that are given their own class where they are shifted."""
    found = model(x.roll(shift, (2, 3))).argmax(1)
    return float((found == labels).double().mean())


def measure(name: str, model: nn.Module, images: Tensor, labels: Tensor) -> Curve:
    """How a network does on digits that move over the canvas, from its centre outwards."""
    x = on_canvas(prepare(images))
    rings = [shifts_of(distance) for distance in range(REACH + 1)]
    report = shiftcheck.check_invariance(model, x, shifts=[s for ring in rings for s in ring])
    output = report.outputs[0]
    found = {s.shift: s for s in output.shifts}

    def mean(value: Callable[[tuple[int, int]], float]) -> tuple[float, ...]:
        return tuple(sum(map(value, ring)) / len(ring) for ring in rings)

    assert output.variation, "the network gives the same for all digits"
    variation = output.variation
    return Curve(
        name=name,
        moved=mean(lambda s: (found[s].mean_distance or 0.0) / variation),
        agreement=mean(lambda s: found[s].top1_agreement or 0.0),
        accuracy=mean(lambda s: right(model, x, labels, s)),
        verdict=str(report.verdict),
    )


def table(title: str, curves: list[Curve], cell: Callable[[Curve, int], str]) -> Table:
    """One measure of all networks, a column for each distance."""
    out = Table(title=title, title_justify="left", min_width=80)
    out.add_column("network", no_wrap=True)
    for distance in range(REACH + 1):
        out.add_column(str(distance), justify="right", no_wrap=True)
    for curve in curves:
        out.add_row(curve.name, *(cell(curve, d) for d in range(REACH + 1)))
    return out


def distance(value: float) -> str:
    """A distance, or how small it is."""
    if value == 0:
        return "0"
    return f"{value:.2f}" if value >= 0.005 else f"{value:.0e}"


PIXELS = "by pixels from the centre"
CELLS: dict[str, Callable[[Curve, int], str]] = {
    f"right class in %, {PIXELS}": lambda c, d: f"{100 * c.accuracy[d]:.0f}",
    f"same class as in the centre in %, {PIXELS}": lambda c, d: f"{100 * c.agreement[d]:.0f}",
    f"how far the scores move, {PIXELS}; different digits: 1": lambda c, d: distance(c.moved[d]),
}


def verdicts(curves: list[Curve]) -> Table:
    """What the check says of every network."""
    title = "check_invariance on the torus, by whole pixels"
    out = Table(title=title, title_justify="left", min_width=60)
    out.add_column("network", no_wrap=True)
    out.add_column("verdict", no_wrap=True)
    for curve in curves:
        out.add_row(curve.name, curve.verdict)
    return out


def draw(curves: list[Curve], path: Path) -> None:
    """Draw the three measures over the distance."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3)
    views = [
        ("how far the scores move (different digits: 1)", lambda c: c.moved),
        ("same class as in the centre, %", lambda c: [100 * v for v in c.agreement]),
        ("right class, %", lambda c: [100 * v for v in c.accuracy]),
    ]
    styles = ["-", "--", ":"]
    for panel, (title, values) in zip(panels, views, strict=True):
        for i, curve in enumerate(curves):
            line = styles[0 if "mean" in curve.name else 1 if "flattened" in curve.name else 2]
            panel.plot(values(curve), line, marker=".", color=f"C{i}", label=curve.name)
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("shift from the centre, pixels")
        panel.grid(alpha=0.3)
    panels[0].set_yscale("symlog", linthresh=1e-7)
    panels[0].set_ylim(bottom=0)
    for panel in panels[1:]:
        panel.set_ylim(0, 102)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=9, frameon=False)
    figure.savefig(path, dpi=110)


def read(folder: Path | None, split: str) -> tuple[Tensor, Tensor]:
    """Bytes ``[n, 28, 28]`` and labels; without a folder, the digits that are shipped."""
    if folder is not None:
        return mnist(folder, split)
    images, labels = digits()
    return (255 * images[:, 0]).round().byte(), labels


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="What pooling does to shifted digits.")
    parser.add_argument("folder", type=Path, nargs="?", help="holds the four files of MNIST")
    parser.add_argument("--epochs", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--train", type=int, default=12_000, help="digits, default: %(default)s")
    parser.add_argument("--test", type=int, default=300, help="digits, default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--figure", type=Path, help="where to draw the curves, such as pooling.png")
    options = parser.parse_args()
    for name, least in (("epochs", 1), ("train", 1), ("test", 2)):
        if getattr(options, name) < least:
            parser.error(f"--{name} must be at least {least}, not {getattr(options, name)}")
    return options


def main() -> None:
    """Train, move the digits, print and draw as the command line says."""
    options = arguments()
    images, labels = read(options.folder, "train")
    test_images, test_labels = read(options.folder, "test")
    train = images[: options.train], labels[: options.train]
    test = test_images[: options.test], test_labels[: options.test]
    curves = []
    for name in NETWORKS:
        model = learn(name, *train, epochs=options.epochs, seed=options.seed)
        curves.append(measure(name, model, *test))
    console = Console(width=100)
    for title, cell in CELLS.items():
        console.print(table(title, curves, cell))
    console.print(verdicts(curves))
    if options.figure is not None:
        draw(curves, options.figure)
        console.print(f"{options.figure}: the same as curves")


if __name__ == "__main__":
    main()
