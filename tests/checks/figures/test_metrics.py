"""The metrics against a direct evaluation of their definitions."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import InputError
from shiftcheck.report import Metrics


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def only(model: Any, x: Any, **options: Any) -> Metrics:
    (found,) = shiftcheck.equivariance_metrics(model, x, **options)
    return found


def padded() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 2, 3)).double()


def ramped(x: torch.Tensor) -> torch.Tensor:
    return x + torch.linspace(0, 0.1, x.shape[-1], dtype=x.dtype)


@pytest.mark.parametrize("fractional", [False, True])
def test_eq_t_is_its_published_formula(fractional: bool) -> None:
    """Karras et al. (2021), appendix E.3, with its range of 2, on a torus, where all is valid."""
    x = noise(2, 2, 24, 33)
    found = only(ramped, x, peak=2.0, fractional=fractional, draws=7, boundary="circular")
    squares = []
    for v in found.shifts:
        apart = ramped(shiftcheck.shift(x, v)) - shiftcheck.shift(ramped(x), v)
        squares.append(apart.square())
    mean = float(torch.stack(squares).mean())
    assert found.psnr == pytest.approx(10 * math.log10(4 / mean), abs=1e-6)
    assert found.mean_squared_error == pytest.approx(mean, rel=1e-9)
    assert found.samples == 7 * x.numel()
    assert found.max_gap == pytest.approx(float(torch.stack(squares).max().sqrt()), rel=1e-9)


def test_relative_l2_its_mean_and_its_worst() -> None:
    x = noise(1, 2, 24, 32)
    shifts = [(0, 1), (0, -3), (2, 0), (0.5, 0.25)]
    found = only(ramped, x, shifts=shifts, boundary="circular")
    each, errors, signals = [], 0.0, 0.0
    for v in shifts:
        expected = shiftcheck.shift(ramped(x), v)
        error = float((ramped(shiftcheck.shift(x, v)) - expected).square().sum())
        signal = float(expected.square().sum())
        each.append(math.sqrt(error / signal))
        errors, signals = errors + error, signals + signal
    assert found.relative_l2_of_shifts == pytest.approx(each, abs=1e-12)
    assert found.relative_l2 == pytest.approx(math.sqrt(errors / signals))
    assert found.mean_error == pytest.approx(sum(each) / 4)
    assert found.worst_error == pytest.approx(max(each))
    assert found.worst_shift == shifts[each.index(max(each))] == (0, -3)


def test_the_margin_leaves_out_what_padding_did() -> None:
    x = noise(1, 2, 32, 40)
    inner = only(padded(), x, peak=2.0)
    whole = only(padded(), x, peak=2.0, margin=False)
    assert inner.psnr is not None
    assert whole.psnr is not None
    assert inner.psnr > 250
    assert 0 < whole.psnr < 60
    assert whole.samples > inner.samples


def test_without_the_margin_every_sample_that_overlaps_counts() -> None:
    """On a line shifted by 2, the fresh content and its neighbours are in it, 2 samples are not."""
    x = noise(1, 1, 30)
    found = only(nn.Conv1d(1, 1, 3, padding=1).double(), x, shifts=[(2,)], margin=False)
    assert found.samples == 28
    part = only(nn.Conv1d(1, 1, 3, padding=1).double(), x, shifts=[(0.5,)], margin=False)
    assert part.samples == 25  # six neighbours each


def test_a_psnr_is_as_good_as_its_range() -> None:
    def faint(x: torch.Tensor) -> torch.Tensor:
        return 1e-3 * ramped(x)

    x = noise(1, 2, 32, 40)
    full, small = only(ramped, x, peak=2.0), only(faint, x, peak=2.0)
    assert full.psnr is not None
    assert small.psnr == pytest.approx(full.psnr + 60, abs=1e-6)
    own, also = only(ramped, x), only(faint, x)
    assert own.psnr == pytest.approx(also.psnr)
    values = ramped(x)
    assert own.peak == pytest.approx(float(values.max() - values.min()))
    assert full.relative_l2 == pytest.approx(small.relative_l2)


def test_exact_agreement_is_infinite() -> None:
    found = only(nn.Identity(), noise(1, 2, 32, 40), boundary="circular")
    assert (found.psnr, found.relative_l2, found.max_gap) == (math.inf, 0.0, 0.0)


def test_drawn_shifts_are_uniform_over_an_eighth_and_never_zero() -> None:
    x = noise(1, 1, 16, 40)
    whole = only(nn.Identity(), x, draws=200, boundary="circular").shifts
    parts = only(nn.Identity(), x, draws=50, fractional=True, boundary="circular").shifts
    assert {v for s in whole for v in s} == set(range(-5, 6))
    assert {s[0] for s in whole} == set(range(-2, 3))
    assert all(map(any, whole))
    assert all(abs(a) <= 2 and abs(b) <= 5 for a, b in parts)
    assert all(a % 1 and b % 1 for a, b in parts)
    assert whole != only(nn.Identity(), x, draws=200, seed=1, boundary="circular").shifts


def test_a_coarse_output_is_read_between_its_samples() -> None:
    pixels = torch.arange(64, dtype=torch.float64)
    wave = torch.cos(2 * math.pi * 3 * pixels / 64).reshape(1, 1, -1)
    pool = nn.AvgPool1d(2)
    found = only(pool, wave, shifts=[(1,), (2,), (0.5,)], boundary="circular")
    assert None not in found.relative_l2_of_shifts
    assert found.worst_error is not None
    assert found.worst_error < 1e-12


def test_a_relu_on_a_band_limited_signal() -> None:
    """Noise of at most 8 of 16 turns around 32 samples; the relative L2 norm."""
    x = torch.fft.fft(noise(1, 1, 32))
    turns = (torch.fft.fftfreq(32) * 32).abs()
    signal = torch.fft.ifft(x * (turns <= 8)).real.contiguous()
    half = only(nn.ReLU(), signal, shifts=[(0.5,)], boundary="circular")
    whole = only(nn.ReLU(), signal, shifts=[(1,), (-3,)], boundary="circular")
    assert half.relative_l2 is not None
    assert half.relative_l2 > 0.04
    assert whole.relative_l2 == 0.0


def test_each_output_has_its_own() -> None:
    found = shiftcheck.equivariance_metrics(
        lambda x: (x, F.avg_pool2d(x, 2), x.mean((2, 3))), noise(1, 2, 32, 40)
    )
    assert [m.name for m in found] == ["output[0]", "output[1]", "output[2]"]
    assert [m.reason for m in found] == ["", "", "not spatial"]
    assert found[2].psnr is None


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda x: 0 * x, "dead output"),
        (lambda x: x / 0, "not finite"),
        (lambda x: x.sort(-1)[0].cumsum(-1).flatten(), "not spatial"),
        (lambda x: x + torch.rand_like(x), "nondeterministic"),
        (lambda x: F.conv2d(x, torch.ones(1, 2, 31, 39).double()), "no valid region"),
    ],
)
def test_what_tells_nothing_has_no_figures(model: Any, reason: str) -> None:
    found = only(model, noise(2, 2, 32, 40), draws=3)
    assert found.psnr is None
    assert found.relative_l2 is None
    assert found.reason == reason


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"draws": 0}, "draws=0: give a whole number"),
        ({"peak": 0.0}, "peak=0.0: give a positive number"),
        ({"peak": math.inf}, "peak=inf"),
        ({"margin": 1}, "margin=1: give True or False"),
        ({"interpolation": "cubic"}, "interpolation='cubic'"),
        ({"shifts": []}, "empty"),
    ],
)
def test_bad_arguments(options: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        only(nn.Identity(), noise(1, 1, 16, 16), **options)


def test_a_signal_too_small_for_whole_shifts() -> None:
    with pytest.raises(InputError, match=r"an eighth of them is less than a pixel"):
        only(nn.Identity(), noise(1, 1, 4, 3))
