"""The numbers of a report, against a direct evaluation of their definitions."""

from __future__ import annotations

import itertools
import math
import queue

import numpy as np
import pytest
import torch
from tests.checks.invariance.networks import classifier, signals

import shiftcheck
from shiftcheck.checks.invariance.distances import (
    Values,
    distances,
    largest_gap,
    magnitude_of,
    norm_of_magnitudes,
)
from shiftcheck.measuring.signals.surrogates import surrogate


def moved(x: np.ndarray, shift: tuple[int, int], fill: str) -> np.ndarray:
    """``x[p - shift]``, place by place; what is outside is what the fill says."""
    out = np.empty_like(x)
    height, width = x.shape[-2:]
    for p, q in itertools.product(range(height), range(width)):
        a, b = p - shift[0], q - shift[1]
        inside = 0 <= a < height and 0 <= b < width
        if fill == "circular":
            a, b = a % height, b % width
        elif fill == "reflect":
            a, b = (-a if a < 0 else a), (-b if b < 0 else b)
            a = 2 * (height - 1) - a if a >= height else a
            b = 2 * (width - 1) - b if b >= width else b
        elif fill == "replicate":
            a, b = min(max(a, 0), height - 1), min(max(b, 0), width - 1)
        elif not inside:
            out[..., p, q] = 0
            continue
        out[..., p, q] = x[..., a, b]
    return out


def run(model, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(x)).numpy()


SHIFTS = [(m, n) for m in (-2, 0, 3) for n in (-1, 0, 2)]


def expected(base: np.ndarray, copies: dict, variation: float) -> dict:
    return {
        s: max(np.linalg.norm(c[b] - base[b]) for b in range(len(base))) / variation
        for s, c in copies.items()
    }


def variation_of(base: np.ndarray) -> float:
    """The median distance over the pairs of a batch of 5, each pair in both orders."""
    pairs = [(b, (b - k) % 5) for k in (1, 2) for b in range(5)]
    return float(np.median([np.linalg.norm(base[a] - base[b]) for a, b in pairs]))


@pytest.mark.parametrize("fill", ["circular", "zeros", "reflect", "replicate"])
def test_relative_error_is_distance_over_variation(fill):
    model = classifier(padding="zeros").double().eval()
    x = signals(5, 1, 7, 9).double().numpy()
    base = run(model, x)
    copies = {s: run(model, moved(x, s, fill)) for s in SHIFTS}
    report = shiftcheck.check_invariance(model, x, fill=fill, shifts=SHIFTS)
    output = report.outputs[0]
    variation = variation_of(base)
    assert output.variation == pytest.approx(variation, rel=1e-9)
    assert output.pairs == 10
    want = expected(base, copies, variation)
    for s in output.moved:
        assert s.relative_error == pytest.approx(want[s.shift], rel=1e-9)
        same = np.mean(copies[s.shift].argmax(1) == base.argmax(1))
        assert s.top1_agreement == pytest.approx(same)
    del want[0, 0]
    assert output.relative_error == pytest.approx(max(want.values()), rel=1e-9)
    assert output.mean_relative_error == pytest.approx(np.mean(list(want.values())), rel=1e-9)


def test_crop_of_a_larger_canvas_is_a_window_that_moves_the_other_way():
    model = classifier(padding="zeros").double().eval()
    canvas = signals(5, 1, 12, 15).double().numpy()
    base = run(model, canvas[..., 2:9, 3:12].copy())
    shifts = [(2, -3), (-1, 0), (0, 1), (-2, 2)]
    copies = {
        (m, n): run(model, canvas[..., 2 - m : 9 - m, 3 - n : 12 - n].copy()) for m, n in shifts
    }
    report = shiftcheck.check_invariance(model, canvas, crop=(7, 9), shifts=shifts)
    assert report.outputs[0].variation == pytest.approx(variation_of(base), rel=1e-9)
    want = expected(base, copies, variation_of(base))
    for s in report.outputs[0].shifts:
        assert s.relative_error == pytest.approx(want[s.shift], rel=1e-9)


def test_second_input_is_cropped_at_the_same_place_and_in_its_own_samples():
    given = queue.SimpleQueue()  # a list that holds tensors would be put back

    def model(x, mask):
        if type(x) is torch.Tensor:  # and not one without values
            given.put((x.clone(), mask.clone()))
        return x.square().mean((2, 3)) + mask.mean((2, 3))

    coarse = signals(2, 1, 6, 8)
    fine = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
    shiftcheck.check_invariance(
        model, (fine, coarse), crop=(8, 8), shifts=[(2, 0), (0, -2), (-2, 4)]
    )
    seen = [given.get() for _ in range(given.qsize())]
    assert len({tuple(x.flatten().tolist()) for x, _ in seen}) > 3
    matching = [torch.equal(x, m.repeat_interleave(2, 2).repeat_interleave(2, 3)) for x, m in seen]
    assert sum(matching) >= 5  # x itself, its three shifts, and the batch rolled


def test_map_holds_the_grid_with_zero_in_its_middle():
    output = shiftcheck.check_invariance(
        classifier(padding="zeros"), signals(4, 1, 7, 9), shifts=SHIFTS[:4] + SHIFTS[5:]
    ).outputs[0]
    assert output.grid == ((-2, 0, 3), (-1, 0, 2))
    errors = {s.shift: s.relative_error for s in output.shifts}
    assert output.map()[1][1] == 0
    assert output.map()[2][0] == errors[3, -1]
    assert output.map()[0][2] == errors[-2, 2]


def test_shifts_that_form_no_grid_have_no_map():
    output = shiftcheck.check_invariance(
        classifier(), signals(4, 1, 7, 9), shifts=[(1, 0), (0, 1)]
    ).outputs[0]
    assert output.grid is None
    assert output.map() is None


def test_default_shifts_form_a_grid_along_one_two_and_three_axes():
    for axes, size in ((1, (16,)), (2, (9, 8)), (3, (6, 5, 4))):
        output = shiftcheck.check_invariance(classifier(axes=axes), signals(2, 1, *size)).outputs[0]
        assert output.grid is not None
        assert all({-1, 0, 1} < set(along) for along in output.grid)


# -- distances -------------------------------------------------------------------------------------


def values(*rows, lead=None):
    tensor = torch.tensor(rows, dtype=torch.float64)
    return Values(tensor, len(tensor) if lead is None else lead)


def test_distance_of_each_signal():
    assert distances(values([0, 0], [1, 1]), values([3, 4], [1, 1])).tolist() == [5, 0]


def test_distance_of_classes_is_the_share_that_differs():
    one, other = (
        Values(torch.tensor(v), 2) for v in ([[1, 2, 3], [4, 5, 6]], [[1, 9, 9], [4, 5, 6]])
    )
    assert distances(one, other).tolist() == pytest.approx([2 / 3, 0])


def test_gap_is_that_of_the_worst_channel():
    one, other = values([1e6, 1.0]), values([1e6 + 1, 1.5])
    assert largest_gap(one, other, magnitude_of(one)) == pytest.approx(0.5 / 1.5)


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 3, 5)])
def test_sensitivity_bounds_every_gap_that_is_allowed(shape):
    draw = torch.Generator().manual_seed(0)
    one = Values(torch.randn(shape, generator=draw, dtype=torch.float64), 4)
    magnitude = magnitude_of(one)
    channels = magnitude if len(shape) > 1 else magnitude.expand(1)
    view = [1, -1] + [1] * (len(shape) - 2) if len(shape) > 1 else [-1]
    signs = torch.randint(2, shape, generator=draw) * 2 - 1
    other = Values(one.tensor + 1e-3 * channels.reshape(view) * signs, 4)
    bound = 1e-3 * norm_of_magnitudes(magnitude, one)
    assert float(distances(one, other).max()) == pytest.approx(bound)


# -- drawn signals ---------------------------------------------------------------------------------


def test_drawn_signal_has_the_spectrum_up_to_contrast_where_nothing_is_clipped():
    x = signals(1, 2, 16, 18).double()
    x[0, :, 0, 0] += torch.tensor([60.0, 90.0])
    x[0, :, 5, 5] -= torch.tensor([60.0, 90.0])
    drawn = surrogate(x, (2, 3), torch.Generator().manual_seed(1))
    one, other = (torch.fft.fft2(v).abs().flatten(2)[..., 1:] for v in (x, drawn))
    gain = other / one
    assert torch.allclose(gain, gain.mean(), rtol=1e-6)
    assert 0.5 <= float(gain.mean()) <= 1.5
    phase = torch.fft.fft2(drawn).angle() - torch.fft.fft2(x).angle()
    assert torch.allclose(phase[:, 0].cos(), phase[:, 1].cos(), atol=1e-6)


def test_drawn_signal_keeps_type_and_range():
    x = torch.rand(1, 3, 12, 7, generator=torch.Generator().manual_seed(0)).half()
    drawn = surrogate(x, (2, 3), torch.Generator().manual_seed(1))
    assert drawn.dtype == torch.float16
    assert drawn.shape == x.shape
    assert bool((drawn.amin((2, 3)) >= x.amin((2, 3))).all())
    assert bool((drawn.amax((2, 3)) <= x.amax((2, 3))).all())
    assert not torch.equal(drawn, x)
    assert math.isfinite(float(drawn.sum()))
