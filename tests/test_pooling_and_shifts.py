"""The example on pooling runs on the shipped digits, and prints and draws what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "examples" / "pooling_and_shifts.py"


def run(*options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, *options]
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_networks_are_told_apart(tmp_path):
    pytest.importorskip("matplotlib")
    figure = tmp_path / "pooling.png"
    done = run("--epochs", 1, "--train", 50, "--test", 10, "--figure", figure)
    assert done.returncode == 0, done.stderr
    verdicts = dict(re.findall(r"│ (\S.*?) +│ ((?:not )?invariant|inconclusive) +│", done.stdout))
    assert len(verdicts) == 9
    invariant = {name for name, verdict in verdicts.items() if verdict == "invariant"}
    assert invariant == {"APS, global mean", "stride-less, global mean"}
    agreement = done.stdout.split("same class as in the centre")[1].split("how far")[0]
    for name in invariant:
        row = next(line for line in agreement.splitlines() if name in line)
        assert set(re.findall(r" (\d+) ", row)) == {"100"}
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_options_are_checked():
    done = run("--epochs", 0)
    assert done.returncode == 2
    assert "--epochs must be at least 1, not 0" in done.stderr


def test_folder_without_the_files_is_named(tmp_path):
    done = run(tmp_path)
    assert done.returncode != 0
    assert f"{tmp_path}: holds neither train-images" in done.stderr
