"""Tests that took longer than a second on two cores are slow, besides those that say so.

`slow.txt` lists them, one a line; it is written anew from the times of a run:
`pytest --junitxml=times.xml -n 2 -m "not sweep"`, then `python tests/slowest.py times.xml`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.pop("COLUMNS", None)
"""Texts are as wide here as where nobody set it."""

SLOW = frozenset((Path(__file__).parent / "slow.txt").read_text(encoding="utf-8").splitlines())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid in SLOW:
            item.add_marker(pytest.mark.slow)
