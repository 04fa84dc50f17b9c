"""Maps of many copies at once against the same subtraction written as loops."""

from typing import Any

import numpy as np
import pytest
import torch

from shiftcheck.lattice.axis import input_axis
from shiftcheck.lattice.factors import Factor, plain
from shiftcheck.lattice.layout import Layout
from shiftcheck.measuring.gaps import compare_stacked as differences
from shiftcheck.measuring.gaps.compare_stacked import maps
from shiftcheck.measuring.gaps.regions import Gap, Planner, Region, Scene

SHIFTS = [(0, 3), (-2, 1), (5, -4), (0, -1), (4, 0)]


def plan(layout: Layout, shift: Any, scene: Scene) -> Region | Gap:
    return Planner(layout, scene).region(shift)


def regions(sizes: tuple[int, ...], channels: int, *, circular: bool = False) -> list[Region]:
    axes = tuple(input_axis(n, circular=circular) for n in sizes)
    dims = (plain(channels), *((Factor("axis", n, a),) for a, n in enumerate(sizes)))
    scene = Scene(pixels=sizes, circular=(circular,) * len(sizes))
    found = [plan(Layout(dims, axes), v[: len(sizes)], scene) for v in SHIFTS]
    return [r for r in found if not isinstance(r, Gap)]


def by_hand(copy: torch.Tensor, base: torch.Tensor, shift: tuple[int, ...]) -> np.ndarray:
    """At each place of the overlap, NaN elsewhere."""
    out = np.full(copy.shape[1:], np.nan)
    for place in np.ndindex(*out.shape):
        origin = tuple(p - v for p, v in zip(place, shift, strict=True))
        if all(0 <= o < n for o, n in zip(origin, out.shape, strict=True)):
            here, there = copy[(slice(None), *place)], base[(slice(None), *origin)]
            out[place] = float((here - there).abs().max())
    return out


@pytest.fixture(params=[2**18, 300, 7], ids=["in one go", "in parts", "place by place"])
def room(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differences, "ROOM", request.param)
    monkeypatch.setattr(differences, "BLOCK", max(1, request.param // 4))


@pytest.mark.usefixtures("room")
@pytest.mark.parametrize("sizes", [(13,), (9, 11)], ids=["1-D", "2-D"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_largest_difference_at_each_place(sizes: tuple[int, ...], channels_last: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(len(SHIFTS) + 1, 5, *sizes, generator=generator)
    if channels_last:
        whole = whole.movedim(1, -1).contiguous().movedim(-1, 1)
    found = list(maps(whole[1:], whole[0], regions(sizes, 5)))
    for shift, copy, apart in zip(SHIFTS, whole[1:], found, strict=True):
        expected = by_hand(copy, whole[0], shift[: len(sizes)])
        assert apart is not None
        overlap = ~np.isnan(expected)
        assert np.array_equal(apart[overlap], expected[overlap].astype(np.float32))


@pytest.mark.usefixtures("room")
def test_a_copy_without_a_region_has_no_map() -> None:
    whole = torch.randn(4, 2, 9, 11)
    one, _, three, *_ = regions((9, 11), 2)
    found = list(maps(whole[1:], whole[0], [one, None, three]))
    assert [m is None for m in found] == [False, True, False]


def test_what_is_no_run_has_no_map() -> None:
    whole = torch.randn(len(SHIFTS) + 1, 2, 9, 11)
    found = list(maps(whole[1:], whole[0], regions((9, 11), 2, circular=True)))
    assert found == [None] * len(SHIFTS)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int8, torch.bool])
def test_types_in_which_a_difference_is_not_exact_have_no_map(dtype: torch.dtype) -> None:
    whole = torch.ones(2, 2, 9, 11).to(dtype)
    assert list(maps(whole[1:], whole[0], regions((9, 11), 2)[:1])) == [None]
