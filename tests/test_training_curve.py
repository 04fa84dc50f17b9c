"""The script that draws the figure of the page on training."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "examples" / "training_curve.py"


@pytest.mark.slow
def test_breaks_come_and_go_in_training(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("torchmetrics")
    figure = tmp_path / "training.png"
    command = [sys.executable, str(SCRIPT), str(figure)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert figure.read_bytes().startswith(b"\x89PNG")
    lines = re.findall(r"(.+): error (\S+) at first and (\S+) in the end", done.stdout)
    errors = {name: (float(first), float(last)) for name, first, last in lines}
    first, last = errors.pop("a table that learns")
    assert first < 1e-6
    assert last > 0.1
    first, last = errors.pop("a table that decays")
    assert first > 0.3
    assert last < 0.05
    assert max(errors.pop("no table")) < 1e-6
    assert not errors
