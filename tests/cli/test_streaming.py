"""The command that says what a model has to remember to run on a stream."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shiftcheck.cli import main
from shiftcheck.report import StreamingPlan

SOURCE = """
from torch import nn

class Encoder(nn.Sequential):
    def __init__(self, kernel=7):
        pad = nn.ConstantPad1d((kernel - 1, 0), 0.0)
        super().__init__(pad, nn.Conv1d(1, 8, kernel), nn.Conv1d(8, 8, 4, stride=4))

class Normed(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv1d(1, 8, 7), nn.GroupNorm(2, 8))

class Random(nn.Module):
    def forward(self, x):
        return x + x.new_empty(x.shape).normal_()

def recurrent():
    return nn.LSTM(3, 4, batch_first=True)
"""

Captured = pytest.CaptureFixture[str]
SHAPE = ("--shape", "1,1,1600")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "net.py").write_text(SOURCE, "utf-8")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path


def test_a_model_that_streams(capsys: Captured) -> None:
    assert main(["streaming", "net.py:Encoder", *SHAPE]) == 0
    told = capsys.readouterr().out
    for words in (
        "A FINITE STATE SUFFICES",
        "look-back 6, look-ahead 3, latency 0",
        "chunks are multiples of 4 samples",
        "'1' (Conv1d): the last 6 samples of its input, 6 numbers",
    ):
        assert words in told


def test_a_layer_that_needs_the_whole(capsys: Captured) -> None:
    assert main(["streaming", "net.py:Normed", *SHAPE]) == 1
    assert "'1' (group_norm): statistic over time" in capsys.readouterr().out


def test_what_is_not_known_is_no_pass() -> None:
    assert main(["streaming", "net.py:Random", *SHAPE, "--spatial-dims", "2"]) == 3


def test_time_along_another_axis(capsys: Captured) -> None:
    given = ["streaming", "net.py:recurrent", "--shape", "1,50,3", "--axis", "1"]
    assert main(given) == 2
    assert "--axis 1 holds the channels" in capsys.readouterr().err
    assert main([*given, "--spatial-dims", "1", "--json", "-"]) == 0
    plan = StreamingPlan.from_json(capsys.readouterr().out)
    assert (plan.axis, plan.state_elements) == (1, 8)


def test_files_and_rendering(folder: Path, capsys: Captured) -> None:
    given = ["streaming", "net.py:Encoder", "--arg", "kernel=5", *SHAPE]
    assert main([*given, "--json", "plan.json", "--html", "plan.html"]) == 0
    shown = capsys.readouterr().out
    assert "look-back 4" in (folder / "plan.html").read_text("utf-8")
    assert main(["render", "plan.json"]) == 0
    assert capsys.readouterr().out == shown
