"""An evaluation costs its forward passes, and holds no more for more items."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck

PASSES: list[int] = []
"""The batch sizes of all passes on values; what a model holds itself is put back."""


class Counted(nn.Module):
    """Counts its passes; those on which the geometry is read have no values."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        PASSES.append(len(x))
        y: torch.Tensor = self.conv(x)
        return y


def passes_over(items: int, what: Any, draws: int) -> int:
    """How often the model is called for so many items, in batches of four."""
    PASSES.clear()
    x = torch.rand(items, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    shiftcheck.evaluate(Counted(), x, what, draws=draws, batch_size=4)
    return len(PASSES)


@pytest.mark.parametrize("what", ["equivariance", "eq_t", ["equivariance", "eq_t"]])
@pytest.mark.parametrize("draws", [1, 3])
def test_each_batch_costs_one_pass_and_one_for_each_shift(what: Any, draws: int) -> None:
    few, many, more = (passes_over(items, what, draws) for items in (8, 40, 80))
    assert many - few == 8 * (1 + draws)
    assert more - many == 10 * (1 + draws)


HELD = """
import torch, shiftcheck
from torch import nn

def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

class Noise(torch.utils.data.Dataset):
    def __init__(self, count):
        self.count, self.most = count, 0

    def __len__(self):
        return self.count

    def __getitem__(self, number):
        self.most = max(self.most, anonymous())
        return torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(number))

def held(count):
    data = Noise(count)
    what = ["equivariance", "invariance"]
    shiftcheck.evaluate(model, data, what, draws=2, max_shift=2, batch_size=25)
    return data.most

torch.set_num_threads(1)
model = nn.Conv2d(1, 1, 3, padding=1)
few = max(held(100), held(100))
print(held(3000) - few)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no count of pages")
def test_what_is_held_does_not_grow_with_the_items() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELD],
        env={"PYTHONPATH": str(Path(shiftcheck.__file__).parents[1]), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 12 * 2**20  # the items have 47 MB, and so have their outputs
