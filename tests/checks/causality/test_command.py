"""``shiftcheck causality`` says what the check says, and its status."""

from __future__ import annotations

from pathlib import Path

import pytest

from shiftcheck.cli import main
from shiftcheck.report import CausalityReport

MODELS = """
import torch
from torch import nn


def conv(left=2):
    return nn.Sequential(nn.ConstantPad1d((left, 2 - left), 0.0), nn.Conv1d(4, 4, 3))


def rows():
    return nn.GRU(4, 4, batch_first=True)


def silent(x):
    return 0 * x
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (["net.py:conv", "--shape", "1,4,32"], 0),
        (["net.py:conv", "--arg", "left=1", "--shape", "1,4,32"], 1),
        (["net.py:conv", "--arg", "left=1", "--shape", "1,4,32", "--lookahead", "1"], 0),
        (["net.py:rows", "--shape", "1,32,4", "--axis", "1"], 0),
        (["net.py:silent", "--function", "--shape", "1,4,32"], 3),
        (["net.py:conv", "--shape", "1,4,32", "--axis", "5"], 2),
        (["net.py:conv", "--shape", "1,4,32", "--block", "99"], 2),
    ],
)
def test_the_status_is_that_of_the_verdict(folder: Path, given: list[str], status: int) -> None:
    assert main(["causality", *given]) == status


def test_the_report_is_written_and_options_are_those_of_the_command_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--json", "report.json", "--html", "report.html"]
    assert main(["causality", "net.py:conv", "--arg", "left=1", "--shape", "1,4,32", *files]) == 1
    said = capsys.readouterr().out
    assert "1 (Conv1d, kernel 3, stride 1, padding 0): its window reaches" in said
    assert "a declared look-ahead of 1 would do: --lookahead 1" in said
    report = CausalityReport.from_json((folder / "report.json").read_text())
    assert report.verdict == "not causal"
    assert "window reaches ahead" in (folder / "report.html").read_text(encoding="utf-8")
    assert main(["render", "report.json"]) == 0
    assert "NOT CAUSAL, window reaches ahead" in capsys.readouterr().out
    assert main(["causality", "net.py:conv", "--shape", "1,4,32", "--axis", "5"]) == 2
    assert "--axis 5 is no dimension of x" in capsys.readouterr().err
