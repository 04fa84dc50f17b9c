"""CONTRIBUTING.md: its examples work on a copy of the sources, and what it names is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests import test_house

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MOST = {"A rule": 1, "A cause or a reason": 2, "A field of a shift's result": 4}
MOST |= {"An output format": 3}
"""How many files an addition may touch."""


def diffs() -> dict[str, str]:
    """The diff below each heading."""
    found = re.findall(r"^### (.*?):.*?^```diff\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return dict(found)


def files_of(diff: str) -> dict[str, list[tuple[str, str]]]:
    """For each file that a diff changes: the texts before and after, one pair a hunk."""
    files = {}
    for part in re.split(r"^--- .*\n", diff, flags=re.MULTILINE)[1:]:
        name, _, hunks = part.partition("\n")
        pairs = []
        for hunk in re.split(r"^@@\n", hunks, flags=re.MULTILINE)[1:]:
            lines = hunk.splitlines()
            before = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "+")
            after = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "-")
            pairs.append((before, after))
        files[name.removeprefix("+++ b/")] = pairs
    return files


def apply(diff: str, root: Path) -> None:
    for name, pairs in files_of(diff).items():
        path = root / name
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for before, after in pairs:
            assert not before or text.count(before) == 1, f"{name} holds no such lines:\n{before}"
            text = text.replace(before, after) if before else after
        path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("heading", MOST)
def test_an_addition_touches_few_files(heading: str) -> None:
    assert 1 <= len(files_of(diffs()[heading])) <= MOST[heading]


def test_every_example_is_counted() -> None:
    assert diffs().keys() == MOST.keys()


WORKS = """
import torch
import shiftcheck
from shiftcheck.report import CauseKind, InvarianceReport, Report

x = torch.randn(2, 1, 12, 13)
polar = shiftcheck.geometry(lambda x: torch.polar(x, x).abs(), x)
assert polar.outputs[0].valid == (((0, 12),), ((0, 13),)), polar

report = shiftcheck.check_equivariance(lambda x: x.sort(2)[0], x)
assert report.guilty.kind is CauseKind.SORTED, report
assert "cause SORTED: values are put in order" in str(report)
assert "sort over the channels" in str(report)

still = shiftcheck.check_equivariance(torch.nn.Identity(), torch.ones(2, 1, 12, 13))
results = still.outputs[0].shifts
assert any(result.variation is not None for result in results), results
assert "varies over space by 0" in str(still), still
assert Report.from_json(still.to_json()) == still

invariant = shiftcheck.check_invariance(lambda x: x.mean((2, 3)), x)
for shown in (report, invariant, shiftcheck.check_linear(torch.relu, x)):
    text = shown.to_markdown()
    assert text.startswith("# <lambda>") or text.startswith("# relu"), text
    assert "\\n| --- | --- |" in text, text
print("it works", shiftcheck.__file__)
"""


def test_the_examples_work(tmp_path: Path) -> None:
    """All of them together, on a copy of the sources."""
    left_out = shutil.ignore_patterns("__pycache__", "data", "weights", "demo")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=left_out)
    weights = ROOT / "src" / "shiftcheck" / "models" / "weights" / "__init__.py"
    copied = tmp_path / weights.relative_to(ROOT)
    copied.parent.mkdir()
    shutil.copy(weights, copied)
    for diff in diffs().values():
        apply(diff, tmp_path)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src")}
    done = subprocess.run(
        [sys.executable, "-c", WORKS],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"it works {tmp_path}")


def test_the_places_it_names_are_there() -> None:
    for path in re.findall(r"`(src/[\w/.]+|tests/[\w/.]+)`", TEXT):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"`((?:report|rules|tracing|measuring|checks|lattice)/[\w/.]+)`", TEXT):
        assert (ROOT / "src" / "shiftcheck" / path).exists(), path


def test_the_first_lines_name_three_places() -> None:
    table = TEXT.splitlines()[4:7]
    assert [row.split(" | ")[0].strip("| ")[:10] for row in table] == [
        "Where is t",
        'Where is "',
        "Where is i",
    ]
    places = re.findall(r"`(src/\S+)` \(`(\w+)", "\n".join(table))
    assert len(places) == 4
    for path, name in places:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^(def|class) {name}\b", text, re.MULTILINE), (path, name)
    assert "Reason.NO_REGION" in (ROOT / places[2][0]).read_text(encoding="utf-8")


def test_the_map_names_every_floor() -> None:
    rows = re.findall(r"^\| (\d+)? *\| (`.*?`) \|", TEXT, re.MULTILINE)
    floors: list[set[str]] = []
    for number, names in rows:
        if number:
            floors.append(set())
        floors[-1] |= {n for n in re.findall(r"`(\w+)`", names)}
    assert tuple(floors) == test_house.FLOORS[:-1]  # __main__ is the command line too
