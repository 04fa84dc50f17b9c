"""The page of the versions is written from stored runs, and what is known to fail is a list."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
versions = importlib.import_module("benchmarks.versions")
RUN = versions.Run(
    torch="2.6.0",
    numpy="1.26.4",
    python="3.11.7",
    packages="pinned",
    date="2026-11-29",
    passed=7,
    known=2,
    skipped=1,
)
REPORT = """<testsuites><testsuite>
<testcase classname="tests.test_a" name="test_one"/>
<testcase classname="tests.test_a" name="test_two[x]"><failure message="no">no</failure></testcase>
<testcase classname="tests.test_a" name="test_two[y]"><error message="no">no</error></testcase>
<testcase classname="tests.test_b" name="test_it"><skipped type="pytest.skip"/></testcase>
<testcase classname="tests.test_b" name="test_more"><skipped type="pytest.xfail"/></testcase>
<testcase classname="" name="tests.test_c"><skipped message="collection skipped"/></testcase>
</testsuite></testsuites>"""


def test_the_page_shows_what_is_stored() -> None:
    runs = versions.load(versions.STORED)
    assert versions.PAGE.read_text(encoding="utf-8") == versions.page(runs)


def test_a_run_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "tests.xml"
    path.write_text(REPORT)
    run = versions.ran([path], "pinned")
    assert (run.passed, run.known, run.skipped) == (1, 1, 2)
    assert run.failures == ("tests.test_a::test_two[x]", "tests.test_a::test_two[y]")
    path.write_text("<testsuites/>")
    with pytest.raises(SystemExit, match="no test"):
        versions.ran([path], "pinned")


def test_of_a_test_that_ran_again_the_last_outcome_counts(tmp_path: Path) -> None:
    first, again = tmp_path / "tests.xml", tmp_path / "again.xml"
    first.write_text(REPORT)
    again.write_text(
        '<testsuite><testcase classname="tests.test_a" name="test_two[x]"/>'
        '<testcase classname="tests.test_b" name="test_new"/></testsuite>'
    )
    run = versions.ran([first, again], "pinned")
    assert (run.passed, run.known, run.skipped) == (3, 1, 2)
    assert run.failures == ("tests.test_a::test_two[y]",)
    assert versions.ran([again, first], "pinned").passed == 2


def test_a_run_is_at_the_lower_bounds_or_is_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tests.xml"
    path.write_text(REPORT)
    here = {name: f"{lowest}.0" for name, lowest in versions.lower_bounds().items()}
    monkeypatch.setattr(versions, "installed", lambda: here)
    assert versions.ran([path], "lowest").bounds == versions.lower_bounds()
    assert versions.ran([path], "pinned").bounds == {}
    here["numpy"] = "2.0.0"
    del here["rich"]
    with pytest.raises(SystemExit, match=r"numpy 2\.0\.0, not .*; rich is not here, not"):
        versions.ran([path], "lowest")


def test_of_each_environment_the_last_run_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "versions.json"
    failing = replace(RUN, failures=("tests.test_a::test_one",))
    newer, lowest = replace(RUN, torch="2.10.0"), replace(RUN, packages="lowest")
    versions.save(path, [newer, failing, lowest, RUN])
    assert versions.load(path) == [lowest, RUN, newer]
    assert "These failed" not in versions.page([RUN])
    assert "`tests.test_a::test_one`" in versions.page([failing])


@pytest.mark.parametrize("failed", [False, True])
def test_the_command_fails_where_a_test_failed(
    failed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, stored = tmp_path / "tests.xml", tmp_path / "versions.json"
    report.write_text(
        REPORT if failed else '<testsuite><testcase classname="a" name="b"/></testsuite>'
    )
    monkeypatch.setattr(versions, "STORED", stored)
    monkeypatch.setattr(versions, "PAGE", tmp_path / "versions.md")
    monkeypatch.setattr(sys, "argv", ["versions.py", "record", str(report)])
    with pytest.raises(SystemExit) as ended:
        versions.main()
    assert ended.value.code == failed
    assert len(versions.load(stored)) == 1
    assert (tmp_path / "versions.md").read_text() == versions.page(versions.load(stored))


def test_what_is_there_is_not_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    class Found:
        name, version = "Torch", "2.6.0"

    monkeypatch.setattr(versions, "distributions", lambda: [Found()])
    pinned = list(versions.pinned_constraints())
    assert [line for line in pinned if line.startswith("torch==")] == ["torch==2.6.0"]
    assert len([line for line in pinned if line.startswith("numpy==")]) == 1


def test_every_package_has_one_lower_bound() -> None:
    needed = [r for some in versions.requirements().values() for r in some]
    assert all(versions.bound_of(requirement)[1] for requirement in needed)
    bounds = {versions.bound_of(requirement) for requirement in needed}
    assert len(bounds) == len({name for name, _ in bounds})
    assert dict(bounds) == versions.lower_bounds()


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def rows_below(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading of the page, without its head."""
    lines = versions.PAGE.read_text(encoding="utf-8").partition(f"\n{heading}\n")[2].splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("| ---"))
    rows = takewhile(lambda line: line.startswith("| "), lines[first + 1 :])
    return [row.strip("| ").split(" | ") for row in rows]


def test_the_page_states_each_bound_of_the_project() -> None:
    stated = {extra.strip("`"): bounds for extra, bounds in rows_below("## The lower bounds")}
    asked = {"none": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
    assert stated.keys() == asked.keys()
    for extra, needed in asked.items():
        written = [f"{name} {lowest}" for name, lowest in map(versions.bound_of, needed)]
        assert stated[extra].split(", ") == written
    assert f"Python {PROJECT['requires-python'].removeprefix('>=')} or newer" in (
        versions.PAGE.read_text(encoding="utf-8")
    )


def test_bounds_that_moved_since_they_ran_are_told() -> None:
    bounds = versions.lower_bounds()
    same, other = replace(RUN, bounds=bounds), {**bounds, "numpy": "1.25", "gone": "1.0"}
    del other["rich"]
    assert versions.page([same]) == versions.page([RUN])
    text = versions.page([replace(RUN, bounds=other)]).partition("Bounds that moved")[2]
    assert f"\n- numpy: 1.25 then, {bounds['numpy']} now\n" in text
    assert "\n- gone: 1.0 then, not there now\n" in text
    assert f"\n- rich: not there then, {bounds['rich']} now\n" in text


def minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


JOBS = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))[
    "jobs"
]
ENDS = JOBS["versions"]["strategy"]["matrix"]["include"]
LOWEST = {"torch": versions.lower_bounds()["torch"], "python": PROJECT["requires-python"][2:]}


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end["asked"])
def test_what_the_workflow_runs_is_a_row(end: dict[str, str]) -> None:
    name, _, torch = end["asked"].partition("=")
    lowest = name == "LOWEST"
    row = (LOWEST["torch"] if lowest else minor(torch), end["python"])
    packages = versions.SETS["lowest" if lowest else "pinned"]
    rows = rows_below("## What the tests ran with")
    assert (*row, packages) in {(minor(r[0]), minor(r[1]), r[3]) for r in rows}


def test_the_workflow_and_the_makefile_know_both_ends_of_the_range() -> None:
    asked = [(end["asked"], end["python"]) for end in ENDS]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    pattern = r"^TORCH \?= \$\(if \$\(LOWEST\),(.*),(.*)\)$"
    ((oldest, newest),) = re.findall(pattern, makefile, re.MULTILINE)
    assert minor(oldest) == LOWEST["torch"]
    assert newest == max(
        (run.torch for run in versions.load(versions.STORED)), key=versions.numbers
    )
    assert asked[:2] == [("LOWEST=1", LOWEST["python"]), (f"TORCH={oldest}", LOWEST["python"])]
    assert asked[-1][0] == f"TORCH={newest}"


FAILURES = versions.known_failures()


@pytest.mark.parametrize("failure", FAILURES, ids=lambda f: f["test"])
def test_what_is_known_to_fail_is_there(failure: dict[str, str]) -> None:
    path, name = failure["test"].split("::")
    assert f"def {name.partition('[')[0]}(" in (ROOT / path).read_text(encoding="utf-8")
    assert failure["reason"]
    needed = {"python", *versions.lower_bounds()}
    assert set() < failure.keys() - {"test", "reason"} <= needed
    assert all(versions.numbers(failure[name]) for name in failure.keys() & needed)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda f: f["test"])
def test_what_is_known_to_fail_was_collected(failure: dict[str, str], request: Any) -> None:
    conftest = conftest_of(request)
    collected = request.config.stash[conftest.COLLECTED]
    path = failure["test"].partition("::")[0]
    if "::" in " ".join(request.config.args) or not any(n.startswith(path) for n in collected):
        pytest.skip("this run does not collect the file whole")
    assert failure["test"] in collected


@pytest.mark.parametrize("failure", FAILURES, ids=lambda f: f["test"])
def test_what_is_known_to_fail_does_so_in_a_row(failure: dict[str, str], request: Any) -> None:
    runs = versions.load(versions.STORED)
    fits = conftest_of(request).expected_here
    here = [{**r.bounds, "torch": r.torch, "numpy": r.numpy, "python": r.python} for r in runs]
    assert any(run.known and fits(failure, row.get) for run, row in zip(runs, here, strict=True))


def conftest_of(request: Any) -> Any:
    return request.config.pluginmanager.get_plugin(str(ROOT / "tests" / "conftest.py"))


@pytest.mark.parametrize(
    ("failure", "here", "expected"),
    [
        ({"torch": "<2.7"}, {"torch": "2.6.0+cu124"}, True),
        ({"torch": "<2.7"}, {"torch": "2.10.0"}, False),
        ({"torch": ">=2.7,<2.9"}, {"torch": "2.8.0a1"}, True),
        ({"torch": "<2.7", "numpy": "<2"}, {"torch": "2.6.0", "numpy": "2.1.0"}, False),
        ({"pytest": "<8.4"}, {"torch": "2.6.0", "pytest": "8.0.0"}, True),
        ({"pytest": "<8.4"}, {"torch": "2.6.0"}, False),
        ({"python": "<3.12"}, {"torch": "2.6.0", "python": "3.11.7"}, True),
        ({}, {"torch": "2.6.0"}, False),
    ],
)
def test_versions_that_a_test_fails_with(
    failure: dict[str, str], here: dict[str, str], expected: bool, request: Any
) -> None:
    assert conftest_of(request).expected_here(failure, here.get) is expected
