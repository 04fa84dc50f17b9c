"""Impulses are few, and every tap that can be seen is read once at a valid sample."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest

from shiftcheck.checks.linearity.impulse_placement import Span, place, span


def drawn(seed: int) -> Span:
    draw = random.Random(seed)
    num, den = draw.choice([(1, 1), (2, 1), (3, 1), (1, 2), (1, 3), (2, 3), (3, 2)])
    period = num * draw.choice((1, 1, 2, 3))
    circular = draw.random() < 0.5
    pixels = period * draw.randint(3, 9)
    size = pixels * den // num
    halo = (float(draw.randint(0, 4)), float(draw.randint(-1, 4)))
    if not circular:
        pixels += draw.randint(0, 3)
    first = 0 if circular else draw.randint(0, 3)
    last = size if circular else size - draw.randint(0, 3)
    return span(
        pixels=pixels,
        size=size,
        stride=Fraction(num, den),
        period=period,
        halo=halo,
        valid=((first, last),) if first < last else (),
        circular=circular,
    )


@pytest.mark.parametrize("seed", range(150))
def test_every_tap_is_read_where_an_impulse_shows_it(seed: int) -> None:
    own = drawn(seed)
    found = place(own)
    samples = [q for q in range(own.size) if own.valid[q]]
    if found is None:
        assert len({q % own.phases for q in samples}) < own.phases
        return
    read: dict[tuple[int, int], tuple[int, int]] = {}
    for pixel, taps, at in zip(found.impulses, found.taps, found.samples, strict=True):
        assert 0 <= pixel < own.pixels
        for tap, q in zip(taps, at, strict=True):
            r, j = divmod(int(tap), own.taps)
            assert (r, j) not in read
            read[r, j] = (pixel, int(q))
    for (r, j), (pixel, q) in read.items():
        assert own.valid[q]
        assert q % own.phases == r
        expected = q // own.phases * own.period + j + own.low
        assert pixel == (expected % own.pixels if own.circular else expected)
    seen = {
        (q % own.phases, j)
        for q in samples
        for j in range(own.taps)
        if own.circular or 0 <= q // own.phases * own.period + j + own.low < own.pixels
    }
    assert set(read) == seen
    assert all(own.valid[q] and q % own.phases == r for r, q in enumerate(found.bases))


@pytest.mark.parametrize("period", [1, 2, 3, 4])
def test_a_large_signal_takes_one_impulse_for_each_phase(period: int) -> None:
    own = span(
        pixels=60,
        size=60,
        stride=Fraction(1),
        period=period,
        halo=(3.0, 2.0),
        valid=((3, 58),),
        circular=False,
    )
    found = place(own)
    assert found is not None
    assert len(found.impulses) == period
    assert all(abs(p - 29.5) < 10 for p in found.impulses)


def test_a_small_one_takes_more_and_one_without_a_valid_phase_none() -> None:
    def at(pixels: int, valid: tuple[tuple[int, int], ...], period: int = 1) -> Span:
        return span(
            pixels=pixels,
            size=pixels,
            stride=Fraction(1),
            period=period,
            halo=(2.0, 2.0),
            valid=valid,
            circular=False,
        )

    least = place(at(5, ((2, 3),)))
    assert least is not None
    assert least.impulses == (2, 1, 3, 0, 4) or sorted(least.impulses) == [0, 1, 2, 3, 4]
    assert place(at(5, ((2, 3),), period=2)) is None
    assert place(at(5, ())) is None


def test_samples_of_one_period_apart_are_needed_to_see_a_shift() -> None:
    def at(valid: tuple[tuple[int, int], ...]) -> Span:
        return span(
            pixels=8,
            size=8,
            stride=Fraction(1),
            period=2,
            halo=(0.0, 0.0),
            valid=valid,
            circular=False,
        )

    assert at(((0, 4),)).pairs()
    assert not at(((0, 3),)).pairs()
    assert at(((0, 2), (2, 4))).pairs()
    assert not at(((0, 2), (3, 5))).pairs()


def test_the_offsets_of_a_kernel_follow_from_its_halo() -> None:
    def at(stride: Fraction, period: int, halo: tuple[float, float]) -> tuple[int, int]:
        own = span(
            pixels=24,
            size=int(24 / stride),
            stride=stride,
            period=period,
            halo=halo,
            valid=((4, 8),),
            circular=False,
        )
        return own.offsets

    assert at(Fraction(1), 1, (1.0, 1.0)) == (-1, 3)
    assert at(Fraction(2), 2, (0.0, 4.0)) == (-4, 5)
    assert at(Fraction(1, 2), 1, (0.5, 0.5)) == (-1, 3)
    third = at(Fraction(1, 3), 1, (4 / 3, 0.0))
    assert third == (0, 5)


def test_taps_across_the_seam_of_a_circle_are_brought_together() -> None:
    own = span(
        pixels=8,
        size=8,
        stride=Fraction(1),
        period=1,
        halo=(float("inf"), float("inf")),
        valid=((0, 8),),
        circular=True,
    )
    assert own.whole
    assert (own.low, own.taps) == (-3, 8)
    narrow = own.with_taps(7, 2)  # taps 4 and 5, which are -4 and -3 around the circle
    assert not narrow.whole
    assert narrow.low % 8 == 4
    assert narrow.offsets == (-(narrow.low + 1), 2)
    assert np.all(own.with_taps(2, 3).extension == np.array((1, 1)))
