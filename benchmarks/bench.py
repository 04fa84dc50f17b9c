"""What the checks cost, as ratios within one run against the bare forward of the same batch."""

from __future__ import annotations

import argparse
import gc
import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch._subclasses.fake_tensor import FakeTensorMode

import shiftcheck

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.networks.resnet import resnet50

Work = Callable[[], Any]


def seconds(work: Work) -> float:
    """The time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ratio(work: Work, bare: Work, rounds: int) -> float:
    """The median over rounds of the time of ``work`` over that of ``bare``, alternating."""
    work(), bare()
    ratios = []
    for _ in range(rounds):
        before, own, after = seconds(bare), seconds(work), seconds(bare)
        ratios.append(2 * own / (before + after))
    return median(ratios)


def peak_memory(work: Work) -> int:
    """The largest growth of resident memory during a call, in bytes, sampled each millisecond."""
    gc.collect()
    start, top, done = _resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal top
        while not done.is_set():
            top = max(top, _resident() - start)
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    done.set()
    watcher.join()
    return top


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def measure(
    name: str,
    model: torch.nn.Module,
    x: torch.Tensor,
    shifts: Sequence[Any],
    layer: str | None,
    trunk: torch.nn.Module,
    rounds: int,
) -> list[tuple[str, str, float, float]]:
    """The ratios of the checks on one network."""
    model.eval(), trunk.eval()
    batch = x.repeat(len(shifts) + 1, 1, 1, 1)

    def bare() -> None:
        with torch.inference_mode():
            trunk(batch)

    def asserted() -> None:
        shiftcheck.assert_equivariant(model, x, shifts=shifts, layer=layer, max_batch=len(batch))

    def reported() -> None:
        shiftcheck.check_equivariance(model, x, shifts=shifts, layer=layer, max_batch=len(batch))

    rows = [
        (name, "assert_equivariant, time", ratio(asserted, bare, rounds), 1.10),
        (name, "check_equivariance, time", ratio(reported, bare, rounds), 1.30),
    ]
    memory = peak_memory(reported) / max(1, peak_memory(bare))
    return [*rows, (name, "check_equivariance, peak memory", memory, 1.20)]


def static(size: int, rounds: int) -> tuple[str, str, float, float]:
    """The ratio of geometry to the same forward on fake tensors without rules."""
    model = resnet50().eval()

    def bare() -> None:
        with torch.inference_mode(), FakeTensorMode(allow_non_fake_inputs=True):
            model(torch.empty(1, 3, size, size))

    def ruled() -> None:
        shiftcheck.geometry(model, (1, 3, size, size))

    return ("ResNet-50", f"geometry at {size}, time", ratio(ruled, bare, rounds), 4.0)


def main() -> None:
    """Print every ratio with its bound; the exit status says nothing, timings are noisy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.manual_seed(0)
    lenet = shiftcheck.models.LeNet()
    trunk = torch.nn.Sequential(
        lenet.conv1,
        torch.nn.ReLU(),
        lenet.conv2,
        torch.nn.ReLU(),
        lenet.conv3,
        torch.nn.ReLU(),
        lenet.conv4,
        torch.nn.ReLU(),
    )
    shifts = [s for s in product(range(-5, 6), repeat=2)]
    rows = measure(
        "LeNet, 121 shifts", lenet, torch.rand(1, 1, 38, 38), shifts, "relu_3", trunk, rounds
    )
    model = resnet50()
    shifts = [(32 * a, 32 * b) for a, b in product((-1, 0, 1), repeat=2) if (a, b) != (0, 0)]
    layer = "stages.1.3"
    rows += measure(
        "ResNet-50 up to stage 2, 8 shifts",
        model,
        torch.rand(1, 3, 224, 224),
        shifts,
        layer,
        torch.nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool, *model.stages[:2]),
        rounds,
    )
    rows += [static(size, rounds) for size in (224, 4096)]
    table = Table("network", "what", "ratio", "at most")
    for name, what, value, bound in rows:
        table.add_row(name, what, f"{value:.2f}", f"{bound:.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
