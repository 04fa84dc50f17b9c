"""Rules are asked once for the same question, and again when a parameter was written to."""

from typing import Any

import pytest
import torch
from torch import nn

from shiftcheck.measuring.signals.read_arguments import read_inputs
from shiftcheck.tracing.answers import Answers
from shiftcheck.tracing.memo import Memo
from shiftcheck.tracing.operations import Operation
from shiftcheck.tracing.traced import Given, Manner
from shiftcheck.tracing.tracer import run


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every rule that was asked."""
    found: list[Any] = []
    ask = Answers._ask

    def noted(self: Answers, operation: Operation) -> Any:
        found.append(operation.func.__name__)
        return ask(self, operation)

    monkeypatch.setattr(Answers, "_ask", noted)
    return found


X = torch.randn(1, 2, 12, 13, generator=torch.Generator().manual_seed(0))


class Passes:
    """Passes of one model that know the laws of the earlier ones."""

    def __init__(self) -> None:
        self.memo, self.inputs = Memo(), read_inputs(X, boundary="valid", spatial_dims=None)
        self.signal = self.inputs.signal(self.inputs.main, 1)

    def __call__(self, model: Any) -> Any:
        with torch.inference_mode():
            x = X.clone()
            traced = run(
                model,
                Given(args=(x,), kwargs={}, layouts=[(x, self.signal)]),
                Manner(stacked=False),
                on_row=lambda row, tensor: None,
                on_write=lambda tensor: None,
                memo=self.memo,
            )
        return traced.outputs[0][2]


def test_the_second_pass_asks_nothing(asked: list[Any]) -> None:
    model, passes = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2)), Passes()
    first = passes(model)
    count = len(asked)
    assert count > 0
    assert passes(model) is first
    assert len(asked) == count


def test_the_same_rule_is_asked_for_each_place() -> None:
    conv = nn.Conv2d(2, 2, 3, padding=1)
    padded = Passes()(lambda x: conv(conv(x)))
    assert int(padded.axes[0].valid.sum()) == 12 - 4


def test_a_constant_of_the_pass_is_asked_about_again(asked: list[Any]) -> None:
    passes = Passes()

    def model(x: torch.Tensor) -> torch.Tensor:
        return x + torch.linspace(0, 1, 13)

    passes(model)
    count = len(asked)
    passes(model)
    assert len(asked) == 2 * count


class Embedded(nn.Module):
    """Adds a parameter that may be the same everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1, 1, 1, 13))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.place


def kinds(signal: Any) -> list[tuple[str, bool]]:
    return [(c.kind, c.latent) for c in signal.causes]


def test_a_parameter_that_was_written_to_is_looked_at_again() -> None:
    model, passes = Embedded(), Passes()
    assert kinds(passes(model)) == [("POSITION", True)]
    with torch.no_grad():
        model.place.copy_(torch.linspace(0, 1, 13))
    assert kinds(passes(model)) == [("POSITION", False)]


def test_a_parameter_that_was_replaced_is_looked_at_again() -> None:
    model, passes = Embedded(), Passes()
    assert kinds(passes(model)) == [("POSITION", True)]
    model.place.data = torch.linspace(0, 1, 13).reshape(1, 1, 1, 13)
    assert kinds(passes(model)) == [("POSITION", False)]


def test_a_parameter_that_the_model_writes_to_is_looked_at_again() -> None:
    passes, embedded = Passes(), Embedded()

    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.now = embedded, False

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.now:
                self.inner.place.data.copy_(torch.linspace(0, 1, 13))
            return self.inner(x)

    model = Writes()
    assert kinds(passes(model)) == [("POSITION", True)]
    model.now = True
    assert kinds(passes(model)) == [("POSITION", False)]


def test_no_constant_of_a_pass_is_held() -> None:
    passes = Passes()
    passes(lambda x: x + torch.linspace(0, 1, 13))
    held = [h for _, some in passes.memo.kept.values() for h in some]
    assert not any(isinstance(h, torch.UntypedStorage) for h in held)
