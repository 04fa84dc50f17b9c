"""How far outputs see ahead by the structure, against single samples that are replaced."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shiftcheck
from shiftcheck.checks.causality.ahead import Blocks

Tensor = torch.Tensor


@pytest.mark.parametrize("stride", ["1", "2", "3", "1/2", "2/3", "3/2", "5/4"])
@pytest.mark.parametrize("size", ["1", "2", "6", "2/3"])
def test_samples_are_due_when_their_block_is_complete(stride: str, size: str) -> None:
    s, b = Fraction(stride), Fraction(size)
    blocks = Blocks(stride=s, size=b)
    for k, due in enumerate(blocks.due(np.arange(24)).tolist()):
        block = int(k * s / b)  # the one that the place of the sample is in
        inside = [t for t in range(200) if t < (block + 1) * b]
        assert due == max(inside)
    assert blocks.stand(np.arange(24)).tolist() == [int(k * s) for k in range(24)]


class Positive(nn.Module):
    """Layers with positive weights, which let every sample that they read be seen."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__()
        self.steps: list[Any] = []
        stride = Fraction(1)
        for _ in range(draw.randint(1, 4)):
            kernel, dilation = draw.randint(1, 4), draw.randint(1, 3)
            left, right = draw.randint(0, 4), draw.randint(0, 4)
            kind = draw.choice(["conv", "conv", "down", "up", "pool"])
            if kind == "down" and stride < 4:
                stride *= 2
            elif kind == "up" and stride > Fraction(1, 4):
                stride /= 2
            else:
                kind = "pool" if kind == "pool" else "conv"
            self.steps.append((kind, kernel, dilation, left, right))

    def forward(self, x: Tensor) -> Tensor:
        for kind, kernel, dilation, left, right in self.steps:
            weight = torch.ones(1, 1, kernel, dtype=x.dtype)
            if kind == "up":
                y = F.conv_transpose1d(x, weight.new_ones(1, 1, kernel + 1), stride=2)
                x = y[..., left % 2 : y.shape[-1] - right % 2]
            elif kind == "pool":
                x = F.avg_pool1d(F.pad(x, (left, right)), kernel, 1)
            else:
                step = 2 if kind == "down" else 1
                x = F.conv1d(F.pad(x, (left, right)), weight, stride=step, dilation=dilation)
        return x


def seen_ahead(model: Any, x: Tensor, stride: Fraction, block: Fraction) -> int:
    """The furthest that any output sample sees, of inputs that are far from both ends."""
    base, size = model(x), x.shape[-1]
    found = []
    for time in range(size // 3, 2 * size // 3):
        other = x.clone()
        other[..., time] += 1
        changed = (model(other) != base).flatten(0, -2).any(0).nonzero().flatten()
        due = Blocks(stride=stride, size=block).due(changed.numpy())
        found += (time - due).tolist()
    return max(found)


@pytest.mark.parametrize("seed", range(24))
def test_the_look_ahead_of_the_structure_is_that_of_single_samples(seed: int) -> None:
    model = Positive(random.Random(seed))
    x = torch.randint(0, 9, (1, 1, 96), generator=torch.Generator().manual_seed(seed)).double()
    report = shiftcheck.check_causality(model, x)
    output = report.outputs[0]
    assert output.stride is not None
    assert output.block is not None
    ahead = seen_ahead(model, x, output.stride, output.block)
    assert output.lookahead == ahead
    assert output.ahead == seen_ahead(model, x, output.stride, Fraction(1))
    assert report.verdict == ("causal" if ahead <= 0 else "not causal")
    if ahead > 0:
        assert output.measured == ahead


def test_a_mask_of_any_shape_ends_what_is_seen_ahead() -> None:
    """The furthest that is visible of each place; biases differ from pair to pair."""
    torch.manual_seed(0)
    here = torch.arange(40)
    distance = here - here[:, None]
    for keep, ahead in (
        (distance <= 2, 2),
        (here // 5 <= here[:, None] // 5, 4),
        ((distance <= 0) & (distance > -6), 0),
        ((distance <= 3) & (distance > -6), 3),
        (distance < 0, -1),
    ):
        keep = keep | (here == 0)  # none sees nothing
        bias = torch.randn(40, 40).masked_fill(~keep, -torch.inf)
        for mask in (keep, bias):

            def attention(x: Tensor, mask: Tensor = mask) -> Tensor:
                return F.scaled_dot_product_attention(x, x, x, attn_mask=mask)

            x = torch.randn(1, 40, 2)
            output = shiftcheck.check_causality(attention, x, axis=1).outputs[0]
            assert output.lookahead == max(ahead, 0)  # a query sees itself
            assert (output.verdict == "causal") == (ahead <= 0)


def test_weights_that_are_zero_are_read_for_causality_alone() -> None:
    weight = torch.tensor([[[1.0, 2.0, 0.0]]])

    def masked(x: Tensor) -> Tensor:
        return F.conv1d(x, weight, padding=1)

    x = torch.randn(1, 1, 32)
    assert shiftcheck.check_causality(masked, x).outputs[0].lookahead == 0
    assert shiftcheck.geometry(masked, x).outputs[0].halo == ((1.0, 1.0),)


def test_a_transposed_convolution_with_zeros_ahead() -> None:
    weight = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])

    def late(x: Tensor) -> Tensor:
        return F.conv_transpose1d(x, weight, stride=2)[..., 2:]

    x = torch.randn(1, 1, 32)
    assert shiftcheck.check_causality(late, x).verdict == "causal"


def test_an_empty_cache_joins_what_has_another_rank() -> None:
    """As the key-value caches of transformers begin."""

    def cached(x: Tensor) -> Tensor:
        return torch.cat([torch.tensor([]), x], -1).cumsum(-1)

    assert shiftcheck.check_causality(cached, torch.randn(1, 2, 32)).verdict == "causal"
