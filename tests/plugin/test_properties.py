"""Property tests that fail, as pytest shows them: the user's line, the example, the message."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.plugin.runs import environment, run_tests

TESTS = """
import hypothesis
import torch
import unittest
from hypothesis import given

import shiftcheck
from shiftcheck.strategies import equivariant, shifts, signals

FEW = hypothesis.settings(
    max_examples=5,
    database=None,
    derandomize=True,
    deadline=None,
    phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
)
SIGNALS = signals((1, 1, 12, 12), kind="white")


class DownUp(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.pool, self.up = torch.nn.MaxPool2d(2), torch.nn.Upsample(scale_factor=2)

    def forward(self, x):
        return self.up(self.pool(x))


NET = DownUp()


@equivariant(DownUp, channels=1, settings=FEW)
def test_whole():
    '''It moves.'''


@FEW
@given(x=SIGNALS, v=shifts(2, 4))
def test_own(x, v):
    shiftcheck.assert_equivariant(NET, x, shifts=[v])


@FEW
@given(x=SIGNALS, v=shifts(2, 4))
def test_two(x, v):
    assert v[0] == 0, "too far"
    shiftcheck.assert_equivariant(NET, x, shifts=[v])


class TestCase(unittest.TestCase):
    @FEW
    @given(x=SIGNALS)
    def test_in_a_case(self, x):
        shiftcheck.assert_equivariant(NET, x)


@equivariant(torch.nn.AdaptiveAvgPool2d(1), settings=FEW)
def test_doubtful():
    '''It does not tell.'''


@equivariant(DownUp, lattice=2, channels=1, settings=FEW)
def test_good():
    '''It moves by two.'''
"""


def part(text: str, name: str) -> str:
    """The part of the output on one test."""
    found = re.search(rf"_+ {name} _+\n(.*?)(?=\n_+ \S+ _+\n|\n=+)", text, re.DOTALL)
    assert found is not None, text
    return found[1]


def look(text: str) -> None:
    whole = part(text, "test_whole")
    assert "\n>   def test_whole():\n" in whole
    code = whole.split("as code:\n")[1].splitlines()[:3]
    assert [line.removeprefix("E   ") for line in code] == [
        "torch.manual_seed(0); model = DownUp()",
        "x = shiftcheck.strategies.sample_signal((1, 1, 4, 4), kind='white', seed=0)",
        "shiftcheck.assert_equivariant(model, x, shifts=[(1, 0)], seed=0)",
    ]
    assert "remedy: shift by multiples of 2 pixels (lattice=2 in a property test):" in whole
    for name in ("test_own", "TestCase.test_in_a_case"):
        own = part(text, name)
        assert re.search(r"\n>       shiftcheck.assert_equivariant\(NET, x", own)
        assert "cause STRIDE" in own
        assert "x=shiftcheck.strategies.sample_signal(" in own
    assert "Hypothesis found 2 distinct failures" in part(text, "test_two")
    assert ">   def test_doubtful():" in part(text, "test_doubtful")
    assert not re.search(r"_pytest/|pluggy/|hypothesis/|src/shiftcheck/|site-packages/", text)


def test_a_failure_is_the_users_line_the_example_and_the_message(suite: pytest.Pytester) -> None:
    result = run_tests(suite, TESTS)
    result.assert_outcomes(failed=5, passed=1)
    text = result.stdout.str()
    look(text.split("= shiftcheck =")[0])
    summary = text.split("= shiftcheck =")[1]
    for name in ("test_whole", "test_own", "TestCase::test_in_a_case"):
        assert len(re.findall(rf"^test_it.py::{name}: .*BROKEN", summary, re.MULTILINE)) == 1
    assert "test_it.py::test_doubtful: Adaptive" in summary
    assert ", 4 broken, 1 inconclusive" in summary


def test_so_it_is_without_the_plugin(suite: pytest.Pytester) -> None:
    result = run_tests(suite, TESTS, "-pno:shiftcheck")
    result.assert_outcomes(failed=5, passed=1)
    assert "= shiftcheck =" not in result.stdout.str()
    look(result.stdout.str())


def test_a_script_shows_the_line_of_the_test_and_no_other(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"{TESTS}\ntest_whole()\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment(tmp_path / "entry"),
    )
    trace = done.stderr.split("shiftcheck.errors.")[0]
    assert re.findall(r'File "(.*)", line \d+, in (\S+)', trace) == [
        (str(script), "<module>"),
        (str(script), "test_whole"),
    ]
