"""What is kept of parts is merged to what is kept of all, in any order, to the last bit."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftcheck.checks.evaluation.accumulators import (
    KEPT,
    Corrupt,
    ExactSum,
    Pair,
    Spread,
    State,
    merged,
    merged_spreads,
    sum_of_sums,
    tally_of,
)
from shiftcheck.checks.evaluation.checkpoint import Saved
from shiftcheck.checks.evaluation.summary import distribution, quantile
from shiftcheck.report import Reason
from shiftcheck.report.serialization import from_strict_json, to_strict_json

FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.floats(0, 1e9)
SHIFTS = st.tuples(st.integers(-3, 3), st.integers(-3, 3))


@given(st.lists(FINITE, max_size=30))
def test_a_sum_is_that_of_fractions_rounded_once(values: list[float]) -> None:
    exact = sum((Fraction(v) for v in values), Fraction(0))
    found = ExactSum.of(values)
    assert Fraction(found.units, 2**1074) == exact
    try:
        wanted = float(exact)
    except OverflowError:
        wanted = math.inf if exact > 0 else -math.inf
    assert found.value == wanted


@given(st.lists(st.lists(FINITE, max_size=5), max_size=6), st.randoms(use_true_random=False))
def test_sums_of_parts_are_exact_in_any_order(
    parts: list[list[float]], draw: random.Random
) -> None:
    sums = [ExactSum.of(part) for part in parts]
    draw.shuffle(sums)
    assert sum_of_sums(sums) == ExactSum.of([v for part in parts for v in part])


@st.composite
def states(draw: st.DrawFn, first: int) -> State:
    """What a block of items gave; their numbers begin at ``first``."""
    pairs: list[Pair] = []
    for item in range(first, first + draw(st.integers(0, 4))):
        for shift in draw(st.lists(SHIFTS, max_size=3, unique=True)):
            reasons = st.sampled_from([Reason.DEAD, Reason.INVISIBLE])
            pairs.append((item, shift, draw(st.one_of(VALUES, reasons))))
    more = {"sums": (("error", ExactSum.of(draw(st.lists(VALUES, max_size=3)))),)}
    corrupt = draw(st.lists(st.integers(first + 10, first + 19), max_size=2, unique=True))
    return State(
        items=len({item for item, _, _ in pairs}),
        pairs=len(pairs),
        corrupt=len(corrupt),
        corrupt_items=tuple(Corrupt(item=i, where="data", error="") for i in sorted(corrupt)),
        tallies=(tally_of("equivariance", "output", "output", pairs, **more),) if pairs else (),
    )


BLOCKS = st.integers(1, 6).flatmap(lambda n: st.tuples(*(states(100 * i) for i in range(n))))


@settings(max_examples=30)
@given(BLOCKS, st.randoms(use_true_random=False))
def test_merging_is_associative_and_commutative_to_the_last_bit(
    blocks: tuple[State, ...], draw: random.Random
) -> None:
    whole = merged(blocks)
    parts = list(blocks)
    while len(parts) > 1:
        draw.shuffle(parts)
        parts.append(merged([parts.pop(), parts.pop()]))
    assert merged(parts) == whole
    assert merged([State(), whole, State()]) == whole


@settings(max_examples=20)
@given(BLOCKS)
def test_a_state_survives_its_file(blocks: tuple[State, ...]) -> None:
    saved = Saved(keys={"a": "b"}, done=3, state=merged(blocks))
    assert from_strict_json(Saved, to_strict_json(saved, None), "checkpoint") == saved


@given(st.lists(VALUES, min_size=1, max_size=60))
def test_figures_are_those_of_all_values(values: list[float]) -> None:
    spread = merged_spreads([Spread.of(values[:7]), Spread.of(values[7:])])
    told = distribution(spread)
    assert told.count == len(values)
    assert told.mean == pytest.approx(math.fsum(values) / len(values), rel=1e-12, abs=1e-300)
    assert (told.smallest, told.largest) == (min(values), max(values))
    assert sum(b.count for b in told.histogram) == len(values)


@given(st.lists(st.floats(1e-12, 1e9), min_size=1, max_size=60), st.floats(0.01, 1.0))
def test_quantiles_are_right_to_one_percent(values: list[float], share: float) -> None:
    wanted = float(np.quantile(values, share, method="inverted_cdf"))
    rank = max(1, math.ceil(share * len(values)))
    assert sorted(values)[rank - 1] == pytest.approx(wanted, rel=1e-12) or len(values) > 1
    assert quantile(Spread.of(values), share) == pytest.approx(sorted(values)[rank - 1], rel=0.0105)


def test_bins_hold_what_they_say() -> None:
    values = [float(v) for v in np.random.default_rng(0).lognormal(sigma=4, size=500)]
    for found in distribution(Spread.of(values)).histogram:
        inside = sum(found.low * 0.999 <= v < found.high * 1.001 for v in values)
        assert found.count <= inside


def test_the_worst_cases_are_the_largest_of_different_items() -> None:
    pairs: list[Pair] = [(i, (v, 0), float(i + v)) for i in range(20) for v in (1, 2)]
    halves = [State(tallies=(tally_of("a", "b", "c", p),)) for p in (pairs[:18], pairs[18:])]
    worst = merged(halves).tallies[0].worst
    assert [(w.item, w.shift, w.value) for w in worst] == [
        (i, (2, 0), float(i + 2)) for i in range(19, 19 - KEPT, -1)
    ]


def test_of_equal_cases_the_first_items_are_kept() -> None:
    pairs: list[Pair] = [(i, (v, 0), 1.0) for i in range(30) for v in (2, -1)]
    worst = tally_of("a", "b", "c", pairs).worst
    assert [(w.item, w.shift) for w in worst] == [(i, (-1, 0)) for i in range(KEPT)]


def test_what_is_kept_does_not_grow_with_the_data() -> None:
    draw = random.Random(0)

    def block(first: int, count: int) -> State:
        pairs: list[Pair] = [
            (first + i, (draw.randint(-20, 20), draw.randint(-20, 20)), draw.lognormvariate(0, 3))
            for i in range(count)
        ]
        return State(tallies=(tally_of("a", "b", "c", pairs),), items=count)

    many = merged([block(0, 9_000)])
    more = merged([many, block(9_000, 9_000)])
    assert len(to_strict_json(more, None)) < 1.15 * len(to_strict_json(many, None))
