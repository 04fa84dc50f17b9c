"""The pytest plugin as an installed one, also where the tests run against the source tree."""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from pathlib import Path

import pytest

SETTINGS = ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_PLUGINS")


def installed() -> bool:
    """Whether the entry point of the plugin is there, as it is once the wheel is installed."""
    return any(entry.name == "shiftcheck" for entry in entry_points(group="pytest11"))


def announce(folder: Path) -> list[str]:
    """Folders for the import path on which the entry point is found; none where it is installed."""
    if installed():
        return []
    about = folder / "shiftcheck_in_place-0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: shiftcheck-in-place\nVersion: 0\n"
    )
    (about / "entry_points.txt").write_text("[pytest11]\nshiftcheck = _shiftcheck_pytest\n")
    return [str(folder)]


def environment(folder: Path) -> dict[str, str]:
    """The environment of a process whose pytest has the plugin and nothing of this run's."""
    own = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    path = [*announce(folder), *filter(None, [own.get("PYTHONPATH")])]
    source = Path(__file__).parents[2] / "src"
    path = [str(source) if entry == "src" else entry for entry in os.pathsep.join(path).split(":")]
    return own | {"PYTHONPATH": os.pathsep.join(path), "COLUMNS": "120", "OMP_NUM_THREADS": "1"}


OTHERS = ("cacheprovider", "xdist", "hypothesispytest", "anyio")
"""Plugins that a suite inside of a test would load anew each time."""


def run_tests(suite: pytest.Pytester, tests: str, *arguments: str) -> pytest.RunResult:
    """Run one file of tests in this process."""
    suite.makepyfile(test_it=tests)
    return suite.runpytest_inprocess(*(f"-pno:{plugin}" for plugin in OTHERS), *arguments)
