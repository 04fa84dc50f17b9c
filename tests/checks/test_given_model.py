"""What is given as a model and is none: the sentence says what to give, in every check."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.conv(x)
        return out


class Wide(Net):
    def __init__(self, width: int, depth: int = 2) -> None:
        super().__init__()


class Doubles:
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


class Cube(torch.autograd.Function):
    pass


def build(width: int = 3) -> Net:
    return Net()


X = torch.randn(1, 3, 12, 13)

WRONG: list[tuple[Any, str]] = [
    (Net, r"model=Net is a class: give an instance: Net\(\)$"),
    (Wide, r"model=Wide is a class: give an instance: Wide\(width=\.\.\.\)$"),
    (Doubles, r"model=Doubles is a class: give an instance: Doubles\(\)$"),
    (int, "model=int is a class, and what it makes cannot be called"),
    (Cube, r"give Cube\.apply$"),
    (functools.partial(Wide, width=3), r"give an instance: partial\(Wide, width=3\)\(\)$"),
    (functools.partial(functools.partial(Wide, 3), depth=4), "makes a Wide and is none"),
    ([Net(), Net()], "model=<list> holds models: check each of them"),
    ({"a": Net()}, "model=<dict> holds models"),
    ([1, 2], "model=<list> cannot be called"),
    ("weights.pt", r"model='weights\.pt' is a name and no model: load what is meant"),
    (Path("weights.pt"), "is a name and no model"),
    (Net().state_dict(), r"holds weights and no model: .*load_state_dict"),
    (None, "model=None cannot be called: .* has to return it"),
    (X, "model=<Tensor> cannot be called: give a module or a function first"),
    (nn.ModuleList([Net()]), r"such as model\[0\], or all in a row: torch\.nn\.Sequential"),
    (nn.ModuleDict({"head": Net()}), r"such as model\['head'\]$"),
    (nn.Module(), "has no forward"),
]


@pytest.mark.parametrize(("model", "says"), WRONG)
def test_what_is_no_model_is_refused(model: Any, says: str) -> None:
    with pytest.raises(shiftcheck.InputError, match=says) as caught:
        shiftcheck.check_equivariance(model, X)
    assert len(str(caught.value)) < 200  # no dump of what was given


CHECKS: list[Callable[..., Any]] = [
    shiftcheck.check_equivariance,
    shiftcheck.assert_equivariant,
    shiftcheck.check_invariance,
    shiftcheck.assert_invariant,
    shiftcheck.check_linear,
    shiftcheck.assert_linear,
    shiftcheck.check_convolution,
    shiftcheck.impulse_response,
    shiftcheck.as_convolution,
    shiftcheck.operator_matrix,
    shiftcheck.equivariance_metrics,
    shiftcheck.lie_derivatives,
    shiftcheck.geometry,
]


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_refuses_a_class(check: Callable[..., Any]) -> None:
    with pytest.raises(shiftcheck.InputError, match=r"give an instance: Net\(\)"):
        check(Net, X)


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_says_how_many_channels_the_model_takes(check: Callable[..., Any]) -> None:
    with pytest.raises(shiftcheck.ModelError, match="the model runs with 3") as caught:
        check(Net(), X[:, :1])
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert str(caught.value.__cause__) in str(caught.value)


@pytest.mark.parametrize(
    "model",
    [
        Net(),
        Doubles(),
        functools.partial(torch.mul, other=2),
        Net().forward,
        nn.Sequential(),
    ],
)
def test_what_can_be_called_is_a_model(model: Any) -> None:
    shiftcheck.geometry(model, X)


def test_a_factory_that_was_not_called() -> None:
    with pytest.raises(shiftcheck.ModelError, match=r"returned a Net, and no tensor"):
        shiftcheck.check_equivariance(build, X)
