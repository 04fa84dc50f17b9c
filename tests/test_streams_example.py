"""The script that draws the figure of the page on streaming."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "examples" / "streams.py"


@pytest.mark.slow
def test_the_figure_of_the_page_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = tmp_path / "streaming.png"
    command = [sys.executable, str(SCRIPT), str(figure)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert figure.read_bytes().startswith(b"\x89PNG")
    errors = {name: float(e) for name, e in re.findall(r"([a-z -]+): (\S+)", done.stdout)}
    assert len(errors) == 4
    assert errors.pop(" coarser type") < 1e-2 < min(errors.values())
