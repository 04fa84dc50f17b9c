"""A larger input of the same values, with what was given in the middle."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from shiftcheck.measuring.signals.arguments import Inputs
from shiftcheck.measuring.signals.read_arguments import read_inputs
from shiftcheck.measuring.signals.resized import resized


def inputs_of(x: Any, dims: Any = None) -> Inputs:
    return read_inputs(x, boundary="valid", spatial_dims=dims, whole_numbers=True)


@pytest.mark.parametrize("shape", [(2, 3, 8), (2, 3, 8, 9), (1, 2, 4, 5, 6)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8, torch.bool])
def test_every_value_is_one_of_its_own_channel(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = (10 * torch.randn(shape)).abs().to(dtype)
    sizes = tuple(2 * n + 1 for n in shape[2:])
    out = resized(inputs_of(x), sizes).main.tensor
    assert (tuple(out.shape), out.dtype) == ((*shape[:2], *sizes), dtype)
    for b in range(shape[0]):
        for c in range(shape[1]):
            assert set(out[b, c].flatten().tolist()) <= set(x[b, c].flatten().tolist())
    middle = out
    for d, (n, size) in enumerate(zip(shape[2:], sizes, strict=True), 2):
        middle = middle.narrow(d, (size - n) // 2, n)
    assert torch.equal(middle, x)


def test_a_shorter_axis_keeps_its_middle() -> None:
    x = torch.arange(10.0).reshape(1, 1, 10)
    assert resized(inputs_of(x), (4,)).main.tensor.tolist() == [[[3.0, 4.0, 5.0, 6.0]]]


def test_channels_may_be_last_and_the_input_stays() -> None:
    x = torch.randn(1, 8, 9, 3)
    before = x.clone()
    out = resized(inputs_of(x, (1, 2)), (12, 12)).main.tensor
    assert out.shape == (1, 12, 12, 3)
    assert torch.equal(out[:, 2:10, 1:10], x)
    assert torch.equal(x, before)


def test_the_seed_decides_what_is_drawn() -> None:
    inputs = inputs_of(torch.randn(1, 1, 8, 9))
    one, same, other = (resized(inputs, (20, 20), seed).main.tensor for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert resized(inputs, (8, 9)) is inputs
