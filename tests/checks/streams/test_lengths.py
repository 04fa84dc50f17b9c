"""A plan of a stream holds for any length, and so not for a model that is tied to one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import shiftcheck
from shiftcheck.checks import at_other_sizes
from shiftcheck.measuring.structure_pass import read_structure
from shiftcheck.report import Memory, Streaming

T = 240
CONV = nn.Conv1d(2, 2, 5, padding=2).double()
TIED: dict[str, tuple[Callable[[Tensor], Tensor], Memory]] = {
    "a finer size": (lambda x: F.interpolate(CONV(x), size=480), Memory.RATIO),
    "a coarser size": (lambda x: F.interpolate(CONV(x), size=120), Memory.RATIO),
    "linear": (lambda x: F.interpolate(CONV(x), size=480, mode="linear"), Memory.RATIO),
    "pooled": (lambda x: F.adaptive_avg_pool1d(CONV(x), 120), Memory.RATIO),
    "split": (lambda x: CONV(x).reshape(1, 2, 60, -1).mean(-1), Memory.RATIO),
    "corners": (
        lambda x: F.interpolate(x, scale_factor=2, mode="linear", align_corners=True),
        Memory.RATIO,
    ),
    "the first ones": (lambda x: CONV(x)[..., :200], Memory.UNKNOWN),
    "the last ones": (lambda x: CONV(x)[..., -200:], Memory.UNKNOWN),
}
FREE: dict[str, Callable[[Tensor], Tensor]] = {
    "a factor": lambda x: F.interpolate(CONV(x), scale_factor=1.5),
    "a factor, linear": lambda x: F.interpolate(CONV(x), scale_factor=1.5, mode="linear"),
    "a coarser factor": lambda x: F.interpolate(CONV(x), scale_factor=2 / 3, mode="linear"),
    "by its own size": lambda x: F.interpolate(CONV(x), size=3 * x.shape[-1] // 2),
    "pooled by its own size": lambda x: F.adaptive_avg_pool1d(CONV(x), x.shape[-1] // 2),
    "padded to a multiple": lambda x: CONV(F.pad(x, (0, -x.shape[-1] % 16))),
    "ends cut off": lambda x: CONV(x)[..., 3:-7],
}


@pytest.mark.parametrize("name", TIED)
def test_what_is_tied_to_a_length_is_no_stream(name: str) -> None:
    model, memory = TIED[name]
    plan = shiftcheck.streaming(model, torch.randn(1, 2, T, dtype=torch.float64))
    assert plan.streaming is not Streaming.FINITE
    assert [one.memory for one in plan.obstacles] == [memory]
    assert plan.obstacles[0].layer not in ("Conv1d", "CONV")


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("length", [T, T + 14])
def test_what_follows_the_length_is_one(name: str, length: int) -> None:
    x = torch.randn(1, 2, length, dtype=torch.float64)
    plan = shiftcheck.streaming(FREE[name], x)
    assert plan.streaming is Streaming.FINITE, plan
    pieces = list(shiftcheck.streamed(FREE[name], plan)(x.split(17, -1)))
    assert torch.allclose(torch.cat(pieces, -1), FREE[name](x), atol=1e-9)


@pytest.mark.parametrize("name", ["a factor", "a factor, linear", "a coarser factor"])
def test_windows_of_a_resized_stream_give_the_whole(name: str) -> None:
    x = torch.randn(1, 2, 960, dtype=torch.float64)
    plan = shiftcheck.streaming(FREE[name], x)
    pieces = list(shiftcheck.streamed(FREE[name], plan, chunk=48)(x.split(50, -1)))
    assert len(pieces) > 10
    assert torch.allclose(torch.cat(pieces, -1), FREE[name](x), atol=1e-9)


def test_a_model_of_one_length_is_noted() -> None:
    plan = shiftcheck.streaming(lambda x: CONV(x) + torch.zeros(T, dtype=x.dtype), (1, 2, T))
    assert "no longer input" in " ".join(plan.notes)


def test_the_structure_at_another_length_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[int, ...]] = []

    def counting(model: Any, inputs: Any, **given: Any) -> Any:
        read.append(inputs.pixels)
        return read_structure(model, inputs, **given)

    monkeypatch.setattr(at_other_sizes, "read_structure", counting)
    shiftcheck.streaming(nn.Conv1d(1, 1, 3), (1, 1, 64))
    assert len(read) == len(set(read)) > 1
