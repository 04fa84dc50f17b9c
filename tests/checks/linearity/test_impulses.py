"""Impulse responses against the definition, written out in loops."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import ImpulseResponse
from shiftcheck.checks.linearity.operator import Operator, Response


def seeded(module: nn.Module, seed: int = 0) -> nn.Module:
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
    return module.double()


def from_definition(
    response: ImpulseResponse, f: torch.Tensor, shape: tuple[int, ...]
) -> torch.Tensor:
    """``out[q] = constant + sum_p kernel[num q - den p + origin] f[p]``, sample by sample."""
    axes = len(response.origin)
    kernel = response.kernel
    if kernel.ndim == axes + 2:
        kernel = kernel.reshape(*(1,) * axes, *kernel.shape)
    phases, taps = kernel.shape[:axes], kernel.shape[axes + 2 :]
    sizes = f.shape[2:]
    out = torch.zeros(shape, dtype=torch.float64)
    for q in itertools.product(*map(range, shape[2:])):
        phase = tuple(
            n // s.denominator % e for n, s, e in zip(q, response.stride, phases, strict=True)
        )
        for p in itertools.product(*map(range, sizes)):
            places: list[list[int]] = []
            for a, s in enumerate(response.stride):
                at = s.numerator * q[a] - s.denominator * p[a] + response.origin[a]
                turn = s.denominator * sizes[a]
                ways = range(-3, 4) if response.boundary[a] == "circular" else (0,)
                places.append([at + k * turn for k in ways if 0 <= at + k * turn < taps[a]])
            for i in itertools.product(*places):
                out[(..., *q)] += f[(..., *p)] @ kernel[phase][(..., *i)].T
        at = tuple(n % m for n, m in zip(q, response.constant.shape[1:], strict=True))
        out[(..., *q)] += response.constant[(slice(None), *at)]
    return out


OPERATORS: dict[str, tuple[Any, tuple[int, ...], Any]] = {
    "1-D, asymmetric": (nn.Conv1d(2, 3, 4, padding=1), (2, 12), "valid"),
    "1-D, stride 3": (nn.Conv1d(1, 2, 5, stride=3, padding=2), (1, 16), "valid"),
    "2-D, even, two channels": (nn.Conv2d(2, 2, (2, 4)), (2, 6, 7), "valid"),
    "2-D, dilated and strided": (nn.Conv2d(1, 2, 2, stride=(1, 2), dilation=2), (1, 7, 9), "valid"),
    "3-D": (nn.Conv3d(1, 2, (1, 2, 3), stride=(1, 1, 2)), (1, 3, 4, 8), "valid"),
    "transposed": (nn.ConvTranspose2d(2, 1, 3, stride=2, padding=1), (2, 5, 6), "valid"),
    "transposed, 1-D, more": (
        nn.ConvTranspose1d(1, 2, 4, stride=3, padding=2, output_padding=1),
        (1, 8),
        "valid",
    ),
    "rational": (
        nn.Sequential(nn.Upsample(scale_factor=3, mode="linear"), nn.Conv1d(1, 1, 2, stride=2)),
        (1, 12),
        "valid",
    ),
    "phases": (
        nn.Sequential(nn.Conv1d(1, 2, 2, stride=2), nn.ConvTranspose1d(2, 1, 3, stride=2)),
        (1, 14),
        "valid",
    ),
    "phases with constants of their own": (
        nn.Sequential(nn.Conv2d(1, 4, 2), nn.PixelShuffle(2)),
        (1, 5, 6),
        "valid",
    ),
    "torus": (nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), (1, 5, 6), "circular"),
    "torus, strided": (
        nn.Conv1d(1, 2, 5, stride=2, padding=2, padding_mode="circular"),
        (1, 8),
        "circular",
    ),
    "torus, part of a turn": (nn.Conv1d(1, 1, 3), (1, 9), "circular"),
    "torus, all of a turn": (lambda x: x - x.mean(-1, keepdim=True), (1, 7), "circular"),
    "torus, around and more": (
        nn.Conv1d(1, 1, 5, padding=4, dilation=2, padding_mode="circular"),
        (1, 6),
        "circular",
    ),
    "torus, upsampled": (
        nn.Sequential(
            nn.Conv1d(1, 2, 3, padding=1, padding_mode="circular"), nn.Upsample(scale_factor=2)
        ),
        (1, 6),
        "circular",
    ),
    "cylinder": (
        lambda x: torch.roll(nn.functional.avg_pool2d(x, (2, 1), stride=1), 1, -1),
        (1, 6, 5),
        ("valid", "circular"),
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_the_kernel_obeys_its_definition(name: str) -> None:
    model, shape, boundary = OPERATORS[name]
    model = seeded(model) if isinstance(model, nn.Module) else model
    draw = torch.Generator().manual_seed(5)
    f = torch.randn(2, *shape, generator=draw, dtype=torch.float64)
    response = shiftcheck.impulse_response(model, f, boundary=boundary)
    with torch.no_grad():
        expected = model(f)
    found = from_definition(response, f, tuple(expected.shape))
    valid = shiftcheck.geometry(model, f, boundary=boundary).outputs[0].valid
    for axis, spans in enumerate(valid):
        index = torch.cat([torch.arange(*span) for span in spans])
        expected, found = (t.index_select(axis + 2, index) for t in (expected, found))
    assert expected.numel() > 0
    assert torch.allclose(found, expected, rtol=0, atol=1e-13 * float(expected.abs().max()))


def test_the_response_of_a_convolution_is_its_weight_flipped() -> None:
    conv = seeded(nn.Conv2d(2, 3, (3, 4), bias=False))
    response = shiftcheck.impulse_response(conv, torch.randn(1, 2, 9, 9, dtype=torch.float64))
    assert torch.equal(response.kernel, conv.weight.flip(-2, -1))
    assert response.origin == (2, 3)
    assert response.support == ((-2, 1), (-3, 1))


def test_a_large_constant_part_takes_nothing_from_the_kernel() -> None:
    conv = seeded(nn.Conv1d(2, 3, 5))
    assert conv.bias is not None
    conv.weight.data *= math.pi  # all bits of float64
    conv.bias.data.fill_(1000.0)  # as 1 + 1000 - 1000 the tap 1 is off by up to 500 eps
    kernel = shiftcheck.impulse_response(conv, torch.randn(1, 2, 24).double()).kernel
    gap = (kernel - conv.weight.detach().flip(-1)).abs().max()
    assert float(gap) <= 4 * 2.0**-52


def test_the_response_of_a_transposed_convolution_is_its_weight() -> None:
    conv = seeded(nn.ConvTranspose2d(2, 3, (3, 4), stride=(2, 3), padding=1, bias=False))
    response = shiftcheck.impulse_response(conv, torch.randn(1, 2, 9, 9, dtype=torch.float64))
    assert torch.equal(response.kernel, conv.weight.transpose(0, 1))
    assert response.origin == (1, 1)
    assert response.stride == (Fraction(1, 2), Fraction(1, 3))
    assert response.period == (1, 1)


def test_a_causal_filter_has_its_origin_at_an_end() -> None:
    def smooth(x: torch.Tensor) -> torch.Tensor:
        return 0.75 * x + 0.25 * nn.functional.pad(x, (1, 0))[..., :-1]

    response = shiftcheck.impulse_response(smooth, torch.randn(1, 1, 12))
    assert torch.equal(response.kernel, torch.tensor([[[0.75, 0.25]]]))
    assert response.origin == (0,)


def test_the_period_is_the_shortest_one_that_the_kernel_has() -> None:
    shuffled = nn.Sequential(nn.PixelUnshuffle(2), nn.PixelShuffle(2))
    x = torch.randn(1, 1, 12, 12)
    report = shiftcheck.check_convolution(shuffled, x)
    assert report.structure_period == (2, 2)
    assert report.period == (1, 1)
    response = shiftcheck.impulse_response(shuffled, x)
    assert torch.equal(response.kernel, torch.ones(1, 1, 1, 1))
    assert response.origin == (0, 0)


def test_the_constant_has_the_period_of_the_output() -> None:
    conv = seeded(nn.Conv1d(1, 4, 3)).float()

    def model(x: torch.Tensor) -> torch.Tensor:
        y = conv(x).unflatten(1, (2, 2))
        return y.transpose(2, 3).flatten(2)

    response = shiftcheck.impulse_response(model, torch.randn(1, 1, 12))
    assert torch.equal(response.constant, conv.bias.detach().reshape(2, 2))
    assert response.stride == (Fraction(1, 2),)


@pytest.mark.parametrize("boundary", ["valid", "circular"])
def test_one_impulse_for_each_channel_and_phase(
    boundary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    respond = Operator.__call__

    def counted(operator: Operator, signal: torch.Tensor) -> Response:
        ones = (signal != 0).flatten(1).sum(1)
        seen.append(int((ones == 1).sum()))
        return respond(operator, signal)

    monkeypatch.setattr(Operator, "__call__", counted)
    x = torch.randn(2, 3, 12, 12)
    shiftcheck.impulse_response(nn.AvgPool2d((2, 3)), x, boundary=boundary)
    assert sum(seen) == 3 * 2 * 3


def test_a_model_of_a_fixed_batch_is_given_its_own() -> None:
    conv = seeded(nn.Conv2d(3, 2, 3)).float()

    def fixed(x: torch.Tensor) -> torch.Tensor:
        if len(x) != 2:
            raise ValueError("two")
        return conv(x)

    response = shiftcheck.impulse_response(fixed, torch.randn(2, 3, 8, 8))
    assert torch.allclose(response.kernel, conv.weight.flip(-2, -1), atol=1e-6)


def test_the_report_says_what_was_found() -> None:
    conv = nn.Conv2d(1, 2, 3, stride=2, padding=1)
    report = shiftcheck.check_convolution(conv, torch.randn(1, 1, 16, 16))
    assert report.verdict is shiftcheck.report.Theorem.CONVOLUTION
    assert report.linearity.verdict is shiftcheck.report.Linearity.AFFINE
    assert report.equivariance is not None
    assert report.equivariance.verdict is shiftcheck.Verdict.EQUIVARIANT
    assert (report.stride, report.period, report.taps) == ((2, 2), (2, 2), (3, 3))
    assert report.origin == (1, 1)
    assert report.constant == pytest.approx(float(conv.bias.detach().abs().max()))
    assert report.error is not None
    assert report.relative_error is not None
    assert report.allowance is not None
    assert report.relative_error <= report.allowance <= 1e-12
    assert report.share == pytest.approx(49 / 64)
    text = str(report)
    assert "therefore a convolution" in text
    assert text.startswith("Conv2d on ")
    assert "CONVOLUTION" in text.splitlines()[0]
    assert "linear, but for a constant part" in text
    assert math.isfinite(report.error)


def test_a_constant_of_a_longer_period_keeps_it() -> None:
    stamp = torch.tensor([0.0, 1.0, 2.0, 3.0]).reshape(1, 4, 1, 1)

    def stamped(x: torch.Tensor) -> torch.Tensor:
        coarse = nn.functional.pixel_unshuffle(x, 2) + stamp
        return nn.functional.pixel_shuffle(coarse, 2)

    response = shiftcheck.impulse_response(stamped, torch.randn(1, 1, 12, 12))
    assert response.period == (2, 2)
    assert torch.equal(response.constant, torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]))
    assert torch.equal(response.kernel.sum((-2, -1)), torch.ones(2, 2, 1, 1))
