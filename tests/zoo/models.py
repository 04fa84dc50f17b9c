"""Small configurations of well-known architectures, as the package transformers builds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import transformers
from torch import nn

STAGES = {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1]}
NAMED = {"out_features": ["stage1", "stage2", "stage3", "stage4"]}
HEADS = {"num_labels": 3, "hidden_size": 8, "auxiliary_channels": 8}
ENCODER = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}


@dataclass(frozen=True, kw_only=True)
class Family:
    """How to build a network, the shape of its input, and the options of its check."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...] = (1, 3, 64, 64)
    options: Mapping[str, Any] = field(default_factory=dict)

    def model(self) -> nn.Module:
        """The network with the same random weights each time, in eval mode."""
        torch.manual_seed(0)
        network = self.build().eval()
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if "position_embeddings" in name:  # zeros and the like before any training
                    parameter.normal_()
        return network

    def x(self) -> torch.Tensor:
        """The input."""
        return torch.randn(self.shape, generator=torch.Generator().manual_seed(1))


class Audio(nn.Module):
    """A network of waves ``[batch, time]`` as one of signals ``[batch, 1, time]``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The features along time."""
        features: torch.Tensor = self.network(x[:, 0]).last_hidden_state
        return features


def make(name: str, **settings: Any) -> nn.Module:
    """The model ``name`` from its own configuration class."""
    model = getattr(transformers, name)
    network: nn.Module = model(model.config_class(**settings))
    return network


def upernet(backbone: Any) -> nn.Module:
    """A UPerNet on a backbone's four stages."""
    return make("UperNetForSemanticSegmentation", backbone_config=backbone(**NAMED), **HEADS)


SWIN = partial(transformers.SwinConfig, image_size=64, window_size=4, embed_dim=8)
SEGFORMER = {**STAGES, "num_attention_heads": [1, 1, 1, 1]}
SWIN2SR = {"image_size": 16, "embed_dim": 8, "depths": [2], "num_heads": [2], "window_size": 4}

ZOO: dict[str, Family] = {
    "ResNet": Family(
        build=partial(
            make, "ResNetModel", embedding_size=8, hidden_sizes=[8, 16, 16, 16], depths=[1] * 4
        ),
        shape=(1, 3, 224, 224),
    ),
    "RegNet": Family(
        build=partial(
            make,
            "RegNetModel",
            embedding_size=8,
            hidden_sizes=[8, 16, 16, 16],
            depths=[1] * 4,
            groups_width=8,
        ),
    ),
    "EfficientNet": Family(
        build=partial(
            make,
            "EfficientNetModel",
            width_coefficient=0.25,
            depth_coefficient=0.1,
            hidden_dim=320,
        ),
    ),
    "MobileNetV2": Family(
        build=partial(make, "MobileNetV2Model", depth_multiplier=0.25),
        shape=(1, 3, 96, 96),
        options={"layer": "layer.2.reduce_1x1.normalization"},
    ),
    "ConvNeXt": Family(build=partial(make, "ConvNextModel", **STAGES), shape=(1, 3, 448, 448)),
    "PoolFormer": Family(build=partial(make, "PoolFormerModel", **STAGES)),
    "FocalNet": Family(
        build=partial(make, "FocalNetModel", embed_dim=8, depths=[1] * 4, image_size=64)
    ),
    "ViT": Family(
        build=partial(make, "ViTModel", image_size=64, num_hidden_layers=2, **ENCODER),
    ),
    "Swin": Family(
        build=lambda: transformers.SwinModel(SWIN(depths=[2, 2], num_heads=[1, 2])),
        shape=(1, 3, 128, 128),
    ),
    "SegFormer": Family(build=partial(make, "SegformerModel", **SEGFORMER)),
    "SegFormer, segmentation": Family(
        build=partial(
            make,
            "SegformerForSemanticSegmentation",
            **SEGFORMER,
            decoder_hidden_size=8,
            num_labels=3,
        ),
    ),
    "DPT": Family(
        build=partial(
            make,
            "DPTForDepthEstimation",
            num_hidden_layers=4,
            image_size=64,
            patch_size=16,
            backbone_out_indices=[0, 1, 2, 3],
            neck_hidden_sizes=[8] * 4,
            fusion_hidden_size=8,
            **ENCODER,
        ),
    ),
    "UPerNet on ConvNeXt": Family(
        build=lambda: upernet(partial(transformers.ConvNextConfig, **STAGES)),
    ),
    "UPerNet on Swin": Family(
        build=lambda: upernet(partial(SWIN, depths=[2, 2, 1, 1], num_heads=[1] * 4)),
    ),
    "Swin2SR": Family(
        build=partial(
            make,
            "Swin2SRForImageSuperResolution",
            num_channels=3,
            upscale=2,
            upsampler="pixelshuffle",
            **SWIN2SR,
        ),
        shape=(1, 3, 24, 24),
    ),
    "Wav2Vec2": Family(
        build=lambda: Audio(
            make(
                "Wav2Vec2Model",
                num_hidden_layers=1,
                conv_dim=[8] * 7,
                num_conv_pos_embeddings=8,
                num_conv_pos_embedding_groups=2,
                **ENCODER,
            )
        ),
        shape=(1, 1, 8000),
    ),
}
"""Every family by its name."""
