"""What lies free between blocks in use goes back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

import shiftcheck
from shiftcheck.checks.tiles.heap import give_back_gaps

RUN = """
import torch
from shiftcheck.checks.tiles.heap import give_back_gaps

def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

kept = [torch.ones(25_000) for _ in range(1000)]  # below the size from which blocks are mapped
del kept[::2]
before = anonymous()
give_back_gaps()
print(before - anonymous())
"""


def has_trim() -> bool:
    try:
        return hasattr(ctypes.CDLL(None), "malloc_trim")
    except (OSError, TypeError):
        return False


@pytest.mark.skipif(not has_trim(), reason="the C library has no malloc_trim")
def test_gaps_go_back() -> None:
    source = Path(shiftcheck.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        env={"PYTHONPATH": str(source), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) > 30 * 2**20, "half of the blocks, of 50 MB in all"


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_other_libraries_are_left_alone(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def library(name: None) -> object:
        raise error

    monkeypatch.setattr(ctypes, "CDLL", library)
    give_back_gaps()
