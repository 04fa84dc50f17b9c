"""One test for each layer: which layers, and what is expected of them."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import (
    InconclusiveError,
    InputError,
    MissingExtraError,
    ModelError,
    NotEquivariantError,
)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.twice = nn.Conv2d(2, 2, 3, padding=1)
        self.head = nn.Linear(2 * 10 * 12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv(x))
        x = self.twice(self.twice(x))
        return self.head(x.flatten(1))


NAMES = ["conv", "relu", "twice", "twice#2", "flatten", "head"]
X = torch.randn(1, 1, 12, 14)


def cases(**options: Any) -> dict[str, list[pytest.Mark]]:
    mark = shiftcheck.parametrize_with_layers(Net(), options.pop("x", X), **options)
    argument, values = mark.args
    assert argument == "layer"
    assert [value.values for value in values] == [(value.id,) for value in values]
    return {value.id: [m.mark for m in value.marks] for value in values}


def test_the_layers_are_those_of_the_report_in_the_order_of_execution() -> None:
    report = shiftcheck.check_equivariance(Net(), X)
    assert list(cases()) == [row.name for row in report.layers]
    assert [name for name in NAMES if name in cases()] == [n for n in cases() if n in NAMES]
    assert {"conv", "relu", "twice", "twice#2", "head"} <= set(cases())
    assert cases(x=(1, 1, 12, 14)) == cases()
    assert not any(cases().values())


def test_every_name_can_be_checked_up_to() -> None:
    for name in cases():
        shiftcheck.check_equivariance(Net(), X, layer=name)


@pytest.mark.parametrize(
    ("argument", "error"),
    [("expected_failures", NotEquivariantError), ("expected_inconclusive", InconclusiveError)],
)
def test_what_is_expected_is_strict_and_of_one_kind(argument: str, error: type[Exception]) -> None:
    found = cases(**{argument: {"head": "it has no spatial axes"}})
    (xfail,) = found.pop("head")
    assert xfail.name == "xfail"
    assert xfail.kwargs == {"reason": "it has no spatial axes", "strict": True, "raises": error}
    assert not any(found.values())


@pytest.mark.parametrize("argument", ["expected_failures", "expected_inconclusive"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"haed": "a typing error"}, "there is no layer 'haed'; there are 'conv', 'relu', "),
        ({"head": ""}, "['head']='': give the reason as a sentence"),
        ({"head": True}, "['head']=True: give the reason as a sentence"),
        (["head"], "=['head']: give a dict of layers with their reasons"),
    ],
)
def test_what_is_expected_names_layers_and_reasons(argument: str, value: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        cases(**{argument: value})
    assert str(caught.value).startswith(argument)
    assert message in str(caught.value)


def test_a_layer_is_expected_to_be_one_thing() -> None:
    with pytest.raises(InputError, match=r"both name \['head'\]: choose one"):
        cases(expected_failures={"head": "a"}, expected_inconclusive={"head": "b"})


def test_a_model_without_layers_has_no_tests() -> None:
    with pytest.raises(InputError, match="has no layers, so that there is nothing to test"):
        shiftcheck.parametrize_with_layers(nn.Identity().forward, X)


def test_a_model_that_raises() -> None:
    with pytest.raises(ModelError, match="the model raised"):
        cases(x=(1, 3, 12, 14))


def test_without_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytest", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'torch-shiftcheck\[pytest\]'"):
        cases()
