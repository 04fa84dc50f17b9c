"""A test suite inside of a test, whose pytest has the plugin."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.plugin.runs import SETTINGS, announce

from shiftcheck import check_convolution, check_equivariance, check_invariance


@pytest.fixture(scope="session")
def _loaded() -> None:
    """What a check imports is imported once: pytester forgets what is imported inside of it."""
    x = torch.rand(1, 1, 8, 9)
    check_equivariance(torch.nn.Conv2d(1, 1, 3), x, boundary="circular")
    check_invariance(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(72, 2)), x)
    check_convolution(torch.nn.AvgPool2d(2), x)


@pytest.fixture
def suite(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, _loaded: None
) -> pytest.Pytester:
    """A folder for the suite."""
    for folder in announce(Path(pytester.path) / "entry"):
        monkeypatch.syspath_prepend(folder)
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    return pytester
