"""Passes without rules go the way of one that was traced, or are not compared."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.measuring.passes import Passes
from shiftcheck.tracing.traced import Traced

SHIFTS = [(1, 0), (0, 1), (2, 1)]


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For every pass without rules, whether it came to its end."""
    ends: list[bool] = []
    plain = Passes.run_again

    def noted(self: Passes, traced: Traced, values: list[object]) -> list[torch.Tensor] | None:
        out = plain(self, traced, values)
        ends.append(out is not None)
        return out

    monkeypatch.setattr(Passes, "run_again", noted)
    return ends


def assert_passes(model: Callable[..., object], layer: str | None = None) -> None:
    x = torch.randn(2, 1, 16, 18, generator=torch.Generator().manual_seed(0))
    shiftcheck.assert_equivariant(model, x, shifts=SHIFTS, layer=layer)


@pytest.mark.parametrize("layer", [None, "0", "1"])
def test_a_plain_model_is_followed(layer: str | None, followed: list[bool]) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Conv2d(2, 1, 3))
    assert_passes(model, layer)
    assert followed == [True]


def test_several_outputs_are_followed(followed: list[bool]) -> None:
    conv = nn.Conv2d(1, 2, 3)
    assert_passes(lambda x: {"a": conv(x), "b": [x * 2, conv(x).relu_()]})
    assert followed == [True]


def test_another_way_for_a_larger_batch_is_not_compared(followed: list[bool]) -> None:
    assert_passes(lambda x: x * 2 if len(x) == 2 else x + x)
    assert followed == [False]


def test_what_is_returned_counts_and_not_what_was_computed(followed: list[bool]) -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        one, two = x * 2, x * 3
        return one if len(x) == 2 else two

    x = torch.randn(2, 1, 16, 18)
    with pytest.raises(shiftcheck.InconclusiveError, match="batch coupled"):
        shiftcheck.assert_equivariant(model, x, shifts=SHIFTS)
    assert followed[0]


def test_values_that_are_read_forbid_it(followed: list[bool]) -> None:
    x = torch.randn(2, 1, 16, 18)
    with pytest.raises(shiftcheck.InconclusiveError):
        shiftcheck.assert_equivariant(
            lambda x: x * 2 if float(x.sum()) < 1e9 else x, x, shifts=SHIFTS
        )
    assert followed == []


def test_what_is_drawn_forbids_it(followed: list[bool]) -> None:
    x = torch.randn(2, 1, 16, 18)
    with pytest.raises(shiftcheck.InconclusiveError):
        shiftcheck.assert_equivariant(lambda x: x + torch.rand_like(x), x, shifts=SHIFTS)
    assert followed == []


class Remembers(nn.Module):
    """Writes to a buffer, in a larger batch too."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: torch.Tensor
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.fill_(float(len(x)))
        return x * 2


def test_a_buffer_that_is_written_to_is_put_back(followed: list[bool]) -> None:
    model = Remembers()
    assert_passes(model)
    assert model.seen.tolist() == [0.0]
