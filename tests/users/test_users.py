"""A small project of a user, as its author runs it: exit codes, and what is printed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.plugin.runs import environment

PROJECT = Path(__file__).parent / "project"
BUDGETS = "shiftcheck-budgets.json"
NAME = "U-Net at one pixel"

pytestmark = pytest.mark.slow


class Project:
    """A copy of the project; ``pytest`` runs its tests and gives the exit code and the text."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "project"
        shutil.copytree(PROJECT, self.path, ignore=shutil.ignore_patterns("__pycache__"))
        self._environment = environment(folder / "entry")

    def pytest(self, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=self.path,
            env=self._environment,
            capture_output=True,
            text=True,
        )
        assert done.stderr == ""
        return done.returncode, done.stdout

    @property
    def budgets(self) -> Path:
        return self.path / BUDGETS

    def with_budget(self, error: float) -> None:
        data = json.loads(self.budgets.read_text(encoding="utf-8"))
        data["budgets"][NAME]["outputs"]["output"]["relative_error"] = error
        self.budgets.write_text(json.dumps(data), encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_the_suite_passes_and_says_what_was_checked(project: Project) -> None:
    before = project.budgets.read_bytes()
    code, text = project.pytest("-v")
    assert code == 0, text
    assert "12 passed, 2 xfailed" in text
    assert "XFAIL (a mean over all of the time has no time left)" in text
    assert "12 checks: 9 equivariant, 1 broken, 2 inconclusive" in text
    assert f"within budget '{NAME}': relative error 0.1331, stored 0.1331" in text
    assert "test_heat.py::test_in_double_precision: Step on 2x2x16x24: EQUIVARIANT" in text
    assert re.search(r"relative gap \S+ of 1e-09 allowed", text)
    assert "closest to its allowance: relative gap " in text
    assert project.budgets.read_bytes() == before


def test_what_fails_says_why_and_shows_the_users_own_lines_only(project: Project) -> None:
    code, text = project.pytest("wrong")
    assert code == 1
    assert "8 failed, 5 passed" in text
    failures = text.split("= FAILURES =")[1].split("= shiftcheck =")[0]
    assert "NotEquivariantError: The output does not move with the input: when the" in failures
    assert "Step on 1x2x16x24: BROKEN over 9 shifts" in failures
    assert "first guilty layer: 'stencil' (conv2d), cause PADDING" in failures
    assert "InconclusiveError: It cannot be told whether the output moves with the" in failures
    assert "Keywords on 1x1x96: INCONCLUSIVE (not spatial)" in failures
    assert "no valid region" in failures
    assert "at least 28 x 28" in failures
    assert "InputError: x has shape (64, 64): give [batch, channels, *spatial]" in failures
    assert (
        "ModelError: the model raised RuntimeError on an input of shape (1, 3, 64, 64)" in failures
    )
    assert "outer = self.outer(image)" in failures
    assert "has no 'U-Net at two pixels'; measure and store it with" in failures
    assert "[XPASS(strict)] it was thought to be broken" in failures
    for place in ("shiftcheck/check.py", "testing.py", "torch/nn/modules", "_shiftcheck_pytest"):
        assert place not in failures
    assert "5 checks: 1 equivariant, 1 broken, 3 inconclusive" in text


def test_a_model_that_got_worse_fails_until_the_budget_is_stored_anew(project: Project) -> None:
    project.with_budget(0.1)
    code, text = project.pytest("tests/test_segmentation.py")
    assert code == 1
    assert f"budget '{NAME}' is exceeded at output 'output': relative error 0.1331" in text
    assert "stored 0.1 in " in text
    assert "cause STRIDE" in text
    assert f"over budget '{NAME}'" in text
    assert "1 failed, 2 passed" in text

    code, text = project.pytest("tests/test_segmentation.py", "--shiftcheck-update")
    assert code == 0
    assert "1 budget stored in " in text
    assert f"measured anew for budget '{NAME}': relative error 0.1331, before 0.1" in text
    assert project.budgets.read_text("utf-8") == (PROJECT / BUDGETS).read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<<<<<<< ours\n", "is corrupt"),
        (
            '{"version": 2, "budgets": {}, "more": 1}',
            "has version 2, this shiftcheck reads up to 1",
        ),
    ],
)
def test_a_file_that_is_not_understood_is_left_alone(
    project: Project, text: str, message: str
) -> None:
    project.budgets.write_text(text, encoding="utf-8")
    code, printed = project.pytest("tests/test_segmentation.py", "--shiftcheck-update")
    assert code == 1
    assert message in printed
    assert project.budgets.read_text("utf-8") == text


def test_workers_give_the_same_summary_and_write_once(project: Project) -> None:
    project.budgets.unlink()
    code, text = project.pytest("-n", "2", "--shiftcheck-update", "--shiftcheck-json", "reports")
    assert code == 0, text
    assert "12 checks: 9 equivariant, 1 broken, 2 inconclusive" in text
    assert text.count("1 budget stored in ") == 1
    assert project.budgets.read_text("utf-8") == (PROJECT / BUDGETS).read_text("utf-8")
    assert len(list((project.path / "reports").glob("*.json"))) == 12
    assert not list(project.path.glob(".shiftcheck*"))


def test_two_workers_with_one_name_fail_the_run_and_nothing_is_stored_for_it(
    project: Project,
) -> None:
    text = """
import os, time, pathlib, pytest, torch, shiftcheck

@pytest.mark.parametrize("n", [1, 2])
def test_one(n):
    pathlib.Path(os.environ["PYTEST_XDIST_WORKER"]).touch()  # each worker runs one of the tests
    for _ in range(600):
        if pathlib.Path("gw0").exists() and pathlib.Path("gw1").exists():
            break
        time.sleep(0.1)
    x = torch.randn(1, 1, 12, 14, generator=torch.Generator().manual_seed(0))
    model = lambda x: x + 0.01 * torch.arange(x.shape[-2])[:, None]
    shiftcheck.assert_equivariant(model, x, budget=f"mine {n}")
    shiftcheck.assert_equivariant(model, x, budget="the same")
"""
    (project.path / "tests" / "test_twice.py").write_text(text, encoding="utf-8")
    code, printed = project.pytest("-n", "2", "--shiftcheck-update", "tests/test_twice.py")
    assert "2 passed" in printed
    assert code == 1
    assert "budget 'the same' is used twice, in tests/test_twice.py::test_one[1] and " in printed
    budgets = json.loads(project.budgets.read_text("utf-8"))["budgets"]
    assert sorted(budgets) == [NAME, "mine 1", "mine 2"]
