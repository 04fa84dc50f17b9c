"""Gathers at fixed places, against what each sample holds, followed pixel by pixel."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import pytest

from shiftcheck.lattice.axis import (
    Axis,
    GeometryError,
    Taps,
    accumulate,
    input_axis,
    invalidate,
    resample,
    window,
)
from shiftcheck.lattice.gather import runs, take
from shiftcheck.lattice.pairing import pair

PIXELS = 12


@dataclass
class Chain:
    """A chain of operations with the claimed geometry and the pixels that each sample reads.

    ``reads`` holds the pixels with their order, None for what lies beyond the edge.
    """

    circular: bool
    axis: Axis = field(init=False)
    reads: list[tuple[int | None, ...]] = field(init=False)

    def __post_init__(self) -> None:
        self.axis = input_axis(PIXELS, circular=self.circular)
        self.reads = [(p,) for p in range(PIXELS)]

    def take(self, indices: list[int]) -> None:
        self.axis = take(self.axis, np.array(indices))
        self.reads = [self.reads[i] for i in indices]

    def resample(self, taps: Taps, size: int, wrap: bool) -> None:
        around = wrap and self.circular and self.axis.one_turn
        before = self.reads

        def read(at: int) -> tuple[int | None, ...]:
            if around:
                at %= len(before)
            return before[at] if 0 <= at < len(before) else (None,)

        self.reads = [
            tuple(
                p for tap in taps.phases[q % taps.den] for p in read(q // taps.den * taps.num + tap)
            )
            for q in range(size)
        ]
        self.axis = resample(self.axis, taps, size, wrap=wrap)

    def check_valid(self) -> int:
        """The number of pairs of valid samples, periods apart, that hold the same pixels, moved."""
        if self.axis.period is None or self.axis.stride == 0:
            return 0
        step = Fraction(self.axis.period) / abs(self.axis.stride)
        ahead = int(step) * (1 if self.axis.stride > 0 else -1)
        valid = np.flatnonzero(self.axis.valid)
        pairs = [(p, q) for p in valid for q in valid if q > p and (q - p) % int(step) == 0]
        for p, q in pairs:
            moved = (q - p) // ahead * self.axis.period
            one, two = self.reads[p], self.reads[q]
            assert None not in one + two
            apart = {b - a - moved for a, b in zip(one, two, strict=True)}  # type: ignore[operator]
            assert not any(n % PIXELS if self.circular else n for n in apart), (p, q, one, two)
        return len(pairs)

    def check(self) -> int:
        """The number of promised pairs, each of which must hold the same pixels, moved."""
        promised = 0
        for v in range(1 - PIXELS, PIXELS):
            found = pair(self.axis, v)
            if v == 0 or found is None or not found.predicted:
                continue
            for here, there in zip(found.here[found.ok], found.there[found.ok], strict=True):
                one, two = self.reads[here], self.reads[there]
                assert None not in one + two, f"sample {here} or {there} reads beyond the edge"
                moved = [p + v for p in two if p is not None]
                turns = [(p - q) % PIXELS for p, q in zip(one, moved, strict=True)]  # type: ignore[operator]
                exact = list(one) == moved or (self.circular and not any(turns))
                assert exact, f"shift {v}: sample {here} reads {one}, sample {there} {two}"
                promised += 1
        return promised


def random_indices(rng: random.Random, size: int) -> list[int]:
    step, hold = rng.choice([1, 1, 1, 2, 3, -1, -2]), rng.choice([1, 1, 1, 2, 3])
    length = rng.randint(2, 2 * size)
    start = rng.randrange(size)
    found = [(start + q // hold * step) % size for q in range(length)]
    if rng.random() < 0.3:
        found[rng.randrange(length)] = rng.randrange(size)
    if rng.random() < 0.2:
        rng.shuffle(found)
    if rng.random() < 0.3:
        found = [i for i in found if i < size // 2 * 2]
    return found or [0]


def random_chain(rng: random.Random, circular: bool) -> Chain:
    chain = Chain(circular)
    for _ in range(rng.randint(1, 4)):
        size = chain.axis.size
        if rng.random() < 0.6:
            chain.take(random_indices(rng, size))
        else:
            step, kernel = rng.choice([1, 1, 2]), rng.randint(1, 3)
            up = step == 1 and rng.random() < 0.3
            reads = [tuple(rng.sample(range(-2, 3), kernel)) for _ in range(2 if up else 1)]
            taps = Taps(num=step, phases=tuple(reads))
            chain.resample(taps, max(1, size * taps.den // step), wrap=rng.random() < 0.7)
        if chain.axis.size > 60:
            break
    return chain


@pytest.mark.parametrize("circular", [False, True], ids=["open", "circle"])
def test_valid_samples_obey_the_law(circular: bool) -> None:
    """Those of a circle, too, that is not valid everywhere: nothing else tells what they are."""
    checked = 0
    for seed in range(500):
        try:
            checked += random_chain(random.Random(seed), circular).check_valid() > 0
        except GeometryError:
            continue
    assert checked > 150


@pytest.mark.parametrize("circular", [False, True], ids=["open", "circle"])
def test_what_is_promised_is_true(circular: bool) -> None:
    promised = lost = 0
    for seed in range(500):
        try:
            promised += random_chain(random.Random(seed), circular).check() > 0
        except GeometryError:
            lost += 1
    assert lost < 300  # what follows a pattern for less than half of its samples
    assert promised > (60 if circular else 150)


def open_axis(size: int = 10) -> Axis:
    return input_axis(size, circular=False)


def ring(size: int = 10) -> Axis:
    return input_axis(size, circular=True)


def test_a_roll_has_a_seam_on_the_plane_and_none_on_the_circle() -> None:
    indices = np.roll(np.arange(10), 3)
    assert runs(take(open_axis(), indices).valid) == ((3, 10),)
    assert take(ring(), indices).one_turn
    assert runs(take(open_axis(), np.roll(np.arange(10), 7)).valid) == ((0, 7),)


def test_a_flip_negates_the_stride_and_two_restore_it() -> None:
    back = np.arange(10)[::-1]
    once = take(open_axis(), back)
    twice = take(once, back)
    assert (once.stride, once.period, twice.stride) == (-1, 1, 1)
    assert once.valid.all()
    assert twice.halo == (0.0, 0.0)
    found = pair(once, 2)
    assert found is not None
    assert (int(found.here[0]), int(found.there[0])) == (0, 2)


@pytest.mark.parametrize(
    ("indices", "stride", "period", "valid"),
    [
        ([3, 4, 5, 6], Fraction(1), 1, ((0, 4),)),
        ([1, 3, 5, 7], Fraction(2), 2, ((0, 4),)),
        ([0, 0, 1, 1, 2, 2], Fraction(1, 2), 1, ((0, 6),)),
        ([0, 0, 2, 2, 4, 4], Fraction(1), 2, ((0, 6),)),
        ([0, 1, 3, 4, 6, 7], Fraction(3, 2), 3, ((0, 6),)),
        ([0, 1, 2, 9, 4, 5], Fraction(1), 1, ((0, 3), (4, 6))),
        ([0, 1, 2, 3, 0, 1, 2], Fraction(1), 1, ((0, 4),)),
        ([0, 5, 1, 6, 2, 7], Fraction(1, 2), 1, ((0, 6),)),
    ],
)
def test_patterns(
    indices: list[int], stride: Fraction, period: int, valid: tuple[tuple[int, int], ...]
) -> None:
    out = take(open_axis(), np.array(indices))
    assert (out.stride, out.period, runs(out.valid)) == (stride, period, valid)


@pytest.mark.parametrize("indices", [[4], [4, 4, 4, 4], [3, 8, 1, 1, 6, 0, 7], [2, 2, 9, 9, 9, 1]])
def test_no_pattern(indices: list[int]) -> None:
    with pytest.raises(GeometryError, match="no pattern"):
        take(open_axis(), np.array(indices))


def test_more_than_one_turn_of_a_circle_stays_closed() -> None:
    around = take(ring(6), np.array([5, 0, 1, 2, 3, 4, 5, 0]))
    assert around.closed
    assert (around.circle, around.one_turn) == (6, False)
    assert not take(ring(6), np.array([5, 0, 1, 2, 4, 3, 5, 0])).closed
    assert take(ring(6), np.array([4, 0, 2, 4])).closed
    assert not take(ring(9), np.repeat(np.arange(0, 9, 2), 2)[:9]).closed


def test_an_invalid_sample_stays_invalid_where_it_is_taken_to() -> None:
    holes = resample(open_axis(), window(1, [-2]), 10)
    assert runs(take(holes, np.roll(np.arange(10), 3)).valid) == ((5, 10),)


@pytest.mark.parametrize(
    ("flipped", "backwards", "halo"),
    [
        (False, False, (np.inf, 2.0)),
        (False, True, (2.0, np.inf)),
        (True, False, (-7.0, np.inf)),
        (True, True, (np.inf, 11.0)),
    ],
)
def test_a_running_sum_sees_all_of_one_side(
    flipped: bool, backwards: bool, halo: tuple[float, float]
) -> None:
    axis = resample(open_axis(), window(1, [-2, 0, 2]), 10)
    axis = take(axis, np.arange(10)[::-1]) if flipped else axis
    out = accumulate(axis, backwards=backwards)
    assert not out.valid.any()
    assert out.halo == halo


def test_a_running_sum_over_phases_sees_what_the_samples_before_saw() -> None:
    wide = resample(open_axis(), Taps(num=1, phases=((5,), (0,))), 20)
    assert list(accumulate(wide).last) == [5.0, 5.0]
    assert list(accumulate(wide, backwards=True).first) == [0.0, 0.0]


def test_half_in_order_and_half_in_none_is_no_pattern() -> None:
    axis = input_axis(20, circular=False)
    order, disorder = np.arange(11), np.array([15, 12, 19, 11, 13, 14, 18, 17, 16])
    with pytest.raises(GeometryError):
        take(axis, np.concatenate([order, disorder]))
    assert take(axis, np.concatenate([order, order[:3]])).valid[:11].all()
    tiles = np.tile(np.arange(20), 4)
    assert take(input_axis(20, circular=True), tiles).valid.all()


def test_the_message_is_the_whole_of_it() -> None:
    with pytest.raises(GeometryError, match=r"^the indices follow no pattern$"):
        take(open_axis(), np.array([4]))


def test_going_backwards_may_be_ruled_out() -> None:
    back = np.arange(10)[::-1]
    with pytest.raises(GeometryError):
        take(open_axis(), back, forward=True)
    assert take(open_axis(), np.arange(3, 9), forward=True).stride == 1


def test_two_samples_are_a_pattern_and_two_of_three_are_none() -> None:
    assert take(open_axis(), np.array([3, 5])).stride == 2
    assert take(open_axis(), np.array([3, 5])).valid.all()
    with pytest.raises(GeometryError):
        take(open_axis(), np.array([3, 5, 5]))


@pytest.mark.parametrize("others", [[9, 7, 11], [9, 7, 11, 0]], ids=["of seven", "of eight"])
def test_half_of_the_indices_must_follow(others: list[int]) -> None:
    assert runs(take(open_axis(12), np.array([0, 1, 2, 3, *others])).valid) == ((0, 4),)
    with pytest.raises(GeometryError):
        take(open_axis(12), np.array([0, 1, 2, 9, *others]))


@pytest.mark.parametrize(("hold", "most"), [(1, 3), (2, 6)])
def test_how_many_pieces_may_lie_beside_the_pattern(hold: int, most: int) -> None:
    """Each has a seam: where every sample is held once, the most are four pieces in all."""
    pieces = [i for n in range(most + 1) for i in (40 + 10 * n * n, 41 + 10 * n * n)]
    order, axis = range(20), open_axis(500)
    few = np.repeat([*order, *pieces[:-2]], hold)
    assert runs(take(axis, few).valid) == ((0, 20 * hold),)
    with pytest.raises(GeometryError):
        take(axis, np.repeat([*order, *pieces], hold))


def test_patterns_of_64_samples_are_the_longest() -> None:
    for length, works in ((64, True), (65, False)):
        once = np.array(random.Random(1).sample(range(length), length))
        twice = np.concatenate([once, once + length])
        if works:
            out = take(open_axis(2 * length), twice)
            assert (out.stride, out.period, out.valid.all()) == (1, 64, True)
        else:
            with pytest.raises(GeometryError):
                take(open_axis(2 * length), twice)


@pytest.mark.parametrize(
    ("indices", "stride"),
    [(range(8, -1, -1), -1), ([0, 4, 8, 3, 7, 2], 4), ([0, 5, 1, 6, 2, 7], -4), ([0, 3, 6], 3)],
)
def test_a_circle_is_gone_round_the_shorter_way(indices: list[int], stride: int) -> None:
    assert take(ring(9), np.array(indices)).stride == stride


def test_half_way_round_is_forward() -> None:
    assert take(ring(8), np.array([0, 4, 0, 4])).stride == 4


def test_a_circle_that_is_open_somewhere_is_not_gone_round() -> None:
    """The values beyond the seam need not be those of the other end."""
    torn = resample(ring(8), window(1, [-1]), 8)
    assert runs(torn.valid) == ((1, 8),)
    assert runs(take(torn, np.array([4, 5, 6, 7, 0, 1, 2, 3])).valid) == ((0, 4),)


@pytest.mark.parametrize("before", [1, 2, 3])
def test_a_pattern_of_three_may_begin_later(before: int) -> None:
    """Each sample three times, behind some of another place."""
    indices = np.array([30, 28, 25][:before] + [n // 3 for n in range(18)])
    out = take(open_axis(40), indices)
    assert (out.stride, out.period) == (Fraction(1, 3), 1)
    assert runs(out.valid) == ((before, before + 18),)
    samples = np.arange(before, before + 18)
    assert (
        out.first_of(samples).tolist()
        == out.last_of(samples).tolist()
        == [float(n // 3) for n in range(18)]
    )


@pytest.mark.parametrize("backwards", [False, True])
def test_a_running_sum_keeps_the_lattice(backwards: bool) -> None:
    out = accumulate(
        resample(open_axis(), Taps(num=1, phases=((0,), (0,))), 20), backwards=backwards
    )
    assert (out.size, len(out.first), len(out.last), out.valid.any()) == (20, 2, 2, False)
    assert out.valid.dtype == np.dtype(bool)


def beside_zeros(size: int, pixels: int = 12) -> Axis:
    """So many samples of a circle, the first and the last of which have seen zeros."""
    wide = resample(ring(pixels), window(1, [-1, 0, 1]), pixels)
    wide = invalidate(wide, np.arange(pixels) % (pixels - 1) > 0)
    return resample(wide, window(pixels // size, range(pixels // size)), size)


@pytest.mark.parametrize("times", [2, 3, 5])
@pytest.mark.parametrize("size", [2, 3, 4, 6, 12])
def test_more_than_a_turn_of_a_circle_that_is_not_valid_everywhere(size: int, times: int) -> None:
    axis = beside_zeros(size)
    assert not axis.closed
    for start in range(size):
        places = (np.arange(size * times) + start) % size
        out = take(axis, places)
        assert (out.stride, out.period) == (axis.stride, axis.period)
        assert not out.valid[~axis.valid[places]].any()
        if times > 2:
            assert np.array_equal(out.valid, axis.valid[places])
            assert out.different is None


def test_more_than_is_stored_of_a_circle_is_valid_where_the_turn_fits() -> None:
    crop = take(ring(12), np.array([3, 4]))
    out = take(crop, np.array([0, 1, 0, 1, 0, 1]))
    assert (out.stride, runs(out.valid)) == (1, ((0, 2),))
    half = take(ring(4), np.array([3, 0]))
    assert runs(take(half, np.array([0, 1, 0, 1, 0, 1])).valid) == ((0, 2), (4, 6))


def test_a_turn_that_is_no_whole_number_of_samples_is_valid_nowhere() -> None:
    axis = resample(ring(16), window(6, [0]), 2)
    out = take(axis, np.array([0, 1, 0, 1, 0, 1]))
    assert (axis.circle, out.stride, out.valid.any(), out.different) == (None, 6, False, None)


@pytest.mark.parametrize("valid", [True, False])
@pytest.mark.parametrize("count", [2, 3])
def test_on_a_circle_of_one_sample_what_is_joined_goes_around(count: int, valid: bool) -> None:
    axis = resample(ring(8), window(8, [0]), 1) if valid else beside_zeros(1)
    places = np.zeros(count, np.intp)
    out = take(axis, places, forward=True)
    assert (out.stride, out.size, out.closed) == (axis.stride, count, valid)
    with pytest.raises(GeometryError):  # a sample that is held is in the same order
        take(axis, places)


@pytest.mark.parametrize("indices", [[0, 0], [0, 1, 0, 1], 3 * [0, 1, 2]])
def test_on_the_plane_nothing_begins_again(indices: list[int]) -> None:
    with pytest.raises(GeometryError):
        take(open_axis(max(indices) + 1), np.array(indices), forward=True)


def test_what_goes_around_no_circle_is_in_no_order() -> None:
    for indices in ([0, 3, 1, 1, 2, 0, 3], [2, 2, 0, 3, 1, 1]):
        with pytest.raises(GeometryError):
            take(beside_zeros(4), np.array(indices))
