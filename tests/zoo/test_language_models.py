"""Language models of transformers: whether they are causal, and whether their caches are right."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import transformers
from torch import nn

import shiftcheck

pytestmark = pytest.mark.slow

SMALL = {
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 50,
}


def tokens() -> torch.Tensor:
    return torch.randint(0, 50, (1, 24), generator=torch.Generator().manual_seed(0))


ONE_KEY = {**SMALL, "num_key_value_heads": 1}
GPT2 = {"n_layer": 2, "n_embd": 32, "n_head": 2, "n_positions": 64}
OPT = {**SMALL, "ffn_dim": 32, "max_position_embeddings": 64, "word_embed_proj_dim": 32}
NEO = {
    "hidden_size": 32,
    "num_layers": 2,
    "num_heads": 2,
    "attention_types": [[["global", "local"], 1]],
    "window_size": 4,
}
ROBERTA = {**SMALL, "max_position_embeddings": 64, "pad_token_id": 1}

DECODERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "GPT-2": ("GPT2LMHeadModel", "GPT2Config", GPT2),
    "Llama": ("LlamaForCausalLM", "LlamaConfig", SMALL),
    "OPT": ("OPTForCausalLM", "OPTConfig", OPT),
    "Mistral": ("MistralForCausalLM", "MistralConfig", {**ONE_KEY, "sliding_window": 4}),
    "Qwen2": ("Qwen2ForCausalLM", "Qwen2Config", ONE_KEY),
    "Bloom": ("BloomForCausalLM", "BloomConfig", {"hidden_size": 32, "n_layer": 2, "n_head": 2}),
    "GPT-Neo": ("GPTNeoForCausalLM", "GPTNeoConfig", NEO),
    "GPT-NeoX": ("GPTNeoXForCausalLM", "GPTNeoXConfig", SMALL),
    "Falcon": ("FalconForCausalLM", "FalconConfig", SMALL),
    "Phi": ("PhiForCausalLM", "PhiConfig", SMALL),
    "Gemma 2": ("Gemma2ForCausalLM", "Gemma2Config", {**ONE_KEY, "head_dim": 16}),
    "RoBERTa": ("RobertaForCausalLM", "RobertaConfig", {**ROBERTA, "is_decoder": True}),
    "Mamba": ("MambaForCausalLM", "MambaConfig", {"hidden_size": 16, "num_hidden_layers": 1}),
}
ENCODERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "BERT": ("BertModel", "BertConfig", SMALL),
    "RoBERTa": ("RobertaModel", "RobertaConfig", ROBERTA),
    "ELECTRA": ("ElectraModel", "ElectraConfig", SMALL),
    "T5": (
        "T5EncoderModel",
        "T5Config",
        {"d_model": 32, "d_kv": 16, "d_ff": 32, "num_layers": 2, "num_heads": 2},
    ),
}


def made(model: str, config: str, settings: dict[str, Any]) -> nn.Module:
    torch.manual_seed(0)
    asked = {"use_cache": False, **settings, "vocab_size": 50}
    built: nn.Module = getattr(transformers, model)(getattr(transformers, config)(**asked))
    return built.eval()


def sees_ahead(model: nn.Module) -> bool:
    """Whether another token changes what comes before it: each in turn becomes another one."""
    ids = tokens()

    def of(ids: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = model(ids)[0]
        return out

    with torch.no_grad():
        base = of(ids)
        return any(
            not torch.allclose(of(other)[:, :time], base[:, :time], atol=1e-5)
            for time in range(1, ids.shape[1])
            for other in [torch.where(torch.arange(ids.shape[1]) == time, (ids + 7) % 50, ids)]
        )


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_is_causal(name: str) -> None:
    model = made(*DECODERS[name])
    assert not sees_ahead(model)
    report = shiftcheck.check_causality(model, tokens())
    assert report.verdict == "causal", str(report)
    assert report.outputs[0].lookahead == 0 or report.outputs[0].proven_by_nan


def test_what_is_sent_to_experts_by_its_values_is_not_judged() -> None:
    settings = {**ONE_KEY, "num_local_experts": 2}
    model = made("MixtralForCausalLM", "MixtralConfig", settings)
    report = shiftcheck.check_causality(model, tokens())
    assert report.verdict == "inconclusive", str(report)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_is_not(name: str) -> None:
    model = made(*ENCODERS[name])
    assert sees_ahead(model)
    report = shiftcheck.check_causality(model, tokens())
    assert report.verdict == "not causal"
    kinds = {o.guilty.kind for o in report.outputs if o.guilty is not None}
    assert kinds == {"attention without a mask"}, str(report)


class Scores(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = made(*DECODERS["GPT-2"])

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.inner(ids).logits
        return scores


def with_cache(model: Scores, *, right: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    """A step that keeps keys and values; a wrong one counts places anew in each chunk."""
    cache, seen = transformers.DynamicCache(), [0]
    name = "past_key_values"

    def step(chunk: torch.Tensor) -> torch.Tensor:
        first = seen[0] if right else 0
        seen[0] += chunk.shape[1]
        places = torch.arange(first, first + chunk.shape[1])[None]
        given = {name: cache, "use_cache": True, "position_ids": places}
        scores: torch.Tensor = model.inner(chunk, **given).logits
        return scores

    return step


@pytest.mark.filterwarnings("ignore:.*past_key_values.*:FutureWarning")
def test_a_cache_of_keys_and_values_is_held_against_the_model() -> None:
    model = Scores().eval()
    assert not shiftcheck.streaming(model, tokens()).finite
    make = partial(with_cache, model, right=True)
    report = shiftcheck.check_streamable(None, model, tokens(), 4, make_step=make)
    assert report.verdict == "same", str(report)
    make = partial(with_cache, model, right=False)
    report = shiftcheck.check_streamable(None, model, tokens(), 4, make_step=make)
    assert (report.verdict, report.faults) == ("different", ("another state",)), str(report)


def test_a_recogniser_of_waves_is_read_without_channels() -> None:
    """Its first norm is over all of the time; with norms over channels alone it is a stream."""
    torch.manual_seed(0)
    wave = torch.randn(1, 3200)
    config: dict[str, Any] = {
        "conv_dim": (8, 8, 8),
        "conv_stride": (5, 2, 2),
        "conv_kernel": (10, 3, 3),
        "num_feat_extract_layers": 3,
    }
    model = transformers.Wav2Vec2Model
    settings = transformers.Wav2Vec2Config
    group = model(settings(**config, **SMALL, feat_extract_norm="group")).eval().feature_extractor
    layer = model(settings(**config, **SMALL, feat_extract_norm="layer")).eval().feature_extractor
    report = shiftcheck.check_causality(group, wave)
    assert report.guilty is not None
    assert (report.guilty.name, report.guilty.kind) == (
        "conv_layers.0.layer_norm",
        "statistics over time",
    )
    plan = shiftcheck.streaming(layer, wave)
    assert (plan.lookback, plan.lookahead, plan.period) == (0, 39, 20)


LAYERS = {"encoder_layers": 1, "decoder_layers": 2, "d_model": 32}
LAYERS |= {"encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
LAYERS |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
BART = {**LAYERS, "max_position_embeddings": 64}
T5 = {"d_model": 32, "d_kv": 16, "d_ff": 32, "num_layers": 2, "num_heads": 2}
T5 |= {"decoder_start_token_id": 0}
WHISPER = {**LAYERS, "max_target_positions": 64, "max_source_positions": 50, "num_mel_bins": 8}
WHISPER |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}


@pytest.mark.parametrize(
    ("name", "config", "settings", "source", "given"),
    [
        ("BartForConditionalGeneration", "BartConfig", BART, "input_ids", tokens()),
        ("T5ForConditionalGeneration", "T5Config", T5, "input_ids", tokens()),
        (
            "WhisperForConditionalGeneration",
            "WhisperConfig",
            WHISPER,
            "input_features",
            torch.randn(1, 8, 100, generator=torch.Generator().manual_seed(0)),
        ),
    ],
)
def test_a_decoder_behind_an_encoder_is_causal(
    name: str, config: str, settings: dict[str, Any], source: str, given: torch.Tensor
) -> None:
    model = made(name, config, settings)
    arguments = {source: given, "decoder_input_ids": tokens()}
    report = shiftcheck.check_causality(model, arguments, fixed=(source,))
    assert report.verdict == "causal", str(report)
    assert report.outputs[0].lookahead == 0


def test_the_encoder_of_a_recogniser_is_not_causal() -> None:
    encoder = made("WhisperModel", "WhisperConfig", WHISPER).get_encoder()
    wave = torch.randn(1, 8, 100, generator=torch.Generator().manual_seed(0))
    assert shiftcheck.check_causality(encoder, wave).verdict == "not causal"
