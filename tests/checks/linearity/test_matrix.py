"""The matrix of an operator: what it multiplies, and how it repeats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import shiftcheck


def double(module: nn.Module) -> nn.Module:
    return module.double()


OPERATORS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "1-D": (double(nn.Conv1d(2, 3, 3, padding=1)), (2, 8)),
    "2-D": (double(nn.Conv2d(1, 2, 3, stride=2)), (1, 7, 8)),
    "3-D": (double(nn.Conv3d(1, 1, 2)), (1, 3, 4, 3)),
    "up": (double(nn.ConvTranspose1d(2, 1, 3, stride=2)), (2, 5)),
    "each place for itself": (lambda x: x * torch.arange(6.0) + 1, (1, 6)),
    "an axis less than it has": (lambda x: x.mean(3, keepdim=True), (2, 3, 4)),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_the_matrix_does_what_the_operator_does(name: str) -> None:
    model, shape = OPERATORS[name]
    x = torch.randn(2, *shape, dtype=torch.float64)
    view = shiftcheck.operator_matrix(model, x)
    with torch.no_grad():
        expected = model(x)
    found = x.flatten(1) @ view.matrix.T + view.constant
    assert view.input_shape == shape
    assert view.output_shape == tuple(expected.shape[1:])
    assert torch.allclose(found.reshape(expected.shape), expected, rtol=0, atol=1e-13)


def test_a_convolution_on_a_circle_is_circulant() -> None:
    circulant = pytest.importorskip("scipy.linalg").circulant
    conv = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular", bias=False)
    view = shiftcheck.operator_matrix(conv, torch.randn(1, 1, 8))
    before, here, after = conv.weight.detach().flatten().tolist()
    assert np.allclose(view.matrix, circulant([here, before, 0, 0, 0, 0, 0, after]), atol=1e-7)
    assert (view.circulant, view.toeplitz, view.departure) == ((1,), (1,), (0.0,))
    assert view.structure == "circulant"
    assert "8 x 8 matrix: circulant" in str(view)
    assert f"{here:6.2f}" in str(view)


def test_a_convolution_with_zeros_around_is_toeplitz() -> None:
    toeplitz = pytest.importorskip("scipy.linalg").toeplitz
    conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)
    view = shiftcheck.operator_matrix(conv, torch.randn(1, 1, 8))
    before, here, after = conv.weight.detach().flatten().tolist()
    first = ([here, before, *[0] * 6], [here, after, *[0] * 6])
    assert np.allclose(view.matrix, toeplitz(*first), atol=1e-7)
    assert (view.circulant, view.toeplitz) == ((None,), (1,))
    assert view.departure[0] is not None
    assert view.departure[0] > 0.1
    assert view.structure == "Toeplitz"


STRUCTURES: dict[str, tuple[Any, tuple[int, ...], Any, Any]] = {
    "torus": (nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), (1, 6, 8), (1, 1), (1, 1)),
    "strided": (
        nn.Conv1d(1, 2, 4, stride=2, padding=1, padding_mode="circular"),
        (1, 8),
        (2,),
        (2,),
    ),
    "strided, plane": (nn.Conv1d(1, 1, 3, stride=2), (1, 15), (None,), (2,)),
    "transposed": (nn.ConvTranspose1d(1, 1, 3, stride=2), (1, 8), (None,), (1,)),
    "nearest": (nn.Upsample(scale_factor=2), (1, 8), (1,), (1,)),
    "down and up": (
        nn.Sequential(nn.AvgPool1d(2), nn.Upsample(scale_factor=2)),
        (1, 12),
        (2,),
        (2,),
    ),
    "one axis only": (lambda x: x * torch.arange(6.0), (1, 8, 6), (1, None), (1, None)),
    "mixing": (nn.Linear(8, 8), (1, 8), (None,), (None,)),
    "mirror": (lambda x: x.flip(2), (1, 8), (4,), (None,)),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_how_it_repeats_along_each_axis(name: str) -> None:
    model, shape, circulant, toeplitz = STRUCTURES[name]
    view = shiftcheck.operator_matrix(model, torch.randn(1, *shape))
    assert view.circulant == circulant
    assert view.toeplitz == toeplitz


def test_channels_make_blocks_and_axes_are_named() -> None:
    conv = nn.Conv2d(2, 1, 3, padding=1, padding_mode="circular", stride=(1, 2))
    text = shiftcheck.operator_matrix(conv, torch.randn(1, 2, 4, 6)).structure
    assert text == (
        "axis 0 circulant, axis 1 circulant in steps of 2 pixels, in a block for each pair of"
        " channels"
    )


def test_bad_input_is_named() -> None:
    x = torch.randn(1, 1, 8, 8)
    with pytest.raises(shiftcheck.NotLinearError, match="does not hold"):
        shiftcheck.operator_matrix(torch.relu, x)
    with pytest.raises(shiftcheck.InconclusiveError, match="dead output"):
        shiftcheck.operator_matrix(lambda x: 0 * x, x)
    with pytest.raises(shiftcheck.InputError, match="entries"):
        shiftcheck.operator_matrix(torch.nn.Identity(), torch.randn(1, 3, 64, 64))
    with pytest.raises(shiftcheck.InputError, match="spatial"):
        shiftcheck.operator_matrix(lambda x: x.flatten(1), x)
    with pytest.raises(shiftcheck.InputError, match="2 outputs"):
        shiftcheck.operator_matrix(lambda x: (x, 2 * x), x)
    with pytest.raises(shiftcheck.InconclusiveError, match="mixes the batch"):
        shiftcheck.operator_matrix(lambda x: x + x.flip(0), torch.randn(2, 1, 8))
