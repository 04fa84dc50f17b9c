"""The cause PADDING belongs to the operation that reads beyond the edge, not to one after it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import shiftcheck

NORM = nn.GroupNorm(1, 2)
SAME = {
    "convolution": (nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3, padding=1)),
    "pool": (nn.AvgPool2d(3, 1), nn.AvgPool2d(3, 1, 1)),
    "pad": (nn.ZeroPad2d(-1), nn.ZeroPad2d(1)),
    "resizing": (
        nn.Upsample(scale_factor=2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
    ),
    "unfolding": (nn.Unfold(3), nn.Unfold(3, padding=1)),
}


def blamed(model: nn.Module) -> set[str]:
    report = shiftcheck.geometry(model, (1, 2, 16, 18))
    return {c.layer for row in report.layers for c in row.causes if c.kind == "PADDING"}


@pytest.mark.parametrize("name", SAME)
def test_padding_is_named_where_it_is(name: str) -> None:
    without, with_padding = SAME[name]
    assert blamed(nn.Sequential(NORM, without)) == set()
    assert blamed(nn.Sequential(NORM, with_padding)) == {"1"}
    assert blamed(nn.Sequential(NORM, nn.Conv2d(2, 2, 3), with_padding)) == {"2"}


def test_the_remedy_is_a_circle_only_where_nothing_else_breaks_there() -> None:
    x = torch.randn(1, 2, 16, 18)
    closed = shiftcheck.check_equivariance(NORM, x)
    assert "remedy: say that the signal is periodic, if it is" in str(closed)
    padded = nn.Sequential(NORM, nn.Conv2d(2, 2, 3, padding=1))
    assert "remedy: boundary=" not in str(shiftcheck.check_equivariance(padded, x))
