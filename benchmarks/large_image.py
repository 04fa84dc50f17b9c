"""A large image through a small U-Net, from a file to a file, within a bound of memory.

    python benchmarks/large_image.py --side 20000 --memory 2000000000

The run is a process of its own, which is killed when half of the tiles are done, and started again.
What it wrote is then held against the model on windows of the image. Prints the largest resident
memory of both processes and their time, and exits with 1 where the bound was exceeded, where the
second one began anew, or where a window differs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

import shiftcheck

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.networks.sized import UNet

ROWS = 256
"""So many rows of the image are drawn at a time."""

POLL = 0.02
"""Seconds between two looks at how far a run has come."""

PROCESS = 400_000_000
"""The bytes of a process that has imported torch and holds no tensor."""

ALLOWED = 64 * torch.finfo(torch.float32).eps


def network() -> nn.Module:
    """A U-Net with two pools, always the same."""
    torch.manual_seed(0)
    return nn.Sequential(UNet(2, width=8), nn.Conv2d(8, 1, 1)).eval()


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the image and the result lie, and how large they are."""

    folder: Path
    side: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the image, and of what the network gives."""
        return 1, 1, self.side, self.side

    @property
    def journal(self) -> Path:
        """Where it stands how far a run has come."""
        return self.folder / "result.raw.tiles.json"

    def image(self, mode: str) -> np.memmap:
        """The image in its file."""
        return np.memmap(self.folder / "image.raw", np.float32, mode, shape=self.shape)

    def result(self, mode: str) -> np.memmap:
        """The result in its file."""
        return np.memmap(self.folder / "result.raw", np.float32, mode, shape=self.shape)

    def draw(self) -> None:
        """Write an image of noise, some rows at a time, and an empty result."""
        image = self.image("w+")
        random = np.random.default_rng(0)
        for first in range(0, self.side, ROWS):
            band = image[:, :, first : first + ROWS]
            band[...] = random.standard_normal(band.shape, dtype=np.float32)
        image.flush()
        self.result("w+").flush()

    def done(self) -> tuple[int, int] | None:
        """The tiles that are done, by the journal, and when that was noted."""
        try:
            noted = json.loads(self.journal.read_text("utf-8"))
        except FileNotFoundError:
            return None
        return noted["tiles"], self.journal.stat().st_mtime_ns


def run(place: Place, memory: int) -> None:
    """The model on all tiles that are left; the bound is that of the whole process."""
    model = network()
    image, result = place.image("r"), place.result("r+")
    plan = shiftcheck.tiling(model, place.shape, memory=memory - PROCESS)
    before = place.done()
    told = {"tiles": plan.tiles, "tile": plan.tile[0], "begun": before[0] if before else 0}
    print(json.dumps(told), flush=True)
    shiftcheck.tiled(model, plan, progress=True)(image, out=result)
    print(json.dumps({"peak": peak_of("self")}), flush=True)


def started(place: Place, memory: int) -> subprocess.Popen[str]:
    """A process that runs the model."""
    command = [sys.executable, str(Path(__file__).resolve()), "--run", str(place.folder)]
    command += ["--side", str(place.side), "--memory", str(memory)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def peak_of(process: int | str) -> int:
    """The largest resident memory that a process has had, in bytes; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text("utf-8").splitlines()
    except FileNotFoundError:
        return 0
    found = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return 1024 * int(found[0]) if found else 0


def interrupted(place: Place, memory: int) -> tuple[int, int]:
    """Kill a run at half of its tiles; the tiles that the journal says are done, and the peak."""
    process = started(place, memory)
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    peak = 0
    while process.poll() is None:
        peak = max(peak, peak_of(process.pid))
        noted = place.done()
        if noted and noted[0] >= told["tiles"] / 2:
            process.kill()
            break
        time.sleep(POLL)
    process.wait()
    noted = place.done()
    return (noted[0] if noted else 0), peak


def finished(place: Place, memory: int) -> tuple[dict[str, int], int]:
    """Let a run end; what it says of itself, and the peak."""
    process = started(place, memory)
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    end = process.stdout.readline()
    if process.wait() or not end:
        raise SystemExit(f"the second run ended with status {process.returncode}")
    return told, json.loads(end)["peak"]


def windows(side: int) -> Iterator[tuple[int, int]]:
    """Where windows begin that are looked at: the corners, and places in between."""
    size = min(WINDOW, side)
    ends = 0, side - size
    yield from ((a, b) for a in ends for b in ends)
    random = np.random.default_rng(1)
    for _ in range(6):
        yield tuple(4 * random.integers(0, (side - size) // 4 + 1, 2))


WINDOW, HALO = 256, 32


def largest_gap(place: Place) -> float:
    """The largest gap of the result to the model on windows, beside their margins."""
    model, image, result = network(), place.image("r"), place.result("r")
    size, gap = min(WINDOW, place.side), 0.0
    for top, left in windows(place.side):
        at = slice(top, top + size), slice(left, left + size)
        with torch.inference_mode():
            right = model(torch.from_numpy(np.array(image[:, :, at[0], at[1]]))).numpy()
        inner = tuple(
            slice(0 if a == 0 else HALO, size if a + size == place.side else size - HALO)
            for a in (top, left)
        )
        there = np.array(result[:, :, at[0], at[1]])
        scale = np.abs(right).max((0, 2, 3), keepdims=True) + 1e-30
        wrong = (np.abs(right - there) / scale)[:, :, inner[0], inner[1]]
        gap = max(gap, float(wrong.max()))
    return gap


def main() -> int:
    """Run, kill, go on, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=20_000, help="pixels, a multiple of 4")
    parser.add_argument("--memory", type=int, default=2_000_000_000, help="bytes of the process")
    parser.add_argument("--folder", type=Path, help="for the files (default: a temporary one)")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run is not None:
        run(Place(folder=options.run, side=options.side), options.memory)
        return 0
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        place = Place(folder=Path(folder), side=options.side)
        place.draw()
        start = time.perf_counter()
        done, peak = interrupted(place, options.memory)
        middle = time.perf_counter()
        told, second = finished(place, options.memory)
        end = time.perf_counter()
        gap = largest_gap(place)
    print(f"{options.side} x {options.side} in {told['tiles']} tiles of {told['tile']} pixels")
    print(
        f"killed after {middle - start:.0f} s, {done} tiles noted; then {end - middle:.0f} s more"
    )
    print(
        f"peak of resident memory: {max(peak, second) / 1e6:.0f} MB of {options.memory / 1e6:.0f}"
    )
    print(f"largest gap to the model on windows: {gap:.1e} (allowed {ALLOWED:.1e})")
    kept = told["begun"] == done > 0
    print("the second run " + ("went on where the first was" if kept else "began anew"))
    return int(not kept or max(peak, second) > options.memory or gap > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
