"""Published networks with random weights: codecs, recognisers and language models."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import shiftcheck

Tensor = torch.Tensor
transformers = pytest.importorskip("transformers")

SMALL_CODEC = {
    "num_filters": 4,
    "hidden_size": 16,
    "codebook_size": 16,
    "codebook_dim": 16,
    "num_lstm_layers": 1,
    "upsampling_ratios": [4, 2],
    "target_bandwidths": [1.5],
}


@pytest.fixture(autouse=True)
def _weights() -> None:
    torch.manual_seed(0)


def wave(samples: int) -> Tensor:
    return torch.randn(1, 1, samples, generator=torch.Generator().manual_seed(1))


def encodec(**how: Any) -> Any:
    given = {"use_causal_conv": True, "norm_type": "weight_norm", **SMALL_CODEC, **how}
    return transformers.EncodecModel(transformers.EncodecConfig(**given)).eval()


@pytest.mark.slow
def test_the_causal_encodec_sees_no_further_than_its_block_but_mirrors_its_beginning() -> None:
    codec = encodec()
    report = shiftcheck.check_causality(codec.encoder, wave(256))
    assert report.verdict == "not causal"
    assert report.guilty is not None
    assert report.guilty.kind == "filled from later samples"
    assert report.guilty.name.endswith("pad")
    assert (report.outputs[0].lookahead, report.outputs[0].ahead) == (0, 7)
    assert report.leak is not None
    assert report.leak.sample == 0


@pytest.mark.slow
def test_encodec_that_pads_with_zeros_is_causal_in_blocks_of_a_frame() -> None:
    codec = encodec(pad_mode="constant")
    assert shiftcheck.assert_causal(codec.encoder, wave(256)).outputs[0].stride == 8

    def whole(x: Tensor) -> Tensor:
        return codec.decoder(codec.encoder(x))

    assert shiftcheck.assert_causal(whole, wave(256), block=8).outputs[0].ahead == 7
    report = shiftcheck.check_causality(whole, wave(256))
    assert report.outputs[0].block_that_would_do == 8
    assert report.guilty is not None
    assert report.guilty.name == "codec.encoder.layers.3.conv"


@pytest.mark.slow
def test_the_encodec_that_normalises_over_time_is_named_for_it() -> None:
    codec = encodec(use_causal_conv=False, norm_type="time_group_norm")
    report = shiftcheck.check_causality(codec.encoder, wave(256))
    assert report.guilty is not None
    assert (report.guilty.name, report.guilty.kind) == ("layers.0.norm", "statistics over time")


@pytest.mark.slow
def test_dac_looks_ahead_by_its_padding() -> None:
    config = transformers.DacConfig(
        encoder_hidden_size=8,
        downsampling_ratios=[2, 4],
        upsampling_ratios=[4, 2],
        decoder_hidden_size=32,
        hidden_size=32,
    )
    codec = transformers.DacModel(config).eval()
    report = shiftcheck.check_causality(codec.encoder, wave(512))
    assert report.verdict == "not causal"
    assert report.guilty is not None
    assert (report.guilty.name, report.guilty.settings) == (
        "conv1",
        "kernel 7, stride 1, padding 3",
    )
    (output,) = report.outputs
    assert output.lookahead is not None
    assert 0 < output.lookahead < 256
    assert output.measured is not None
    assert output.measured <= output.lookahead
    ahead = int(output.lookahead)
    assert shiftcheck.assert_causal(codec.encoder, wave(512), lookahead=ahead)


@pytest.mark.slow
def test_the_feature_extractor_of_wav2vec2_is_reported_with_its_group_norm() -> None:
    config = transformers.Wav2Vec2Config(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    extractor = transformers.Wav2Vec2Model(config).eval().feature_extractor
    report = shiftcheck.check_causality(lambda x: extractor(x[:, 0]), wave(3200))
    assert report.guilty is not None
    assert report.guilty.name == "extractor.conv_layers.0.layer_norm"
    assert (report.guilty.op, report.guilty.kind) == ("GroupNorm", "statistics over time")
    assert report.outputs[0].lookahead == math.inf
    first = report.layers[2]
    assert (first.settings, first.ahead) == ("kernel 10, stride 5, padding 0", 9)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["eager", "sdpa"])
def test_gpt2_is_causal(how: str) -> None:
    config = transformers.GPT2Config(
        n_embd=32, n_layer=2, n_head=2, n_positions=64, attn_implementation=how
    )
    model = transformers.GPT2Model(config).eval()

    def states(x: Tensor) -> Tensor:
        return model(inputs_embeds=x).last_hidden_state

    report = shiftcheck.assert_causal(states, torch.randn(1, 32, 32), axis=1)
    assert report.outputs[0].lookahead == 0


@pytest.mark.slow
def test_bert_attends_to_all_of_the_time() -> None:
    config = transformers.BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    model = transformers.BertModel(config).eval()

    def states(x: Tensor) -> Tensor:
        return model(inputs_embeds=x).last_hidden_state

    report = shiftcheck.check_causality(states, torch.randn(1, 32, 32), axis=1)
    assert report.guilty is not None
    assert report.guilty.kind == "attention without a mask"
    assert "encoder.layer.0" in report.guilty.name


@pytest.mark.slow
def test_mamba_is_causal_by_nan_as_its_loop_is_not_followed() -> None:
    config = transformers.MambaConfig(hidden_size=16, num_hidden_layers=1, state_size=4)
    model = transformers.MambaModel(config).eval()

    def states(x: Tensor) -> Tensor:
        return model(inputs_embeds=x, use_cache=False).last_hidden_state

    report = shiftcheck.assert_causal(states, torch.randn(1, 24, 16), axis=1)
    assert report.outputs[0].proven_by_nan
