"""An input that is too small is drawn anew, larger, where that is asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.checks.equivariance import growing


def deep(axes: int = 2) -> nn.Module:
    """Three padded convolutions, which see 9 samples to either side."""
    conv: Any = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
    torch.manual_seed(0)
    return nn.Sequential(*(conv(1, 1, 7, padding=3) for _ in range(3)))


@pytest.mark.parametrize("size", [(16,), (16, 18), (30, 18), (8, 9, 10)])
def test_what_is_too_small_is_grown_and_passes(size: tuple[int, ...]) -> None:
    model, x = deep(len(size)), torch.randn(1, 1, *size)
    before = x.clone()
    with pytest.raises(shiftcheck.InconclusiveError) as caught:
        shiftcheck.assert_equivariant(model, x)
    report = shiftcheck.assert_equivariant(model, x, grow=True)
    grown = report.input_shape[2:]
    assert f"grow={tuple(grown)}" in str(caught.value)
    assert all(n >= given for n, given in zip(grown, size, strict=True))
    assert [n for n, given in zip(grown, size, strict=True) if n == given] == [
        n for n in size if n >= 21
    ]
    assert any("was grown from" in note for note in report.notes)
    assert torch.equal(x, before)


def test_what_is_large_enough_stays_as_it_is() -> None:
    x = torch.randn(1, 1, 30, 31)
    report = shiftcheck.assert_equivariant(deep(), x, grow=True)
    assert report.input_shape == (1, 1, 30, 31)
    assert not any("grown" in note for note in report.notes)


def test_a_break_stays_one() -> None:
    model = nn.Sequential(deep(), nn.MaxPool2d(2), nn.Upsample(scale_factor=2))
    with pytest.raises(shiftcheck.NotEquivariantError, match="the input moves 1 pixel"):
        shiftcheck.assert_equivariant(model, torch.randn(1, 1, 16, 18), grow=True)


def test_what_no_size_mends_is_told_as_without_it() -> None:
    model = nn.Sequential(deep(), nn.InstanceNorm2d(1))
    report = shiftcheck.check_equivariance(model, torch.randn(1, 1, 16, 18), grow=True)
    assert (report.reason, report.input_shape) == ("no valid region", (1, 1, 16, 18))


def test_a_size_of_the_callers_own() -> None:
    x = torch.randn(1, 1, 16, 18)
    report = shiftcheck.check_equivariance(deep(), x, grow=(40, 25))
    assert (str(report.verdict), report.input_shape) == ("equivariant", (1, 1, 40, 25))


def test_shifts_of_the_callers_own_are_kept() -> None:
    x = torch.randn(1, 1, 16, 18)
    report = shiftcheck.assert_equivariant(deep(), x, grow=True, shifts=[(3, 0), (0, 3)])
    assert report.shifts == ((3, 0), (0, 3))
    assert min(report.input_shape[2:]) > 21  # a larger shift asks for more


@pytest.mark.parametrize("grow", [(40,), (40, 40, 40), "40", (40, 0), (40, 40.0), 40, None])
def test_what_is_no_size_is_told(grow: Any) -> None:
    with pytest.raises(shiftcheck.InputError, match=r"^grow=.*give True, or the size of each of"):
        shiftcheck.check_equivariance(deep(), torch.randn(1, 1, 16, 18), grow=grow)


def test_several_signals_cannot_be_grown() -> None:
    x = torch.randn(1, 1, 16, 18)
    with pytest.raises(shiftcheck.InputError, match="2 signals that move"):
        shiftcheck.check_equivariance(lambda a, b: a + b, (x, x), grow=(20, 20))


def test_without_the_memory_it_is_not_grown_and_that_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(growing, "bytes_free", lambda device: 1000)
    report = shiftcheck.check_equivariance(deep(), torch.randn(1, 1, 16, 18), grow=True)
    assert report.input_shape == (1, 1, 16, 18)
    assert any("it was not grown" in note for note in report.notes)
