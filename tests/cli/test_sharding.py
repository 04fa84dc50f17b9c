"""The command that says what layers exchange between shards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shiftcheck.cli import main
from shiftcheck.report import ShardingPlan

Captured = pytest.CaptureFixture[str]
SOURCE = """
from torch import nn


def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.GroupNorm(2, 4))


def flat():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 30, 5))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "net.py").write_text(SOURCE, "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shard(*arguments: str) -> int:
    return main(["sharding", *arguments, "--shape", "1,3,16,32"])


def test_the_plan_is_printed(capsys: Captured) -> None:
    assert shard("net.py:net", "--parts", "2") == 0
    told = capsys.readouterr().out
    assert "2 shards along dimension 3: EXACT WITH HALOS AND 1 STATISTIC" in told
    assert "halo 1 left, 0 right" in told


def test_what_is_not_exact_has_status_1(capsys: Captured) -> None:
    assert shard("net.py:flat", "--parts", "2") == 1
    assert "'2' (Linear): every sample depends on all shards" in capsys.readouterr().out


def test_the_options_reach_the_plan(folder: Path, capsys: Captured) -> None:
    options = ("--parts", "2", "--axis", "2", "--bounds", "0,6", "--json", "-")
    assert shard("net.py:net", *options, "--html", "page.html") == 0
    plan = ShardingPlan.from_json(capsys.readouterr().out)
    assert (plan.axis, plan.bounds) == (2, (0, 6, 16))
    assert (folder / "page.html").exists()
    Path("plan.json").write_text(plan.to_json(), "utf-8")
    assert main(["render", "plan.json"]) == 0
    assert "shards begin at 0, 6" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (("--parts", "30"), "--parts 30: .*give --parts 16 or fewer"),
        (("--parts", "2", "--bounds", "0,15"), "--bounds 0,15: 15 is off the grid.*give 14 or 16"),
        (("--parts", "2", "--axis", "1"), "--axis 1 is no spatial dimension.*give 2 or 3"),
    ],
)
def test_advice_is_in_the_words_of_the_command(
    capsys: Captured, options: tuple[str, ...], match: str
) -> None:
    assert shard("net.py:net", *options) == 2
    assert pytest.importorskip("re").search(match, capsys.readouterr().err)
