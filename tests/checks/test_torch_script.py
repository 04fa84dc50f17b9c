"""Scripted and traced modules, which take no hooks, are checked as the modules that they are of."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import shiftcheck

IMAGE = torch.randn(1, 2, 40, 48, generator=torch.Generator().manual_seed(1))
SOUND = torch.randn(1, 2, 200, generator=torch.Generator().manual_seed(2))


def scripted(net: nn.Module, x: Tensor) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(net.eval())


def traced(net: nn.Module, x: Tensor) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(net.eval(), x)


def part_of_another(net: nn.Module, x: Tensor) -> Any:
    return nn.Sequential(scripted(net, x), nn.Identity())


Made = Callable[[nn.Module, Tensor], Any]
every_way = pytest.mark.parametrize("made", [scripted, traced, part_of_another])


def normed() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU())


def causal() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.ConstantPad1d((4, 0), 0.0), nn.Conv1d(2, 4, 5), nn.ReLU())


@every_way
def test_tiles_with_a_pooled_statistic(made: Made) -> None:
    model = made(normed(), IMAGE)
    plan = shiftcheck.tiling(model, IMAGE, tile=16)
    assert (plan.exactness, plan.halo) == ("exact with pooled statistics", ((1, 1), (1, 1)))
    assert shiftcheck.tiled(model, plan).difference(IMAGE) < 1e-5


@every_way
def test_a_stream(made: Made) -> None:
    model = made(causal(), SOUND)
    plan = shiftcheck.streaming(model, SOUND)
    assert (plan.streaming, plan.lookback) == ("a finite state suffices", 4)
    pieces = list(shiftcheck.streamed(model, plan, chunk=20)(SOUND.split(17, -1)))
    assert torch.allclose(torch.cat(pieces, -1), model(SOUND), atol=1e-6)
    report = shiftcheck.check_streamable(lambda chunk: model(chunk), model, SOUND, 20)
    assert report.findings[0].fault == "no state"
    assert shiftcheck.check_causality(model, SOUND).verdict == "causal"


@every_way
def test_tiles_of_ones_own(made: Made) -> None:
    model = made(nn.Conv2d(2, 4, 3, padding=1), IMAGE)

    def overlapping(x: Tensor) -> Tensor:
        return torch.cat([model(x[..., :25])[..., :24], model(x[..., 23:])[..., 1:]], -1)

    def halves(x: Tensor) -> Tensor:
        return torch.cat([model(x[..., :24]), model(x[..., 24:])], -1)

    assert shiftcheck.compare_tiled(model, overlapping, IMAGE).verdict == "same"
    assert shiftcheck.compare_tiled(model, halves, IMAGE).verdict == "different"


@every_way
def test_shards(made: Made) -> None:
    model = made(normed(), IMAGE)
    found = shiftcheck.check_sharded(model, lambda parts: [model(p) for p in parts], IMAGE, 3)
    assert (found.verdict, found.located, found.guilty) == ("different", "outputs", None)
    right = lambda parts: list(model(torch.cat(list(parts), -1)).split(16, -1))  # noqa: E731
    assert shiftcheck.check_sharded(model, right, IMAGE, 3).verdict == "same"


@every_way
def test_an_evaluation_and_its_key(made: Made, tmp_path: Any) -> None:
    data = torch.randn(4, *IMAGE.shape[1:])
    plain = made(nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU()), IMAGE)
    found = shiftcheck.evaluate(plain, data, checkpoint=tmp_path / "kept.json")
    assert (found.items, found["equivariance"].pairs.largest < 1e-5) == (4, True)


@every_way
def test_the_derivative_along_a_shift(made: Made) -> None:
    (*_, last) = shiftcheck.lie_derivatives(made(nn.Conv2d(2, 4, 3, padding=1), IMAGE), IMAGE)
    assert max(last.relative) < 1e-4  # type: ignore[type-var]
