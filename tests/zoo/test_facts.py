"""What is known of these architectures from their papers, said by the geometry and the checks."""

from __future__ import annotations

from functools import lru_cache, partial

import pytest
import torch
import transformers
from tests.zoo.models import SWIN, SWIN2SR, ZOO, make
from torch import nn

import shiftcheck
from shiftcheck import Verdict


@lru_cache
def geometry(name: str) -> shiftcheck.Report:
    return shiftcheck.geometry(ZOO[name].model(), ZOO[name].shape)


def causes(report: shiftcheck.Report, kind: str) -> list[tuple[str, str]]:
    """The layers, with their operations, in which a cause of a kind arises; each once."""
    found = [(c.layer, c.op) for row in report.layers for c in row.causes if c.kind == kind]
    return list(dict.fromkeys(found))


STRIDES = {
    "ResNet": (32, 32),
    "RegNet": (32, 32),
    "EfficientNet": (32, 32),
    "MobileNetV2": (32, 32),
    "ConvNeXt": (32, 32),
    "PoolFormer": (32, 32),
    "FocalNet": (32, 32),
    "ViT": (16, None),
    "Swin": (8, 32),  # windows of 4 samples after patches of 4 and one merging of 2
    "SegFormer": (32, 32),
    "SegFormer, segmentation": (4, 32),
    "UPerNet on ConvNeXt": (1, 64),  # bins of 3 over 2 samples of stride 32
    "Swin2SR": (0.5, 4),
    "Wav2Vec2": (320, 320),
}


@pytest.mark.parametrize("name", STRIDES)
def test_stride_and_period_of_the_first_output(name: str) -> None:
    stride, period = STRIDES[name]
    output = geometry(name).outputs[0]
    assert {float(s or 0) for s in output.stride} == {stride}
    assert set(output.period) == {period}


FIRST_GLOBAL = {
    "RegNet": ("encoder.stages.0.layers.0.layer.2.pooler", "adaptive_avg_pool2d"),
    "EfficientNet": ("encoder.blocks.0.squeeze_excite.squeeze", "adaptive_avg_pool2d"),
    "PoolFormer": ("encoder.block.0.0.before_norm", "group_norm"),
    "FocalNet": ("encoder.stages.0.layers.0.modulation.mean", "mean"),
    "SegFormer": ("stages.0.blocks.0.attention.scaled_dot_product_attention",) * 2,
    "ViT": ("layers.0.attention.scaled_dot_product_attention",) * 2,
    "UPerNet on ConvNeXt": ("decode_head.psp_modules.0.0", "adaptive_avg_pool2d"),
    "Wav2Vec2": ("network.feature_extractor.conv_layers.0.layer_norm", "group_norm"),
}


@pytest.mark.parametrize("name", FIRST_GLOBAL)
def test_where_everything_first_depends_on_everything(name: str) -> None:
    layer, op = FIRST_GLOBAL[name]
    assert causes(geometry(name), "GLOBAL")[0] == (layer, op.rpartition(".")[2])


@pytest.mark.parametrize("name", ["ResNet", "MobileNetV2", "ConvNeXt"])
def test_without_its_pooler_it_is_local(name: str) -> None:
    report = geometry(name)
    assert all(field and field < 1e4 for field in report.outputs[0].receptive_field)
    pooled = {layer for layer, _ in causes(report, "GLOBAL")}
    assert pooled <= {"pooler", "mean"}


def test_segformer_stage_by_stage() -> None:
    rows = {row.name: row for row in geometry("SegFormer").layers}
    strides = [rows[f"stages.{i}.patch_embeddings.proj"].stride for i in range(4)]
    assert strides == [(4, 4), (8, 8), (16, 16), (32, 32)]


def swin(name: str) -> shiftcheck.report.LayerResult:
    return geometry("Swin")[name]


def test_windows_of_swin_have_the_period_of_their_samples() -> None:
    layers = "encoder.layers.{}.blocks.1.add_1"
    assert (swin(layers.format(0)).stride, swin(layers.format(0)).period) == ((4, 4), (16, 16))
    assert (swin(layers.format(1)).stride, swin(layers.format(1)).period) == ((8, 8), (32, 32))


@pytest.mark.parametrize("shift", [(32, 0), (0, -32), (32, 32)])
def test_swin_moves_by_its_period(shift: tuple[int, int]) -> None:
    """Shifted windows, with fresh content and the mask of the seam left out."""
    family = ZOO["Swin"]
    model, x = family.model(), torch.randn(1, 3, 224, 224)
    layer = "encoder.layers.1.blocks.1.add_1"
    report = shiftcheck.check_equivariance(model, x, layer=layer, shifts=[shift], measure="outputs")
    assert report.verdict is Verdict.EQUIVARIANT, report.guilty


def test_vit_on_a_torus_is_broken_by_its_positions_and_by_nothing_else() -> None:
    family = ZOO["ViT"]
    model, x = family.model(), family.x()
    options = {"boundary": "circular", "layer": "layernorm", "measure": "outputs"}
    broken = shiftcheck.check_equivariance(model, x, **options)
    assert broken.verdict is Verdict.BROKEN
    assert broken.guilty is not None
    assert (broken.guilty.kind, broken.guilty.layer) == ("POSITION", "embeddings.add")
    nn.init.zeros_(model.embeddings.position_embeddings)
    whole = shiftcheck.check_equivariance(model, x, **options)
    assert whole.verdict is Verdict.EQUIVARIANT, whole.guilty
    assert [c.latent for c in whole.causes if c.kind == "POSITION"] == [True, True]
    odd = shiftcheck.check_equivariance(model, x, shifts=[(8, 0)], **options)
    assert (odd.verdict, odd.reason) == (Verdict.INCONCLUSIVE, "off the lattice")


def test_swin2sr_moves_by_its_window_and_by_nothing_less() -> None:
    model, x = ZOO["Swin2SR"].model(), torch.randn(1, 3, 48, 48)
    check = partial(shiftcheck.check_equivariance, model, x, measure="outputs")
    assert check(shifts=[(4, 0), (0, -8)]).verdict is Verdict.EQUIVARIANT
    broken = check(shifts=[(2, 0)])
    assert broken.verdict is Verdict.BROKEN
    assert broken.guilty is not None
    assert (broken.guilty.kind, broken.guilty.period) == ("STRIDE", 4)


@pytest.mark.parametrize("upscale", [2, 4])
def test_swin2sr_has_the_stride_of_its_scale(upscale: int) -> None:
    settings = {**SWIN2SR, "upscale": upscale, "upsampler": "pixelshuffledirect"}
    network = make("Swin2SRForImageSuperResolution", **settings)
    output = shiftcheck.geometry(network, (1, 3, 24, 24)).outputs[0]
    assert [1 / s for s in output.stride if s] == [upscale, upscale]
    assert output.shape[2:] == (24 * upscale,) * 2


def test_swin_on_a_size_that_needs_padding_keeps_its_layout() -> None:
    network = transformers.SwinModel(SWIN(depths=[2, 2], num_heads=[1, 2])).eval()
    report = shiftcheck.geometry(network, (1, 3, 56, 88))
    assert report.outputs[0].period == (32, 32)
    assert not causes(report, "UNSUPPORTED_OP")


def test_dpt_adds_maps_of_two_strides() -> None:
    """Its upsampling aligns corners: 2 samples become 4 at a third of the distance, not half."""
    report = geometry("DPT")
    assert causes(report, "RESIZE") == [("neck.fusion_stage.layers.1.add", "add")]
    upsampled = report["neck.fusion_stage.layers.0.projection"]
    beside = report["neck.fusion_stage.layers.1.residual_layer1.add"]
    assert [str(r.stride[0]) for r in (upsampled, beside)] == ["32/3", "16"]
