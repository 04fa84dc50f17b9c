"""The example that draws the figure of the page runs, and says what the page says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "examples" / "causality.py"


@pytest.mark.slow
def test_the_figure_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = tmp_path / "causality.png"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(figure)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    said = [line.rpartition(": ")[2] for line in done.stdout.splitlines()]
    assert said == [
        "CAUSAL",
        "NOT CAUSAL, window reaches ahead",
        "NOT CAUSAL, statistics over time",
        "NOT CAUSAL, filled from later samples",
    ]
    assert figure.read_bytes().startswith(b"\x89PNG")
