"""Items that are compared together have the gaps that they have one by one, to the last bit."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from shiftcheck.lattice.axis import scaled_axis
from shiftcheck.lattice.factors import Factor, plain
from shiftcheck.lattice.layout import Layout
from shiftcheck.measuring.gaps import compare_items as module
from shiftcheck.measuring.gaps.compare import Base, measure
from shiftcheck.measuring.gaps.compare_between import asked_sums
from shiftcheck.measuring.gaps.compare_items import (
    ItemBase,
    Pairing,
    clearly_moved,
    item_gaps,
    item_nulls,
    item_sums,
    item_variation,
)
from shiftcheck.measuring.gaps.read import answered
from shiftcheck.measuring.gaps.regions import Planner, Region, Scene

SIZES = (11, 8)
SHIFTS = [(0, 1), (-2, 0), (3, -2), (0, 1)]


def planner(*, circular: bool) -> Planner:
    rings = (circular, circular)
    axes = tuple(scaled_axis(n, n, circular=r) for n, r in zip(SIZES, rings, strict=True))
    dims = (plain(1),), (plain(3),), *((Factor("axis", n, a),) for a, n in enumerate(SIZES))
    layout = Layout(tuple(d if isinstance(d[0], Factor) else d[0] for d in dims), axes)
    return Planner(layout, Scene(pixels=SIZES, circular=rings))


def values(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    base, copies = (torch.randn(4, 3, *SIZES, generator=generator) for _ in range(2))
    base[1, 2] = 0.0
    base[2] = torch.arange(8.0).remainder(2)
    copies[3] = base[3].roll(1, -1)
    if not dtype.is_floating_point and not dtype.is_complex:
        base, copies = base * 10, copies * 10
    return base.to(dtype), copies.to(dtype)


TYPES = [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.complex64]


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_gaps_are_those_of_one_by_one(
    dtype: torch.dtype, circular: bool, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGE", 1 if large else 10**9)
    monkeypatch.setattr(module, "BLOCK", 600)  # two items at a time
    base, copies = values(dtype)
    of = planner(circular=circular)
    regions: list[Any] = [of.region(shift) for shift in SHIFTS]
    pairings = [Pairing(region, SIZES) for region in regions]
    together = ItemBase.of(base, of.valid)
    gaps = item_gaps(together, copies.flatten(2), pairings)
    nulls = item_nulls(together, pairings)
    varied = item_variation(together, pairings)
    for i, region in enumerate(regions):
        assert isinstance(region, Region)
        one = Base(base[i], None, of.valid)
        gap = measure(one, copies[i], region, border=False, null="measure")
        assert gaps.errors[i] == gap.error
        assert gaps.relative[i] == gap.relative
        assert float(together.peaks[i]) == one.peak
        assert nulls[i] == gap.null
        if gap.variation is not None:
            assert varied[i] == gap.variation


@pytest.mark.parametrize("circular", [False, True])
def test_squares_are_those_of_one_by_one(circular: bool) -> None:
    base, copies = values(torch.float32)
    of = planner(circular=circular)
    regions: list[Any] = [of.region(shift) for shift in SHIFTS]
    together = ItemBase.of(base, of.valid)
    found = item_sums(together, copies.flatten(2), [Pairing(r, SIZES) for r in regions])
    for i, region in enumerate(regions):
        alone = answered(asked_sums(Base(base[i], None, of.valid), copies[i], region, every=False))
        assert alone is not None
        for name in ("count", "largest", "low", "high"):
            assert getattr(found[i], name) == getattr(alone, name)
        assert found[i].error == pytest.approx(alone.error, rel=1e-12)
        assert found[i].signal == pytest.approx(alone.signal, rel=1e-12)


def test_what_few_places_show_the_null_shows_too() -> None:
    base, _ = values(torch.float32)
    of = planner(circular=False)
    for shift in ((0, 1), (0, 2), (1, 1), (2, 0)):
        region: Any = of.region(shift)
        pairings = [Pairing(region, SIZES)] * 4
        together = ItemBase.of(base, of.valid)
        for shown, null in zip(
            clearly_moved(together, range(len(pairings)), pairings, 1e-3),
            item_nulls(together, pairings),
            strict=True,
        ):
            assert not shown or null > 1e-3
    striped = Pairing(of.region((0, 2)), SIZES)
    assert not clearly_moved(ItemBase.of(base, of.valid), [2], [striped], 1e-3)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64])
def test_some_items_are_looked_at_as_in_a_batch_of_their_own(dtype: torch.dtype) -> None:
    base, _ = values(dtype)
    of = planner(circular=False)
    regions: list[Any] = [of.region(shift) for shift in ((0, 1), (2, 0), (1, 1))]
    pairings = [Pairing(region, SIZES) for region in regions]
    items = [3, 0, 2]
    together = ItemBase.of(base, of.valid)
    apart = together.among(items)
    for clearly in (0.0, 0.3, 0.6, 0.9, 1.2, 1.5):
        shown = clearly_moved(together, items, pairings, clearly)
        assert shown == clearly_moved(apart, range(3), pairings, clearly)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_number_has_no_gap(value: float) -> None:
    base, copies = values(torch.float32)
    copies[0, 0, 5, 5] = base[1, 0, 5, 5] = value
    of = planner(circular=True)
    region: Any = of.region((0, 1))
    together = ItemBase.of(base, of.valid)
    gaps = item_gaps(together, copies.flatten(2), [Pairing(region, SIZES)] * 4)
    assert not math.isfinite(gaps.errors[0])
    assert math.isnan(float(together.peaks[1]))
    assert all(map(math.isfinite, gaps.errors[2:]))
