"""The assertion that tiles give what the whole gives."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import _shiftcheck_listeners as listeners
import shiftcheck
from shiftcheck import InconclusiveError, TilesDifferError
from shiftcheck.testing.records import record_of

Tensor = torch.Tensor


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv1d(1, 1, 5, padding=2)


def halves(net: nn.Module, x: Tensor, overlap: int) -> Tensor:
    one, other = net(x[..., : 32 + overlap]), net(x[..., 32 - overlap :])
    return torch.cat([one[..., :32], other[..., overlap:]], -1)


def test_it_passes_and_returns_what_was_compared(net: nn.Module) -> None:
    found = shiftcheck.assert_tiled_equals_whole(
        net, lambda x: halves(net, x, 2), torch.randn(1, 1, 64)
    )
    assert found.verdict == "same"
    assert found.outputs[0].error is not None


def test_the_message_says_why_where_and_what_would_do(net: nn.Module) -> None:
    with pytest.raises(TilesDifferError) as caught:
        shiftcheck.assert_tiled_equals_whole(
            net, lambda x: halves(net, x, 1), torch.randn(1, 1, 64)
        )
    assert isinstance(caught.value, AssertionError)
    for words in (
        "DIFFERENT, overlap too small",
        "seams at 32",
        "too small by at least 1 pixel",
        "reads 2 pixels more to the left and 2 to the right",
    ):
        assert words in str(caught.value)


def test_what_tells_nothing_does_not_pass(net: nn.Module) -> None:
    with pytest.raises(InconclusiveError, match="nothing was cut"):
        shiftcheck.assert_tiled_equals_whole(net, lambda x: net(x), torch.randn(1, 1, 64))


@pytest.mark.parametrize(("overlap", "passed"), [(2, True), (1, False)])
def test_the_summary_of_a_run_is_told(net: nn.Module, overlap: int, passed: bool) -> None:
    told: list[listeners.Outcome] = []
    listeners.listeners.append(told.append)
    try:
        shiftcheck.assert_tiled_equals_whole(
            net, lambda x: halves(net, x, overlap), torch.randn(1, 1, 64)
        )
    except TilesDifferError:
        pass
    finally:
        listeners.listeners.pop()
    record = record_of(told[0])
    assert record["passed"] is passed
    assert record["worst"][3] == "between tiles and whole"
