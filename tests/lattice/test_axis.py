"""The geometry of one axis, against brute force on explicit index sets."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest

from shiftcheck.lattice.axis import (
    Axis,
    GeometryError,
    Taps,
    coarsen,
    globalise,
    input_axis,
    invalidate,
    join,
    over_windows,
    resample,
    scaled_axis,
    window,
    with_break,
)
from shiftcheck.lattice.gather import runs, take
from shiftcheck.lattice.pairing import pair, pair_between, pair_lost, whole_axis
from shiftcheck.report.render.numbers import describe


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


def seen_by(axis: Axis, samples: int = 24) -> list[tuple[float, float]]:
    """What each of the samples sees, those beyond the stored ones included."""
    index = np.arange(samples)
    return list(zip(axis.first_of(index).tolist(), axis.last_of(index).tolist(), strict=True))


def up(axis: Axis, times: int, size: int) -> Axis:
    return resample(axis, Taps(num=1, phases=((0,),) * times), size)


@pytest.mark.parametrize("step", [1, 2])
def test_join_of_different_periods_sees_what_either_sees(step: int) -> None:
    """Two ways down and up again, by 2 and by 3, of samples that are a step apart."""
    base = conv(input_axis(36, circular=False), 1, step=step)
    one = up(conv(base, 2, step=2), 2, base.size)
    other = up(conv(base, 3, step=3), 3, base.size)
    for both in (join(one, other), join(other, one)):
        assert (both.stride, both.period, len(both.first)) == (step, 6 * step, 6)
        expected = [
            (min(a, c), max(b, d))
            for (a, b), (c, d) in zip(seen_by(one), seen_by(other))  # noqa: B905
        ]
        assert seen_by(both) == expected


def test_what_a_global_value_depends_on_coarsens_and_breaks_it() -> None:
    down = conv(input_axis(12, circular=True), 1, step=2)
    assert (globalise(down).period, globalise(down).broken) == (2, False)
    coarse = globalise(down, lattice=3)
    assert (coarse.period, coarse.stride) == (6, 2)
    assert seen_by(coarse, 4) == [(-math.inf, math.inf)] * 4
    assert len(coarse.first) == len(coarse.last) == 3
    assert globalise(down, broken=True).period is None
    assert globalise(with_break(down)).period is None
    assert globalise(with_break(down), broken=True).broken is True


def test_a_global_value_may_be_told_to_be_exact() -> None:
    ring = input_axis(6, circular=True)
    more = resample(ring, window(1, [-1]), 8, wrap=True)
    assert not globalise(more).valid.any()
    assert globalise(more, exact=True).valid.all()
    assert not globalise(ring, exact=False).valid.any()
    assert not globalise(input_axis(6, circular=False), exact=True).valid.any()


def test_every_sample_of_a_coarser_axis_sees_what_it_saw() -> None:
    wide = resample(input_axis(12, circular=False), Taps(num=1, phases=((0,), (-1, 2))), 24)
    for axis in (wide, conv(wide, 2, step=4)):
        coarse = coarsen(axis, 3)
        assert seen_by(coarse) == seen_by(axis)
        assert len(coarse.first) == len(coarse.last) == int(coarse.lattice / axis.stride)


def test_coarsening_by_part_of_a_sample_counts_in_pixels() -> None:
    down = conv(input_axis(12, circular=False), 2, step=2)
    assert coarsen(down, Fraction(3, 2)).period == 6
    assert coarsen(down, Fraction(1, 2)).period == 2
    assert coarsen(conv(input_axis(12, circular=True), 1, step=2), Fraction(3, 2)).closed


@pytest.mark.parametrize("circular", [False, True])
def test_an_axis_beside_the_input(circular: bool) -> None:
    """Sample q of 8 over 12 pixels stands at 3q/2, and sees the pixel that it stands in."""
    scaled = scaled_axis(12, 8, circular=circular)
    assert (scaled.pixels, scaled.stride, scaled.period, scaled.size) == (12, Fraction(3, 2), 3, 8)
    assert (scaled.circular, scaled.broken) == (circular, False)
    assert scaled.valid.dtype == np.dtype(bool)
    assert scaled.valid.all()
    assert seen_by(scaled, 8) == [(float(3 * q // 2),) * 2 for q in range(8)]
    assert len(scaled.first) == len(scaled.last) == 2
    same = scaled_axis(12, 12, circular=circular)
    assert (same.stride, same.period, same.circular) == (1, 1, circular)
    assert seen_by(same, 12) == [(float(q), float(q)) for q in range(12)]
    wide = scaled_axis(6, 24, circular=circular)
    assert (wide.stride, wide.period, wide.size) == (Fraction(1, 4), 1, 24)
    assert seen_by(wide) == [(float(q // 4),) * 2 for q in range(24)]


def test_windows_see_all_of_themselves() -> None:
    base = conv(input_axis(13, circular=False), 2)
    out = over_windows(base, 3)
    assert (out.stride, out.period, out.size) == (1, 3, 12)
    assert seen_by(out, 12) == [(float(q // 3 * 3), float(q // 3 * 3 + 3)) for q in range(12)]
    assert out.valid.all()
    holes = invalidate(base, np.arange(12) != 4)
    assert runs(over_windows(holes, 3).valid) == ((0, 3), (6, 12))


def test_every_sample_with_itself() -> None:
    for found in (
        whole_axis(3),
        pair_lost(6, 3, 0, circular=False),
        pair(input_axis(3, circular=True), 0),
    ):
        assert found is not None
        assert list(found.here) == list(found.there) == [0, 1, 2]
        assert found.ok.tolist() == found.inner.tolist() == [True, True, True]
        assert (found.predicted, found.off_period) == (True, False)
        assert found.ok.dtype == found.inner.dtype == np.dtype(bool)


def test_every_pair_of_a_lost_axis_counts() -> None:
    found = pair_lost(12, 6, 4, circular=False)
    assert found is not None
    assert (list(found.here), list(found.there)) == ([2, 3, 4, 5], [0, 1, 2, 3])
    assert found.ok.tolist() == found.inner.tolist() == [True] * 4
    assert found.ok.dtype == np.dtype(bool)
    assert (found.predicted, found.off_period) == (False, False)
    found = pair_lost(12, 6, -2, circular=True)
    assert found is not None
    assert (list(found.here), list(found.there)) == ([0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 0])
    odd = pair_lost(3, 3, 1, circular=False)
    assert odd is not None
    assert (list(odd.here), list(odd.there), odd.predicted) == ([1, 2], [0, 1], False)


def test_on_an_open_circle_nothing_is_promised_and_everything_counts() -> None:
    ring = invalidate(input_axis(4, circular=True), np.array([True, False, True, True]))
    found = pair(ring, 1)
    assert found is not None
    assert found.ok.tolist() == [True] * 4
    assert found.inner.tolist() == [True, False, False, True]
    assert (found.predicted, found.off_period) == (False, False)


def test_a_circle_that_is_no_whole_number_of_samples_goes_round_where_it_is_stored() -> None:
    ring = conv(input_axis(9, circular=True), 1, step=2)
    found = pair(ring, 2)
    assert found is not None
    assert (list(found.here), list(found.there)) == ([0, 1, 2, 3, 4], [4, 0, 1, 2, 3])
    assert (found.predicted, found.off_period, found.inner.any()) == (False, False, False)


def test_off_the_period_only_the_period_is_missing() -> None:
    axis = coarsen(input_axis(8, circular=False), 2)
    odd, even, broken = pair(axis, 1), pair(axis, 2), pair(with_break(axis), 1)
    assert odd is not None
    assert even is not None
    assert broken is not None
    found = [(p.predicted, p.off_period) for p in (odd, even, broken)]
    assert found == [(False, True), (True, False), (False, False)]
    assert (list(odd.here), list(odd.there)) == ([1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6])


def test_numbers_are_told_to_a_millionth() -> None:
    assert describe(Fraction(1, 10**6 + 1)) == describe(1e-6) == "1/1000000"
    assert describe(1 / 97) == "1/97"
    assert [describe(v) for v in (-math.inf, math.nan, 0, -3, 2.5)] == [
        "inf",
        "inf",
        "0",
        "-3",
        "5/2",
    ]


def _axes_between() -> dict[str, Axis]:
    line = input_axis(24, circular=False)
    conv = resample(line, window(1, [-1, 0, 1]), 24)
    return {
        "pixels": line,
        "stride 1": conv,
        "stride 2": resample(conv, window(2, [0, 1]), 12),
        "stride 1/2": resample(conv, Taps(num=1, phases=((0, -1), (0, 1))), 48),
        "turned around": take(resample(line, window(2, [0, 1, 2]), 11), np.arange(10, -1, -1)),
    }


@pytest.mark.parametrize("reach", [1, 3])
@pytest.mark.parametrize("shift", ["1/2", "-1/2", "9/4", "-7/2", "1", "-3", "1/4"])
@pytest.mark.parametrize("name", ["pixels", "stride 1", "stride 2", "stride 1/2", "turned around"])
def test_between_samples_all_that_is_read_must_be_there(name: str, shift: str, reach: int) -> None:
    axis, v = _axes_between()[name], Fraction(shift)
    pairing = pair_between(axis, v, reach)
    assert pairing is not None

    def read(place: int, by: Fraction) -> list[int]:
        if by.denominator == 1:
            return [place - int(by)]
        return [place - math.floor(by) - k for k in range(1 - reach, reach + 1)]

    stored, expected = [], []
    for q in range(axis.size):
        taps = read(q, v / axis.stride)
        if not all(0 <= t < axis.size for t in taps):
            continue
        stored.append(q)
        first, last = (int(f(np.array([q]))[0]) for f in (axis.first_of, axis.last_of))
        pixels = [s for p in range(first, last + 1) for s in read(p, v)]
        inside = all(0 <= p < 24 for p in pixels)
        expected.append(bool(axis.valid[q]) and all(axis.valid[t] for t in taps) and inside)
    assert pairing.here.tolist() == pairing.there.tolist() == stored
    assert pairing.ok.tolist() == pairing.inner.tolist() == expected
    assert pairing.predicted is False


def test_between_samples_of_a_circle_every_one_counts() -> None:
    ring = resample(input_axis(12, circular=True), window(1, [-1, 0, 1]), 12)  # zeros at the ends
    pairing = pair_between(ring, Fraction(1, 2), 3)
    assert pairing is not None
    assert pairing.ok.all()
    assert pairing.inner.tolist() == ring.valid.tolist()
    assert pairing.predicted is False
    short = resample(input_axis(12, circular=True), window(1, [0, 1, 2]), 10)
    assert pair_between(short, Fraction(1, 2), 3) is None


def test_what_sees_the_whole_axis_keeps_its_lattice() -> None:
    assert globalise(input_axis(7, circular=True)).lattice == 1


def test_a_single_sample_between_samples() -> None:
    line = input_axis(1, circular=False)
    for shift in ("1/2", "-1/2"):
        pairing = pair_between(line, Fraction(shift), 1)
        assert pairing is not None
        assert not pairing.ok.any()


def test_a_turn_that_is_no_whole_number_of_samples_has_none_that_are_valid() -> None:
    whole = resample(input_axis(12, circular=True), window(3, [0]), 4)
    assert whole.valid.all()
    part = resample(input_axis(10, circular=True), Taps(num=3, phases=((0,), (1,))), 6)
    assert part.circle is None
    assert not part.valid.any()
