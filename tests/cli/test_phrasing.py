"""Advice in the words of the command line, and what it advises does what it says."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shiftcheck import Report
from shiftcheck.cli import main
from shiftcheck.cli.parser import joined, parser
from shiftcheck.cli.phrasing import FLAGS, KEYWORDS, as_options
from shiftcheck.report import CauseKind, Reason

SOURCE = """
from torch import nn

class DownUp(nn.Module):
    def __init__(self, channels=3):
        super().__init__()
        self.pool, self.up = nn.MaxPool2d(2), nn.ConvTranspose2d(channels, 1, 2, stride=2)
    def forward(self, x):
        return self.up(self.pool(x))

def conv(size=3):
    return nn.Conv2d(3, 2, size, padding=1)

def classifier():
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "net.py").write_text(SOURCE, "utf-8")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path


def options(line: str = "check net.py:conv --shape 1,3,24,20") -> argparse.Namespace:
    return parser().parse_args(joined(shlex.split(line)))


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        ("check layer='conv4' instead", "check --layer conv4 instead"),
        ("check layer='a b' instead", "check --layer 'a b' instead"),
        ("with layer=..., or", "with --layer ..., or"),
        ("stop before it with layer=...", "stop before it with --layer ..."),
        ("boundary='circular', if", "--boundary circular, if"),
        ("boundary=('valid', 'circular')", "--boundary valid,circular"),
        ("give shifts: shifts=[(1, 0), (0, -2)]", "give shifts: --shifts 1,0 0,-2"),
        ("fixed=('template', 1): no", "--fixed template,1: no"),
        ("or: outputs=['output[0]'] leaves", "or: --outputs 'output[0]' leaves"),
        ("(effort='full' does it)", "(--effort full does it)"),
        ("give max_relative_error=...", "give --max-relative-error ..."),
        ("leave training=True out", "leave --training out"),
        ("tolerances=[0.1, 2.0]: give numbers", "--tolerance 0.1,2.0: give numbers"),
        (
            "the input is too small to see the end of it; give a larger\n    one",
            "the input is too small to see the end of it; give a larger --shape",
        ),
        ("leave rtol and atol out", "leave --rtol and --atol out"),
        ("rtol=1e-05, atol=None: give both", "--rtol 1e-05, no --atol: give both"),
        ("the model runs with x.float()", "the model runs with --dtype float32"),
        ("or: assert_invariant checks outputs", "or: 'shiftcheck invariance' checks outputs"),
        ("use shiftcheck.assert_equivariant for it", "use 'shiftcheck check' for it"),
        (
            "runs on an input of 32 x 48; what",
            "runs on an input of 32 x 48 (--shape 1,3,32,48); what",
        ),
        (
            "a larger input: at least 32 x 48",
            "a larger input: at least 32 x 48 (--shape 1,3,32,48)",
        ),
        ("of 2 pixels (lattice=2 in a property test):", "of 2 pixels:"),
        ("of 2 x 4 pixels (lattice=(2, 4) in a property test)", "of 2 x 4 pixels"),
        (
            "shiftcheck.assert_equivariant(model, x, grow=(16, 20), seed=0)",
            "shiftcheck check net.py:conv --shape 1,3,24,20 --grow 16,20 --seed 0",
        ),
        ("(padding_mode='circular')", "(padding_mode='circular')"),
        ("net.player='x' my_layer='y'", "net.player='x' my_layer='y'"),
    ],
)
def test_keywords_are_options(said: str, typed: str) -> None:
    assert as_options(said, options()) == typed


def test_what_was_read_from_a_file_is_in_the_words_of_python() -> None:
    assert as_options("layer='conv4'", options("render report.json")) == "layer='conv4'"


WORDS = [
    *(getattr(r.hints, kind) or "" for r in Reason for kind in r.hints._fields),
    *(words for kind in CauseKind for words in (kind.remedy, kind.remedy_of_invariance)),
]


@pytest.mark.parametrize("words", sorted({w for w in WORDS if "=" in w or "assert_" in w}))
def test_no_hint_speaks_python(words: str) -> None:
    typed = as_options(words, options())
    assert not re.search(rf"\b({'|'.join([*KEYWORDS, *FLAGS])})=|assert_", typed)


@pytest.mark.parametrize("option", [*KEYWORDS.values(), *FLAGS.values()])
def test_every_option_is_one(option: str) -> None:
    known: set[str] = set()
    for action in parser()._subparsers._group_actions:  # type: ignore[union-attr]
        for command in action.choices.values():  # type: ignore[union-attr]
            known.update(command._option_string_actions)
    assert option in known


def told(capsys: pytest.CaptureFixture[str], line: str) -> tuple[int, str]:
    """The status of a command, and what it printed."""
    status = main(shlex.split(line))
    return status, capsys.readouterr().out


@pytest.mark.parametrize(
    "line",
    [
        "check net.py:DownUp --shape 1,3,24,20",
        "check net.py:DownUp --arg channels=2 --shape 2,24,20 --shifts -1,0 1,1 --layer up",
        "check net.py:DownUp --shape 1x3x24x20 --boundary circular,valid --seed 3 --training",
        "check net.py:DownUp --shape 1,3,24,20 --rtol 1e-3 --atol 1e-6 --dtype float64",
        "check net.py:conv --shape 1,3,4,4",
        "invariance net.py:classifier --shape 2,3,16,18",
        "invariance net.py:classifier --shape 2,3,16,18 --fill zeros --max-relative-error 0.01",
    ],
)
def test_the_command_that_is_printed_shows_the_same_failure(
    folder: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    status, text = told(capsys, line)
    assert status in (1, 3)
    (command,) = re.findall(r"^reproduce: shiftcheck (.*)$", text, re.M)
    again, once_more = told(capsys, command)
    assert again == status
    assert once_more.splitlines()[0].split(" over ")[0] == text.splitlines()[0].split(" over ")[0]
    assert f"reproduce: shiftcheck {command}" in once_more


def test_what_is_advised_passes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, text = told(capsys, "check net.py:conv --shape 1,3,4,4")
    assert status == 3
    (shape,) = re.findall(r"\((--shape \S+)\)", text)
    assert told(capsys, f"check net.py:conv {shape}")[0] == 0
    status, text = told(capsys, "check net.py:DownUp --shape 1,3,24,20")
    assert status == 1
    (command,) = re.findall(r"remedy: .*:\n +shiftcheck (check .*)\n", text)
    assert told(capsys, command)[0] == 0


def test_the_report_is_left_as_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = "check net.py:DownUp --shape 1,3,24,20 --json -"
    report = Report.from_json(told(capsys, given)[1])
    assert "shiftcheck.assert_equivariant(model, x" in str(report)


def test_an_error_advises_options(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said: list[Any] = []
    for line in (
        "check net.py:conv --arg size=29 --shape 3,24,20",
        "check net.py:DownUp --shape 1,3,24,20 --layer nowhere",
    ):
        assert main(shlex.split(line)) == 2
        said.append(capsys.readouterr().err)
    assert re.search(r"runs on an input of (\d+) x (\d+) \(--shape 3,\1,\2\)", said[0])
    assert "--layer nowhere was not met" in said[1]
