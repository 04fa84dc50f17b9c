"""Follow the equivariance of three networks through their training, as a curve.

Each is convolutions of the torus with a table of values for each place in between. One learns to
mend pictures that are darker away from their centre: its table is zero at first, and the break
comes with what it learns. One learns to remove noise, which is the same everywhere: its table
is drawn at random, and weight decay drives it, and the break, to zero. One has no table.

python examples/training_curve.py docs/_static/training.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from shiftcheck.datasets import digits
from shiftcheck.metrics import EquivarianceError

SIDE, STEPS, EVERY, BATCH = 28, 240, 12, 16
SHIFTS = [(3, 0), (0, 5), (14, 14)]


class Placed(nn.Module):
    """Two convolutions of the torus, with a table of positions between them.

    ``scale``: of the values in the table at first; None for no table.
    """

    def __init__(self, scale: float | None) -> None:
        super().__init__()
        circle = {"kernel_size": 5, "padding": 2, "padding_mode": "circular"}
        self.first, self.second = nn.Conv2d(1, 12, **circle), nn.Conv2d(12, 1, **circle)
        table = None if scale is None else scale * torch.randn(12, SIDE, SIDE)
        self.place = None if table is None else nn.Parameter(table)

    def forward(self, x: Tensor) -> Tensor:
        """From pictures ``[batch, 1, 28, 28]`` to pictures."""
        hidden = self.first(x)
        if self.place is not None:
            hidden = hidden + self.place
        out: Tensor = self.second(torch.relu(hidden))
        return out


def darkened(clean: Tensor) -> Tensor:
    """Pictures that are darker the farther from their centre."""
    from_centre = torch.linspace(-1, 1, SIDE) ** 2
    return clean * (1 - 0.45 * (from_centre + from_centre[:, None]))


def noisy(clean: Tensor) -> Tensor:
    """Pictures with noise, which is the same everywhere."""
    return clean + 0.3 * torch.randn_like(clean)


NETWORKS = {
    "a table that learns": (0.0, darkened, 0.0),
    "a table that decays": (1.0, noisy, 30.0),
    "no table": (None, darkened, 0.0),
}
"""The table's scale at first, what is done to the pictures, and how fast the table decays."""


def anywhere(clean: Tensor) -> Tensor:
    """Pictures that stand anywhere on the torus."""
    rolls = torch.randint(SIDE, (len(clean), 2)).tolist()
    return torch.stack([x.roll(r, (1, 2)) for x, r in zip(clean, rolls, strict=True)])


def followed(name: str) -> tuple[list[float], list[float]]:
    """The equivariance error and the loss of a network, from before its first step on."""
    torch.manual_seed(0)
    scale, spoil, decay = NETWORKS[name]
    model = Placed(scale)
    convolutions = [*model.first.parameters(), *model.second.parameters()]
    groups = [{"params": convolutions, "weight_decay": 0.0}]
    if model.place is not None:
        groups.append({"params": [model.place], "weight_decay": decay})
    optimizer = torch.optim.AdamW(groups, lr=5e-3)
    pictures = digits()[0]
    metric = EquivarianceError(shifts=SHIFTS, boundary="circular")
    held_out = spoil(pictures[40:])
    errors, losses = [], []
    for step in range(STEPS + 1):
        clean = anywhere(pictures[torch.randint(40, (BATCH,))])
        loss = (model(spoil(clean)) - clean).square().mean()
        if step % EVERY == 0:
            metric.update(model, held_out)
            errors.append(metric.compute().item())
            losses.append(loss.item())
            metric.reset()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return errors, losses


def draw(curves: dict[str, tuple[list[float], list[float]]], path: Path) -> None:
    """Write the figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    styles = zip(("C3", "C0", "C2"), ("o", "s", "^"), curves.items(), strict=True)
    for colour, marker, (name, (errors, losses)) in styles:
        steps = range(0, STEPS + 1, EVERY)
        left.plot(steps, errors, color=colour, marker=marker, markersize=4, label=name)
        right.plot(steps, losses, color=colour, marker=marker, markersize=4, label=name)
    left.set_yscale("symlog", linthresh=1e-4)  # an error may be exactly zero
    left.set(xlabel="step", ylabel="relative L2 error", title="equivariance error")
    right.set(yscale="log", xlabel="step", ylabel="mean squared error", title="training loss")
    right.legend(loc="upper right")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Follow all three, print how they begin and end, and draw them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("figure", type=Path, nargs="?", help="where the figure is written")
    options = parser.parse_args()
    curves = {name: followed(name) for name in NETWORKS}
    for name, (errors, losses) in curves.items():
        print(
            f"{name}: error {errors[0]:.1e} at first and {errors[-1]:.1e} in the end,"
            f" loss {losses[0]:.3f} and {losses[-1]:.3f}"
        )
    if options.figure is not None:
        draw(curves, options.figure)


if __name__ == "__main__":
    main()
