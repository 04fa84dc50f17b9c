"""Signals between their samples: against sinusoids, and against the definition in loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import shiftcheck
from shiftcheck import InputError

DRAW = torch.Generator().manual_seed(3)


def waves(sizes: tuple[int, ...], by: tuple[float, ...], highest: int = 3) -> torch.Tensor:
    """A sum of sinusoids of whole numbers of periods, read at ``p - by``."""
    draw = torch.Generator().manual_seed(11)
    out = torch.zeros(sizes, dtype=torch.float64)
    grids = [torch.arange(n, dtype=torch.float64) - v for n, v in zip(sizes, by, strict=True)]
    mesh = torch.meshgrid(*grids, indexing="ij")
    for _ in range(5):
        turns = torch.randint(-highest, highest + 1, (len(sizes),), generator=draw).tolist()
        angle = sum(2 * math.pi * k * g / n for k, g, n in zip(turns, mesh, sizes, strict=True))
        out += torch.cos(angle + float(torch.rand(1, generator=draw)))
    return out


@pytest.mark.parametrize(
    ("sizes", "by"),
    [((9,), (0.3,)), ((16,), (-2.5,)), ((9, 12), (0.25, -1.75)), ((8, 9, 11), (0.5, 1, 3.1))],
)
def test_on_a_circle_waves_are_exact(sizes: tuple[int, ...], by: tuple[float, ...]) -> None:
    zero = tuple(0.0 for _ in by)
    found = shiftcheck.shift(waves(sizes, zero), by)
    torch.testing.assert_close(found, waves(sizes, by), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [8, 9])
def test_a_real_signal_stays_real_and_a_turn_and_back_is_nothing(size: int) -> None:
    x = torch.randn(2, size, generator=DRAW, dtype=torch.float64)
    there = shiftcheck.shift(x, (0.4,))
    assert there.dtype is torch.float64
    if size % 2:  # at even sizes the highest frequency is halved by cos(0.4 pi) each time
        torch.testing.assert_close(shiftcheck.shift(there, (-0.4,)), x, rtol=0, atol=1e-13)
        torch.testing.assert_close(
            shiftcheck.shift(there, (0.6,)), x.roll(1, -1), rtol=0, atol=1e-13
        )
    highest = torch.tensor([1.0, -1.0] * 4, dtype=torch.float64)
    factor = math.cos(0.4 * math.pi)
    torch.testing.assert_close(shiftcheck.shift(highest, (0.4,)), factor * highest)


def test_a_complex_signal_is_moved_in_both_parts() -> None:
    x = torch.randn(10, dtype=torch.complex128, generator=DRAW)
    found = shiftcheck.shift(x, (0.3,))
    torch.testing.assert_close(found.real, shiftcheck.shift(x.real.clone(), (0.3,)))
    torch.testing.assert_close(found.imag, shiftcheck.shift(x.imag.clone(), (0.3,)))


def lanczos(t: float) -> float:
    return float(np.sinc(t) * np.sinc(t / 3)) if abs(t) < 3 else 0.0


def triangle(t: float) -> float:
    return max(0.0, 1 - abs(t))


@pytest.mark.parametrize(("name", "kernel"), [("lanczos", lanczos), ("linear", triangle)])
@pytest.mark.parametrize("fill", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("by", [0.5, -1.25, 3.9])
def test_on_the_plane_each_value_is_the_weighted_sum(name, kernel, fill, by) -> None:
    x = torch.randn(11, generator=DRAW, dtype=torch.float64)
    mode = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    wide = np.pad(x.numpy(), 10, mode=mode[fill])
    expected = []
    for p in range(11):
        weights = [kernel(p - by - q) for q in range(-10, 21)]
        expected.append(np.dot(weights, wide) / sum(weights))
    found = shiftcheck.shift(x, (by,), fill=fill, interpolation=name)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-13)


def test_axes_are_not_exchanged() -> None:
    x = torch.zeros(9, 12, dtype=torch.float64)
    x[3, 4] = 1.0
    found = shiftcheck.shift(x, (0.25, -2), fill="zeros", interpolation="linear")
    assert found[3:5, 2].tolist() == [0.75, 0.25]
    assert float(found.sum()) == 1.0
    turned = shiftcheck.shift(
        x, (0.25, -2), fill="zeros", interpolation="linear", spatial_dims=(1, 0)
    )
    assert turned[1, 4:6].tolist() == [0.75, 0.25]


def test_fresh_content_enters_and_the_inside_is_the_signal() -> None:
    x = torch.randn(2, 3, 20, 22, generator=DRAW, dtype=torch.float64)
    by = (1.5, -2.25)
    found = shiftcheck.shift(x, by, fill="fresh", seed=4)
    inside = shiftcheck.shift(x, by, fill="zeros")
    torch.testing.assert_close(found[..., 5:-2, 1:-6], inside[..., 5:-2, 1:-6], rtol=0, atol=1e-14)
    assert not torch.allclose(found[..., :4, :], inside[..., :4, :])
    assert torch.equal(found, shiftcheck.shift(x, by, fill="fresh", seed=4))
    assert not torch.equal(found, shiftcheck.shift(x, by, fill="fresh", seed=5))
    fixed = torch.full((1, 1, 12, 12), 2.5)
    torch.testing.assert_close(shiftcheck.shift(fixed, by, fill="fresh"), fixed)


@pytest.mark.parametrize("fill", ["circular", "zeros", "reflect", "replicate", "fresh"])
def test_whole_numbers_written_as_floats_move_values_as_they_are(fill: str) -> None:
    x = torch.randn(3, 9, 10, generator=DRAW)
    for how in ("lanczos", "linear"):
        found = shiftcheck.shift(x, (2.0, -3.0), fill=fill, interpolation=how)
        assert torch.equal(found, shiftcheck.shift(x, (2, -3), fill=fill))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_type_the_layout_and_the_signal_stay(dtype: torch.dtype) -> None:
    x = torch.randn(2, 3, 8, 9, generator=DRAW).to(dtype).to(memory_format=torch.channels_last)
    before = x.clone()
    for fill in ("circular", "fresh", "reflect"):
        found = shiftcheck.shift(x, (0.5, 1), fill=fill)
        assert found.dtype is dtype
        assert found.stride() == x.stride()
    assert torch.equal(x, before)


def test_arrays_come_back_as_arrays() -> None:
    array = np.arange(12.0).reshape(3, 4)
    found = shiftcheck.shift(array, (0, 0.5), fill="replicate", interpolation="linear")
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found[0], [0.0, 0.5, 1.5, 2.5])


@pytest.mark.parametrize(
    ("x", "offset", "options", "words"),
    [
        (
            torch.arange(9),
            (0.5,),
            {},
            r"offset=\(0\.5,\) is fractional, and x has dtype torch\.int64",
        ),
        (torch.rand(9), (0.5,), {"interpolation": "cubic"}, r"'cubic' is unknown: use one of"),
        (
            torch.rand(9),
            (0.5,),
            {"interpolation": "fourier", "fill": "zeros"},
            r"fill='zeros' does not: use fill='circular', or interpolation='lanczos'",
        ),
        (torch.rand(5), (2.5,), {"fill": "reflect"}, r"by 2\.5 and reads values 5 .* at most 4"),
        (torch.rand(5), (math.nan,), {}, r"nan, which is no number of pixels"),
    ],
)
def test_what_cannot_be_moved_between_pixels(x, offset, options, words) -> None:
    with pytest.raises(InputError, match=words):
        shiftcheck.shift(x, offset, **options)
