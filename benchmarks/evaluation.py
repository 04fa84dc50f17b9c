"""What an evaluation of a set of data costs beyond its forward passes.

``python benchmarks/evaluation.py`` prints, for several networks, the processor time of ``evaluate``
over that of a bare loop with the same forward passes on the same batches: once for each size of the
items, where the geometry is read, and for each batch. With ``--strict`` it exits with 1 where that
ratio is above ``MOST`` for a network whose batches take more than ``LARGE`` milliseconds; from few
repeats, ratios are known to some percent only. What a large evaluation costs is told by
``benchmarks/growth.py``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from heap import keep_pages
from rich.console import Console
from rich.table import Table
from torch import nn

import shiftcheck
from shiftcheck.models import lenet

MOST = 1.05
"""The processor time over that of the bare loop, at most, where a batch takes its time."""

LARGE = 20.0
"""Milliseconds of a forward pass from which that holds."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A network, the shape of an item, how many of them, and what is asked."""

    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    items: int
    batch: int
    what: str
    draws: int = 4


def convolutions(width: int, depth: int, *end: nn.Module) -> nn.Module:
    """Some padded 3x3 convolutions."""
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Conv2d(width if i else 3, width, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, *end)


SETTINGS = (
    Setting(
        name="LeNet, 28 x 28, classes",
        make=lambda: lenet(pretrained=True),
        shape=(1, 28, 28),
        items=256,
        batch=128,
        what="classes",
    ),
    Setting(
        name="LeNet, 28 x 28, invariance",
        make=lambda: lenet(pretrained=True),
        shape=(1, 28, 28),
        items=256,
        batch=128,
        what="invariance",
    ),
    Setting(
        name="8 convolutions of 32, 64 x 64, equivariance of 32 channels",
        make=lambda: convolutions(32, 8),
        shape=(3, 64, 64),
        items=32,
        batch=16,
        what="equivariance",
    ),
    Setting(
        name="12 convolutions of 48, 96 x 96, equivariance of 4 channels",
        make=lambda: convolutions(48, 12, nn.Conv2d(48, 4, 1)),
        shape=(3, 96, 96),
        items=16,
        batch=8,
        what="equivariance",
    ),
    Setting(
        name="12 convolutions of 48, 96 x 96, EQ-T",
        make=lambda: convolutions(48, 12, nn.Conv2d(48, 4, 1)),
        shape=(3, 96, 96),
        items=16,
        batch=8,
        what="eq_t",
    ),
)


def bare(model: nn.Module, x: torch.Tensor, setting: Setting) -> None:
    """The same passes, with a roll in the place of the shifts, and nothing compared."""
    with torch.inference_mode():
        for batch in x.split(setting.batch):
            model(batch)
            for k in range(setting.draws):
                model(batch.roll(k + 1, -1))


def seconds(do: Callable[[], Any]) -> float:
    """The processor time of one run, which others on the machine hardly change."""
    begun = time.process_time()
    do()
    return time.process_time() - begun


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds of a batch, of what is done once, and the ratio of what is done for each batch."""

    batch: float
    once: float
    ratio: float

    @property
    def is_too_much(self) -> bool:
        """Whether a network of large passes costs more than it may."""
        return 1000 * self.batch > LARGE and self.ratio > MOST


def measured(setting: Setting, repeats: int) -> Cost:
    """From some runs over the items, and over twice as many; the ratio is the median of theirs."""
    model = setting.make().eval()
    x = torch.rand(2 * setting.items, *setting.shape)

    def whole(items: torch.Tensor) -> None:
        shiftcheck.evaluate(
            model,
            items,
            setting.what,
            draws=setting.draws,
            max_shift=3,
            batch_size=setting.batch,
            progress=False,
        )

    half = x[: setting.items]
    whole(half)
    runs = [
        (
            seconds(lambda: bare(model, half, setting)),
            seconds(lambda: whole(half)),
            seconds(lambda: whole(x)),
        )
        for _ in range(repeats)
    ]
    loop, one, two = (min(column) for column in zip(*runs, strict=True))
    passes = -(-setting.items // setting.batch) * (setting.draws + 1)
    ratio = median((twice - once) / alone for alone, once, twice in runs)
    return Cost(batch=loop / passes, once=2 * one - two, ratio=ratio)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--strict", action="store_true", help="fail where a bound is missed")
    given = parser.parse_args()
    keep_pages()
    torch.set_num_threads(given.threads)
    console = Console(width=110)
    costs = Table(title="evaluate over a bare loop with the same forward passes")
    for name in ("", "ms a batch", "ms once", "ratio"):
        costs.add_column(name, justify="right" if name else "left")
    missed = []
    for setting in SETTINGS:
        cost = measured(setting, given.repeats)
        missed += [setting.name] if cost.is_too_much else []
        figures = f"{1000 * cost.batch:.1f}", f"{1000 * cost.once:.0f}", f"{cost.ratio:.3f}"
        costs.add_row(setting.name, *figures)
    console.print(costs)
    if missed and given.strict:
        raise SystemExit(f"more than {MOST} times the bare loop: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
