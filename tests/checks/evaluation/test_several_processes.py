"""The example on two processes, and digits on two processes that are killed three times."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from shiftcheck.report import EvaluationReport

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "evaluate_on_two.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not dist.is_available(), reason="torch has no distributed"),
]


def command(processes: int, *options: object) -> list[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    start = [*torchrun, "--nproc-per-node", str(processes)] if processes > 1 else [sys.executable]
    return [*start, str(EXAMPLE), *map(str, options)]


def started(*arguments: Any) -> subprocess.Popen[str]:
    """A run of the example, with one thread for each process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command(*arguments),
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def report_of(path: Path) -> dict[str, Any]:
    data = json.loads(EvaluationReport.from_json(path.read_text("utf-8")).to_json())
    del data["processes"]
    return data


def ended(run: subprocess.Popen[str]) -> str:
    out, _ = run.communicate(timeout=300)
    assert run.returncode == 0, out
    return out


def test_the_example_gives_the_same_on_one_and_on_two_processes(tmp_path: Path) -> None:
    reports = []
    for processes in (1, 2):
        path = tmp_path / f"{processes}.json"
        out = ended(started(processes, "--digits", 230, "--batch", 50, "--json", path))
        assert "LeNet over 230 items of 1x28x28, 460 shifted copies" in out
        reports.append(report_of(path))
    assert reports[0] == reports[1]


def killed(run: subprocess.Popen[str]) -> None:
    """The launcher and its processes, which are in groups of their own."""
    command = ["ps", "-o", "pid=", "--ppid", str(run.pid)]
    workers = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    for pid in (run.pid, *map(int, workers)):
        os.kill(pid, signal.SIGKILL)
    run.communicate(timeout=60)


def test_ten_thousand_digits_killed_three_times_give_the_same(tmp_path: Path) -> None:
    kept, options = tmp_path / "kept", ("--digits", 10_000, "--draws", 1)
    whole, resumed = tmp_path / "whole.json", tmp_path / "resumed.json"
    ended(started(2, *options, "--json", whole))
    draw = random.Random(0)
    done = []
    for _ in range(3):
        run = started(2, *options, "--checkpoint", kept, "--every", 0, "--json", resumed)
        before = sum(done[-1:])
        until = time.monotonic() + 120
        while time.monotonic() < until and blocks_of(tmp_path) <= before:
            time.sleep(0.02)
        time.sleep(draw.uniform(0.0, 1.5))
        killed(run)
        done.append(blocks_of(tmp_path))
        assert not resumed.exists()
    assert 0 < done[0] < done[1] < done[2] < 100
    ended(started(2, *options, "--checkpoint", kept, "--json", resumed))
    assert report_of(resumed) == report_of(whole)
    assert report_of(resumed)["items"] == 10_000
    assert not list(tmp_path.glob("kept*"))


def blocks_of(folder: Path) -> int:
    """How many blocks are done, by the checkpoints."""
    files = [p for p in folder.glob("kept.*") if p.suffix != ".part"]
    return sum(json.loads(p.read_text("utf-8"))["done"] for p in files)
