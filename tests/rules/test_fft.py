"""Fourier transforms: exact on one turn of a circle, and only for linear maps of each frequency."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import fft

import shiftcheck
from shiftcheck import Verdict

Model = Callable[[torch.Tensor], torch.Tensor]
SIZE = (12, 10)


def seeded(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(6), dtype=dtype)


COMPLEX = torch.complex128
GAINS, FILTERS = seeded(12, 6, dtype=COMPLEX), seeded(2, 3, 12, 6, dtype=COMPLEX)
ROW, POINT = seeded(10, dtype=COMPLEX), seeded(3, 2, 1, 1)


def back(spectrum: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return fft.irfft2(spectrum, s=x.shape[-2:])


def operator(x: torch.Tensor) -> torch.Tensor:
    return back(torch.einsum("bixy,ioxy->boxy", fft.rfft2(x), FILTERS), x)


def layer(x: torch.Tensor) -> torch.Tensor:
    return F.gelu(operator(x) + F.conv2d(x, POINT))


def ordered(x: torch.Tensor) -> torch.Tensor:
    spectrum = fft.fftshift(fft.fftn(x, dim=(-2, -1)), dim=(-2, -1))
    return fft.ifftn(fft.ifftshift(spectrum, dim=(-2, -1)), dim=(-2, -1)).real


def gated(x: torch.Tensor) -> torch.Tensor:
    return x * fft.rfft2(x).abs().mean((-2, -1), keepdim=True)


CORNERS = seeded(2, 2, 3, 4, 4, dtype=COMPLEX)


def in_a_canvas(x: torch.Tensor, rows: slice = slice(-4, None), fill: float = 0.0) -> torch.Tensor:
    """The low frequencies of both signs, each with weights of its own, as a Fourier operator."""
    spectrum = fft.rfft2(x)
    out = torch.full((x.shape[0], 3, *spectrum.shape[2:]), fill, dtype=spectrum.dtype)
    low, high = spectrum[:, :, :4, :4], spectrum[:, :, -4:, :4]
    out[:, :, :4, :4] = torch.einsum("bixy,ioxy->boxy", low, CORNERS[0])
    out[:, :, rows, :4] = torch.einsum("bixy,ioxy->boxy", high, CORNERS[1])
    return back(out, x)


def of_what_has_a_period(x: torch.Tensor) -> torch.Tensor:
    """One of the corners comes from a coarser signal."""
    steps = F.avg_pool2d(x, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    spectrum, coarse = fft.rfft2(x), fft.rfft2(steps)
    out = torch.zeros_like(spectrum)
    out[:, :, :4, :4] = spectrum[:, :, :4, :4]
    out[:, :, -4:, :4] = coarse[:, :, -4:, :4]
    return back(out, x)


# name: model, strides of the output, its periods
EXACT: dict[str, tuple[Model, tuple[Fraction | int, ...], tuple[int, ...]]] = {
    "there and back": (lambda x: back(fft.rfft2(x), x), (1, 1), (1, 1)),
    "a gain for each frequency": (lambda x: back(fft.rfft2(x) * GAINS, x), (1, 1), (1, 1)),
    "divided": (lambda x: back(fft.rfft2(x) / GAINS, x), (1, 1), (1, 1)),
    "a Fourier layer": (layer, (1, 1), (1, 1)),
    "low frequencies": (lambda x: back(fft.rfft2(x)[..., :4], x), (1, 1), (1, 1)),
    "low frequencies, padded": (
        lambda x: back(F.pad(fft.rfft2(x)[..., :3], (0, 3)), x),
        (1, 1),
        (1, 1),
    ),
    "written to a canvas": (in_a_canvas, (1, 1), (1, 1)),
    "one axis": (lambda x: fft.ifft(fft.fft(x, dim=-1) * ROW, dim=-1).real, (1, 1), (1, 1)),
    "in another order": (ordered, (1, 1), (1, 1)),
    "sums of transforms": (lambda x: back(fft.rfft2(x) + fft.rfft2(x.relu()), x), (1, 1), (1, 1)),
    "twice as many": (lambda x: fft.irfft(fft.rfft(x), n=20), (1, Fraction(1, 2)), (1, 1)),
    "half as many": (lambda x: fft.irfft(fft.rfft(x), n=5), (1, 2), (1, 2)),
    "one and a half times as many": (
        lambda x: fft.irfft(fft.rfft(x), n=15),
        (1, Fraction(2, 3)),
        (1, 2),
    ),
    "gated by magnitudes": (gated, (1, 1), (1, 1)),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact_on_the_torus(name: str) -> None:
    model, stride, period = EXACT[name]
    x = seeded(1, 2, *SIZE)
    report = shiftcheck.check_equivariance(model, x, boundary="circular")
    assert report.verdict is Verdict.EQUIVARIANT, report.guilty
    assert report.outputs[0].stride == stride
    assert report.outputs[0].period == period
    steps = [int(p / s) for p, s in zip(period, stride, strict=True)]
    moved = model(torch.roll(x, period, (-2, -1)))
    assert torch.allclose(moved, torch.roll(model(x), steps, (-2, -1)), atol=1e-12)


@pytest.mark.parametrize("name", [name for name in EXACT if name != "there and back"])
def test_nothing_is_valid_on_the_plane(name: str) -> None:
    report = shiftcheck.check_equivariance(EXACT[name][0], seeded(1, 2, *SIZE))
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "no valid region")
    assert report.guilty is not None
    assert report.guilty.kind == "GLOBAL"


@pytest.mark.parametrize("name", EXACT)
def test_with_gradients_the_vocabulary_is_another(name: str) -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(False), torch.no_grad():
            return EXACT[name][0](x.clone())

    report = shiftcheck.check_equivariance(model, seeded(1, 2, *SIZE), boundary="circular")
    assert report.verdict is Verdict.EQUIVARIANT, report.guilty


def rectified(x: torch.Tensor) -> torch.Tensor:
    spectrum = fft.rfft2(x)
    return back(torch.complex(spectrum.real.relu(), spectrum.imag), x)


# what breaks the shift, and really does: none of these may pass
BROKEN: dict[str, Model] = {
    "a rectifier of the real part": rectified,
    "a constant is added": lambda x: back(fft.rfft2(x) + GAINS, x),
    "the square of the spectrum": lambda x: back(fft.rfft2(x) * fft.rfft2(x), x),
    "padded in front": lambda x: fft.irfft(F.pad(fft.rfft(x), (1, -1)), n=10),
    "padded with ones": lambda x: fft.irfft(F.pad(fft.rfft(x)[..., :3], (0, 3), value=1.0), n=10),
    "a canvas of ones": lambda x: in_a_canvas(x, fill=1.0),
    "the wrong rows of a canvas": lambda x: in_a_canvas(x, slice(4, 8)),
    "over other rows of a canvas": lambda x: in_a_canvas(x, slice(2, 6)),
    "the wrong order": lambda x: fft.ifft(fft.fftshift(fft.fft(x), dim=-1)).real,
    "the wrong frequencies": lambda x: fft.irfft(fft.rfft(x)[..., 1:], n=10),
    "a softmax of magnitudes and phases": lambda x: back(fft.rfft2(x).cos(), x),
    "a product over frequencies": lambda x: fft.irfft(fft.rfft(x) @ seeded(6, 6, dtype=COMPLEX)),
    "the real part of a one-sided transform": lambda x: fft.irfft(fft.rfft(x).real + 0j, n=10),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("boundary", ["circular", "valid"])
def test_what_is_not_linear_in_each_frequency_does_not_pass(name: str, boundary: str) -> None:
    model, x = BROKEN[name], seeded(1, 2, *SIZE)
    report = shiftcheck.check_equivariance(model, x, boundary=boundary)
    assert report.verdict is not Verdict.EQUIVARIANT
    both = (-2, -1)
    away = (model(torch.roll(x, (1, 1), both)) - torch.roll(model(x), (1, 1), both)).abs().max()
    assert away > 1e-3


def test_what_is_written_to_a_canvas_brings_its_period() -> None:
    x = seeded(1, 2, *SIZE)
    model = of_what_has_a_period
    even = shiftcheck.check_equivariance(model, x, boundary="circular", shifts=[(2, 0), (0, 4)])
    assert even.verdict is Verdict.EQUIVARIANT
    assert even.outputs[0].period == (2, 2)
    assert shiftcheck.check_equivariance(model, x, boundary="circular").verdict is Verdict.BROKEN


def test_a_spectrum_has_no_place() -> None:
    x = seeded(1, 2, *SIZE)
    report = shiftcheck.check_equivariance(fft.rfft2, x, boundary="circular")
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "not spatial")


def test_a_stack_of_matrices_that_differs_along_an_axis() -> None:
    stack = seeded(12, 10, 2, 4)

    def model(x: torch.Tensor) -> torch.Tensor:
        return (x.permute(0, 2, 3, 1)[..., None, :] @ stack)[..., 0, :].permute(0, 3, 1, 2)

    report = shiftcheck.check_equivariance(model, seeded(1, 2, *SIZE))
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert report.guilty.kind == "POSITION"
    stack.copy_(stack[:1, :1].expand_as(stack))
    assert shiftcheck.check_equivariance(model, seeded(1, 2, *SIZE)).verdict is Verdict.EQUIVARIANT
