"""Several processes find what one does, also where their sampler repeats items."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

pytest.importorskip("torchmetrics")

SCRIPT = Path(__file__).with_name("shared_items.py")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not dist.is_available(), reason="torch has no distributed"),
]


def found(processes: int) -> tuple[dict[str, Any], str]:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, str(processes), str(SCRIPT)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_several_processes_find_what_one_does() -> None:
    """Sampled with repeats, all in one of them, and without numbers."""
    alone, quiet = found(1)
    assert "without index=" not in quiet
    assert {(f["items"], f["repeated"]) for f in alone.values()} == {(7, 0)}
    for processes, repeats in ((2, 1), (3, 2)):
        shared, said = found(processes)
        assert shared["numbered"].pop("repeated") == repeats
        assert shared["first"].pop("repeated") == 0
        numbered = {k: v for k, v in alone["numbered"].items() if k != "repeated"}
        assert shared["numbered"] == shared["first"]
        assert shared["numbered"] == pytest.approx(numbered, rel=1e-12)
        assert shared["without"] == pytest.approx(alone["without"], rel=1e-12)
        assert "without index=, items that a DistributedSampler repeats" in said
