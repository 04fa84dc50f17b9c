"""Small random networks of packages besides transformers; what is not installed is skipped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

UNET = {
    "block_out_channels": (8, 16),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 4,
}
AUTOENCODER = {
    "block_out_channels": (8, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "latent_channels": 3,
}
CONDITIONED = {
    **UNET,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "cross_attention_dim": 8,
    "attention_head_dim": 2,
}
TINY = {
    "encoder_block_out_channels": (8, 8),
    "decoder_block_out_channels": (8, 8),
    "num_encoder_blocks": (1, 1),
    "num_decoder_blocks": (1, 1),
}
WAVES = {
    "block_out_channels": (32, 32),
    "down_block_types": ("DownBlock1DNoSkip", "DownBlock1D"),
    "up_block_types": ("UpBlock1D", "UpBlock1DNoSkip"),
    "in_channels": 2,
    "out_channels": 2,
    "extra_in_channels": 64,
    "sample_size": 32,
}
FNO = {"in_channels": 1, "out_channels": 1, "hidden_channels": 8, "n_layers": 2}
MEDICAL = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
MANET = {"encoder_weights": None, "encoder_depth": 3, "decoder_channels": (16, 8, 8)}
STEP = {"timestep": (1,)}


@dataclass(frozen=True, kw_only=True)
class Packaged:
    """How a package builds a network, and the shapes of its arguments, that of the signal first."""

    module: str
    name: str
    settings: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def model(self) -> nn.Module:
        """The network with the same random weights each time; the test is skipped without it."""
        package = pytest.importorskip(self.module, exc_type=ImportError)
        torch.manual_seed(self.seed)
        network: nn.Module = getattr(package, self.name)(**self.settings)
        return network.eval()

    def x(self) -> dict[str, torch.Tensor]:
        """The arguments; a timestep is a whole number."""
        generator = torch.Generator().manual_seed(1)
        given = {n: torch.randn(shape, generator=generator) for n, shape in self.shapes.items()}
        return {n: torch.tensor([3]) if n == "timestep" else t for n, t in given.items()}


diffusers = partial(Packaged, module="diffusers")
monai = partial(Packaged, module="monai.networks.nets")
neuralop = partial(Packaged, module="neuralop.models")
segmentation = partial(Packaged, module="segmentation_models_pytorch")

PACKAGED: dict[str, Packaged] = {
    "UNet2DModel": diffusers(
        name="UNet2DModel", settings=UNET, shapes={"sample": (1, 3, 16, 16), **STEP}
    ),
    "UNet2DConditionModel": diffusers(
        name="UNet2DConditionModel",
        settings=CONDITIONED,
        shapes={"sample": (1, 4, 16, 16), **STEP, "encoder_hidden_states": (1, 5, 8)},
    ),
    "UNet1DModel": diffusers(
        name="UNet1DModel", settings=WAVES, shapes={"sample": (1, 2, 32), **STEP}
    ),
    "AutoencoderKL": diffusers(
        name="AutoencoderKL", settings=AUTOENCODER, shapes={"sample": (1, 3, 16, 16)}
    ),
    "AutoencoderTiny": diffusers(
        name="AutoencoderTiny", settings=TINY, shapes={"sample": (1, 3, 16, 16)}
    ),
    "VQModel": diffusers(
        name="VQModel",
        settings={**AUTOENCODER, "num_vq_embeddings": 16},
        shapes={"sample": (1, 3, 16, 16)},
    ),
    "UNet": monai(
        name="UNet",
        settings={**MEDICAL, "channels": (4, 8, 16), "strides": (2, 2), "norm": "batch"},
        shapes={"x": (1, 1, 48, 48)},
    ),
    "UNet of volumes": monai(
        name="UNet",
        settings={**MEDICAL, "spatial_dims": 3, "channels": (4, 8), "strides": (2,)},
        shapes={"x": (1, 1, 16, 16, 16)},
    ),
    "AttentionUnet": monai(
        name="AttentionUnet",
        settings={**MEDICAL, "channels": (4, 8, 16), "strides": (2, 2)},
        shapes={"x": (1, 1, 32, 32)},
    ),
    "SegResNet": monai(
        name="SegResNet",
        settings={**MEDICAL, "init_filters": 8, "blocks_down": (1, 1), "blocks_up": (1,)},
        shapes={"x": (1, 1, 32, 32)},
    ),
    "UNETR": monai(
        name="UNETR",
        settings={
            **MEDICAL,
            "img_size": 32,
            "feature_size": 4,
            "hidden_size": 24,
            "mlp_dim": 24,
            "num_heads": 4,
        },
        shapes={"x_in": (1, 1, 32, 32)},
    ),
    "FNO": neuralop(
        name="FNO",
        settings={**FNO, "n_modes": (8, 8), "positional_embedding": None},
        shapes={"x": (1, 1, 24, 24)},
        options={"boundary": "circular"},
    ),
    "FNO with a grid": neuralop(
        name="FNO",
        settings={**FNO, "n_modes": (8, 8)},
        shapes={"x": (1, 1, 24, 24)},
        options={"boundary": "circular"},
    ),
    "FNO of waves": neuralop(
        name="FNO",
        settings={**FNO, "n_modes": (8,), "positional_embedding": None},
        shapes={"x": (1, 1, 64)},
        options={"boundary": "circular"},
    ),
    "FNO of waves with a grid": neuralop(
        name="FNO",
        settings={**FNO, "n_modes": (8,)},
        shapes={"x": (1, 1, 64)},
        options={"boundary": "circular"},
    ),
    "MAnet": segmentation(
        name="MAnet",
        settings={**MANET, "encoder_name": "tu-resnet18", "decoder_pab_channels": 8},
        shapes={"x": (1, 3, 32, 32)},
    ),
}
