"""A tiled run stays within the memory that its plan was made for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import shiftcheck

RUN = """
import sys, threading
import numpy as np, torch, shiftcheck
from tests.networks.tiled import UNet

def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

pixels, bound, norm, kind = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
torch.manual_seed(0)
torch.set_num_threads(1)
model = UNet(norm, width=8).to(getattr(torch, kind)).eval()
shape = (1, 1, pixels, pixels)
x = np.memmap("x", kind, "w+", shape=shape)
x[:] = np.random.default_rng(0).standard_normal(shape)
x = np.memmap("x", kind, "r", shape=shape)
out = np.memmap("y", kind, "w+", shape=(1, 2, pixels, pixels))
plan = shiftcheck.tiling(model, x, memory=bound)
before, peak, ended = anonymous(), [0], threading.Event()

def watch():
    while not ended.wait(0.003):
        peak[0] = max(peak[0], anonymous())

watching = threading.Thread(target=watch)
watching.start()
shiftcheck.tiled(model, plan)(x, out=out)
ended.set()
watching.join()
print(plan.tiles, peak[0] - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no count of pages")
@pytest.mark.parametrize(
    ("pixels", "mebibytes", "norm", "kind"),
    [
        (2400, 400, "batch", "float32"),
        (2400, 400, "group", "float32"),
        (1400, 800, "batch", "float64"),
    ],
)
def test_a_run_stays_within_its_memory(
    tmp_path: Path, pixels: int, mebibytes: int, norm: str, kind: str
) -> None:
    source = Path(shiftcheck.__file__).parents[1]
    root = Path(__file__).parents[3]
    bound = mebibytes * 2**20
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(pixels), str(bound), norm, kind],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{source}:{root}", "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    tiles, used = map(int, done.stdout.split())
    assert tiles > 1
    assert used <= bound
