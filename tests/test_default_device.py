"""The default device of the process belongs to the user's model: no check draws from it.

Tensors on the device ``meta`` have no values, so whatever is put there cannot be computed with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck

X = torch.randn(2, 3, 24, 26, generator=torch.Generator().manual_seed(0))


@pytest.fixture(name="_elsewhere")
def elsewhere() -> Iterator[None]:
    """New tensors are put on another device."""
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)
    del torch._GLOBAL_DEVICE_CONTEXT.device_context  # of which 2.6 asks for the device else


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 2, 3)
    ).eval()


def checkerboard() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.MaxPool2d(2), nn.Upsample(scale_factor=2), nn.Conv2d(3, 2, 3)).eval()


def without_a_rule(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.local_response_norm(x, 3).cummax(1).values


Work = Callable[[nn.Module, nn.Module, nn.Module], Any]
WORK: dict[str, Work] = {
    "plane": lambda good, bad, one: shiftcheck.check_equivariance(good, X),
    "circle": lambda good, bad, one: shiftcheck.check_equivariance(bad, X, boundary="circular"),
    "broken": lambda good, bad, one: shiftcheck.check_equivariance(bad, X),
    "weights": lambda good, bad, one: shiftcheck.check_equivariance(good, X, weights="randomized"),
    "between pixels": lambda good, bad, one: shiftcheck.check_equivariance(
        one, X, shifts=[(0.5, 0.0), (0.0, -1.5)], boundary="circular"
    ),
    "probed": lambda good, bad, one: shiftcheck.check_equivariance(without_a_rule, X),
    "geometry of a shape": lambda good, bad, one: shiftcheck.geometry(good, (1, 3, 24, 26)),
    "geometry of a signal": lambda good, bad, one: shiftcheck.geometry(good, X),
    "metrics": lambda good, bad, one: shiftcheck.equivariance_metrics(good, X),
    "derivatives": lambda good, bad, one: shiftcheck.lie_derivatives(good, X),
    "invariance": lambda good, bad, one: shiftcheck.check_invariance(
        lambda x: good(x).mean((2, 3)), X
    ),
    "linearity": lambda good, bad, one: shiftcheck.check_linear(one, X),
    "convolution": lambda good, bad, one: shiftcheck.check_convolution(one, X),
    "impulse response": lambda good, bad, one: shiftcheck.impulse_response(one, X),
    "matrix": lambda good, bad, one: shiftcheck.operator_matrix(one, X[:, :, :7, :6]).toeplitz,
    "shift": lambda good, bad, one: shiftcheck.shift(X, (1, -2), fill="reflect"),
    "shift between pixels": lambda good, bad, one: shiftcheck.shift(X, (0.5, -2.25)),
}


@pytest.mark.parametrize("name", WORK)
def test_nothing_changes(name: str, request: pytest.FixtureRequest) -> None:
    work, models = WORK[name], (layers(), checkerboard(), nn.Conv2d(3, 2, 3, bias=False))
    before = work(*models)
    request.getfixturevalue("_elsewhere")
    after = work(*models)
    if isinstance(before, torch.Tensor):
        assert torch.equal(before, after)
    else:
        assert str(before) == str(after)


@pytest.mark.usefixtures("_elsewhere")
def test_a_model_draws_from_it() -> None:
    seen = []

    def model(x: torch.Tensor) -> torch.Tensor:
        seen.append(torch.zeros(3).device.type)
        return x.relu()

    assert shiftcheck.check_equivariance(model, X).verdict is shiftcheck.Verdict.EQUIVARIANT
    assert set(seen) == {"meta"}
