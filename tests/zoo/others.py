"""More small networks of other people, built by transformers from their own configurations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import transformers
from tests.zoo.models import ENCODER, NAMED, STAGES, Audio, Family, make
from torch import nn

VISION = {**ENCODER, "image_size": 32, "num_hidden_layers": 1}
SMALL = (1, 3, 32, 32)
CONVOLVED = {"conv_dim": [8] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 8, 8, 8], "depths": [1] * 4}


def _vision(name: str, **settings: object) -> Callable[[], nn.Module]:
    return partial(make, name, **{**VISION, **settings})


def _audio(name: str) -> Callable[[], nn.Module]:
    return lambda: Audio(make(name, num_hidden_layers=1, **CONVOLVED, **ENCODER))


def _detector() -> nn.Module:
    backbone = transformers.ResNetConfig(**RESNET, **NAMED)
    return make(
        "DetrModel",
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=backbone,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=4,
    )


OTHERS: dict[str, Family] = {
    "BEiT": Family(build=_vision("BeitModel"), shape=SMALL),
    "DeiT": Family(build=_vision("DeiTModel"), shape=SMALL),
    "DINOv2": Family(build=_vision("Dinov2Model", patch_size=8), shape=SMALL),
    "Data2Vec": Family(build=_vision("Data2VecVisionModel"), shape=SMALL),
    "ViT-MSN": Family(build=_vision("ViTMSNModel"), shape=SMALL),
    "YOLOS": Family(build=_vision("YolosModel", image_size=[32, 32]), shape=SMALL),
    "CLIP": Family(build=_vision("CLIPVisionModel", patch_size=8), shape=SMALL),
    "SigLIP": Family(build=_vision("SiglipVisionModel", patch_size=8), shape=SMALL),
    "I-JEPA": Family(build=_vision("IJepaModel", patch_size=8), shape=SMALL),
    "ConvNeXt V2": Family(build=partial(make, "ConvNextV2Model", **STAGES)),
    "BiT": Family(
        build=partial(make, "BitModel", **RESNET, num_groups=4),
    ),
    "PVT v2": Family(
        build=partial(
            make,
            "PvtV2Model",
            hidden_sizes=[8] * 4,
            depths=[1] * 4,
            num_attention_heads=[1] * 4,
            mlp_ratios=[2] * 4,
        )
    ),
    "Swin v2": Family(
        build=partial(
            make,
            "Swinv2Model",
            image_size=32,
            window_size=4,
            embed_dim=8,
            depths=[1, 1],
            num_heads=[1, 1],
        ),
        shape=SMALL,
    ),
    "MobileNetV1": Family(build=partial(make, "MobileNetV1Model", depth_multiplier=0.25)),
    "MobileViT": Family(
        build=partial(
            make,
            "MobileViTModel",
            image_size=64,
            hidden_sizes=[8, 8, 8],
            neck_hidden_sizes=[8] * 7,
            num_attention_heads=2,
        )
    ),
    "LeViT": Family(
        build=partial(
            make,
            "LevitModel",
            image_size=64,
            hidden_sizes=[16, 16, 16],
            num_attention_heads=[1, 1, 1],
            depths=[1, 1, 1],
            key_dim=[8, 8, 8],
        )
    ),
    "GLPN": Family(
        build=partial(
            make,
            "GLPNModel",
            hidden_sizes=[8] * 4,
            depths=[1] * 4,
            num_attention_heads=[1] * 4,
            decoder_hidden_size=8,
        )
    ),
    "Hiera": Family(
        build=partial(
            make,
            "HieraModel",
            image_size=[64, 64],
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 1, 1],
        )
    ),
    "DETR": Family(build=_detector),
    "HuBERT": Family(build=_audio("HubertModel"), shape=(1, 1, 1600)),
    "WavLM": Family(build=_audio("WavLMModel"), shape=(1, 1, 1600)),
    "UniSpeech": Family(build=_audio("UniSpeechModel"), shape=(1, 1, 1600)),
}
"""Every one of them by its name."""
