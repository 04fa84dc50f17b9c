"""Two ranks with gloo: torch's own DTensor convolution, and the check where a rank raises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not dist.is_available(), reason="torch is built without distributed"),
]

ROOT = Path(__file__).parents[3]
UNPADDED = "kernel 3 padding 0"
WRONG = ("kernel 3 padding 1", UNPADDED, "stride 2", "dilation 2", "kernel 5 padding 2")
RIGHT = ("kernel 2 stride 2", "kernel 1")


def told() -> dict[str, dict[str, Any]]:
    """What two processes say."""
    script = Path(__file__).parent / "dtensor_ranks.py"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launcher, str(script)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line["name"]: line for line in lines}


def test_two_ranks() -> None:
    """One launch for all; whether DTensor is wrong depends on the version, and is asked first."""
    lines = told()
    verdicts = {"right": "same", "wrong": "different", "raised": "raised"}
    for name in (*WRONG, *RIGHT):
        line = lines[name]
        assert verdicts[line["torch"]] == line["verdict"], name
        if line["torch"] == "wrong":
            fault = "wrong lengths" if name == UNPADDED else "border padding in the middle"
            assert line["faults"] == [fault], name
            assert "first layer that differs: 'Conv2d'" in line["text"], name
    assert lines["exchange by messages"]["verdict"] == ["same", "same"]
    assert lines["exchange without the left side"]["verdict"] == ["different", "different"]
    every = lines["raises on rank 1"]["text"]
    assert len(every) == 2
    assert all("rank 1: the sharded callable raised ValueError: no" in text for text in every)
    assert all("there are 2 ranks, give parts=2" in text for text in lines["three parts"]["text"])
