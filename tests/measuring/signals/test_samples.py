"""Signals by seed, shape and kind."""

from __future__ import annotations

import pytest
import torch

from shiftcheck import InputError
from shiftcheck.measuring.signals.samples import KINDS, sample_signal

SHAPES = [(1, 2, 8, 9), (2, 1, 5), (1, 1, 4, 5, 6), (1, 1, 1, 2), (1, 3, 40, 30)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_signal_is_repeatable_finite_and_varies(kind: str, shape: tuple[int, ...]) -> None:
    x = sample_signal(shape, kind=kind, seed=3)
    assert x.shape == shape
    assert x.dtype == torch.float32
    assert torch.equal(x, sample_signal(shape, kind=kind, seed=3))
    assert not torch.equal(x, sample_signal(shape, kind=kind, seed=4))
    assert torch.isfinite(x).all()
    spatial = x.flatten(2)
    assert (spatial.amax(-1) > spatial.amin(-1)).all()


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    sample_signal((1, 1, 8))
    assert torch.equal(torch.get_rng_state(), before)


def test_band_limited_means_no_high_frequencies() -> None:
    x = sample_signal((1, 1, 32, 24), kind="band-limited", dtype=torch.float64)
    power = torch.fft.fft2(x).abs()
    rows, columns = torch.fft.fftfreq(32).abs() > 0.25, torch.fft.fftfreq(24).abs() > 0.25
    assert float(power[..., rows, :].max()) < 1e-9 < float(power.max())
    assert float(power[..., columns].max()) < 1e-9


def test_impulses_are_few_and_blobs_are_smooth() -> None:
    impulses = sample_signal((1, 1, 64, 64), kind="impulses")
    assert int((impulses != 0).sum()) == 65
    blobs = sample_signal((1, 1, 64, 64), kind="blobs", seed=1)
    assert float(blobs.diff(dim=-1).abs().max()) < 0.5 * float(blobs.abs().max())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes_hold_the_same_signal(dtype: torch.dtype) -> None:
    exact = sample_signal((1, 1, 9, 9), dtype=torch.float64)
    assert torch.equal(sample_signal((1, 1, 9, 9), dtype=dtype), exact.to(dtype))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shape": (1, 1)}, r"shape=\(1, 1\)"),
        ({"shape": (1, True, 4)}, "shape="),
        ({"shape": 4}, "shape=4"),
        ({"shape": (1, 1, 4), "kind": ["white"]}, "kind="),
        ({"shape": (1, 1, 4), "dtype": torch.complex64}, "dtype="),
        ({"shape": (1, 1, 4), "seed": "0"}, "seed='0'"),
    ],
)
def test_bad_arguments(options: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        sample_signal(**options)  # type: ignore[arg-type]
