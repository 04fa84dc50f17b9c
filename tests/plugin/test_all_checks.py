"""Every check on equal terms: in the fixture, the summary, the files, and from workers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.plugin.runs import environment, run_tests

import shiftcheck
from shiftcheck.report import InvarianceReport, LinearityReport
from shiftcheck.testing.pytest_session import Checks

HEAD = """
import pytest
import torch
from torch import nn

import shiftcheck as sc

def network(padding="circular", middle=None):
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 4, 3, padding=1, padding_mode=padding)
    return nn.Sequential(
        conv, middle or nn.Identity(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )

X = torch.rand(2, 1, 8, 6, generator=torch.Generator().manual_seed(0))
X[1] *= 3
"""


def run(suite: pytest.Pytester, tests: str, *arguments: str) -> pytest.RunResult:
    return run_tests(suite, HEAD + tests, *arguments)


def text_of(result: pytest.RunResult) -> str:
    return result.stdout.str() + result.stderr.str()


def test_the_fixture_hides_nothing_of_the_package(suite: pytest.Pytester) -> None:
    tests = """
def test_names(shiftcheck):
    assert set(sc.__all__) <= set(dir(shiftcheck))
    for name in sc.__all__ + sc.report.__all__ + ["strategies", "rules", "__version__"]:
        if not name.startswith(("check_", "assert_")):
            assert getattr(shiftcheck, name) is getattr(sc, name), name

def test_errors(shiftcheck):
    with pytest.raises(shiftcheck.NotEquivariantError):
        shiftcheck.assert_equivariant(nn.Conv2d(1, 1, 3, padding=1), X, boundary="circular")
    with pytest.raises(shiftcheck.NotInvariantError):
        shiftcheck.assert_invariant(network("zeros"), X)
    with pytest.raises(shiftcheck.NotLinearError):
        shiftcheck.assert_linear(nn.ReLU(), X)

def test_tools(shiftcheck):
    model = nn.Conv2d(1, 1, 3)
    assert shiftcheck.geometry(model, X.shape).outputs[0].shape == (2, 1, 6, 4)
    assert torch.equal(shiftcheck.shift(X, (1, 0), fill="circular"), X.roll(1, 2))
    assert shiftcheck.check_equivariance.__doc__ == sc.check_equivariance.__doc__

def test_what_there_is_not(shiftcheck):
    with pytest.raises(AttributeError, match="no attribute 'assert_equvariant'"):
        shiftcheck.assert_equvariant
"""
    run(suite, tests).assert_outcomes(passed=4)


def test_what_only_the_fixture_has_has_names_of_its_own() -> None:
    own = {name for name in vars(Checks) if not name.startswith("_")} | {"reports"}
    assert own == {"seed", "device", "generator", "reports"}
    assert not [name for name in own if hasattr(shiftcheck, name)]


DEFAULTS = """
@pytest.mark.shiftcheck(seed=6)
def test_marker(shiftcheck):
    shiftcheck.assert_invariant(network(), X)
    shiftcheck.check_invariance(network(), X)
    shiftcheck.assert_linear(nn.AvgPool2d(2), X)
    shiftcheck.check_linear(nn.AvgPool2d(2), X)
    theorem = shiftcheck.check_convolution(nn.AvgPool2d(2), X)
    assert [report.seed for report in shiftcheck.reports[:4]] == [6] * 4
    assert (theorem.linearity.seed, theorem.boundary) == (6, ("circular", "circular"))
    assert len(shiftcheck.reports) == 5

def test_argument(shiftcheck):
    assert shiftcheck.check_invariance(network(), X).seed == 5
    assert shiftcheck.check_invariance(network(), X, seed=7).seed == 7

def test_what_a_check_does_not_take_is_no_default_of_it(shiftcheck):
    with pytest.raises(sc.InputError) as raised:
        shiftcheck.check_invariance(network(), X[0, 0])
    assert raised.value.__notes__ == ["defaults: seed=5, effort='full' from the ini file"]
"""


def test_each_check_has_the_defaults_that_it_takes(suite: pytest.Pytester) -> None:
    suite.makeini(
        "[pytest]\nshiftcheck_seed = 5\nshiftcheck_boundary = circular\nshiftcheck_effort = full\n"
        "shiftcheck_rtol = 0.1\nshiftcheck_atol = 0"
    )
    run(suite, DEFAULTS).assert_outcomes(passed=3)


SEVERAL = """
def test_bare():
    sc.assert_equivariant(nn.Conv2d(1, 1, 3), X)
    sc.assert_invariant(network(), X)
    sc.assert_linear(nn.Conv2d(1, 1, 3), X, affine=True)

def test_broken():
    with pytest.raises(sc.NotInvariantError):
        sc.assert_invariant(network("zeros"), X)

def test_bounded(shiftcheck):
    shiftcheck.assert_invariant(network("zeros"), X, max_relative_error=0.9)

def test_affine():
    with pytest.raises(sc.NotLinearError):
        sc.assert_linear(nn.Conv2d(1, 1, 3), X)

def test_measured(shiftcheck):
    shiftcheck.check_invariance(network(), X, fill="reflect")

def test_theorem(shiftcheck):
    shiftcheck.check_convolution(nn.AvgPool2d(2), X)
"""

TOTALS = (
    "8 checks: 1 equivariant, 2 invariant, 2 affine, 1 convolution, 1 not invariant,"
    " 1 measured, not judged"
)


def test_the_summary_lists_every_kind_of_check(suite: pytest.Pytester) -> None:
    result = run(suite, SEVERAL)
    result.assert_outcomes(passed=6)
    text = text_of(result)
    assert TOTALS in text
    assert "test_it.py::test_broken: Sequential on 2x1x8x6: NOT INVARIANT" in text
    assert re.search(r"worst: relative gap 0\.\d+ of 7\.6e-06 allowed, at shift \(", text)
    assert "test_it.py::test_affine: Conv2d on 2x1x8x6: AFFINE" in text
    assert "test_it.py::test_measured: Sequential on 2x1x8x6: measured, not judged" in text
    for passing in ("test_bare", "test_bounded", "test_theorem"):
        assert f"{passing}: " not in text
    assert re.search(r"closest to its allowance: relative error 0\.\d+ of 0\.9 allowed", text)
    every = text_of(run(suite, SEVERAL, "-v"))
    assert "test_bare: Conv2d on 2x1x8x6: AFFINE" in every
    assert re.search(r"worst: relative gap \S+ of \S+ allowed, in phi\(", every)
    assert "test_theorem: AvgPool2d on 2x1x8x6: CONVOLUTION" in every
    assert "allowed, between the operator and the convolution" in every


def test_every_kind_of_report_is_written(suite: pytest.Pytester) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("plotly")
    run(suite, SEVERAL, "--shiftcheck-json", "data", "--shiftcheck-html", "pages")
    texts = [p.read_text("utf-8") for p in (suite.path / "data").iterdir()]
    kinds = [re.search(r'"kind": "(\w+)"', text) for text in texts]
    read = [
        getattr(shiftcheck.report, found[1]).from_json(text)
        for found, text in zip(kinds, texts, strict=True)
        if found
    ]
    assert len(read) == 8
    assert sum(isinstance(report, InvarianceReport) for report in read) == 4
    assert sum(isinstance(report, LinearityReport) for report in read) == 2
    pages = list((suite.path / "pages").rglob("*.html"))
    assert sum("NOT INVARIANT" in page.read_text("utf-8") for page in pages) >= 1
    assert sum("AFFINE" in page.read_text("utf-8") for page in pages) >= 2


def test_the_marker_counts_for_every_check(suite: pytest.Pytester) -> None:
    tests = """
@pytest.mark.shiftcheck(seed=3)
def test_bare():
    sc.assert_invariant(network(), X)

@pytest.mark.shiftcheck(seed=3)
def test_linear():
    sc.assert_linear(nn.AvgPool2d(2), X)
"""
    result = run(suite, tests)
    result.assert_outcomes(failed=2)
    assert text_of(result).count("which only the fixture knows of") >= 2


BUDGET = """
STRENGTH = 2

class FirstRows(nn.Module):
    def forward(self, x):
        return (x.relu() * (1 + STRENGTH * (torch.arange(x.shape[-2]) < 2)[:, None])).mean((2, 3))

@pytest.mark.shiftcheck(seed=1)
def test_photographs(shiftcheck):
    shiftcheck.assert_invariant(FirstRows(), X, fill="reflect", shifts=[(1, 0)], budget="mean")
"""


def test_a_budget_of_invariance(suite: pytest.Pytester) -> None:
    run(suite, BUDGET).assert_outcomes(failed=1)
    result = run(suite, BUDGET, "--shiftcheck-update")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*measured anew for budget 'mean': relative error 0.*", "1 budget stored in *"]
    )
    result = run(suite, BUDGET)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*within budget 'mean': relative error 0.*, stored 0.*"])
    assert "needs none" not in text_of(result)
    worse = run(suite, BUDGET.replace("STRENGTH = 2", "STRENGTH = 0"))
    worse.assert_outcomes(failed=1)
    worse.stdout.fnmatch_lines(
        ["*NotInvariantError: budget 'mean' is exceeded*", "*over budget 'mean'*"]
    )


def test_a_failure_is_the_message_and_the_users_own_line(suite: pytest.Pytester) -> None:
    tests = """
def test_invariant(shiftcheck):
    shiftcheck.assert_invariant(network("zeros"), X)

def test_linear():
    sc.assert_linear(nn.ReLU(), X)
"""
    result = run(suite, tests)
    result.assert_outcomes(failed=2)
    text = text_of(result).split("= FAILURES =")[1].split("= shiftcheck =")[0]
    frames = re.findall(r"^(\S+\.py):\d+: ", text, re.MULTILINE)
    assert set(frames) == {"test_it.py"}


def test_reports_of_workers_arrive(tmp_path: Path) -> None:
    pytest.importorskip("xdist")
    (tmp_path / "test_it.py").write_text(HEAD + SEVERAL + BUDGET, encoding="utf-8")
    arguments = ["-n", "2", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-q"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, "--shiftcheck-update"],
        cwd=tmp_path,
        env=environment(tmp_path / "entry"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 checks: " in done.stdout
    assert "1 budget stored in " in done.stdout
    assert (tmp_path / "shiftcheck-budgets.json").exists()


GROWING = """
DEEP = nn.Sequential(*(nn.Conv2d(1, 1, 7, padding=3) for _ in range(3)))
SMALL = torch.randn(1, 1, 12, 13)

def test_by_the_ini_file(shiftcheck):
    assert min(shiftcheck.assert_equivariant(DEEP, SMALL).input_shape[2:]) > 18

@pytest.mark.shiftcheck(grow=False)
def test_the_marker_comes_before_it(shiftcheck):
    with pytest.raises(shiftcheck.InconclusiveError):
        shiftcheck.assert_equivariant(DEEP, SMALL)

@pytest.mark.shiftcheck(grow=(40, 30))
def test_a_size_of_ones_own(shiftcheck):
    assert shiftcheck.assert_equivariant(DEEP, SMALL).input_shape == (1, 1, 40, 30)

@pytest.mark.shiftcheck(grow="maybe")
def test_what_is_no_size(shiftcheck):
    pass
"""


def test_an_input_may_grow_by_the_settings(suite: pytest.Pytester) -> None:
    suite.makeini("[pytest]\nshiftcheck_grow = true")
    result = run(suite, GROWING)
    result.assert_outcomes(passed=3, errors=1)
    assert "grow='maybe': give True, False, or a spatial size" in " ".join(result.outlines)
