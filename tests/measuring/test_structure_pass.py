"""The structure of a model whose values are few is read off them, where they are used anyway."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.measuring import structure_pass
from shiftcheck.tracing.torch_internals import is_fake

CONV = nn.Conv1d(1, 2, 3)
X = torch.randn(1, 1, 16)


SEEN: list[bool] = []


def watched(x: torch.Tensor) -> torch.Tensor:
    SEEN.append(not is_fake(x))
    return CONV(x)


def with_values(check: Any, x: Any) -> list[bool]:
    """For each run of the model, whether it was given values."""
    SEEN.clear()
    check(watched, x)
    seen, SEEN[:] = list(SEEN), []
    return seen


CHECKS = [
    shiftcheck.assert_equivariant,
    shiftcheck.check_equivariance,
    shiftcheck.check_invariance,
    shiftcheck.lie_derivatives,
]


@pytest.mark.parametrize("check", CHECKS)
def test_few_values_are_computed_with(check: Any) -> None:
    assert all(with_values(check, X))


@pytest.mark.parametrize("check", CHECKS)
def test_many_values_are_not(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure_pass, "FEW", X.numel() - 1)
    seen = with_values(check, X)
    assert not seen[0]
    assert all(seen[1:])


@pytest.mark.parametrize("x", [X, tuple(X.shape)])
def test_the_geometry_computes_nothing(x: Any) -> None:
    assert with_values(shiftcheck.geometry, x) == [False]


def decides(x: torch.Tensor) -> torch.Tensor:
    return CONV(x) if x.mean() < 9 else x


def test_what_values_decide_is_told_as_without_them() -> None:
    report = shiftcheck.check_invariance(decides, X)
    assert report.notes[0].startswith("the structure comes from a real run: without values")
