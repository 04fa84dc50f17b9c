"""Shifts as they are given: what is meant is taken, and for what is not, the sentence says what."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import shiftcheck

X = torch.randn(1, 1, 12, 14, generator=torch.Generator().manual_seed(0))
CONV, LINE = nn.Conv2d(1, 1, 3), nn.Conv1d(1, 1, 3)
ONE = "give a list: [(1, 0)]"
SUCH = "[(1, 0), (0, 1)]"


@pytest.mark.parametrize(
    ("shifts", "says"),
    [
        ((1, 0), f"shifts=(1, 0): {ONE}"),
        ([1, 0], f"shifts=[1, 0]: {ONE}"),
        (torch.tensor([1, 0]), f"shifts=[1, 0]: {ONE}"),
        (np.array([1, 0]), f"shifts=[1, 0]: {ONE}"),
        ((torch.tensor(1), np.int64(0)), ONE),
        (range(2), "give a list: [(0, 1)]"),
        ((1, 0, 0), f"shifts=(1, 0, 0): give a list: {SUCH}"),
        (1, f"shifts=1: give a list of shifts, such as {SUCH}"),
        (torch.tensor(1), "shifts=1: give a list of shifts"),
        (True, "shifts=True: give a list of shifts"),
        ("1,0", f"shifts='1,0': give a list of shifts, such as {SUCH}"),
        ({(1, 0): 2}, "give a list of shifts"),
        (["1,0"], f"'1,0' is no tuple of pixels: give a list such as {SUCH}"),
        ([None], "None is no tuple of pixels"),
        ([True, False], "True is no tuple of pixels"),
        ([(True, False)], "(True, False) is no tuple of pixels"),
        ([(np.True_, 0)], "is no tuple of pixels"),
        ([(float("nan"), 0)], "(nan, 0) is no tuple of pixels"),
        ([(1, float("inf"))], "(1, inf) is no tuple of pixels"),
        ([(1j, 0)], "is no tuple of pixels"),
        ([((1, 0),)], "((1, 0),) is no tuple of pixels"),
        ([(1, 0, 0)], f"has 3 entries, the signal has 2 spatial axes of size (12, 14): .* {SUCH}"),
        ([(1, 0), (1,)], "(1,) has 1 entry, the signal has 2 spatial axes"),
        ([(1, 0), 1], "1 has 1 entry, the signal has 2 spatial axes"),
        (np.zeros((1, 3)), "has 3 entries, the signal has 2"),
        ([(20, 0)], "(20, 0) is larger than the signal"),
        ([], "shifts=[] is empty"),
        (iter(()), "shifts=[] is empty"),
        (torch.zeros(0, 2), "shifts=[] is empty"),
    ],
)
def test_what_is_no_list_of_shifts(shifts: Any, says: str) -> None:
    pattern = re.escape(says).replace(r"\.\*", ".*")
    with pytest.raises(shiftcheck.InputError, match=pattern):
        shiftcheck.check_equivariance(CONV, X, shifts=shifts)


@pytest.mark.parametrize(
    "shifts",
    [
        [(1, 0), (0, -2)],
        ((1, 0), (0, -2)),
        [[1, 0], [0, -2]],
        np.array([[1, 0], [0, -2]]),
        torch.tensor([[1, 0], [0, -2]]),
        [torch.tensor([1, 0]), np.array([0, -2])],
        [(torch.tensor(1), np.int64(0)), (0, -2.0)],
        (step for step in [(1, 0), (0, -2)]),
    ],
)
def test_lists_of_shifts(shifts: Any) -> None:
    assert shiftcheck.check_equivariance(CONV, X, shifts=shifts).shifts == ((1, 0), (0, -2))


@pytest.mark.parametrize("shifts", [[1, 2], (1, 2), [(1,), (2,)], np.array([1, 2]), range(1, 3)])
def test_along_one_axis_a_number_is_a_shift(shifts: Any) -> None:
    report = shiftcheck.check_equivariance(LINE, torch.randn(1, 1, 16), shifts=shifts)
    assert report.shifts == ((1,), (2,))


def test_along_one_axis_a_list_is_wanted_too() -> None:
    with pytest.raises(shiftcheck.InputError, match=r"shifts=1: .*such as \[\(1,\)\]"):
        shiftcheck.check_equivariance(LINE, torch.randn(1, 1, 16), shifts=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "check",
    [
        shiftcheck.check_equivariance,
        shiftcheck.assert_equivariant,
        shiftcheck.check_invariance,
        shiftcheck.assert_invariant,
        shiftcheck.equivariance_metrics,
    ],
)
def test_every_check_reads_shifts_alike(check: Callable[..., Any]) -> None:
    with pytest.raises(shiftcheck.InputError, match=re.escape(ONE)):
        check(CONV, X, shifts=(1, 0))


def test_shifts_that_can_be_read_once_are_enough_for_a_budget(tmp_path: Path) -> None:
    budgets, ramp = tmp_path / "budgets.json", torch.arange(14.0)
    with shiftcheck.budget_file(budgets, update=True):
        shiftcheck.assert_equivariant(
            lambda x: x + 0.01 * ramp, X, shifts=iter([(0, 1)]), budget="ramp"
        )
    with shiftcheck.budget_file(budgets), pytest.raises(shiftcheck.NotEquivariantError):
        shiftcheck.assert_equivariant(lambda x: x + ramp, X, shifts=iter([(0, 1)]), budget="ramp")
