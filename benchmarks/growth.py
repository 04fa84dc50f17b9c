"""What an evaluation of a large set of data would take: items, shifts and processes, simulated.

``python benchmarks/growth.py`` measures the parts on this machine: what ``evaluate`` adds to the
forward passes, what it does once, what a checkpoint weighs, and how long it takes to merge what the
processes found. From them and the seconds of one image in one forward pass, which are those of your
network on your device, it prints the table of ``docs/distributed.md``, and writes it with
``--json``. Nothing in the table was run at that size.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from evaluation import SETTINGS, measured
from rich.console import Console
from rich.table import Table

from shiftcheck.checks.evaluation.accumulators import State, merged, tally_of
from shiftcheck.report.serialization import to_strict_json

ITEMS = (10_000, 100_000, 1_000_000)
SHIFTS = (1, 8, 120)
PROCESSES = (1, 2, 4, 8)
BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Measured: the ratio to the bare passes, seconds once, and of a process's state."""

    ratio: float
    once: float
    merge: float
    state_bytes: int


def state_of(items: int) -> State:
    """What a process holds of two quantities over 120 shifts, whatever the number of its items."""
    shifts = [s for s in itertools.product(range(-5, 6), repeat=2) if any(s)]
    values = torch.rand(items * len(shifts), generator=torch.Generator().manual_seed(0)).tolist()
    pairs = list(itertools.product(range(items), shifts))
    valued = [(item, shift, v) for (item, shift), v in zip(pairs, values, strict=True)]
    tallies = tuple(tally_of(what, "output", "output", valued) for what in ("classes", "eq_t"))
    return State(items=items, pairs=len(valued), tallies=tallies)


def measured_parts(repeats: int) -> Parts:
    """On this machine; the ratio is that of passes of more than 20 ms."""
    cost = measured(SETTINGS[2], repeats)
    state = state_of(200)
    begun = time.process_time()
    merged([state] * 8)
    return Parts(
        ratio=max(1.0, cost.ratio),
        once=max(0.0, cost.once),
        merge=(time.process_time() - begun) / 8,
        state_bytes=len(to_strict_json(state, None)),
    )


def seconds(parts: Parts, items: int, shifts: int, processes: int, image: float) -> float:
    """Of the process that has most: whole batches are shared, then all states are merged."""
    batches = math.ceil(math.ceil(items / BATCH) / processes)
    passes = batches * min(BATCH, items) * (1 + shifts) * image
    return parts.once + passes * parts.ratio + parts.merge * processes


def table(parts: Parts, image: float) -> Table:
    """Hours by items, shifts and processes."""
    made = Table(title=f"hours, where one image takes {1000 * image:g} ms in a forward pass")
    for name in ("items", "shifts of each", *(f"{p} processes" for p in PROCESSES)):
        made.add_column(name.replace("1 processes", "1 process"), justify="right")
    for items, shifts in itertools.product(ITEMS, SHIFTS):
        hours = (seconds(parts, items, shifts, p, image) / 3600 for p in PROCESSES)
        made.add_row(f"{items:,}", str(shifts), *(f"{h:.2f}" for h in hours))
    return made


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--milliseconds", type=float, default=2.5, help="of one image in a forward pass, of yours"
    )
    parser.add_argument("--json", type=Path, help="write the parts and the table here")
    given = parser.parse_args()
    torch.set_num_threads(1)
    parts, image = measured_parts(given.repeats), given.milliseconds / 1000
    console = Console(width=100)
    console.print(
        f"times the bare passes {parts.ratio:.3f}, once {parts.once:.2f} s, to merge a process"
        f" {1000 * parts.merge:.1f} ms, a state {parts.state_bytes / 1000:.0f} kB"
    )
    console.print(table(parts, image))
    if given.json is not None:
        rows = [
            {"items": n, "shifts": s, "processes": p, "seconds": seconds(parts, n, s, p, image)}
            for n, s, p in itertools.product(ITEMS, SHIFTS, PROCESSES)
        ]
        told = {"parts": asdict(parts), "seconds_of_an_image": image, "batch": BATCH, "rows": rows}
        given.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
