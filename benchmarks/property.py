"""What a property test costs: whole tests at 100 examples, and one example against bare forwards.

Milliseconds of CPU time on one thread. An example runs three signals: x, and x with its copy; the
bare forward runs them without any check. Runs of both alternate, and the median counts. With JSON
lines, and the processor's name.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck

HUNDRED = hypothesis.settings(max_examples=100, database=None, derandomize=True)
BOUNDS = {"three convolutions, an example": 50.0, "U-Net, three pools": 10_000.0}
"""Milliseconds."""


def convolutions() -> nn.Module:
    """Three convolutions."""
    layers = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 1, 3)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


def block(before: int, after: int) -> nn.Module:
    """Two convolutions."""
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """So many 2x2 pools, and back."""

    def __init__(self, pools: int, width: int = 8) -> None:
        super().__init__()
        sizes = [width * 2**k for k in range(pools + 1)]
        self.down = nn.ModuleList(block(a, b) for a, b in zip([1, *sizes], sizes, strict=False))
        pairs = list(pairwise(sizes))[::-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in pairs)
        self.back = nn.ModuleList(block(2 * a, a) for a, _ in pairs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Down, and up with what was kept."""
        kept = [x := self.down[0](x)]
        for down in self.down[1:]:
            kept.append(x := down(F.max_pool2d(x, 2)))
        for up, back, skip in zip(self.up, self.back, kept[-2::-1], strict=True):
            x = back(torch.cat([skip, up(x)], 1))
        return x


def milliseconds(work: Callable[[], object]) -> float:
    """The CPU time of some work."""
    start = time.process_time()
    work()
    return 1e3 * (time.process_time() - start)


def whole(model: nn.Module, **options: Any) -> float:
    """A property test, whether it passes or fails."""

    def test_it() -> None:
        """Nothing."""

    test = shiftcheck.strategies.equivariant(model, settings=HUNDRED, **options)(test_it)

    def run() -> None:
        try:
            test()
        except shiftcheck.NotEquivariantError:
            return

    return milliseconds(run)


def example(model: nn.Module, size: int, step: int, times: int) -> tuple[float, float]:
    """One example, and its signals without a check."""
    x = torch.randn(1, 1, size, size)
    two = torch.cat([x, x])
    checked, bare = [], []
    options: Any = {"shifts": [(step, 0)], "measure": "outputs"}
    for _ in range(times + 1):
        checked.append(milliseconds(lambda: shiftcheck.check_equivariance(model, x, **options)))
        with torch.inference_mode():
            bare.append(milliseconds(lambda: (model(x), model(two))))
    return median(checked[1:]), median(bare[1:])


def measured(times: int) -> Iterator[dict[str, Any]]:
    """All rows of the table."""
    small, two, three = convolutions().eval(), UNet(2).eval(), UNet(3).eval()
    for name, model, size, step in (
        ("three convolutions", small, 32, 1),
        ("U-Net, two pools", two, 64, 4),
        ("U-Net, three pools", three, 112, 8),
    ):
        took, bare = example(model, size, step, times)
        row = {"what": f"{name}, an example", "ms": took, "bare": bare, "ratio": took / bare}
        yield row
    yield {"what": "three convolutions", "ms": whole(small)}
    yield {"what": "U-Net, two pools", "ms": whole(two, lattice=4)}
    yield {"what": "U-Net, three pools", "ms": whole(three, lattice=8)}
    yield {"what": "U-Net, two pools, failing", "ms": whole(two)}
    yield {"what": "U-Net, three pools, failing", "ms": whole(three, lattice=4)}


def processor() -> str:
    """Its name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration, IndexError):
        return platform.processor()


def main() -> int:
    """Measure, and print; 1 where something is above its bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=9, help="runs of an example")
    times = parser.parse_args().times
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows = [row | {"processor": processor()} for row in measured(times)]
    for row in rows:
        beside = f"   {row['ratio']:5.1f} times {row['bare']:.2f}" if "ratio" in row else ""
        bound = f"   at most {BOUNDS[row['what']]:g}" if row["what"] in BOUNDS else ""
        print(f"{row['what']:32} {row['ms']:9.1f} ms{beside}{bound}")
    for row in rows:
        print(json.dumps(row))
    return int(any(row["ms"] > BOUNDS.get(row["what"], row["ms"]) for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
