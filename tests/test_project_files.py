"""Workflows, forms and files about the project: valid, and true of the project that they are in."""

from __future__ import annotations

import json
import os
import re
import shutil
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.test_contributing import ROOT

import shiftcheck

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z][\w-]*):(?!=)", MAKEFILE, re.MULTILINE))
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def commands(path: Path) -> list[str]:
    """What the steps of a workflow run."""
    steps = [step for job in read(path)["jobs"].values() for step in job["steps"]]
    return [step["run"] for step in steps if "run" in step]


def test_there_are_workflows_and_forms() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "release"]
    assert [path.stem for path in FORMS] == ["bug", "false-pass", "feature"]
    assert {"test", "slow", "docs", "dist", "schemas"} <= TARGETS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_what_there_is(path: Path) -> None:
    ran = "\n".join(commands(path))
    called = set(re.findall(r"\bmake ([a-z][\w-]*)", ran))
    assert called <= TARGETS, f"no target of the Makefile: {called - TARGETS}"
    scripts = re.findall(r"(?<!\S)\.ci/\S+", ran)
    assert scripts
    assert all((ROOT / script).is_file() for script in scripts)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_do_little_and_ends(path: Path) -> None:
    workflow = read(path)
    assert workflow[True]  # `on`, which YAML reads as a truth value
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 90
        assert ("permissions" in job) == (name == "publish")
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert "@" in step.get("uses", "@")
    text = path.read_text(encoding="utf-8")
    assert "secrets." not in text
    assert "://" not in text


def test_the_checks_run_for_every_python_and_both_ends_of_torch() -> None:
    jobs = read(GITHUB / "workflows" / "ci.yml")["jobs"]
    pythons = jobs["checks"]["strategy"]["matrix"]["python"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert pythons[0] == project["requires-python"].removeprefix(">=")
    assert pythons == ["3.11", "3.12", "3.13"]
    assert jobs["checks"]["steps"][-1] == {"run": ".ci/run"}
    versions = jobs["versions"]["strategy"]["matrix"]["include"]
    assert [version["asked"] for version in versions] == ["LOWEST=1", "TORCH=2.6.0", "TORCH=2.14.1"]
    assert "torch>=2.6" in project["dependencies"]
    assert [version["python"] for version in versions] == [pythons[0], pythons[0], pythons[-1]]
    assert jobs["versions"]["steps"][-1] == {"run": "make compat ${{ matrix.asked }}"}


def test_only_what_was_built_and_checked_is_published_by_trust() -> None:
    jobs = read(GITHUB / "workflows" / "release.yml")["jobs"]
    publish = jobs["publish"]
    assert publish["needs"] == ["build", "checks"]
    assert publish["environment"] == "release"
    assert publish["permissions"]["id-token"] == "write"
    assert publish["permissions"]["attestations"] == "write"
    assert not any("run" in step or "checkout" in step["uses"] for step in publish["steps"])
    assert publish["steps"][-1]["uses"].startswith("pypa/gh-action-pypi-publish@")


INPUTS = {"textarea", "input", "dropdown", "checkboxes"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_asks_for_what_is_needed(path: Path) -> None:
    form = read(path)
    assert form["name"]
    assert form["description"]
    asked = [entry for entry in form["body"] if entry["type"] in INPUTS]
    assert len(asked) == len([entry for entry in form["body"] if entry["type"] != "markdown"])
    names = [entry["id"] for entry in asked]
    assert len(set(names)) == len(names)
    assert all(entry["attributes"]["label"] for entry in asked)
    text = path.read_text(encoding="utf-8")
    assert "report.to_json()" in text
    assert "shiftcheck --version" in text
    if path.stem != "feature":
        assert "python -m torch.utils.collect_env" in text
        needed = {e["id"] for e in asked if e.get("validations", {}).get("required")}
        assert {"report", "environment", "model"} <= needed


def test_whoever_wants_to_cite_finds_the_version() -> None:
    citation = read(ROOT / "CITATION.cff")
    assert citation["version"] == VERSION == shiftcheck.__version__
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "license"} <= citation.keys()
    assert citation["license"] == "Apache-2.0"


def test_what_the_files_name_is_there() -> None:
    for name in ("SECURITY.md", "CODE_OF_CONDUCT.md", "docs/releasing.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for path in re.findall(r"`((?:docs|\.ci|benchmarks|src)/[^`\s]+)`", text):
            assert (ROOT / path).exists(), f"{name} names {path}"
        for target in re.findall(r"`make ([a-z][\w-]*)", text):
            assert target in TARGETS, f"{name} names make {target}"


def test_every_target_is_explained() -> None:
    assert set(re.findall(r"^# make ([\w-]+) ", MAKEFILE, re.MULTILINE)) == TARGETS
    assert set(re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[0].split()) == TARGETS


FAMILIES = [family.key for family in import_module("benchmarks.trust").FAMILIES]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree that can be released as 1.2.3."""
    for name in ("pyproject.toml", "CITATION.cff", "src/shiftcheck/__init__.py", "CHANGELOG.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for old in (f'version = "{VERSION}"', f"version: {VERSION}", f'__version__ = "{VERSION}"'):
            text = text.replace(old, old.replace(VERSION, "1.2.3"))
        text = re.sub(r"^## \[.*", "## [1.2.3] - 2026-12-01", text, count=1, flags=re.MULTILINE)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    folder = tmp_path / "docs" / "schemas"
    folder.mkdir(parents=True)
    (folder / "Report-1.json").write_text("{}", encoding="utf-8")
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    shutil.copyfile(ROOT / "benchmarks" / "trust.py", results.parent / "trust.py")
    counted = {key: {} for key in FAMILIES}
    (results / "trust.json").write_text(json.dumps(counted), encoding="utf-8")
    (folder / "released.json").write_text('{"Report-1.json": ""}', encoding="utf-8")
    (folder.parent / "versions.md").write_text("All ran.", encoding="utf-8")
    return tmp_path


def told(tree: Path, tag: str = "v1.2.3") -> list[str]:
    found: dict[str, Any] = {"__file__": str(ROOT / ".ci" / "check_release.py"), "__name__": "ci"}
    exec((ROOT / ".ci" / "check_release.py").read_text(encoding="utf-8"), found)
    faults: list[str] = found["faults"](tree, tag)
    return faults


def test_a_tree_that_can_be_released(tree: Path) -> None:
    assert told(tree) == []


@pytest.mark.parametrize(
    ("name", "right", "wrong", "fault"),
    [
        ("CHANGELOG.md", "2026-12-01", "unreleased", "CHANGELOG.md is headed '[1.2.3] - unrel"),
        ("CHANGELOG.md", "[1.2.3]", "[1.2.2]", "CHANGELOG.md is headed '[1.2.2] - 2026"),
        ("CITATION.cff", "1.2.3", "1.2.2", "CITATION.cff has version 1.2.2: set it to 1.2.3"),
        ("src/shiftcheck/__init__.py", "1.2.3", "1.2.2", "src/shiftcheck/__init__.py has version"),
        (
            "benchmarks/results/trust.json",
            "oracle",
            "oracles",
            "benchmarks/results/trust.json lacks",
        ),
        ("docs/schemas/released.json", "Report-1", "Report-0", "docs/schemas/Report-1.json is not"),
        ("docs/versions.md", "All ran", "Bounds that moved since", "docs/versions.md has bounds"),
    ],
)
def test_what_is_missing_is_told(tree: Path, name: str, right: str, wrong: str, fault: str) -> None:
    text = (tree / name).read_text(encoding="utf-8")
    assert right in text
    (tree / name).write_text(text.replace(right, wrong), encoding="utf-8")
    (only,) = told(tree)
    assert only.startswith(fault)


def test_another_tag_is_refused(tree: Path) -> None:
    assert told(tree, "v1.2.4") == [
        "the tag is v1.2.4, and pyproject.toml has version 1.2.3: tag v1.2.3"
    ]
    shutil.rmtree(tree / "docs")
    (tree / "docs" / "schemas").mkdir(parents=True)
    assert told(tree) == []
