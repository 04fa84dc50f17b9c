"""Guards, each by a test that fails when the guard is taken out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import Verdict
from shiftcheck.lattice.axis import input_axis
from shiftcheck.lattice.factors import Factor, plain
from shiftcheck.lattice.layout import Gone, Layout, Lost
from shiftcheck.measuring.gaps.arrange import spatial_places, valid_spans
from shiftcheck.measuring.gaps.compare import Base, measure
from shiftcheck.measuring.gaps.regions import Gap, Planner, Scene, _span
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.unbatched import _close

RAMP = torch.linspace(0, 1, 18)
MAP = (1, 2, 16, 18)


def image(*shape: int) -> torch.Tensor:
    return torch.randn(*(shape or MAP), generator=torch.Generator().manual_seed(5))


def check(model: Any, x: Any = None, **options: Any) -> shiftcheck.Report:
    return shiftcheck.check_equivariance(model, image() if x is None else x, **options)


# -- compare ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("shift", [(3, 0), (0, -2), (2, 1)])
def test_the_worst_gap_is_where_it_is(shift: tuple[int, int], padding: int) -> None:
    """One sample of one channel is doubled: a gap there, and where the shift moves it to."""
    mask = torch.ones(2, 16, 18)
    mask[1, 7, 11] = 2
    local = nn.Conv2d(2, 2, 1 + 2 * padding, padding=padding)
    report = check(lambda x: local(x) * mask, shifts=[shift])
    worst = report.outputs[0].shifts[0].worst
    assert worst in {(0, 1, 7, 11), (0, 1, 7 + shift[0], 11 + shift[1])}


def test_a_flattened_output_has_no_axes() -> None:
    assert check(lambda x: x.flatten(1)).reason == "not spatial"


def test_only_lost_axes_are_looked_for() -> None:
    dims = (plain(1), plain(2), plain(16), plain(18))
    assert spatial_places(Layout(dims, (Lost("MIXING"), Gone(exact=False))), 2) == {0: 1}


def test_lost_axes_are_looked_for_at_the_rank_of_the_input_only() -> None:
    lost = (Lost("MIXING"), Lost("MIXING"))
    assert spatial_places(Layout(tuple(plain(n) for n in (3, 2, 4, 16, 18)), lost), 2) == {}


def test_lost_axes_are_whole_dimensions() -> None:
    mixed = (Factor("plain", 4), Factor("copies", 4))
    dims = (plain(1), plain(2), mixed, plain(18))
    assert spatial_places(Layout(dims, (Lost("MIXING"), Lost("MIXING"))), 2) == {1: 3}


def test_no_channels_are_no_region() -> None:
    assert check(lambda x: x[:, :0]).reason == "no valid region"


def gap(
    base: torch.Tensor, copy: torch.Tensor, tolerance: tuple[float, float] | None = None
) -> Gap:
    """Of one axis that moves by a pixel, on a circle."""
    size = base.shape[1]
    signal = Layout(
        (plain(base.shape[0]), (Factor("axis", size, 0),)), (input_axis(size, circular=True),)
    )
    placed = Planner(signal, Scene(pixels=(size,), circular=(True,))).region((1,))
    assert not isinstance(placed, Gap)
    whole = Base(base, tolerance, [(0, size)])
    return measure(whole, copy, placed, border=False, null="measure")


def test_a_gap_where_the_channel_is_zero_is_a_whole_one() -> None:
    base = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    copy = base.roll(1, 1)
    copy[0, 1] = 0.5
    assert gap(base, copy).relative == 1.0


def test_a_base_that_is_not_finite_has_no_small_gap() -> None:
    base = torch.tensor([[math.inf, 1.0, 2.0]])
    relative = gap(base, base.roll(1, 1) + 1).relative
    assert relative is not None
    assert not math.isfinite(relative)


def test_each_channel_has_its_own_scale() -> None:
    base = torch.tensor([[1e-3, 2e-3, 1e-3], [1.0, 2.0, 3.0]])
    copy = base.roll(1, 1)
    copy[0, 1] += 1e-3
    assert gap(base, copy).relative == pytest.approx(0.5, rel=1e-3)
    assert gap(base, copy, (0.1, 0.0)).excess == pytest.approx(5, rel=1e-3)


def test_nothing_passes_at_tolerance_zero() -> None:
    assert check(lambda x: x + 1e-3 * RAMP, rtol=0.0, atol=0.0).verdict is Verdict.BROKEN


def test_on_a_circle_every_sample_counts_for_the_scale() -> None:
    ring = replace(input_axis(5, circular=True), valid=np.array([0, 1, 1, 1, 0], dtype=bool))
    signal = Layout((plain(1), plain(2), (Factor("axis", 5, 0),)), (ring,))
    assert valid_spans(signal, 1) == [(0, 5)]


@pytest.mark.parametrize("options", [{}, {"rtol": 1e-3, "atol": 0.0}])
def test_a_diagonal_shift_must_be_visible_along_both_axes(options: dict[str, float]) -> None:
    stripes = torch.ones(1, 1, 16, 1) * torch.sin(torch.arange(18.0))
    report = check(nn.Conv2d(1, 1, 3), stripes, shifts=[(1, 1)], **options)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "shift not visible")


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_border_that_is_not_finite(value: float) -> None:
    report = check(nn.ConstantPad2d(1, value), shifts=[(1, 1), (2, -1)])
    assert report.verdict is Verdict.EQUIVARIANT
    assert report.outputs[0].shifts[0].border_error is None


def test_rounding_of_the_largest_channel_is_no_gap_of_a_small_one() -> None:
    base = torch.tensor([[1e-7, 2e-7, 3e-7], [1.0, 2.0, 3.0]])
    copy = base.roll(1, 1)
    copy[0, 0] += 3e-7
    assert gap(base, copy).relative == torch.finfo(torch.float32).eps


def test_half_precision_is_compared_in_float32() -> None:
    base = torch.tensor([[6e4, 1.0, 1.0]], dtype=torch.float16)
    assert gap(base, -base.roll(1, 1)).error == pytest.approx(2 * 6e4, rel=1e-3)


def test_an_imaginary_gap() -> None:
    base = torch.tensor([[1.0 + 0j, 2.0, 3.0]])
    assert gap(base, base.roll(1, 1) + 0.5j).error == pytest.approx(0.5)


def test_rounding_has_no_place() -> None:
    base = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    assert gap(base, base.roll(1, 1) * (1 + 2**-52)).worst is None


def test_only_a_run_is_taken_as_a_run() -> None:
    assert isinstance(_span(np.array([0, 2, 1, 3])), torch.Tensor)


# -- measurement -----------------------------------------------------------------------------------


def by_batch(one: Callable[[torch.Tensor], Any], many: Callable[[torch.Tensor], Any]) -> Any:
    return lambda x: one(x) if x.shape[0] == 1 else many(x)


APART: dict[str, Any] = {
    "number of outputs": by_batch(lambda x: (x * 2,), lambda x: (x * 2, x * 3)),
    "shape": by_batch(lambda x: x[..., :8], lambda x: x * 1),
    "booleans": by_batch(lambda x: x > 0, lambda x: x < 0),
}


@pytest.mark.parametrize("name", APART)
def test_outputs_that_depend_on_the_batch_size(name: str) -> None:
    assert check(APART[name]).reason == "batch coupled"


def noisy(x: torch.Tensor) -> torch.Tensor:
    """Amplifies rounding, and rounds otherwise in a larger batch."""
    return torch.sin(1e4 * x) + (1e-4 if x.shape[0] > 1 else 0.0)


def test_noise_of_the_batch_size_is_forgiven() -> None:
    assert check(noisy).verdict is Verdict.EQUIVARIANT


def test_the_noise_floor_leaves_integers_alone() -> None:
    def model(x: torch.Tensor, t: torch.Tensor) -> Any:
        assert not t.is_floating_point()
        return noisy(x), x > 0

    report = check(model, (image(), torch.tensor([1])))
    assert report.verdict is Verdict.EQUIVARIANT
    assert not report.notes


def test_rounding_of_the_batch_size_is_no_doubt() -> None:
    one = image()
    assert _close(one * (1 + 2**-22), one, 0.0)


def test_small_outputs_that_ignore_the_input_do_not_count() -> None:
    assert check(lambda x: (x * 2, torch.ones(3))).verdict is Verdict.EQUIVARIANT


def test_an_output_that_cannot_be_read_counts() -> None:
    assert check(lambda x: (x * 2, np.zeros(3))).reason == "output cannot be read"


THREE = [(1, 0), (0, 1), (1, 1)]  # with max_batch=3, a pass with three copies and one with two


def test_nothing_of_a_stacked_run_stays_when_it_is_given_up() -> None:
    def model(x: torch.Tensor) -> dict[str, torch.Tensor]:
        if x.shape[0] == 3:
            return {"stacked": torch.relu(x * 3)}
        assert x.shape[0] == 1
        return {"alone": torch.tanh(x)}

    report = check(model, shifts=THREE, max_batch=3)
    assert [row.name for row in report] == ["tanh"]
    assert [row.name for row in report.outputs] == ["output['alone']"]
    assert report.verdict is Verdict.EQUIVARIANT


def test_layers_that_differ_from_pass_to_pass() -> None:
    report = check(lambda x: x * 2 if x.shape[0] == 3 else x + x, shifts=THREE, max_batch=3)
    assert any("differ from pass to pass" in note for note in report.notes)
    assert [row.name for row in report] == ["add"]


def test_the_note_says_that_the_batch_is_mixed() -> None:
    report = check(lambda x: x + x.sum(0, keepdim=True), image(2, 2, 16, 18))
    assert "mixes the elements of the batch" in report.notes[0]


def test_an_infinite_sample_in_the_compared_region_hides_the_shift() -> None:
    model = nn.ConstantPad2d((2, 2), math.inf)  # the columns do not move with (1, 0)
    report = check(model, shifts=[(1, 0)])
    assert report.verdict is not Verdict.EQUIVARIANT


def test_a_pass_stays_in_the_cache_and_the_passes_are_alike() -> None:
    inputs = SimpleNamespace(
        tensors=[torch.empty(1, 1, 2**9, 2**9)],
        main=SimpleNamespace(tensor=torch.empty(1)),
    )
    given: Any = inputs
    plan = Plan(model=nn.ReLU(), inputs=given, shifts=tuple((v, 0) for v in range(1, 5)))
    assert [len(chunk) for chunk in plan.chunks()] == [2, 2]
    assert [len(chunk) for chunk in replace(plan, max_batch=2).chunks()] == [1, 1, 1, 1]
