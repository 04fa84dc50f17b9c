"""Faults of steps that look like another one, and what never comes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import shiftcheck
from shiftcheck import ModelError

torch.manual_seed(0)
CONV = nn.Conv1d(2, 3, 5)
X = torch.randn(2, 2, 160, generator=torch.Generator().manual_seed(3))


def model(x: Tensor) -> Tensor:
    return CONV(F.pad(x, (4, 0)))  # type: ignore[no-any-return]


class Step:
    """Keeps the last samples, changed in some way."""

    def __init__(self, keep: Any) -> None:
        self.keep, self.past = keep, torch.zeros(2, 2, 4)

    def __call__(self, chunk: Tensor) -> Tensor:
        both = torch.cat([self.past.to(chunk), chunk], -1)
        self.past = self.keep(both[..., -4:])
        return CONV(both)  # type: ignore[no-any-return]


def one_sample_less(past: Tensor) -> Tensor:
    past = past.clone()
    past[:, 0, 0] *= 0.99
    return past


@pytest.mark.parametrize(
    "keep", [lambda p: p * (1 + 1e-5), lambda p: p * 1.002, lambda p: p + 1e-3, one_sample_less]
)
def test_a_small_error_that_grows_with_the_signal_is_no_coarser_type(keep: Any) -> None:
    report = shiftcheck.check_streamable(Step(keep), model, X, 32)
    assert report.verdict == "different"
    assert "coarser type" not in report.faults


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_coarser_type_still_is(kind: torch.dtype) -> None:
    report = shiftcheck.check_streamable(Step(lambda p: p.to(kind)), model, X, 32)
    assert report.faults == ("coarser type",)


@pytest.mark.parametrize("nothing", [None, torch.zeros(2, 3, 0)])
def test_a_step_that_never_gives_anything_is_told(nothing: Any) -> None:
    report = shiftcheck.check_streamable(lambda chunk: nothing, model, X, 32)
    assert (report.verdict, report.faults) == ("different", ("another length",))
    assert "no sample came; the model gives 160" in str(report)


@pytest.mark.parametrize("coarse", [lambda c: (c > 0.1).long(), lambda c: c > 0.1])
def test_another_threshold_is_no_look_at_the_whole_chunk(coarse: Any) -> None:
    """Where a sample is changed, the one threshold is passed and the other is not."""
    x = torch.randn(2, 2, 320, generator=torch.Generator().manual_seed(3))
    report = shiftcheck.check_streamable(coarse, lambda x: (x > 0).to(coarse(x).dtype), x, 32)
    assert report.verdict == "different"
    assert "looks at the whole chunk" not in report.faults


def test_a_look_at_the_whole_chunk_still_is() -> None:
    def normed(chunk: Tensor) -> Tensor:
        return chunk - 0.1 * chunk.mean(-1, keepdim=True)

    report = shiftcheck.check_streamable(normed, lambda x: 1.0 * x, X, 32)
    assert "looks at the whole chunk" in report.faults


def test_a_place_is_a_state() -> None:
    class Placed:
        def __init__(self) -> None:
            self.start = 0

        def __call__(self, chunk: Tensor) -> Tensor:
            place = torch.arange(chunk.shape[-1]) + self.start
            self.start += chunk.shape[-1]
            return chunk + torch.sin(0.1 * place)

    def wave(x: Tensor) -> Tensor:
        return x + torch.sin(0.1 * torch.arange(x.shape[-1]))

    report = shiftcheck.check_streamable(Placed(), wave, X, 32)
    assert report.verdict == "same"
    assert any(note.startswith("the model needs no state but the place") for note in report.notes)


def test_it_is_said_that_no_length_of_chunks_helped() -> None:
    def broken(chunk: Tensor) -> Tensor:
        raise ValueError("no such key")

    with pytest.raises(ModelError, match="none of the lengths that were tried: mend"):
        shiftcheck.check_streamable(broken, model, X, 32)


def test_a_missing_state_is_not_all_where_the_first_chunk_is_wrong() -> None:
    other = nn.Conv1d(2, 3, 5)
    beside = "so it is not all"
    found = shiftcheck.check_streamable(lambda c: other(F.pad(c, (4, 0))), model, X, 32).findings
    assert (found[0].fault, beside in found[0].detail) == ("no state", True)
    centred = lambda x: CONV(F.pad(x, (2, 2)))  # noqa: E731
    for whole in (model, centred):
        found = shiftcheck.check_streamable(whole, whole, X, 32).findings
        assert (found[0].fault, beside in found[0].detail) == ("no state", False)
