"""The pytest plugin: what it reads, records, writes and refuses."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.plugin.runs import environment, run_tests

import _shiftcheck_listeners as listening
from shiftcheck import Report
from shiftcheck.testing.pytest_session import write_index

HEAD = """
import pytest
import torch

import shiftcheck as sc

CIRCLE = torch.nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular")
ZEROS = torch.nn.Conv2d(1, 2, 3, padding=1)
for model in (CIRCLE, ZEROS):
    for seed, values in enumerate(model.parameters()):
        torch.nn.init.normal_(values, generator=torch.Generator().manual_seed(seed))
X = torch.randn(1, 1, 12, 14, generator=torch.Generator().manual_seed(0))
"""


def run(suite: pytest.Pytester, tests: str, *arguments: str) -> pytest.RunResult:
    return run_tests(suite, HEAD + tests, *arguments)


def text_of(result: pytest.RunResult) -> str:
    return result.stdout.str() + result.stderr.str()


HEAVY = ("torch", "numpy", "hypothesis", "shiftcheck")


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--version"] * 2, ["--help"], ["test_nothing.py"]]
)
def test_nothing_heavy_is_imported_until_a_check_runs(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "test_nothing.py").write_text("def test_nothing():\n    pass\n", encoding="utf-8")
    code = f"""
import sys, pytest
assert pytest.main({["-p", "no:cacheprovider", "-p", "no:hypothesispytest", *arguments]}) == 0
assert ("_shiftcheck_pytest" in sys.modules) == {arguments != ["--version"]}
assert not {set(HEAVY)} & set(sys.modules), {set(HEAVY)} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(tmp_path / "entry"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("--shiftcheck-update" in done.stdout) == (arguments == ["--help"])
    assert "= shiftcheck =" not in done.stdout


def test_the_run_of_another_does_not_hear_of_it(suite: pytest.Pytester) -> None:
    heard: list[listening.Outcome] = []
    listening.listeners.append(heard.append)
    before = list(listening.listeners), list(listening.budget_files)
    try:
        result = run(suite, "def test_one():\n    sc.assert_equivariant(ZEROS, X)\n")
        result.assert_outcomes(passed=1)
        assert heard == []
        assert (listening.listeners, listening.budget_files) == before
        suite.makeini("[pytest]\nshiftcheck_seed = x")
        assert run(suite, "").ret == pytest.ExitCode.USAGE_ERROR
        assert (listening.listeners, listening.budget_files) == before
    finally:
        listening.listeners.remove(heard.append)


PRECEDENCE = """
def seen(report):
    return report.boundary[0], report.seed

def test_ini(shiftcheck):
    assert seen(shiftcheck.check_equivariance(CIRCLE, X)) == ("circular", 5)
    assert shiftcheck.seed == 5

@pytest.mark.shiftcheck(boundary="valid", seed=6)
def test_marker(shiftcheck):
    assert seen(shiftcheck.check_equivariance(CIRCLE, X)) == ("valid", 6)
    assert shiftcheck.seed == 6

@pytest.mark.shiftcheck(boundary="valid", seed=6)
def test_argument(shiftcheck):
    report = shiftcheck.assert_equivariant(CIRCLE, X, boundary=("circular", "valid"), seed=7)
    assert seen(report) == ("circular", 7)
    assert len(shiftcheck.reports) == 1

@pytest.mark.shiftcheck(boundary="valid", seed=8)
class TestClass:
    @pytest.mark.shiftcheck(seed=9)
    def test_the_closest_comes_first(self, shiftcheck):
        assert seen(shiftcheck.check_equivariance(CIRCLE, X)) == ("valid", 9)

def test_bare_calls_keep_their_own_defaults():
    assert seen(sc.assert_equivariant(CIRCLE, X)) == ("valid", 0)
"""


def test_an_argument_comes_before_the_marker_and_that_before_the_ini_file(
    suite: pytest.Pytester,
) -> None:
    suite.makeini("[pytest]\nshiftcheck_boundary = circular\nshiftcheck_seed = 5")
    run(suite, PRECEDENCE).assert_outcomes(passed=5)


TOLERANCES = """
def allowed(report):
    return round(report.outputs[0].shifts[0].allowance, 6)

def test_ini(shiftcheck):
    assert allowed(shiftcheck.check_equivariance(CIRCLE, X)) == 0.001

@pytest.mark.shiftcheck(rtol=0.002, atol=0)
def test_marker(shiftcheck):
    assert allowed(shiftcheck.check_equivariance(CIRCLE, X)) == 0.002

@pytest.mark.shiftcheck(rtol=0.002, atol=0)
def test_argument(shiftcheck):
    assert allowed(shiftcheck.check_equivariance(CIRCLE, X, rtol=0.003, atol=0)) == 0.003

def test_none_is_an_argument_too(shiftcheck):
    assert allowed(shiftcheck.check_equivariance(CIRCLE, X, rtol=None, atol=None)) < 1e-4

def test_half_an_argument_is_not_filled_up(shiftcheck):
    with pytest.raises(sc.InputError, match="give both or neither"):
        shiftcheck.check_equivariance(CIRCLE, X, rtol=0.003)

@pytest.mark.shiftcheck(rtol=0.002, atol=0)
class TestClass:
    @pytest.mark.shiftcheck(rtol=0.004, atol=0)
    def test_the_closest_comes_first(self, shiftcheck):
        assert allowed(shiftcheck.check_equivariance(CIRCLE, X)) == 0.004
"""


def test_the_two_tolerances_are_one_setting(suite: pytest.Pytester) -> None:
    suite.makeini("[pytest]\nshiftcheck_rtol = 1e-3\nshiftcheck_atol = 0")
    run(suite, TOLERANCES).assert_outcomes(passed=6)


def test_without_any_setting_the_packages_defaults_hold(suite: pytest.Pytester) -> None:
    tests = """
def test_defaults(shiftcheck):
    assert shiftcheck.check_equivariance(CIRCLE, X) == sc.check_equivariance(CIRCLE, X)
    assert (shiftcheck.seed, shiftcheck.device) == (0, torch.device("cpu"))
    first, second = (torch.rand(3, generator=shiftcheck.generator()) for _ in range(2))
    assert torch.equal(first, second)
    assert repr(shiftcheck) == "<fixture shiftcheck>"
"""
    run(suite, tests).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rtol = small", "shiftcheck_rtol = small: give a finite number of at least 0"),
        ("rtol = 1e-3", "shiftcheck_rtol = 0.001: give shiftcheck_rtol and shiftcheck_atol"),
        ("atol = -1", "shiftcheck_atol = -1: give a finite number of at least 0"),
        ("atol = nan", "shiftcheck_atol = nan: give a finite number of at least 0"),
        ("seed = 1.5", "shiftcheck_seed = 1.5: give a whole number"),
        ("grow = maybe", "shiftcheck_grow = maybe: give True, False, or a spatial size"),
        ("boundary = valid periodic", "shiftcheck_boundary = valid periodic: give 'valid' or"),
    ],
)
def test_an_ini_value_of_the_wrong_type_ends_the_run(
    suite: pytest.Pytester, line: str, message: str
) -> None:
    suite.makeini(f"[pytest]\nshiftcheck_{line}")
    result = run(suite, "def test_nothing():\n    pass\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in text_of(result)
    assert "Traceback" not in text_of(result)


def test_a_device_that_is_not_there(suite: pytest.Pytester) -> None:
    suite.makeini("[pytest]\nshiftcheck_device = warp")
    result = run(suite, "def test_one(shiftcheck):\n    shiftcheck.generator()\n")
    result.assert_outcomes(failed=1)
    assert "InputError: shiftcheck_device = warp: " in text_of(result)


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("rtol='small', atol=0", "rtol='small': give a finite number of at least 0"),
        ("rtol=True, atol=0", "rtol=True: give a finite number"),
        ("rtol=1e-3", "rtol=0.001: give both tolerances"),
        ("boundary='periodic'", "boundary='periodic': give 'valid' or 'circular'"),
        ("boundary=()", "boundary=(): give 'valid' or 'circular'"),
        ("seed=1.5", "seed=1.5: give a whole number"),
        ("tolerance=1", "there is no tolerance=1: give rtol=, atol=, boundary=, seed="),
        ("1e-3", "0.001 has no name: give rtol=, atol=, boundary=, seed="),
    ],
)
def test_a_marker_of_the_wrong_type_fails_its_test(
    suite: pytest.Pytester, marker: str, message: str
) -> None:
    tests = f"""
@pytest.mark.shiftcheck({marker})
def test_one(shiftcheck):
    pass

def test_another(shiftcheck):
    pass
"""
    result = run(suite, tests)
    result.assert_outcomes(errors=1, passed=1)
    assert f"@pytest.mark.shiftcheck: {message}" in text_of(result)


def test_a_marker_that_a_bare_call_would_ignore_fails_the_test(suite: pytest.Pytester) -> None:
    tests = """
pytestmark = pytest.mark.shiftcheck(boundary="circular")

def test_bare():
    sc.assert_equivariant(ZEROS, X)

def test_fixture(shiftcheck):
    shiftcheck.assert_equivariant(CIRCLE, X)
"""
    result = run(suite, tests)
    result.assert_outcomes(failed=1, passed=1)
    assert "which only the fixture knows of" in text_of(result)


def test_an_error_says_which_values_were_defaults(suite: pytest.Pytester) -> None:
    suite.makeini("[pytest]\nshiftcheck_boundary = valid circular")
    tests = """
@pytest.mark.shiftcheck(seed=4)
def test_one(shiftcheck):
    shiftcheck.assert_equivariant(torch.nn.Conv1d(1, 1, 3), X[0])
"""
    result = run(suite, tests)
    result.assert_outcomes(failed=1)
    assert "boundary=['valid', 'circular']: give 'valid' or 'circular'" in text_of(result)
    assert (
        "defaults: seed=4 from the marker; boundary=['valid', 'circular'] from the ini file"
        in text_of(result)
    )


SEVERAL = """
def test_a(shiftcheck):
    shiftcheck.assert_equivariant(CIRCLE, X)
    shiftcheck.check_equivariance(ZEROS, X, boundary="circular")

def test_b():
    with pytest.raises(sc.NotEquivariantError):
        sc.assert_equivariant(ZEROS, X, boundary="circular")

def test_c():
    with pytest.raises(sc.InconclusiveError):
        sc.assert_equivariant(lambda x: 0 * x, X)
"""


def test_the_summary_counts_verdicts_and_lists_what_is_worth_a_look(
    suite: pytest.Pytester,
) -> None:
    text = text_of(run(suite, SEVERAL))
    assert "4 checks: 1 equivariant, 2 broken, 1 inconclusive" in text
    assert text.count("BROKEN over 9 shifts") == 2
    assert "test_it.py::test_b: Conv2d on 1x1x12x14: BROKEN" in text
    assert re.search(r"worst: relative gap 0\.\d+ of 7\.6e-06 allowed, at shift \(", text)
    assert "test_it.py::test_c: <lambda> on 1x1x12x14: INCONCLUSIVE (dead output)" in text
    assert ": EQUIVARIANT" not in text
    assert re.search(r"closest to its allowance: relative gap \S+ of 7\.6e-06 allowed", text)
    assert "test_it.py::test_a: Conv2d on 1x1x12x14: EQUIVARIANT" in text_of(
        run(suite, SEVERAL, "-v")
    )


def test_the_summary_stays_short(suite: pytest.Pytester) -> None:
    tests = """
@pytest.mark.parametrize("n", range(23))
def test_a(n, shiftcheck):
    shiftcheck.check_equivariance(ZEROS, X, boundary="circular", shifts=[(1, 0)])
"""
    text = text_of(run(suite, tests))
    assert text.count("BROKEN over 1 shift") == 20
    assert "and 3 more, which -v lists" in text
    assert text_of(run(suite, tests, "-v")).count("BROKEN over 1 shift") == 23


def test_a_failure_is_the_message_and_the_users_own_line(suite: pytest.Pytester) -> None:
    tests = """
class Mine(torch.nn.Module):
    def forward(self, x):
        return torch.nn.functional.conv2d(x, torch.ones(1, 7, 3, 3))

def test_broken(shiftcheck):
    shiftcheck.assert_equivariant(ZEROS, X, boundary="circular")

def test_error(shiftcheck):
    shiftcheck.check_equivariance(ZEROS, X[0, 0])

def test_my_forward():
    sc.assert_equivariant(Mine(), X)

def test_in_torch_alone():
    sc.assert_equivariant(torch.nn.Conv2d(7, 7, 3), X)
"""
    result = run(suite, tests)
    result.assert_outcomes(failed=4)
    text = text_of(result).split("= FAILURES =")[1].split("= shiftcheck =")[0]
    assert "remedy: pad circularly" in text
    assert "return torch.nn.functional.conv2d(x, torch.ones(1, 7, 3, 3))" in text
    assert text.count("direct cause of the following") == 1
    assert text.count("ModelError: the model raised RuntimeError") == 2
    frames = re.findall(r"^(\S+\.py):\d+: ", text, re.MULTILINE)
    assert set(frames) == {"test_it.py"}
    whole = text_of(run(suite, tests, "--full-trace"))
    assert "check.py" in whole
    assert "module.py" in whole


def test_a_bug_of_the_library_keeps_its_traceback(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def buggy(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("shiftcheck.checks.equivariance.check.read_tolerances", buggy)
    result = run(suite, "def test_one():\n    sc.check_equivariance(CIRCLE, X)\n")
    result.assert_outcomes(failed=1)
    assert "check.py" in text_of(result)


def test_reports_are_written_as_json(suite: pytest.Pytester) -> None:
    tests = (
        SEVERAL
        + """
@pytest.mark.parametrize("name", ["a/b", "a b", "a_b"])
def test_d(name, shiftcheck):
    shiftcheck.assert_equivariant(CIRCLE, X)
"""
    )
    run(suite, tests, "--shiftcheck-json", "deep/reports").assert_outcomes(passed=6)
    files = sorted((suite.path / "deep" / "reports").iterdir())
    reports = {file.name: Report.from_json(file.read_text("utf-8")) for file in files}
    assert len(reports) == 7
    verdicts = [str(report.verdict) for report in reports.values()]
    assert sorted(verdicts) == ["broken"] * 2 + ["equivariant"] * 4 + ["inconclusive"]
    assert sorted(n.split("-")[-1] for n in reports if "test_a" in n) == ["1.json", "2.json"]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in reports)


def test_the_folder_for_reports_must_be_one(suite: pytest.Pytester) -> None:
    (suite.path / "reports").write_text("")
    result = run(suite, SEVERAL, "--shiftcheck-json", "reports")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--shiftcheck-json=reports: " in text_of(result)


def test_a_report_that_is_not_written_fails_the_run(suite: pytest.Pytester) -> None:
    tests = """
def test_one():
    import shutil
    shutil.rmtree("reports")
    sc.assert_equivariant(CIRCLE, X)
"""
    result = run(suite, tests, "--shiftcheck-json", "reports")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "-1.json was not written: " in text_of(result)


def test_html_needs_its_extra(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def without(name: str, *rest: str | None) -> object:
        return None if name == "jinja2" else find(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    result = run(suite, SEVERAL, "--shiftcheck-html", "reports")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--shiftcheck-html needs jinja2: pip install 'torch-shiftcheck[html]'" in text_of(result)


def test_reports_are_written_as_html(suite: pytest.Pytester) -> None:
    pytest.importorskip("jinja2")
    result = run(suite, SEVERAL, "--shiftcheck-html", "reports")
    result.assert_outcomes(passed=3)
    pages = {file.name: file.read_text("utf-8") for file in (suite.path / "reports").iterdir()}
    index = pages.pop("index.html")
    assert f"pages of the reports: {suite.path / 'reports' / 'index.html'}" in text_of(result)
    assert sorted(re.findall(r'href="(.*?\.html)"', index)) == sorted(pages)
    listed = re.findall(r'<td class="(.*?)">', index)  # what did not pass stands first
    assert listed == ["broken", "broken", "inconclusive", "equivariant"]
    assert sorted(name.split("-")[-1] for name in pages) == ["1.html"] * 3 + ["2.html"]
    found = [re.findall(r"EQUIVARIANT|BROKEN|INCONCLUSIVE", page)[0] for page in pages.values()]
    assert sorted(found) == ["BROKEN", "BROKEN", "EQUIVARIANT", "INCONCLUSIVE"]


def test_reports_are_written_by_workers_and_listed_once(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("xdist")
    (tmp_path / "test_it.py").write_text(HEAD + SEVERAL, encoding="utf-8")
    given = ["-p", "no:cacheprovider", "-n2", "--shiftcheck-html", "reports"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *given],
        cwd=tmp_path,
        env=environment(tmp_path / "entry"),
        capture_output=True,
        text=True,
    )
    folder = tmp_path / "reports"
    assert done.stdout.count(f"pages of the reports: {folder / 'index.html'}") == 1, done.stdout
    pages = {file.name for file in folder.iterdir()} - {"index.html"}
    index = (folder / "index.html").read_text("utf-8")
    assert sorted(re.findall(r'href="(.*?\.html)"', index)) == sorted(pages)
    assert len(pages) == 4


def test_an_index_begins_with_what_failed(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    given = ("equivariant", "inconclusive", "not invariant", "linear", "broken")
    records = [{"test": v, "verdict": v, "model": "M", "page": ""} for v in given]
    assert write_index(records, tmp_path / "index.html") == ""
    page = (tmp_path / "index.html").read_text("utf-8")
    listed = re.findall(r'<th scope="row">(.*?)</th>', page)
    assert listed == ["not invariant", "broken", "inconclusive", "equivariant", "linear"]


def test_an_index_that_cannot_be_written_fails_the_run(suite: pytest.Pytester) -> None:
    pytest.importorskip("jinja2")
    (suite.path / "reports" / "index.html").mkdir(parents=True)
    result = run(suite, SEVERAL, "--shiftcheck-html", "reports")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "index.html was not written: " in text_of(result)


def test_the_end_of_a_run_says_where_the_json_is(suite: pytest.Pytester) -> None:
    text = text_of(run(suite, SEVERAL, "--shiftcheck-json", "reports"))
    assert f"reports as JSON: {suite.path / 'reports'}" in text


def test_the_bare_assertion_works_without_the_plugin(suite: pytest.Pytester) -> None:
    tests = """
def test_one():
    sc.assert_equivariant(CIRCLE, X)

def test_budget():
    with pytest.raises(sc.InputError, match="budget='a': no budget file is open"):
        sc.assert_equivariant(CIRCLE, X, budget="a")
"""
    listeners, files = list(listening.listeners), list(listening.budget_files)
    listening.listeners.clear()
    listening.budget_files.clear()
    try:
        result = run(suite, tests, "-p", "no:shiftcheck", "-p", "no:_shiftcheck_pytest")
    finally:
        listening.listeners[:], listening.budget_files[:] = listeners, files
    result.assert_outcomes(passed=2)
    assert "= shiftcheck =" not in text_of(result)


def test_checks_outside_of_tests_are_counted(suite: pytest.Pytester) -> None:
    text = text_of(
        run(suite, "sc.assert_equivariant(CIRCLE, X)\n\ndef test_one():\n    pass\n", "-v")
    )
    assert "outside of a test: Conv2d on 1x1x12x14: EQUIVARIANT" in text
    assert "1 check: 1 equivariant" in text
