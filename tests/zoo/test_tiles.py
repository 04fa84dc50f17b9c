"""Networks of other people in tiles: as the whole where that is said, else a layer says why."""

from __future__ import annotations

import pytest
import torch
from tests.zoo.models import ZOO

import shiftcheck
from shiftcheck.report import Reach, TilingPlan

TILED = {
    "ResNet": 288,
    "RegNet": 384,
    "MobileNetV2": 704,
    "PoolFormer": 384,
    "Swin2SR": 48,
}
"""Pixels of an image from which several of the least tiles are cut."""

WHOLE = {
    "EfficientNet": "pooler",  # its window is larger than any image
    "FocalNet": "encoder.stages.0.layers.0.modulation.mean",
    "ViT": "layers.0.attention.scaled_dot_product_attention",
    "Swin": "pooler",
    "SegFormer": "stages.0.blocks.0.attention.scaled_dot_product_attention",
    "Wav2Vec2": "network.encoder.layers.0.attention.scaled_dot_product_attention",
}
"""A layer of each that no statistic is enough for."""


def plan_of(name: str, shape: tuple[int, ...]) -> TilingPlan:
    model = ZOO[name].model().double()
    return shiftcheck.tiling(model, torch.empty(shape, dtype=torch.float64, device="meta"))


@pytest.mark.slow
@pytest.mark.parametrize("name", TILED)
def test_tiles_give_the_whole(name: str) -> None:
    shape = (1, 3, TILED[name], TILED[name])
    plan, model = plan_of(name, shape), ZOO[name].model().double()
    assert plan.exact
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    tile = tuple(min(axis.least + axis.step, axis.pixels) for axis in plan.axes)
    plan = shiftcheck.tiling(model, torch.empty_like(x, device="meta"), tile=tile)
    assert plan.tiles > 1
    assert shiftcheck.tiled(model, plan).difference(x) <= 64 * torch.finfo(x.dtype).eps


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_a_layer_says_why_no_tiles_do(name: str) -> None:
    plan = plan_of(name, ZOO[name].shape)
    assert not plan.exact
    assert WHOLE[name] in [b.layer for b in plan.blocking if b.reach is not Reach.REDUCIBLE]
