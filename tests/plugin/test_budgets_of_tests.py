"""Error budgets in a test suite: one file, one owner of each name, written once."""

from __future__ import annotations

import pytest
from tests.plugin.runs import run_tests

TESTS = """
import pathlib, pytest, torch, shiftcheck

class Ramp(torch.nn.Module):
    leak = 0.01

    def forward(self, x):
        return x + self.leak * torch.arange(x.shape[-2])[:, None]

X = torch.randn(1, 1, 12, 14, generator=torch.Generator().manual_seed(0))

def check(name):
    shiftcheck.assert_equivariant(Ramp(), X, budget=name)
"""


def run(suite: pytest.Pytester, tests: str, *arguments: str) -> pytest.RunResult:
    return run_tests(suite, TESTS + tests, *arguments)


def test_under_pytest(suite: pytest.Pytester) -> None:
    tests = """
def test_one():
    check("one")

def test_two():
    check("two")
"""
    result = run(suite, tests)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["*budget='one': the budget file *shiftcheck-budgets.json does not*"]
    )
    result = run(suite, tests, "--shiftcheck-update", "-k", "one")
    result.assert_outcomes(passed=1, deselected=1)
    result.stdout.fnmatch_lines(
        ["*measured anew for budget 'one': relative error 0.0*", "1 budget stored in *"]
    )
    run(suite, tests).assert_outcomes(passed=1, failed=1)
    run(suite, tests, "--shiftcheck-update", "-k", "two").assert_outcomes(passed=1, deselected=1)
    result = run(suite, tests, "--shiftcheck-update")
    result.stdout.fnmatch_lines(["2 budgets measured, none of them different, in *"])
    run(suite, tests).assert_outcomes(passed=2)
    worse = run(suite, tests.replace("check(", "Ramp.leak = 0.02; check("))
    worse.assert_outcomes(failed=2)
    worse.stdout.fnmatch_lines(
        ["*NotEquivariantError: budget 'one' is exceeded*", "*over budget 'one'*"]
    )
    better = run(suite, tests.replace("check(", "Ramp.leak = 0; check("))
    better.assert_outcomes(passed=2)
    better.stdout.fnmatch_lines(["*within budget 'one'*; it is equivariant, and needs none"])


def test_the_ini_file_names_the_file(suite: pytest.Pytester) -> None:
    suite.makeini("[pytest]\nshiftcheck_budgets = kept/by-name.json")
    run(suite, "def test_one():\n    check('one')\n", "--shiftcheck-update").assert_outcomes(
        passed=1
    )
    assert (suite.path / "kept" / "by-name.json").exists()


def test_ini_and_marker_tolerances_give_way_to_a_budget(suite: pytest.Pytester) -> None:
    suite.makeini("[pytest]\nshiftcheck_rtol = 0.5\nshiftcheck_atol = 0")
    tests = """
@pytest.mark.shiftcheck(rtol=0.4, atol=0)
def test_one(shiftcheck):
    shiftcheck.assert_equivariant(Ramp(), X, budget="one")
"""
    run(suite, tests, "--shiftcheck-update").assert_outcomes(passed=1)
    run(suite, "Ramp.leak = 0.02\n" + tests).assert_outcomes(failed=1)


def test_a_file_that_a_test_opens_itself_is_its_own(suite: pytest.Pytester) -> None:
    tests = """
@pytest.mark.parametrize("n", [1, 2])
def test_one(n, tmp_path):
    with shiftcheck.budget_file(tmp_path / "mine.json", update=True):
        check("one")
    assert (tmp_path / "mine.json").exists()
"""
    result = run(suite, tests, "--shiftcheck-update")
    result.assert_outcomes(passed=2)
    assert result.ret == 0
    assert "used twice" not in result.stdout.str()
    assert not (suite.path / "shiftcheck-budgets.json").exists()


def test_one_name_in_two_tests(suite: pytest.Pytester) -> None:
    tests = """
@pytest.mark.parametrize("n", [1, 2])
def test_one(n):
    check("one")
"""
    result = run(suite, tests, "--shiftcheck-update")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*budget='one' is used twice, in test_it.py::test_one[[]1] and test_it.py::test_one[[]2]*"]
    )


def test_a_test_that_runs_again_may_use_its_budget_again(suite: pytest.Pytester) -> None:
    suite.makeconftest(
        """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    for _ in range(2):
        for report in runtestprotocol(item, nextitem=nextitem, log=False):
            item.ihook.pytest_runtest_logreport(report=report)
    return True
"""
    )
    run(suite, "def test_one():\n    check('one')\n", "--shiftcheck-update").assert_outcomes(
        passed=2
    )


@pytest.mark.parametrize("text", ["{", '{"version": 9}'])
def test_a_file_that_is_not_understood_fails_and_stays(
    suite: pytest.Pytester,
    text: str,
) -> None:
    path = suite.path / "shiftcheck-budgets.json"
    path.write_text(text)
    for arguments in ([], ["--shiftcheck-update"]):
        result = run(suite, "def test_one():\n    check('one')\n", *arguments)
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines([f"*InputError: budget file {path}*"])
        assert path.read_text() == text


def test_a_file_that_becomes_corrupt_during_the_run_stays_and_fails_the_run(
    suite: pytest.Pytester,
) -> None:
    path = suite.path / "shiftcheck-budgets.json"
    tests = f"""
def test_one():
    check('one')
    pathlib.Path({str(path)!r}).write_text("<<<<")
"""
    result = run(suite, tests, "--shiftcheck-update")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"budget file {path} is corrupt*"])
    assert path.read_text() == "<<<<"
