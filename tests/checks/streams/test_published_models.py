"""Codecs and recognisers of transformers, small and with random weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.report import Memory

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.slow


def encodec(*, causal: bool) -> nn.Module:
    config = transformers.EncodecConfig(
        num_filters=4,
        hidden_size=16,
        codebook_dim=16,
        codebook_size=16,
        upsampling_ratios=[4, 2],
        use_causal_conv=causal,
    )
    model: nn.Module = transformers.EncodecModel(config).eval()
    return model


@pytest.mark.parametrize("causal", [True, False])
def test_encodec_has_a_finite_state(causal: bool) -> None:
    plan = shiftcheck.streaming(encodec(causal=causal).encoder, (1, 1, 4000))
    assert (plan.finite, plan.period, plan.lookback) == (True, 8, math.inf)
    assert (plan.latency == 0) is causal
    states = [n for n in plan.layers if n.memory is Memory.RECURRENT]
    assert [n.layer for n in states] == ["layers.7.lstm"]
    assert any(n.memory is Memory.DELAY for n in plan.layers) is not causal


def test_dac_streams_as_the_whole() -> None:
    config = transformers.DacConfig(
        encoder_hidden_size=4,
        downsampling_ratios=[2, 4],
        decoder_hidden_size=16,
        n_codebooks=2,
        codebook_size=16,
        codebook_dim=4,
    )
    encoder = transformers.DacModel(config).eval().encoder
    plan = shiftcheck.streaming(encoder, (1, 1, 4000))
    assert (plan.period, plan.lookback, plan.lookahead, plan.latency) == (8, 133, 140, 133)
    x = torch.randn(1, 1, 4000)
    run = shiftcheck.streamed(encoder, plan, chunk=512)
    with torch.no_grad():
        whole = encoder(x)
    pieces = torch.cat(list(run(x.split(333, -1))), -1)
    assert float((pieces - whole).abs().max() / whole.abs().max()) < 64 * 2**-23


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_wav2vec2_is_told_with_its_norm(norm: str) -> None:
    config = transformers.Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=[8] * 7,
        feat_extract_norm=norm,
    )
    features = transformers.Wav2Vec2Model(config).eval().feature_extractor
    plan = shiftcheck.streaming(lambda x: features(x[:, 0]), (1, 1, 16000))
    if norm == "layer":
        assert (plan.finite, plan.period, plan.latency) == (True, 320, 80)
        return
    assert [n.memory for n in plan.obstacles] == [Memory.STATISTIC]
    assert "group_norm" in plan.obstacles[0].op


@pytest.mark.parametrize("how", ["eager", "sdpa"])
def test_each_attention_of_mimi_is_listed_once_with_what_is_known(how: str) -> None:
    config = transformers.MimiConfig(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        intermediate_size=32,
        num_filters=4,
        codebook_size=16,
        codebook_dim=16,
        vector_quantization_hidden_dimension=16,
        num_quantizers=4,
        upsample_groups=32,
        attn_implementation=how,
    )
    stages = transformers.MimiModel(config).eval().decoder_transformer

    def states(x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = stages(x.transpose(1, 2))[0].transpose(1, 2)
        return out

    plan = shiftcheck.streaming(states, (1, 32, 24))
    assert plan.finite is False
    names = [need.layer.split(".self_attn")[0][-1] for need in plan.obstacles]
    assert names == ["0", "1", "2"]
    assert {need.memory for need in plan.obstacles} == {Memory.PAST}
