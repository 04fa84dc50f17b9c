"""Thirty planted bugs: each is found within a hundred examples, at the smallest offending shift."""

from __future__ import annotations

import re
from ast import literal_eval
from typing import Any

import hypothesis
import pytest

from shiftcheck import NotEquivariantError
from shiftcheck.strategies import equivariant
from shiftcheck.strategies.examples import Scene

from .planted_bugs import BUGS, Bug, smallest_offence

HUNDRED = hypothesis.settings(max_examples=100, database=None, derandomize=True)
SIZES = {1: range(2, 22), 2: range(2, 22), 3: range(2, 9)}
A_FEW = ("stride 6 where (3, 2) is promised", "zeros along the closed axis", "ramp in wide images")


def found(bug: Bug) -> tuple[tuple[int, ...], str]:
    """The shift that a property test reports, and its message."""

    def test_it() -> None:
        raise AssertionError("the bug was not found")

    options: dict[str, Any] = {"boundary": bug.boundary, "lattice": bug.lattice, "ndim": bug.ndim}
    with pytest.raises(NotEquivariantError) as caught:
        equivariant(bug.make, settings=HUNDRED, **options)(test_it)()
    text = str(caught.value)
    shifts = re.findall(r"shifts=\[(\(.*?\))\]", text)
    return literal_eval(shifts[-1]), text


def is_smallest(bug: Bug, shift: tuple[int, ...]) -> bool:
    smallest = smallest_offence(bug, SIZES[bug.ndim])
    return sum(map(bool, shift)) == 1 and sum(map(abs, shift)) == smallest


@pytest.mark.parametrize("name", A_FEW)
def test_some_are_found_at_the_smallest_shift(name: str) -> None:
    shift, text = found(BUGS[name])
    assert is_smallest(BUGS[name], shift), text
    assert "first guilty layer" in text
    assert "x = shiftcheck.strategies.sample_signal(" in text


def test_there_are_thirty_and_each_is_one() -> None:
    assert len(BUGS) == 30
    for name in A_FEW:
        assert smallest_offence(BUGS[name], SIZES[BUGS[name].ndim]) is not None


@pytest.mark.slow
@pytest.mark.parametrize("simplest_first", [True, False])
def test_all_are_found_and_nearly_all_at_the_smallest_shift(
    simplest_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not simplest_first:  # then hypothesis alone has to meet them
        monkeypatch.setattr(Scene, "simplest", lambda scene: iter(()))
    others = [name for name, bug in BUGS.items() if not is_smallest(bug, found(bug)[0])]
    assert len(others) <= 2, others
