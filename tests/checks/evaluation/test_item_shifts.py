"""The shifts of an item depend on the seed and its number, and cover what they may."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftcheck.checks.evaluation.item_shifts import ItemShifts
from shiftcheck.errors import InputError


@given(
    st.integers(0, 2**40),
    st.integers(0, 2**40),
    st.integers(1, 6),
    st.lists(st.integers(0, 6), min_size=1, max_size=3).filter(any),
)
def test_drawn_shifts_differ_are_not_zero_and_within_reach(
    seed: int, item: int, draws: int, reach: list[int]
) -> None:
    plan = ItemShifts(seed=seed, draws=draws, reach=tuple(reach))
    shifts = plan.of(item, (1,) * len(reach))
    places = 1
    for r in reach:
        places *= 2 * r + 1
    assert len(shifts) == len(set(shifts)) == min(draws, places - 1)
    assert all(any(s) for s in shifts)
    assert all(abs(v) <= r for s in shifts for v, r in zip(s, reach, strict=True))
    assert shifts == plan.of(item, (1,) * len(reach))


def test_they_are_these_on_every_machine() -> None:
    plan = ItemShifts(seed=3, draws=3, reach=(5,))
    assert plan.of(7341, (1, 1)) == ((-3, 2), (-5, -5), (-1, -2))


def test_they_are_multiples_of_the_lattice_within_reach() -> None:
    plan = ItemShifts(seed=0, draws=50, reach=(8, 5))
    shifts = plan.of(1, (4, 1))
    assert {s[0] for s in shifts} == {-8, -4, 0, 4, 8}
    assert {s[1] for s in shifts} <= set(range(-5, 6))


def test_without_a_reach_it_is_an_eighth_and_at_least_one_step() -> None:
    plan = ItemShifts(seed=0, draws=300)
    assert {s[0] for s in plan.of(1, (1,), (32,))} == set(range(-4, 5)) - {0}
    assert {s[0] for s in plan.of(1, (32,), (64,))} == {-32, 32}


def test_where_no_step_of_the_lattice_fits_it_is_pixels() -> None:
    plan = ItemShifts(seed=0, draws=300)
    assert {s[0] for s in plan.of(1, (32,), (16,))} == {-2, -1, 1, 2}


def test_a_reach_below_one_step_is_told() -> None:
    with pytest.raises(InputError, match=r"max_shift=\(3,\) is less than one sample"):
        ItemShifts(seed=0, draws=2, reach=(3,)).of(1, (4, 8), (64, 64))


def test_all_are_about_as_frequent() -> None:
    plan = ItemShifts(seed=0, draws=1, reach=(1, 1))
    counted = Counter(plan.of(item, (1, 1))[0] for item in range(4000))
    assert len(counted) == 8
    assert all(count == pytest.approx(500, abs=110) for count in counted.values())


def test_given_ones_are_for_all() -> None:
    plan = ItemShifts(seed=0, given=((1, 2), (3, 4)))
    assert plan.of(5, (1, 1)) == ((1, 2), (3, 4))
