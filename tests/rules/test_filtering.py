"""Convolutions by way of frequencies, against a larger canvas, and what is none of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.properties.oracle import truth
from torch import fft, nn

import shiftcheck
from shiftcheck import Verdict
from shiftcheck.lattice.axis import input_axis
from shiftcheck.lattice.factors import Factor, plain
from shiftcheck.lattice.layout import Layout
from shiftcheck.rules import find_rule
from shiftcheck.rules.filtering import Spectrum

Model = Callable[[torch.Tensor], torch.Tensor]
SIZE = 40


def seeded(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(9)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


TAPS = seeded(2, 5)
SQUARE = seeded(3, 4)
LONG = seeded(2, 44)
WEIGHT = torch.complex(seeded(2, 2, 23), seeded(2, 2, 23).sin())


def product(x: torch.Tensor, n: int, taps: torch.Tensor = TAPS) -> torch.Tensor:
    return fft.rfft(x, n) * fft.rfft(taps.to(x.dtype), n)


def convolved(extra: int = 4, *, crop: bool = True) -> Model:
    def model(x: torch.Tensor) -> torch.Tensor:
        n = x.shape[-1] + extra
        out = fft.irfft(product(x, n), n)
        return out[..., : x.shape[-1]] if crop else out

    return model


def of_both_kinds(x: torch.Tensor) -> torch.Tensor:
    n = x.shape[-1] + 10
    both = fft.fft(x, n) * fft.fft(TAPS, n) * fft.fft(TAPS, n).conj() / 2
    return (3 * fft.ifft(both)).real[..., : x.shape[-1]]


def padded_and_strided(x: torch.Tensor) -> torch.Tensor:
    y = nn.functional.avg_pool1d(x, 3, 2, 1)
    return fft.irfft(product(y, y.shape[-1] + 4), y.shape[-1] + 4)[..., : y.shape[-1]]


LOCAL: dict[str, tuple[Model, int]] = {
    "zeros behind": (convolved(), 36),
    "as short as the signal": (convolved(0), 36),
    "longer than it need be": (convolved(30), 36),
    "not cropped": (convolved(crop=False), 36),
    "one and its reverse": (of_both_kinds, 32),
    "there and back": (lambda x: fft.irfft(fft.rfft(x), x.shape[-1]), 40),
    "behind a padded pool": (padded_and_strided, 15),
}


def valid_samples(model: Model, x: torch.Tensor, **options: Any) -> list[bool]:
    out = shiftcheck.geometry(model, x, **options).outputs[0]
    assert out.valid[0] is not None
    return [any(a <= i < b for a, b in out.valid[0]) for i in range(out.shape[-1])]


@pytest.mark.parametrize("name", LOCAL)
def test_a_short_kernel_is_a_convolution(name: str) -> None:
    model, count = LOCAL[name]
    x = seeded(1, 2, SIZE)
    stride = 2 if "pool" in name else 1
    report = shiftcheck.check_equivariance(model, x, shifts=[stride, -3 * stride])
    assert report.verdict is Verdict.EQUIVARIANT, report.guilty
    assert sum(valid_samples(model, x)) == count


@pytest.mark.parametrize("name", [name for name in LOCAL if name != "not cropped"])
def test_the_samples_said_to_be_valid_are_those_of_a_larger_canvas(name: str) -> None:
    model, _ = LOCAL[name]
    seen = truth(model, (1, 2, SIZE), 0, 2 if "pool" in name else 1, mixes=True)
    assert valid_samples(model, seeded(1, 2, SIZE)) == list(seen.mask)


def test_in_single_precision_too() -> None:
    report = shiftcheck.check_equivariance(convolved(), seeded(1, 2, SIZE).float())
    assert report.verdict is Verdict.EQUIVARIANT, report.guilty


def test_both_axes() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        size = tuple(n + 8 for n in x.shape[2:])
        kernel = fft.rfft2(SQUARE, size)
        out = fft.irfft2(fft.rfft2(x, size) * kernel, size)
        return out[..., : x.shape[2], : x.shape[3]]

    report = shiftcheck.check_equivariance(model, seeded(1, 2, 20, 24))
    assert report.verdict is Verdict.EQUIVARIANT, report.guilty
    assert report.outputs[0].valid == (((2, 20),), ((3, 24),))


def test_with_gradients_the_vocabulary_is_another() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(False), torch.no_grad():
            return convolved()(x.clone())

    assert sum(valid_samples(model, seeded(1, 2, SIZE))) == 36


def test_around_one_turn_it_is_exact_and_beside_zeros_it_breaks() -> None:
    x = seeded(1, 2, SIZE)
    around = shiftcheck.check_equivariance(convolved(0), x, boundary="circular")
    assert around.verdict is Verdict.EQUIVARIANT, around.guilty
    beside = shiftcheck.check_equivariance(convolved(), x, boundary="circular")
    assert beside.verdict is Verdict.BROKEN
    assert beside.guilty is not None
    assert beside.guilty.kind == "PADDING"


def doubled_in_place(x: torch.Tensor) -> torch.Tensor:
    y = product(x, 44)
    y[..., :3] *= 2
    return fft.irfft(y, 44)[..., :SIZE]


def mixed(x: torch.Tensor) -> torch.Tensor:
    return fft.irfft(torch.einsum("bik,iok->bok", product(x, 44), WEIGHT), 44)[..., :SIZE]


NOT_LOCAL: dict[str, tuple[Model, str]] = {
    "a kernel as long as the transform": (
        lambda x: fft.irfft(product(x, 44, LONG), 44)[..., :SIZE],
        "GLOBAL",
    ),
    "gains": (
        lambda x: fft.irfft(product(x, 44) * torch.linspace(0, 1, 23, dtype=x.dtype), 44),
        "GLOBAL",
    ),
    "low frequencies": (lambda x: fft.irfft(product(x, 44)[..., :9], 44)[..., :SIZE], "GLOBAL"),
    "written to": (doubled_in_place, "GLOBAL"),
    "weights for each frequency": (mixed, "GLOBAL"),
    "two transforms added": (
        lambda x: fft.irfft(product(x, 44) + product(x.sin(), 44), 44),
        "GLOBAL",
    ),
    "another number of samples": (lambda x: fft.irfft(product(x, 40), 60), "GLOBAL"),
    "one of two axes back": (
        lambda x: fft.ifft(fft.fft2(x, dim=(1, 2)), dim=2).real,
        "GLOBAL",
    ),
    "frequencies in the reverse order": (
        lambda x: fft.irfft(product(x, 44).flip(-1), 44),
        "UNSUPPORTED_OP",
    ),
}


@pytest.mark.parametrize("name", NOT_LOCAL)
def test_whatever_else_is_done_sees_the_whole_axis(name: str) -> None:
    model, kind = NOT_LOCAL[name]
    report = shiftcheck.check_equivariance(model, seeded(1, 2, SIZE))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.guilty is not None
    assert report.guilty.kind == kind
    assert not any(report.outputs[0].valid)


def test_whatever_has_other_dimensions_is_no_such_transform() -> None:
    row = (Factor("axis", 16, axis=0),)
    x = Layout((plain(3), row), (input_axis(16, circular=False),))
    rule = find_rule("aten::fft_rfft", "default")
    assert rule is not None
    transformed = rule(x)
    assert isinstance(transformed, Spectrum)
    assert transformed.untouched
    assert not replace(transformed, dims=tuple(list(transformed.dims))).untouched


def test_power_does_not_move() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        spectrum = fft.rfft(x)
        return x * (spectrum * spectrum.conj()).real.mean(-1, keepdim=True)

    x = seeded(1, 2, SIZE)
    assert shiftcheck.check_equivariance(model, x, boundary="circular").verdict is (
        Verdict.EQUIVARIANT
    )
    assert shiftcheck.check_equivariance(model, x).verdict is Verdict.INCONCLUSIVE


def test_two_transforms_of_one_frequency_are_not_multiplied() -> None:
    report = shiftcheck.check_equivariance(
        lambda x: fft.irfft(fft.rfft(x) * fft.rfft(x), SIZE),
        seeded(1, 2, SIZE),
        boundary="circular",
    )
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.guilty is not None
    assert report.guilty.kind == "UNSUPPORTED_OP"
