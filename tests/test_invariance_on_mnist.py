"""The page on evaluations shows what the script on MNIST found, and the script runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "examples" / "invariance_on_mnist.py"
STORED = ROOT / "benchmarks" / "results" / "invariance_on_mnist.json"
GROWTH = ROOT / "benchmarks" / "results" / "growth.json"


def test_the_page_shows_what_is_stored() -> None:
    page = (ROOT / "docs" / "evaluation.md").read_text("utf-8")
    stored = json.loads(STORED.read_text("utf-8"))
    assert (stored["items"], len(stored["shifts"])) == (10_000, 120)
    for row in stored["distances"]:
        inside, stays = (f"{100 * row[name]:.1f} %" for name in ("inside", "consistency"))
        start = f"| {row['pixels']} | {row['shifts']} | {inside} | {stays} |"
        assert f"{start} {row['relative_change']:.2f} |" in page
    assert f"the class stays in {100 * stored['consistency']:.1f} %" in page


def test_the_table_of_a_million_images_is_the_stored_one() -> None:
    page = (ROOT / "docs" / "distributed.md").read_text("utf-8")
    rows = json.loads(GROWTH.read_text("utf-8"))["rows"]
    for items, shifts in {(row["items"], row["shifts"]) for row in rows}:
        hours = [
            f"{row['seconds'] / 3600:.2f}"
            for row in rows
            if (row["items"], row["shifts"]) == (items, shifts)
        ]
        assert f"| {items:,} | {shifts} | {' | '.join(hours)} |" in page


@pytest.mark.slow
def test_the_script_measures_the_shipped_digits(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure, result = tmp_path / "maps.png", tmp_path / "result.json"
    options = ["--reach", "1", "--items", "20", "--json", str(result), "--figure", str(figure)]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *options], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(result.read_text("utf-8"))
    assert (found["items"], found["pairs"]) == (20, 160)
    assert 0.9 < found["consistency"] <= 1
    assert figure.read_bytes().startswith(b"\x89PNG")
