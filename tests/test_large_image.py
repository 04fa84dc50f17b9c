"""An image in a file goes through a network in tiles, is interrupted, and goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "large_image.py"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_run_that_was_killed_goes_on_within_its_memory(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--side", "3000", "--memory", "600000000"]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the second run went on where the first was" in done.stdout
    assert "tiles" in done.stderr  # the bar
    assert not list(tmp_path.iterdir())
