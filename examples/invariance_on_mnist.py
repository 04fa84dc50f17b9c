"""Does pooling make the digit network invariant? Over MNIST's test digits, at every small shift.

The article says that pooling gives a classifier approximate invariance. This script moves each of
the ten thousand test digits by every shift of up to five pixels along both axes, and prints how
often the class stays and how far the class scores move. Black enters at the edges, as it does where
a digit moves on a larger sheet; so the script also prints how many digits still lie within the
image.

python examples/invariance_on_mnist.py --mnist FOLDER --json FILE --figure FILE

FOLDER holds the files of MNIST. Without it, the fifty digits that the library ships are moved:
enough to try the script. It takes some minutes on one core; with ``--checkpoint FILE`` it goes on
where it was stopped.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import shiftcheck
from shiftcheck.datasets import digits, mnist, standardise
from shiftcheck.models import lenet
from shiftcheck.report import EvaluationReport


class OfInk(nn.Module):
    """The digit network on images whose paper is 0, so that what enters with zeros is paper."""

    def __init__(self) -> None:
        super().__init__()
        self.net = lenet(pretrained=True)

    def forward(self, ink: Tensor) -> Tensor:
        """The class scores ``[batch, 10]`` of images ``[batch, 1, 28, 28]`` from 0 to 1."""
        scores: Tensor = self.net(standardise(ink))
        return scores


def images(folder: Path | None) -> Tensor:
    """The test digits ``[items, 1, 28, 28]``, from 0 to 1."""
    if folder is None:
        return digits()[0]
    return mnist(folder, "test")[0][:, None].float() / 255


def evaluated(data: Tensor, reach: int, **more: Any) -> EvaluationReport:
    """The report of every shift of up to ``reach`` pixels along both axes."""
    both = itertools.product(range(-reach, reach + 1), repeat=2)
    return shiftcheck.evaluate(
        OfInk(),
        data,
        what=["invariance", "classes"],
        shifts=[shift for shift in both if any(shift)],
        fill="zeros",
        batch_size=250,
        **more,
    )


def still_inside(data: Tensor, reach: int) -> dict[tuple[int, int], float]:
    """By shift, the share of the digits of which no ink leaves the image."""
    ink = data[:, 0] > 0
    size = data.shape[-1]
    ends = []
    for axis in (1, 2):
        along = ink.any(3 - axis)
        first = along.float().argmax(1)
        last = size - 1 - along.flip(1).float().argmax(1)
        ends.append((first, last))
    (top, bottom), (left, right) = ends
    shares = {}
    for m, n in itertools.product(range(-reach, reach + 1), repeat=2):
        rows = (top + m >= 0) & (bottom + m < size)
        columns = (left + n >= 0) & (right + n < size)
        shares[m, n] = (rows & columns).double().mean().item()
    return shares


def figures(
    report: EvaluationReport, inside: Mapping[tuple[int, int], float]
) -> list[dict[str, Any]]:
    """For each distance, the larger of the two numbers of pixels: the means over its shifts."""
    changed = {s.shift: s.mean for s in report["classes"].shifts}
    moved = {s.shift: s.mean for s in report["invariance"].shifts}
    between = report["invariance"].figures["between_items"] or 1.0
    reach = int(max(max(map(abs, shift)) for shift in changed))
    rows = []
    for far in range(1, reach + 1):
        ring = [s for s in changed if max(map(abs, s)) == far]
        rows.append(
            {
                "pixels": far,
                "shifts": len(ring),
                "inside": _mean([inside[int(s[0]), int(s[1])] for s in ring]),
                "consistency": 1 - _mean([changed[s] for s in ring]),
                "relative_change": _mean([moved[s] for s in ring]) / between,
            }
        )
    return rows


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def show(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """A line for each distance."""
    table = Table(box=None)
    for name in ("pixels", "shifts", "digits inside", "class stays", "scores change by"):
        table.add_column(name, justify="right")
    for row in rows:
        shares = (f"{100 * row[name]:.1f} %" for name in ("inside", "consistency"))
        table.add_row(
            str(row["pixels"]), str(row["shifts"]), *shares, f"{row['relative_change']:.2f}"
        )
    console.print(table)


def draw(report: EvaluationReport, path: Path) -> None:
    """Both figures over the shifts, as maps."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    between = report["invariance"].figures["between_items"] or 1.0
    stays = {s.shift: 100 * (1 - s.mean) for s in report["classes"].shifts}
    moves = {s.shift: s.mean / between for s in report["invariance"].shifts}
    reach = int(max(max(map(abs, shift)) for shift in stays))
    figure, axes = pyplot.subplots(1, 2, figsize=(11.0, 5.0), layout="constrained")
    told = (
        (stays, 100.0, "viridis", "{:.0f}", "class stays (% of the digits)"),
        (moves, 0.0, "viridis_r", "{:.2f}", "change of the scores / distance of two digits"),
    )
    for ax, (values, at_rest, colours, form, title) in zip(axes, told, strict=True):
        field = torch.full((2 * reach + 1, 2 * reach + 1), at_rest)
        for (m, n), value in values.items():
            field[int(m) + reach, int(n) + reach] = value
        ends = (-reach - 0.5, reach + 0.5)
        drawn = ax.imshow(field, cmap=colours, extent=(*ends, *reversed(ends)))
        dark = (field.max() + field.min()).item() / 2
        for (i, j), value in (
            (p, field[p].item()) for p in itertools.product(range(len(field)), repeat=2)
        ):
            white = (value < dark) == (colours == "viridis")
            colour = "white" if white else "black"
            ax.text(
                j - reach,
                i - reach,
                form.format(value),
                ha="center",
                va="center",
                size=7,
                color=colour,
            )
        ax.set(title=title, xlabel="shift to the right (pixels)", ylabel="shift down (pixels)")
        figure.colorbar(drawn, ax=ax, shrink=0.85)
    figure.suptitle(f"{report.items:,} digits of MNIST, black enters")
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def result_of(report: EvaluationReport, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What is kept: every figure of every shift, without times and without the cases."""
    classes, invariance = report["classes"], report["invariance"]
    return {
        "items": report.items,
        "pairs": report.pairs,
        "fill": "zeros",
        "consistency": classes.figures["consistency"],
        "always_the_same": classes.figures["always_the_same"],
        "between_items": invariance.figures["between_items"],
        "relative_mean": invariance.figures["relative_mean"],
        "distances": rows,
        "shifts": [
            {"shift": list(c.shift), "class_changes": c.mean, "distance": d.mean}
            for c, d in zip(classes.shifts, invariance.shifts, strict=True)
        ],
        "versions": dict(report.versions),
    }


def main() -> None:
    """Evaluate, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", type=Path, help="a folder with the files of MNIST")
    parser.add_argument("--items", type=int, help="only the first so many digits")
    parser.add_argument("--reach", type=int, default=5, help="pixels along each axis")
    parser.add_argument("--checkpoint", type=Path, help="go on from here, and keep here")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--report", type=Path, help="write the whole report here, as JSON")
    parser.add_argument("--figure", type=Path, help="draw the maps here; needs matplotlib")
    given = parser.parse_args()

    torch.set_num_threads(1)
    data = images(given.mnist)[: given.items]
    report = evaluated(data, given.reach, checkpoint=given.checkpoint)
    rows = figures(report, still_inside(data, given.reach))
    console = Console(width=90)
    show(rows, console)
    classes = report["classes"].figures
    console.print(
        f"over all {len(report.shifts)} shifts of {report.items:,} digits: "
        f"the class stays in {100 * (classes['consistency'] or 0):.1f} %, "
        f"and at every shift for {100 * (classes['always_the_same'] or 0):.1f} % of the digits"
    )
    if given.json is not None:
        text = json.dumps(result_of(report, rows), indent=1)
        given.json.write_text(text + "\n", encoding="utf-8")
    if given.report is not None:
        given.report.write_text(report.to_json(), encoding="utf-8")
    if given.figure is not None:
        draw(report, given.figure)


if __name__ == "__main__":
    main()
