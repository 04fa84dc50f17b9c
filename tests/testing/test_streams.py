"""The assertion that a step gives what its model gives on the whole."""

from __future__ import annotations

import pytest
import torch
from tests.networks.streamed import CachedStack, CausalStack, signal
from torch import Tensor, nn

import _shiftcheck_listeners as listeners
import shiftcheck
from shiftcheck import InconclusiveError, StreamDiffersError
from shiftcheck.testing.records import record_of

STACK, X = CausalStack(), signal(2, 2, 100)


def test_it_passes_and_returns_what_was_compared() -> None:
    found = shiftcheck.assert_streamable(CachedStack(STACK), STACK, X, 16, reset="reset")
    assert found.verdict == "same"
    assert found.error is not None


def test_the_message_says_why_where_and_what_would_mend_it() -> None:
    with pytest.raises(StreamDiffersError) as caught:
        shiftcheck.assert_streamable(STACK, STACK, X, 16)
    assert isinstance(caught.value, AssertionError)
    for words in (
        "CausalStack on 2x2x100, in chunks of 16 by CausalStack: DIFFERENT, no state",
        "no state at chunk 1, sample 16 of output",
        "the model looks back 8 samples",
        "keep what the layers have to know of earlier chunks",
        "look-back 8, look-ahead 0, latency 0",
    ):
        assert words in " ".join(str(caught.value).split())


def test_what_tells_nothing_does_not_pass() -> None:
    def dead(x: Tensor) -> Tensor:
        return 0 * x

    with pytest.raises(InconclusiveError, match="dead output"):
        shiftcheck.assert_streamable(dead, dead, X, 16)


@pytest.mark.parametrize("passed", [True, False])
def test_the_summary_of_a_run_is_told(passed: bool) -> None:
    told: list[listeners.Outcome] = []
    listeners.listeners.append(told.append)
    step: nn.Module = CachedStack(STACK) if passed else STACK
    try:
        shiftcheck.assert_streamable(step, STACK, X, 16)
    except StreamDiffersError:
        pass
    finally:
        listeners.listeners.pop()
    record = record_of(told[0])
    assert record["passed"] is passed
    assert record["model"] == "CausalStack"


def test_a_layer_of_torch() -> None:
    lstm = nn.LSTM(3, 4, batch_first=True)
    x = torch.randn(1, 60, 3)
    there = {"axis": 1, "spatial_dims": (1,)}
    found = shiftcheck.assert_streamable(lstm, lambda x: lstm(x)[0], x, 16, **there)
    assert found.layers == ()
