"""The gap between a layer and its shifted copy, against the same gap counted value by value."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from shiftcheck.lattice.axis import Axis, coarsen, input_axis, invalidate, with_break
from shiftcheck.lattice.factors import Factor, plain
from shiftcheck.lattice.layout import Layout, Lost
from shiftcheck.measuring.gaps import compare
from shiftcheck.measuring.gaps.arrange import valid_spans
from shiftcheck.measuring.gaps.compare import Base, measure
from shiftcheck.measuring.gaps.regions import Gap, Planner, Region, Scene, whole_index

EPS = torch.finfo(torch.float64).eps
Pair = tuple[tuple[int, ...], tuple[int, ...]]


def plan(layout: Layout, shift: Any, scene: Scene) -> Region | Gap:
    return Planner(layout, scene).region(shift)


def signal_of(channels: int, axes: Sequence[Axis]) -> Layout:
    dims = (plain(1), plain(channels), *((Factor("axis", a.size, i),) for i, a in enumerate(axes)))
    return Layout(dims, tuple(axes))


def scene_of(axes: Sequence[Axis], *, interior: bool = False) -> Scene:
    pixels, rings = tuple(a.pixels for a in axes), tuple(a.circular for a in axes)
    return Scene(pixels=pixels, circular=rings, interior=interior)


def pairs_along(axis: Axis, v: int, *, interior: bool) -> tuple[list[tuple[int, int]], ...]:
    """Every pair that overlaps, and those that count, of an axis with stride 1 or -1."""
    every = [(p, p - v * int(axis.stride)) for p in range(axis.size)]
    if axis.circular:
        every = [(p, q % axis.size) for p, q in every]
    every = [(p, q) for p, q in every if 0 <= q < axis.size]
    if v == 0 or (axis.circular and not interior):
        return every, every
    return every, [(p, q) for p, q in every if axis.valid[p] and axis.valid[q]]


class Counted:
    """One layer and one copy, compared value by value."""

    def __init__(
        self,
        base: torch.Tensor,
        copy: torch.Tensor,
        axes: Sequence[Axis],
        shift: Sequence[int],
        interior: bool = False,
    ) -> None:
        self.base, self.copy, self.shift = base.numpy(), copy.numpy(), shift
        self.channels = range(base.shape[0])
        along = [pairs_along(a, v, interior=interior) for a, v in zip(axes, shift, strict=True)]
        self.every = self._product([a[0] for a in along])
        self.counted = self._product([a[1] for a in along])
        self.share = math.prod(len(a[1]) / x.size for a, x in zip(along, axes, strict=True))
        spans = [slice(a, b) for a, b in valid_spans(signal_of(1, axes), len(axes))]
        self.scales = [float(abs(self.base[(c, *spans)]).max()) for c in self.channels]

    @staticmethod
    def _product(along: Sequence[list[tuple[int, int]]]) -> list[Pair]:
        found = [tuple(zip(*pairs, strict=True)) for pairs in itertools.product(*along)]
        return [(here, there) for here, there in found]

    def gap_at(self, c: int, pair: Pair) -> float:
        return float(abs(self.copy[(c, *pair[0])] - self.base[(c, *pair[1])]))

    def errors(self) -> list[float]:
        return [max(self.gap_at(c, pair) for pair in self.counted) for c in self.channels]

    def ratio(self, error: float, c: int) -> float:
        whole = 1.0 if error else 0.0
        ratio = error / self.scales[c] if self.scales[c] else whole
        return min(ratio, EPS) if error <= 4 * EPS * max(self.scales) else ratio

    def relative(self) -> float:
        return max(self.ratio(e, c) for c, e in enumerate(self.errors()))

    def channel(self) -> int:
        return [self.ratio(e, c) for c, e in enumerate(self.errors())].index(self.relative())

    def worst(self) -> tuple[int, ...]:
        c = self.channel()
        here = max(self.counted, key=lambda pair: self.gap_at(c, pair))[0]
        return (c, *here)

    def border(self) -> float | None:
        inside = set(self.counted)
        outside = [pair for pair in self.every if pair not in inside]
        return max((self.gap_at(c, p) for c in self.channels for p in outside), default=None)

    def differing(self, rtol: float, atol: float) -> float:
        gaps = [(c, self.gap_at(c, p)) for c in self.channels for p in self.counted]
        return sum(g > rtol * self.scales[c] + atol for c, g in gaps) / len(gaps)

    def excess(self, errors: Sequence[float], rtol: float, atol: float) -> float:
        allowed = [rtol * s + atol for s in self.scales]
        over = [e / a if a else math.inf * e if e else 0.0 for e, a in zip(errors, allowed)]  # noqa: B905
        return max(over)

    def stays(self) -> list[list[float]]:
        """For each moved axis and channel, the base against itself with that axis left alone."""
        return [
            [max(self._stay(c, pair, axis) for pair in self.counted) for c in self.channels]
            for axis, v in enumerate(self.shift)
            if v
        ]

    def _stay(self, c: int, pair: Pair, axis: int) -> float:
        here, there = pair
        moved = (*here[:axis], there[axis], *here[axis + 1 :])
        return float(abs(self.base[(c, *here)] - self.base[(c, *moved)]))

    def null(self) -> float:
        return min(max(self.ratio(e, c) for c, e in enumerate(es)) for es in self.stays())

    def null_excess(self, rtol: float, atol: float) -> float:
        return min(self.excess(es, rtol, atol) for es in self.stays())

    def variation(self) -> float:
        inside = [[self.base[(c, *here)] for here, _ in self.counted] for c in self.channels]
        return max(self.ratio(float(max(v) - min(v)), c) for c, v in enumerate(inside))

    def apart(self) -> np.ndarray:
        """The map that measure may be given: the largest gap at each place that overlaps."""
        out = np.full(self.base.shape[1:], np.nan)
        for pair in self.every:
            out[pair[0]] = max(self.gap_at(c, pair) for c in self.channels)
        return out


@pytest.fixture(params=[2**16, 5, 1], ids=["in one go", "in parts", "channel by channel"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "BLOCK", request.param)


def masked(size: int, invalid: Sequence[int], *, circular: bool = False) -> Axis:
    keep = np.array([q not in invalid for q in range(size)])
    return invalidate(input_axis(size, circular=circular), keep)


AXES: dict[str, tuple[Axis, ...]] = {
    "a line": (input_axis(9, circular=False),),
    "a line with borders": (masked(9, (0, 8)),),
    "a line with a hole": (masked(11, (0, 5)),),
    "a circle": (input_axis(7, circular=True),),
    "a plane": (masked(6, (0,)), masked(7, (5, 6))),
    "a plane with a hole": (masked(7, (3,)), masked(6, (0,))),
    "a cylinder": (masked(6, (0, 5)), input_axis(5, circular=True)),
    "a cylinder with a seam": (masked(6, (5,)), masked(5, (0,), circular=True)),
    "a space": (masked(4, (0,)), input_axis(5, circular=False), masked(4, (3,))),
}
SHIFTS: dict[int, list[tuple[int, ...]]] = {
    1: [(2,), (-1,)],
    2: [(2, 0), (0, -1), (1, 2)],
    3: [(1, 0, 0), (0, -2, 1), (1, 2, -1)],
}
CASES = [(name, shift) for name, axes in AXES.items() for shift in SHIFTS[len(axes)]]


def random_case(name: str, shift: Sequence[int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A base of three channels of unlike size, and a copy that is off at a few places of each."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [a.size for a in AXES[name]]
    base = torch.randn(3, *sizes, generator=generator, dtype=torch.float64)
    base *= torch.tensor([1.0, 1e-3, 1e2]).reshape(3, *[1] * len(sizes))
    copy = base.roll(tuple(shift), tuple(range(1, len(sizes) + 1)))
    off = torch.rand(copy.shape, generator=generator, dtype=torch.float64)
    return base, torch.where(off < 0.3, copy + off * copy.abs().amax(), copy)


def base_of(
    values: torch.Tensor,
    axes: Sequence[Axis],
    tolerance: tuple[float, float] | None = None,
    allowed: float = 0.0,
) -> Base:
    return Base(values, tolerance, valid_spans(signal_of(1, axes), len(axes)), allowed)


def region_of(axes: Sequence[Axis], shift: Sequence[int], *, interior: bool = False) -> Region:
    found = plan(signal_of(3, axes), shift, scene_of(axes, interior=interior))
    assert isinstance(found, Region)
    return found


def close(found: float | None, expected: float | None) -> bool:
    return found is expected is None or found == pytest.approx(expected or 0.0, rel=1e-12, abs=0.0)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(("name", "shift"), CASES, ids=str)
@pytest.mark.parametrize("told", [False, True], ids=["", "with a map"])
def test_the_gap(name: str, shift: tuple[int, ...], told: bool) -> None:
    axes = AXES[name]
    base, copy = random_case(name, shift, seed=len(name))
    by_hand = Counted(base, copy, axes, shift)
    apart = by_hand.apart() if told else None
    region, whole = region_of(axes, shift), base_of(base, axes, allowed=0.1)
    found = measure(whole, copy, region, border=True, null="measure", apart=apart)
    assert close(found.error, max(by_hand.errors()))
    assert close(found.relative, by_hand.relative())
    assert close(found.scale, by_hand.scales[by_hand.channel()])
    assert found.worst == by_hand.worst()
    assert close(found.share, by_hand.share)
    assert close(found.border, by_hand.border())
    assert close(found.null, by_hand.null())
    assert close(found.differing, by_hand.differing(0.1, 0.0))
    assert close(found.variation, by_hand.variation() if by_hand.null() <= 0.25 else None)
    assert (found.excess, found.null_excess) == (None, None)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(("name", "shift"), CASES, ids=str)
def test_the_gap_over_the_users_tolerances(name: str, shift: tuple[int, ...]) -> None:
    axes, tolerance = AXES[name], (0.1, 0.02)
    base, copy = random_case(name, shift, seed=len(name))
    by_hand = Counted(base, copy, axes, shift)
    whole = base_of(base, axes, tolerance)
    found = measure(whole, copy, region_of(axes, shift), border=False, null="measure")
    assert close(found.excess, by_hand.excess(by_hand.errors(), *tolerance))
    assert close(found.null_excess, by_hand.null_excess(*tolerance))
    assert close(found.differing, by_hand.differing(*tolerance))
    assert found.border is None


@pytest.mark.parametrize("name", ["a circle", "a cylinder with a seam"])
def test_the_interior_of_a_circle(name: str) -> None:
    axes = AXES[name]
    for shift in SHIFTS[len(axes)]:
        base, copy = random_case(name, shift, seed=3)
        by_hand = Counted(base, copy, axes, shift, interior=True)
        region = region_of(axes, shift, interior=True)
        found = measure(base_of(base, axes), copy, region, border=True, null="")
        assert close(found.relative, by_hand.relative())
        assert close(found.border, by_hand.border())
        assert close(found.share, by_hand.share)


PLANE = AXES["a plane"]
EXACT = torch.arange(3 * 6 * 7, dtype=torch.float64).reshape(3, 6, 7)


@pytest.mark.parametrize("tolerance", [None, (0.1, 0.5)])
def test_an_exact_agreement(tolerance: tuple[float, float] | None) -> None:
    """With a map and without, whatever is asked beside it."""
    copy = EXACT.roll((1, 2), (1, 2))
    by_hand = Counted(EXACT, copy, PLANE, (1, 2))
    region, whole = region_of(PLANE, (1, 2)), base_of(EXACT, PLANE, tolerance)
    plainly = Gap(error=0.0, relative=0.0, share=by_hand.share)
    plainly = replace(plainly, excess=None if tolerance is None else 0.0)
    for apart in (None, by_hand.apart()):
        found = measure(whole, copy, region, border=False, null="", apart=apart)
        assert found == plainly
        found = measure(whole, copy, region, border=True, null="same", apart=apart)
        assert found == replace(plainly, border=by_hand.border())
        found = measure(whole, copy, region, border=False, null="measure", apart=apart)
        assert close(found.null, by_hand.null())
        assert found.scale == max(by_hand.scales) == whole.peak
        assert close(found.null_excess, tolerance and by_hand.null_excess(*tolerance))


def test_a_map_is_believed_where_it_says_that_nothing_differs() -> None:
    region, nothing = region_of(PLANE, (1, 2)), np.zeros((6, 7))
    found = measure(base_of(EXACT, PLANE), EXACT + 1, region, border=True, null="", apart=nothing)
    assert (found.error, found.relative, found.border) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("how", ["measure", "same"])
def test_the_null_comparison_of_stripes(how: str) -> None:
    """Moved along themselves they stay the same: the smallest over the moved axes is told."""
    stripes = torch.arange(7.0, dtype=torch.float64).expand(3, 6, 7)
    base = base_of(stripes, PLANE, (0.1, 0.0))
    across = (0.25, 2.5, 0.75) if how == "measure" else (None, None, None)
    for shift, told in (((1, 0), (0.0, 0.0, 1.5)), ((1, 1), (0.0, 0.0, 0.75)), ((0, 1), across)):
        found = measure(base, stripes, region_of(PLANE, shift), border=False, null=how)
        assert (found.null, found.null_excess, found.variation) == told


def test_only_what_varies_over_space_varies() -> None:
    flat = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64).reshape(3, 1, 1).expand(3, 6, 7)
    region = region_of(PLANE, (1, 0))
    found = measure(base_of(flat, PLANE), flat, region, border=False, null="measure")
    assert (found.null, found.variation) == (0.0, 0.0)
    slow = flat + 1e-3 * torch.arange(6.0, dtype=torch.float64).reshape(1, 6, 1)
    found = measure(base_of(slow, PLANE), slow, region, border=False, null="measure")
    assert found.variation == pytest.approx(3e-3 / 1.005)  # rows 2 to 5 are compared


def test_outside_the_compared_region_nothing_varies() -> None:
    """Only the places where the shifted copy is compared are looked at."""
    line = (input_axis(6, circular=False),)
    values = torch.tensor([[5.0, 5.0, 1.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
    region = region_of(line, (2,))
    found = measure(base_of(values, line), values, region, border=False, null="measure")
    assert (found.null, found.variation) == (0.8, None)
    found = measure(
        base_of(values, line), values, region_of(line, (-2,)), border=False, null="same"
    )
    assert found.null is None


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize("how", ["measure", "same"])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_values_that_are_not_finite(value: float, how: str) -> None:
    ring = (input_axis(4, circular=True),)
    values = torch.tensor([[value, 1.0, 2.0, 4.0]], dtype=torch.float64)
    base = base_of(values, ring)
    assert math.isnan(base.peak)
    assert not base.finite
    found = measure(base, values.roll(2, 1), region_of(ring, (1,)), border=False, null=how)
    assert found.error is not None
    assert not math.isfinite(found.error)
    assert found.relative is not None
    assert not math.isfinite(found.relative)
    assert found.variation is None


def test_a_border_is_told_where_it_is_finite() -> None:
    line, region = (masked(5, (0,)),), region_of((masked(5, (0,)),), (1,))
    base = torch.arange(5.0, dtype=torch.float64).reshape(1, 5)
    for value, border in ((7.0, 7.0), (NAN, None), (INF, None)):
        copy = base.roll(1, 1)
        copy[0, 1] = value
        for apart in (None, Counted(base, copy, line, (1,)).apart()):
            found = measure(base_of(base, line), copy, region, border=True, null="", apart=apart)
            assert (found.border, found.error) == (border, 0.0)


def test_a_channel_that_is_zero() -> None:
    """A gap there is a whole one, and no gap is none."""
    ring = (input_axis(3, circular=True),)
    base = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 4.0]], dtype=torch.float64)
    region = region_of(ring, (1,))
    copy = base.roll(1, 1)
    copy[1, 0] += 1
    found = measure(base_of(base, ring, (0.5, 0.0)), copy, region, border=False, null="measure")
    assert (found.relative, found.excess, found.worst) == (0.25, 0.5, (1, 0))
    copy[0, 2] = 1e-3
    found = measure(base_of(base, ring, (0.5, 0.0)), copy, region, border=False, null="measure")
    assert (found.relative, found.excess, found.worst) == (1.0, INF, (0, 2))


def rounded(times: float) -> Gap:
    """A small channel that is off by so many eps of a large one."""
    ring = (input_axis(3, circular=True),)
    base = torch.tensor([[1e-9, 2e-9, 4e-9], [1.0, 1.0, 2.0]], dtype=torch.float64)
    copy = base.roll(1, 1)
    copy[0, 1] = copy[0, 1] + times * 2 * EPS
    return measure(base_of(base, ring), copy, region_of(ring, (1,)), border=False, null="")


def test_rounding_of_the_largest_channel() -> None:
    assert rounded(3.5).relative == EPS
    assert rounded(3.5).worst is None
    beyond = rounded(4.5).relative
    assert beyond == pytest.approx(9 * EPS / 4e-9, rel=1e-2)


TYPES = [torch.float16, torch.bfloat16, torch.float32, torch.int16, torch.uint8, torch.bool]


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("dtype", [*TYPES, torch.complex64], ids=str)
def test_every_type(dtype: torch.dtype) -> None:
    """Differences do not wrap around, nor are they rounded as the type does."""
    ring = (input_axis(4, circular=True),)
    base = torch.tensor([[0, 1, 0, 0], [1, 1, 1, 0]]).to(dtype)
    copy = base.roll(1, 1)
    copy[0, 2] = 0
    found = measure(base_of(base, ring), copy, region_of(ring, (1,)), border=False, null="measure")
    assert (found.error, found.relative, found.worst) == (1.0, 1.0, (0, 2))
    assert (found.differing, found.null, found.scale) == (1 / 8, 1.0, 1.0)


def test_complex_values_do_not_vary() -> None:
    ring = (input_axis(4, circular=True),)
    base = torch.tensor([[1 + 1j, 1 + 1j, 1 + 1j, 1 + 1j]])
    found = measure(base_of(base, ring), base, region_of(ring, (1,)), border=False, null="measure")
    assert (found.null, found.variation, found.error) == (0.0, None, 0.0)


def test_nothing_to_compare() -> None:
    line = (masked(4, (0, 1, 2, 3)),)
    base = torch.arange(4.0, dtype=torch.float64).reshape(1, 4)
    found = measure(base_of(base, line), base, region_of(line, (1,)), border=True, null="measure")
    assert found == Gap(border=1.0, share=0.0, fair=False)
    lost = (with_break(line[0]),)
    found = measure(base_of(base, lost), base, region_of(lost, (1,)), border=False, null="measure")
    assert found == Gap(predicted=False, share=0.0, fair=False)
    free, none = (input_axis(4, circular=False),), base[:0]
    assert base_of(none, free).peak == 0.0
    found = measure(base_of(none, free), none, region_of(free, (1,)), border=False, null="measure")
    assert found == Gap(share=0.0, fair=False)


# -- the plan --------------------------------------------------------------------------------------


def test_what_is_promised() -> None:
    line, pairs = input_axis(8, circular=False), coarsen(input_axis(8, circular=False), 2)
    both = (line, pairs)
    assert (region_of(both, (1, 2)).predicted, region_of(both, (1, 2)).off_period) == (True, False)
    assert (region_of(both, (1, 1)).predicted, region_of(both, (1, 1)).off_period) == (False, True)
    broken = (with_break(line), pairs)
    assert (region_of(broken, (1, 1)).predicted, region_of(broken, (1, 1)).off_period) == (
        False,
        False,
    )
    assert region_of(broken, (0, 2)).predicted
    assert region_of(both, (1, 1)).agreed == Gap(
        predicted=False, off_period=True, share=49 / 64, error=0.0, relative=0.0
    )


def test_a_shift_of_an_axis_that_is_missing_or_mixed_is_not_compared() -> None:
    rows, columns = input_axis(6, circular=False), input_axis(8, circular=False)
    scene = scene_of((rows, columns))
    none = Gap(spatial=False, predicted=False)
    flat = Layout((plain(1), (Factor("plain", 2), Factor("axis", 6, 0))), (rows, None))
    assert plan(flat, (1, 0), scene) == none
    one = Layout((plain(1), plain(2), (Factor("axis", 8, 1),)), (None, columns))
    assert plan(one, (1, 0), scene) == plan(one, (1, 1), scene) == none
    found = plan(one, (0, 1), scene)
    assert isinstance(found, Region)
    assert [(p.dim, p.moved) for p in found.along] == [(1, True)]
    for kind in ("key", "frequency"):
        related = (plain(1), (Factor("axis", 6, 0),), (Factor(kind, 8, 1),))  # type: ignore[arg-type]
        assert plan(Layout(related, (rows, columns)), (1, 0), scene) == none


def test_axes_are_compared_in_their_own_order_wherever_they_are() -> None:
    """The arranged tensor has them in order; here the columns come first in the tensor."""
    rows, columns = masked(6, (0,)), masked(8, (6, 7))
    dims = (plain(1), (Factor("axis", 8, 1),), plain(3), (Factor("axis", 6, 0),))
    found = plan(Layout(dims, (rows, columns)), (2, 0), scene_of((rows, columns)))
    assert isinstance(found, Region)
    assert [(p.dim, p.moved, p.share) for p in found.along] == [(1, True, 0.5), (2, False, 1.0)]
    assert [p.valid for p in found.along] == [((3, 3), (1, 3)), ((0, 8), (0, 8))]
    assert [p.all for p in found.along] == [((2, 4), (0, 4)), ((0, 8), (0, 8))]
    assert [p.edges for p in found.along] == [(((2, 1), (0, 1)),), ()]


def test_a_shift_between_two_samples_is_off_the_lattice() -> None:
    half = replace(input_axis(8, circular=False), stride=Fraction(2), lattice=2)
    wide = scene_of((half, half))
    assert plan(signal_of(1, (half, half)), (1, 2), wide) == Gap(
        onto_lattice=False, predicted=False
    )


def places(index: slice | torch.Tensor) -> list[int]:
    """The samples that an index takes, of a hundred."""
    return torch.arange(100)[index].flatten().tolist()


@pytest.mark.parametrize("circular", [False, True])
def test_a_lost_axis_is_compared_at_the_ratio_of_the_sizes(circular: bool) -> None:
    lost = (Lost("MIXING"), Lost("MIXING"))
    dims = (plain(1), plain(2), plain(6), plain(4))
    scene = Scene(pixels=(12, 4), circular=(circular, False))
    signal = Layout(dims, lost)
    assert plan(signal, (3, 0), scene) == Gap(onto_lattice=False, predicted=False)
    found = plan(signal, (4, 0), scene)
    assert isinstance(found, Region)
    assert (found.predicted, found.off_period) == (False, False)
    rows, columns = found.along
    origins = [4, 5, 0, 1, 2, 3] if circular else [0, 1, 2, 3]
    here, there = whole_index(found)
    assert here[0] == there[0] == slice(None)
    assert places(here[1]) == (list(range(6)) if circular else [2, 3, 4, 5])
    assert places(there[1]) == origins
    assert places(here[2]) == places(there[2]) == [0, 1, 2, 3]
    assert (rows.share, columns.share) == (len(origins) / 6, 1.0)
    assert (rows.predicted, columns.predicted) == (False, True)


def test_without_axes_there_is_one_place() -> None:
    region = Region(along=())
    assert whole_index(region) == ((slice(None),), (slice(None),))
    assert (region.predicted, region.share, region.bordered) == (True, 1.0, False)


def test_the_index_of_every_pair_takes_the_values_that_are_compared() -> None:
    base, copy = random_case("a cylinder", (2, -1), seed=0)
    here, there = whole_index(region_of(AXES["a cylinder"], (2, -1)))
    by_hand = Counted(base, copy, AXES["a cylinder"], (2, -1))
    expected = [by_hand.gap_at(c, pair) for c in range(3) for pair in by_hand.every]
    assert (copy[here] - base[there]).abs().flatten().tolist() == expected


def test_plans_are_made_once() -> None:
    def made() -> Iterator[object]:
        planner = Planner(signal_of(3, PLANE), scene_of(PLANE))
        for shift in ((1, 2), (1, 2), (1, 0)):
            yield planner.region(shift)

    one, again, other = made()
    assert one is again
    assert isinstance(one, Region)
    assert isinstance(other, Region)
    assert one.along[0] is other.along[0]


def test_the_worst_place_is_where_the_gap_is_and_not_where_the_values_are() -> None:
    base = torch.zeros(2, 6)
    base[1, 1] = 100.0
    copy = base.clone()
    copy[1, 4] = -30.0
    axis = input_axis(6, circular=True)
    placed = region_of([axis], (0,))
    gap = measure(Base(base, None, [(0, 6)]), copy, placed, border=False, null="")
    assert gap.worst == (1, 4)
    assert gap.error == 30.0


@pytest.mark.parametrize("v", [0, 1, 2])
def test_the_interior_is_meant_at_every_shift_that_moves(v: int) -> None:
    ring = masked(6, [0, 5], circular=True)
    region = region_of([ring], (v,), interior=True)
    expected = 1.0 if v == 0 else {1: 3, 2: 2}[v] / 6
    assert region.share == expected


def test_a_lost_axis_that_moves_by_one_is_compared_one_further_on() -> None:
    signal = Layout((plain(1), plain(2), plain(6)), (Lost("MIXING"),))
    found = plan(signal, (1,), Scene(pixels=(6,), circular=(False,)))
    assert isinstance(found, Region)
    here, there = whole_index(found)
    assert places(here[1]) == [1, 2, 3, 4, 5]
    assert places(there[1]) == [0, 1, 2, 3, 4]


def test_what_was_not_asked_is_not_told() -> None:
    copy = EXACT.roll((1, 2), (1, 2))
    copy[0, 3, 4] += 1e-3
    base = Base(EXACT, None, [(0, 6), (0, 7)], 1e-2)
    found = measure(base, copy, region_of(PLANE, (1, 2)), border=False, null="")
    assert found.error == pytest.approx(1e-3)
    assert (found.null, found.null_excess, found.differing) == (None, None, None)


def test_whole_numbers_are_off_by_all_that_they_are_off() -> None:
    base = torch.tensor([[1, -1, 1, -1, 1, -1]])
    ring = input_axis(6, circular=True)
    gap = measure(Base(base, None, [(0, 6)]), -base, region_of([ring], (0,)), border=False, null="")
    assert (gap.error, gap.relative) == (2.0, 2.0)


def test_a_layer_that_does_not_vary_is_told_so_where_it_is_asked() -> None:
    base = Base(torch.ones(1, 6), None, [(0, 6)])
    region = region_of([input_axis(6, circular=True)], (1,))
    found = measure(base, torch.ones(1, 6) + 1e-3, region, border=False, null="")
    assert found.null is None
    assert measure(base, base.values, region, border=False, null="same").null == 0.0


def test_an_axis_of_one_sample_is_compared_whole() -> None:
    assert region_of([input_axis(1, circular=True)], (0,)).share == 1.0
