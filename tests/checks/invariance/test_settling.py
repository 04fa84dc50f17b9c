"""The rules of the verdict, on numbers: what float64 and the noise floor decide."""

from __future__ import annotations

import pytest

from shiftcheck.checks.invariance.judge import Demand, Promise, SecondLook, judge_shift, settled
from shiftcheck.checks.invariance.measure import Found, Variation
from shiftcheck.report.invariance import InvarianceVerdict

INVARIANT = InvarianceVerdict.INVARIANT
NOT_INVARIANT = InvarianceVerdict.NOT_INVARIANT
INCONCLUSIVE = InvarianceVerdict.INCONCLUSIVE
EPS = 2.0**-23
EXACT = Demand(bound=None, exact=True, eps=EPS)
VARIED = Variation(finite=True, distance=1.0, pairs=3, magnitude=1.0, peak=1.0)


def found(gap: float) -> Found:
    return Found(finite=True, distance=gap, mean_distance=gap, gap=gap, error=gap)


def answered(gap, promise, look, variation=VARIED):
    first = judge_shift(found(gap), variation, promise, EXACT, visible=True)
    return settled(first, found(gap), variation, promise, look)


@pytest.mark.parametrize(
    ("gap", "promise", "exact", "answer"),
    [
        (1e-4, Promise.INVARIANT, 1e-14, (INVARIANT, "")),
        (1e-4, Promise.UNKNOWN, 1e-14, (INVARIANT, "")),
        (1e-4, Promise.BROKEN, 1e-14, (INCONCLUSIVE, "within noise of a break")),
        (1e-4, Promise.INVARIANT, 1e-4, (NOT_INVARIANT, "disagrees with the structure")),
        (1e-4, Promise.BROKEN, 1e-4, (NOT_INVARIANT, "")),
        (0.5, Promise.INVARIANT, 1e-14, (NOT_INVARIANT, "only in low precision")),
        (1e-8, Promise.BROKEN, 1e-8, (NOT_INVARIANT, "")),
        (1e-8, Promise.UNKNOWN, 1e-8, (NOT_INVARIANT, "")),
        (1e-8, Promise.UNKNOWN, 1e-15, (INVARIANT, "")),
        (1e-8, Promise.BROKEN, 1e-15, (INCONCLUSIVE, "within noise of a break")),
    ],
)
def test_float64_decides(gap, promise, exact, answer):
    assert answered(gap, promise, SecondLook(gap=exact, eps=EPS)) == answer


@pytest.mark.parametrize(
    ("gap", "promise", "noise", "answer"),
    [
        (1e-4, Promise.INVARIANT, 1e-5, (INVARIANT, "")),
        (1e-4, Promise.BROKEN, 1e-5, (INCONCLUSIVE, "within noise of a break")),
        (1e-4, Promise.INVARIANT, 1e-7, (INCONCLUSIVE, "gap not confirmed in float64")),
        (1e-4, Promise.BROKEN, 1e-7, (NOT_INVARIANT, "")),
        (0.5, Promise.INVARIANT, 0.1, (INCONCLUSIVE, "variation within rounding")),
    ],
)
def test_noise_floor_decides_where_there_is_no_float64(gap, promise, noise, answer):
    assert answered(gap, promise, SecondLook(noise=noise, eps=EPS)) == answer


@pytest.mark.parametrize(("gap", "reason"), [(0.3, "disagrees"), (1e-12, "not confirmed")])
def test_in_float64_a_gap_far_beyond_its_rounding_is_one(gap, reason):
    first = (NOT_INVARIANT, "disagrees with the structure")
    answer = settled(first, found(gap), VARIED, Promise.INVARIANT, SecondLook(noise=1e-16))
    assert reason in answer[1]
    assert (answer[0] is NOT_INVARIANT) == (gap > 1e-6)


@pytest.mark.parametrize("look", [SecondLook(gap=1e-14, eps=EPS), SecondLook(noise=1.0, eps=EPS)])
def test_gap_that_is_rounding_does_not_make_a_dead_output_pass(look):
    dead = Variation(finite=True, distance=0.0, pairs=3, magnitude=1.0, peak=1.0)
    assert answered(1e-4, Promise.INVARIANT, look, dead)[0] is not INVARIANT


def test_classes_that_flip_in_a_coarse_type_are_no_pass():
    classes = Variation(finite=True, labels=True, distance=1.0, pairs=3, magnitude=1.0, peak=1.0)
    look = SecondLook(gap=0.0, eps=EPS)
    assert answered(0.01, Promise.UNKNOWN, look, classes) == (INCONCLUSIVE, "only classes agree")


def test_variation_must_stand_out_of_rounding():
    def variation(distance):
        return Variation(finite=True, distance=distance, pairs=3, magnitude=1.0, peak=1.0)

    for distance, answer in (
        (1e-3, (INVARIANT, "")),
        (1e-5, (INCONCLUSIVE, "variation within rounding")),
        (1e-7, (INCONCLUSIVE, "constant output")),
    ):
        assert (
            judge_shift(found(0.0), variation(distance), Promise.INVARIANT, EXACT, True) == answer
        )
