"""A model that computes with the size of its input gives something else on a part of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import shiftcheck
from shiftcheck.report import Memory, Streaming


class Divided(nn.Module):
    """A layer of a class of its own, inside of which nothing is a row."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu() / x.shape[-1]


class Branching(nn.Module):
    """Another factor from some size on."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.shape[-1] >= 100 else x * 3


class Rounds(nn.Module):
    """As many rounds as the size has sixteenths."""

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(x.shape[-1] // 16):
            x = x * 1.1
        return x


SIZED: dict[str, Callable[[Tensor], Tensor]] = {
    "division": lambda x: x.relu() / x.shape[-1],
    "module": nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), Divided()),
    "tensor": lambda x: x * torch.tensor(float(x.shape[-1])),
    "full": lambda x: x + torch.full((1, 1, 1, 1), x.shape[-1] / 100),
    "power": lambda x: x.abs() ** (1 / x.shape[-1]),
    "padding": lambda x: F.pad(x, (1, 1, 1, 1), value=float(x.shape[-1])),
    "mask": lambda x: x.masked_fill(x > 0, x.shape[-1]),
    "clamp": lambda x: x.clamp(max=x.shape[-1] / 10),
    "scale": lambda x: torch.add(x, x, alpha=x.shape[-1]),
    "branch": Branching(),
    "rounds": Rounds(),
    "weight": lambda x: F.conv2d(x, torch.ones(1, 1, 3, 3) / x.shape[-1], padding=1),
    "norm": lambda x: F.batch_norm(x, torch.zeros(1), torch.ones(1), eps=1 / x.shape[-1]),
    "mean by hand": lambda x: x - x.sum((2, 3), keepdim=True) / (x.shape[2] * x.shape[3]),
}
PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "numbers": lambda x: (x * 2 + 0.5).clamp(-1, 1) / 3,
    "resized": lambda x: F.interpolate(F.avg_pool2d(x, 2), size=x.shape[-2:]),
    "padded to a multiple": lambda x: F.pad(x, (0, -x.shape[-1] % 8, 0, -x.shape[-2] % 8)),
    "constant": lambda x: x * torch.tensor([0.5]) + torch.full((1, 1, 1, 1), 3.0),
    "group norm": nn.GroupNorm(1, 1),
    "network": nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.GELU(), nn.Dropout(0.1)
    ).eval(),
}


@pytest.mark.parametrize("name", SIZED)
def test_no_tile_knows_the_size_of_the_whole(name: str) -> None:
    plan = shiftcheck.tiling(SIZED[name], (1, 1, 128, 128))
    if name == "branch":  # below 100 pixels it is the same whatever the size
        assert plan.tile == (128, 128)
        return
    assert not plan.exact
    assert name == "rounds" or any("size of the image" in one.detail for one in plan.blocking)


@pytest.mark.parametrize("name", PLAIN)
def test_other_numbers_keep_no_tile_from_being_exact(name: str) -> None:
    assert shiftcheck.tiling(PLAIN[name], (1, 1, 128, 128)).exact


@pytest.mark.parametrize("name", [name for name in SIZED if name != "mean by hand"])
def test_no_shard_knows_it(name: str) -> None:
    assert not shiftcheck.sharding(SIZED[name], (1, 1, 64, 64), 2, -1).exact


@pytest.mark.parametrize("name", PLAIN)
def test_other_numbers_keep_no_shard_from_being_exact(name: str) -> None:
    assert shiftcheck.sharding(PLAIN[name], (1, 1, 64, 64), 2, -1).exact


def test_no_stream_knows_its_length() -> None:
    plan = shiftcheck.streaming(SIZED["division"], (1, 1, 64))
    assert plan.streaming is Streaming.ENDLESS
    assert [layer.memory for layer in plan.obstacles] == [Memory.LENGTH]
    assert plan.obstacles[0].layer == "div"
    assert shiftcheck.streaming(SIZED["rounds"], (1, 1, 64)).streaming is Streaming.ENDLESS
    causal = nn.Sequential(nn.ConstantPad1d((2, 0), 0.0), nn.Conv1d(1, 1, 3), nn.ReLU())
    assert shiftcheck.streaming(causal, (1, 1, 64)).finite
