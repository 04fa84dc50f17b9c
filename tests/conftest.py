"""Which tests are slow, and which are known to fail.

Tests that took longer than 0.4 seconds on two cores are slow, besides those that say so.

`slow.txt` lists them, one a line; it is written anew from the times of a run:
`pytest --junitxml=times.xml -n 2 -m "not sweep"`, then `python tests/slowest.py times.xml`.

`known_failures.toml` lists those that are known to fail with some versions of what they need.
"""

from __future__ import annotations

import os
import platform
import tomllib
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

os.environ.pop("COLUMNS", None)
"""Texts are as wide here as where nobody set it."""

SLOW = frozenset((Path(__file__).parent / "slow.txt").read_text(encoding="utf-8").splitlines())


Versions = Callable[[str], str | None]
KNOWN = tomllib.loads((Path(__file__).parent / "known_failures.toml").read_text(encoding="utf-8"))


def version_here(name: str) -> str | None:
    """The version of a package, or of python; None where it is not here."""
    if name == "python":
        return platform.python_version()
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def expected_here(failure: Mapping[str, str], here: Versions = version_here) -> bool:
    """Whether all the versions that a test fails with are those that are here."""
    asked = {name: text for name, text in failure.items() if name not in ("test", "reason")}
    found = {name: here(name) for name in asked}
    fits = (
        found[n] is not None and SpecifierSet(asked[n]).contains(found[n], prereleases=True)
        for n in asked
    )
    return bool(asked) and all(fits)


EXPECTED = {f["test"]: f["reason"] for f in KNOWN["failures"] if expected_here(f)}
COLLECTED = pytest.StashKey[frozenset[str]]()
"""The names of all tests of the files that this run was given, before any is left out."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    names = (item.nodeid for item in items)
    config.stash[COLLECTED] = frozenset(n for n in names for n in (n, n.partition("[")[0]))
    for item in items:
        if item.nodeid in SLOW:
            item.add_marker(pytest.mark.slow)
        reason = EXPECTED.get(item.nodeid) or EXPECTED.get(item.nodeid.partition("[")[0])
        if reason is not None:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
