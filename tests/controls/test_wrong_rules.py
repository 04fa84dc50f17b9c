"""An operation whose rule is wrong: only measurement can tell, and it names the operation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import Verdict
from shiftcheck.rules import Layout, map_axes, note_new_causes, registry, resample, window

Taps = tuple[int, int]
"""How many samples before its own place a sample reads, and how many behind it."""


@torch.library.custom_op("wrong_rules::blur", mutates_args=())
def blur(
    x: torch.Tensor, left: int, right: int, step: int, wrap: bool, least: float
) -> torch.Tensor:
    """Weighs neighbours along the last dimension; the outermost ones by ``least``."""
    n = x.shape[-1]
    rows = x.flatten(0, -2)[:, None]
    wide = F.pad(rows, (left, right), "circular" if wrap else "constant")
    weights = [least, *[0.5] * (left + right - 1), least] if left + right else [1.0]
    kernel = torch.tensor(weights, dtype=x.dtype).view(1, 1, -1)
    size = -(-n // step)
    return F.conv1d(wide, kernel, stride=step)[..., :size].reshape(*x.shape[:-1], size)


@blur.register_fake
def _(x: torch.Tensor, left: int, right: int, step: int, wrap: bool, least: float) -> torch.Tensor:
    return x.new_empty(*x.shape[:-1], -(-x.shape[-1] // step))


@contextmanager
def told(claimed: Taps, step: int, wrap: bool) -> Iterator[None]:
    """Have a rule that claims these taps, this step, and circular padding or none."""
    before = dict(registry._table)

    def rule(x: Layout, *_: object) -> Layout:
        last = len(x.shape) - 1
        size = -(-x.shape[last] // step)
        reads = window(step, list(range(-claimed[0], claimed[1] + 1)))
        out = map_axes(x, [last], lambda axis, _: resample(axis, reads, size, wrap=wrap), [size])
        return note_new_causes(x, out)

    try:
        shiftcheck.register_rule("wrong_rules::blur", law="as claimed")(rule)
        yield
    finally:
        registry._table.clear()
        registry._table.update(before)


class Blur(nn.Module):
    """The operation as a layer."""

    def __init__(self, reads: Taps, step: int = 1, wrap: bool = False, least: float = 0.5) -> None:
        super().__init__()
        self.arguments = (*reads, step, wrap, least)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return blur(x, *self.arguments)


CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def network(layer: nn.Module, size: Sequence[int], place: int) -> nn.Module:
    torch.manual_seed(2)
    conv = CONVS[len(size)]
    layers: list[nn.Module] = [conv(2, 4, 1), nn.ReLU(), conv(4, 4, 1), nn.GELU(), conv(4, 2, 1)]
    layers.insert(place, layer)
    return nn.Sequential(*layers).eval()


def check(model: nn.Module, size: Sequence[int], boundary: str) -> shiftcheck.Report:
    x = torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(8))
    return shiftcheck.check_equivariance(model, x, boundary=boundary)


# what it reads, what is claimed, its step, whether it wraps, whether that is claimed, the boundary
WRONG: dict[str, tuple[Taps, Taps, int, bool, bool, str]] = {
    "halos exchanged": ((2, 1), (1, 2), 1, False, False, "valid"),
    "halos exchanged, the other way": ((1, 2), (2, 1), 1, False, False, "valid"),
    "one sample short on the left": ((2, 1), (1, 1), 1, False, False, "valid"),
    "one sample short on the right": ((1, 2), (1, 1), 1, False, False, "valid"),
    "no halo at all": ((1, 1), (0, 0), 1, False, False, "valid"),
    "causal, claimed to look ahead": ((3, 0), (0, 3), 1, False, False, "valid"),
    "halos exchanged at a stride": ((1, 2), (2, 1), 2, False, False, "valid"),
    "wraps around a plane": ((1, 1), (0, 0), 1, True, False, "valid"),
    "zeros on a circle": ((1, 1), (1, 1), 1, False, True, "circular"),
    "zeros on one side of a circle": ((0, 1), (0, 1), 1, False, True, "circular"),
    "zeros on a circle at a stride": ((1, 1), (1, 1), 2, False, True, "circular"),
}
SIZES = ((40,), (9, 36), (5, 6, 32))
STRENGTHS = ((2, 0.5), (0, 0.5), (5, 0.5), (2, 1e-3))
"""The place of the operation among the layers, and the weight of its outermost taps."""


@pytest.mark.parametrize("size", SIZES, ids=["1-D", "2-D", "3-D"])
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_is_found_at_its_layer(name: str, size: tuple[int, ...]) -> None:
    reads, claimed, step, wrap, said, boundary = WRONG[name]
    with told(claimed, step, said):
        for place, least in STRENGTHS if len(size) == 1 else STRENGTHS[:1]:
            report = check(network(Blur(reads, step, wrap, least), size, place), size, boundary)
            found = (report.verdict, report.reason)
            assert found == (Verdict.BROKEN, "disagrees with the structure"), (place, least)
            assert report.guilty is not None
            assert (report.guilty.kind, report.guilty.layer) == ("UNEXPLAINED", str(place))


# the same where the rule is right, or more careful than it must be
RIGHT: dict[str, tuple[Taps, Taps, int, bool, bool, str]] = {
    "as it is": ((2, 1), (2, 1), 1, False, False, "valid"),
    "at a stride": ((1, 2), (1, 2), 2, False, False, "valid"),
    "causal": ((3, 0), (3, 0), 1, False, False, "valid"),
    "claims more": ((1, 1), (2, 2), 1, False, False, "valid"),
    "wraps around a circle": ((1, 1), (1, 1), 1, True, True, "circular"),
    "wraps around a circle at a stride": ((2, 1), (2, 1), 2, True, True, "circular"),
    "halos exchanged on a circle": ((2, 1), (1, 2), 1, True, True, "circular"),
}


@pytest.mark.parametrize("size", SIZES, ids=["1-D", "2-D", "3-D"])
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_rule_is_believed(name: str, size: tuple[int, ...]) -> None:
    reads, claimed, step, wrap, said, boundary = RIGHT[name]
    with told(claimed, step, said):
        for place in (0, 2, 5) if len(size) == 1 else (2,):
            report = check(network(Blur(reads, step, wrap), size, place), size, boundary)
            assert report.verdict is Verdict.EQUIVARIANT, (place, report.reason, report.guilty)
