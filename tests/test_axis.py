"""The geometry of one axis, against brute force on explicit index sets."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest

from shiftcheck.axis import (
    Axis,
    GeometryError,
    Taps,
    coarsen,
    describe,
    globalise,
    input_axis,
    invalidate,
    join,
    pair,
    pair_lost,
    resample,
    runs,
    smallest_size,
    window,
    with_break,
)


def brute_force(steps: list[tuple[Taps, int]], pixels: int) -> list[tuple[set[int], bool]]:
    """What each output sample sees, and whether it all lies inside, by following index sets."""

    def seen(level: int, sample: int) -> tuple[set[int], bool]:
        if level < 0:
            return {sample}, 0 <= sample < pixels
        taps, size = steps[level]
        inside = 0 <= sample < size
        pixels_seen: set[int] = set()
        for tap in taps.phases[sample % taps.den]:
            below, ok = seen(level - 1, sample // taps.den * taps.num + tap)
            pixels_seen |= below
            inside &= ok
        return pixels_seen, inside

    return [seen(len(steps) - 1, q) for q in range(steps[-1][1])]


def random_steps(rng: random.Random) -> list[tuple[Taps, int]]:
    steps, size = [], rng.randint(8, 20)
    steps.append((window(1, [0]), size))
    for _ in range(rng.randint(1, 4)):
        num, den = rng.choice([(1, 1), (2, 1), (3, 1), (1, 2), (1, 3), (2, 3), (3, 2)])
        phases = tuple(
            tuple(rng.randint(-2, 3) for _ in range(rng.randint(1, 3))) for _ in range(den)
        )
        size = max(1, size * den // num + rng.randint(-2, 2))
        steps.append((Taps(num=num, phases=phases), size))
    return steps


@pytest.mark.parametrize("seed", range(60))
def test_resample_against_index_sets(seed: int) -> None:
    steps = random_steps(random.Random(seed))
    pixels = steps[0][1]
    axis = input_axis(pixels, circular=False)
    for taps, size in steps:
        axis = resample(axis, taps, size)
    index = np.arange(axis.size)
    for q, (seen, inside) in enumerate(brute_force(steps, pixels)):
        assert axis.first_of(index)[q] == min(seen)
        assert axis.last_of(index)[q] == max(seen)
        assert axis.valid[q] == inside


def conv(axis: Axis, kernel: int, step: int = 1, padding: int = 0) -> Axis:
    size = (axis.size + 2 * padding - kernel) // step + 1
    return resample(axis, window(step, [j - padding for j in range(kernel)]), size)


def test_padded_convolution() -> None:
    axis = conv(input_axis(10, circular=False), 3, padding=1)
    assert (axis.stride, axis.period, axis.halo, axis.receptive_field) == (1, 1, (1.0, 1.0), 3.0)
    assert runs(axis.valid) == ((1, 9),)


def test_stride_and_back_has_stride_one_and_period_two() -> None:
    down = conv(input_axis(12, circular=False), 2, step=2)
    up = resample(down, Taps(num=1, phases=((0,), (0,))), 12)
    assert (down.stride, down.period) == (2, 2)
    assert (up.stride, up.period, up.receptive_field) == (1, 2, 2.0)


def test_up_three_down_two_has_period_two() -> None:
    up = resample(input_axis(8, circular=False), Taps(num=1, phases=((0,),) * 3), 24)
    down = conv(up, 1, step=2)
    assert (up.stride, down.stride, down.period) == (Fraction(1, 3), Fraction(2, 3), 2)


def test_join_takes_the_union_and_needs_equal_strides() -> None:
    base = input_axis(12, circular=False)
    left = resample(base, window(1, [-3, 0]), 12)
    both = join(left, conv(base, 3, padding=1))
    assert both.halo == (3.0, 1.0)
    assert runs(both.valid) == ((3, 11),)
    with pytest.raises(GeometryError, match="strides 1 and 2"):
        join(base, conv(base, 2, step=2))
    with pytest.raises(GeometryError, match="sizes 12 and 10"):
        join(base, conv(base, 3))


def test_global_values_are_valid_only_on_one_closed_turn() -> None:
    assert not globalise(input_axis(6, circular=False)).valid.any()
    assert globalise(input_axis(6, circular=True)).valid.all()
    assert not globalise(conv(input_axis(6, circular=True), 3)).valid.any()
    assert globalise(input_axis(6, circular=False)).halo == (math.inf, math.inf)


def test_circular_padding_needs_exactly_one_turn() -> None:
    ring = input_axis(6, circular=True)
    padded = resample(ring, window(1, [-1]), 8, wrap=True)
    assert padded.closed
    assert not padded.one_turn
    assert not resample(padded, window(1, [-1]), 10, wrap=True).closed
    assert not resample(input_axis(6, circular=False), window(1, [-1]), 8, wrap=True).valid.all()


def test_a_stride_that_does_not_divide_the_circle_opens_it_for_good() -> None:
    ring = conv(input_axis(9, circular=True), 1, step=2)
    assert ring.circle is None
    assert not ring.valid.any()
    up = resample(ring, Taps(num=1, phases=((0,), (0,))), 10)
    assert not up.closed


def test_pair_on_the_plane() -> None:
    axis = conv(input_axis(10, circular=False), 3, padding=1)
    found = pair(axis, 2)
    assert found is not None
    assert list(found.here) == list(range(2, 10))
    assert list(found.there) == list(range(8))
    assert list(found.here[found.ok]) == [3, 4, 5, 6, 7, 8]
    assert found.predicted


def test_pair_off_the_lattice_and_off_the_period() -> None:
    down = conv(input_axis(12, circular=False), 2, step=2)
    assert pair(down, 3) is None
    up = resample(down, Taps(num=1, phases=((0,), (0,))), 12)
    odd, even = pair(up, 1), pair(up, 2)
    assert odd is not None
    assert even is not None
    assert (odd.predicted, even.predicted) == (False, True)


def test_pair_on_the_circle_wraps() -> None:
    found = pair(input_axis(5, circular=True), 2)
    assert found is not None
    assert list(found.there) == [3, 4, 0, 1, 2]
    cropped = pair(conv(input_axis(5, circular=True), 3), 2)
    assert cropped is not None
    assert [(int(h), int(t)) for h, t in zip(cropped.here, cropped.there, strict=True)] == [(2, 0)]


def test_an_axis_that_does_not_move_needs_no_validity() -> None:
    found = pair(with_break(conv(input_axis(3, circular=False), 3, padding=1)), 0)
    assert found is not None
    assert found.ok.all()
    assert found.predicted


def test_lost_axes_are_compared_at_the_ratio_of_sizes() -> None:
    found = pair_lost(28, 14, 4, circular=False)
    assert found is not None
    assert list(found.there) == list(range(12))
    assert not found.predicted
    assert pair_lost(28, 14, 3, circular=False) is None


def test_coarsen_and_break() -> None:
    axis = coarsen(conv(input_axis(12, circular=False), 2, step=2), 3)
    assert axis.period == 6
    assert with_break(axis).period is None
    assert coarsen(input_axis(6, circular=True), 3).closed
    assert not coarsen(input_axis(6, circular=True), 4).closed


def test_an_open_axis_has_no_circle() -> None:
    open_axis = input_axis(8, circular=False)
    assert (open_axis.circle, open_axis.closed) == (None, False)
    assert coarsen(open_axis, 3).valid.all()


def test_the_receptive_field_is_that_of_the_phase_that_sees_most() -> None:
    axis = resample(input_axis(4, circular=False), Taps(num=1, phases=((0,), (-1, 1))), 8)
    assert axis.receptive_field == 3
    assert axis.halo == (1.5, 0.5)


def test_one_broken_operand_breaks_the_result() -> None:
    whole = input_axis(8, circular=False)
    assert join(with_break(whole), whole).period is None
    assert join(whole, with_break(whole)).period is None


def test_a_coarser_axis_sees_what_it_saw() -> None:
    down = conv(input_axis(12, circular=False), 2, step=2)
    coarse = coarsen(down, 3)
    assert len(coarse.first) == 3
    assert (coarse.halo, coarse.receptive_field) == (down.halo, down.receptive_field)


def test_a_lost_axis_goes_round_on_the_circle() -> None:
    found = pair_lost(8, 4, 2, circular=True)
    assert found is not None
    assert list(found.there) == [3, 0, 1, 2]


def test_a_flipped_axis_sees_the_pixels_from_the_other_end() -> None:
    flipped = resample(input_axis(8, circular=False), Taps(num=-1, phases=((7,),)), 8)
    assert list(flipped.first_of(np.arange(8))) == [7, 6, 5, 4, 3, 2, 1, 0]
    assert list(conv(flipped, 2).last_of(np.arange(7))) == [7, 6, 5, 4, 3, 2, 1]


def test_invalidate_makes_holes() -> None:
    keep = np.array([True, False, True, True])
    assert runs(invalidate(input_axis(4, circular=False), keep).valid) == ((0, 1), (2, 4))


@pytest.mark.parametrize(
    ("mask", "expected"),
    [([], ()), ([0, 0], ()), ([1, 1], ((0, 2),)), ([1, 0, 1, 1, 0], ((0, 1), (2, 4)))],
)
def test_runs(mask: list[int], expected: tuple[tuple[int, int], ...]) -> None:
    assert runs(np.array(mask, dtype=bool)) == expected


def test_smallest_size() -> None:
    assert smallest_size(lambda n: n >= 470, 224, 10**6) == 470
    assert smallest_size(lambda n: True, 5, 100) == 5
    assert smallest_size(lambda n: False, 5, 100) is None


def test_describe() -> None:
    assert [describe(v) for v in (None, 2.0, Fraction(1, 2), math.inf)] == [
        "-",
        "2",
        "1/2",
        "inf",
    ]


def test_a_pattern_of_several_phases_repeats_only_with_all_of_them() -> None:
    first_of_two = Taps(num=2, phases=((0,), (0,)))
    plane = resample(input_axis(8, circular=False), first_of_two, 8)
    assert (plane.stride, plane.period) == (1, 2)
    assert resample(input_axis(8, circular=True), first_of_two, 8).closed
    assert not resample(input_axis(9, circular=True), first_of_two, 9).valid.any()
