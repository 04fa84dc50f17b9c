"""Margins, halos and the parts of tiles, from geometry alone."""

from __future__ import annotations

from fractions import Fraction

import pytest

from shiftcheck.lattice.axis import Axis, input_axis, resample, window
from shiftcheck.lattice.tiles import (
    begins_alike,
    ends_alike,
    halo_of,
    is_regular,
    longest_run,
    margins_of,
    part_of,
    samples_of,
)
from shiftcheck.report import Margins, TiledAxis


def conv(pixels: int, taps: list[int], stride: int = 1) -> Axis:
    size = -(-pixels // stride)
    return resample(input_axis(pixels, circular=False), window(stride, taps), size)


def test_the_margins_of_a_convolution() -> None:
    margins = margins_of(conv(20, [-2, -1, 0, 1]), conv(60, [-2, -1, 0, 1]))
    assert margins is not None
    assert (margins.samples, margins.start, margins.tail, margins.extra) == (60, 2, 1, 0)
    assert halo_of([margins]) == (2, 1)


def test_a_stride_counts_its_halo_in_pixels() -> None:
    margins = margins_of(conv(20, [-3, 0, 3], 2), conv(60, [-3, 0, 3], 2))
    assert margins is not None
    assert (margins.start, margins.tail) == (2, 1)
    assert halo_of([margins]) == (3, 2)  # the sample at pixel 2 is wrong, and that at 18


def test_a_crop_is_a_halo() -> None:
    axis = resample(input_axis(20, circular=False), window(1, [0, 1, 2]), 18)
    margins = margins_of(axis, axis)
    assert margins is not None
    assert margins.extra == -2
    assert halo_of([margins]) == (0, 2)


def test_nothing_between_the_margins_is_no_tile() -> None:
    axis = conv(3, [-2, 0, 2])
    assert longest_run(axis) is None
    assert margins_of(axis, axis) is None


def test_sizes_of_one_class_begin_and_end_alike() -> None:
    one, other = conv(20, [-1, 0, 1], 2), conv(26, [-1, 0, 1], 2)
    assert begins_alike(one, other)
    assert ends_alike(one, other)
    assert begins_alike(one, conv(25, [-1, 0, 1], 2))
    assert not ends_alike(one, conv(25, [-1, 0, 1], 2))
    assert not begins_alike(one, conv(26, [-2, -1, 0, 1], 2))
    assert not begins_alike(one, conv(26, [-1, 0, 1], 1))
    assert not begins_alike(one, None)
    assert is_regular(one)
    assert not is_regular(None)


@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize(("pixels", "tile", "step"), [(60, 20, 2), (64, 16, 4), (61, 20, 2)])
def test_every_sample_is_written_once_and_is_right_there(
    circular: bool, pixels: int, tile: int, step: int
) -> None:
    if circular and pixels % step:
        pytest.skip("no whole number of steps around")
    margins = Margins(stride=Fraction(1), samples=pixels, start=3, tail=2)
    axis = TiledAxis(
        pixels=pixels, circular=circular, step=step, halo=(3, 2), residue=0, least=8, tile=tile
    )
    axis = TiledAxis(
        pixels=pixels,
        circular=circular,
        step=step,
        halo=(3, 2),
        residue=0,
        least=8,
        tile=tile,
        starts=axis.starts_of(tile),
    )
    written = []
    for number, start in enumerate(axis.starts):
        part = part_of(axis, margins, number)
        size = axis.size_at(start, tile)
        assert start % step == 0
        assert part.first >= 3 or (start == 0 and not circular)
        ends = start + size == pixels and not circular
        assert part.last <= (size if ends else size - 2)
        assert samples_of(margins, size, axis) == size
        written += [(part.at + i) % pixels for i in range(part.count)]
    assert sorted(written) == list(range(pixels))
