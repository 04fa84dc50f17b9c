"""Networks that are equivariant as they are, for faults to be put into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from tests.networks.resnet import Bottleneck
from tests.zoo.models import make
from torch import nn

SITES = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.ReLU, nn.LeakyReLU)


@dataclass(frozen=True)
class Host:
    """How a network is made, the size of its input, the options of its check, where faults fit.

    ``halo``: no sample sees further, in pixels; a multiple of the stride.
    """

    make: Callable[[], nn.Module]
    size: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)
    sites: tuple[type[nn.Module], ...] = SITES
    channels: int = 3
    halo: int = 32

    @property
    def circular(self) -> bool:
        return bool(self.options.get("boundary") == "circular")

    def x(self, generator: torch.Generator) -> torch.Tensor:
        return torch.randn(1, self.channels, *self.size, generator=generator)

    def network(self, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return self.make().eval()

    def places(self, model: nn.Module) -> list[str]:
        """The layers that a fault may follow."""
        return [path for path, module in model.named_modules() if isinstance(module, self.sites)]


RING: dict[str, Any] = {"boundary": "circular"}


class Residual(nn.Module):
    """Two convolutions beside a shortcut, in any number of dimensions."""

    def __init__(self, dims: int, channels: int, mode: str = "zeros") -> None:
        super().__init__()
        kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dims]
        self.conv1 = kind(channels, channels, 3, padding=1, padding_mode=mode)
        self.conv2 = kind(channels, channels, 3, padding=1, padding_mode=mode)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.conv2(self.relu(self.conv1(x))))


def residual(dims: int, blocks: int, mode: str = "zeros") -> nn.Module:
    kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dims]
    stem = kind(3, 6, 3, padding=1, padding_mode=mode)
    return nn.Sequential(stem, *(Residual(dims, 6, mode) for _ in range(blocks)))


def resnet_stage() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        Bottleneck(8, 4, 1, first=False),
        Bottleneck(16, 4, 2, first=False),
        Bottleneck(16, 4, 1, first=False),
    )


class RegNetBlock(nn.Module):
    """Grouped 3x3 between two 1x1, as in RegNetX: Radosavovic et al., 2020."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(channels, width, 1, bias=False)
        self.two = nn.Conv2d(width, width, 3, stride, 1, groups=width // 4, bias=False)
        self.three = nn.Conv2d(width, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.shortcut = nn.Conv2d(channels, width, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.three(F.relu(self.two(F.relu(self.one(x)))))
        return self.relu(self.norm(y) + self.shortcut(x))  # type: ignore[no-any-return]


class ConvNeXtBlock(nn.Module):
    """A 7x7 for each channel, then a small network at each place: Liu et al., 2022."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.up, self.down = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.gain = nn.Parameter(torch.full((channels,), 0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.gain * self.down(F.gelu(self.up(y)))
        return x + y.permute(0, 3, 1, 2)


class UNet(nn.Module):
    """Two steps down and up with circular padding."""

    def __init__(self, mode: str = "circular") -> None:
        super().__init__()

        def conv(a: int, b: int) -> nn.Conv2d:
            return nn.Conv2d(a, b, 3, padding=1, padding_mode=mode)

        self.one, self.two, self.three = conv(3, 4), conv(4, 6), conv(6, 8)
        self.up1, self.up2 = nn.ConvTranspose2d(8, 6, 2, 2), nn.ConvTranspose2d(6, 4, 2, 2)
        self.four, self.five = conv(12, 6), conv(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = F.relu(self.one(x))
        b = F.relu(self.two(F.max_pool2d(a, 2)))
        c = F.relu(self.three(F.max_pool2d(b, 2)))
        d = F.relu(self.four(torch.cat([b, self.up1(c)], 1)))
        return self.five(torch.cat([a, self.up2(d)], 1))  # type: ignore[no-any-return]


class WindowAttention(nn.Module):
    """Attention within windows of 4 x 4, with a convolution before and after."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.before = nn.Conv2d(3, channels, 3, padding=1, padding_mode="circular")
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.bias = nn.Parameter(0.1 * torch.randn(16, 16))
        self.after = nn.Conv2d(channels, 4, 3, padding=1, padding_mode="circular")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.before(x)
        n, c, h, w = y.shape
        split = y.view(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1)
        tokens = split.reshape(n * h * w // 16, 16, c)
        q, k, v = self.qkv(self.norm(tokens)).chunk(3, -1)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias)
        whole = mixed.view(n, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4)
        return self.after(y + whole.reshape(n, c, h, w))  # type: ignore[no-any-return]


def deep(layers: int = 20) -> nn.Module:
    convs = [nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular") for _ in range(layers - 1)]
    first = nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")
    for conv in convs:  # so that the signal does not die on its way
        nn.init.kaiming_normal_(conv.weight)
    return nn.Sequential(first, *(m for conv in convs for m in (nn.LeakyReLU(0.2), conv)))


def prefix(name: str, *parts: str, **settings: Any) -> nn.Module:
    """The first parts of a network of the package transformers."""
    network = make(name, **settings)
    return nn.Sequential(*(network.get_submodule(part) for part in parts))


FOURS = {"shifts": [(4, 0), (0, -4), (8, 4)]}
HOSTS: dict[str, Host] = {
    "residual, 1-D": Host(lambda: residual(1, 3), (50,)),
    "residual, 2-D": Host(lambda: residual(2, 2), (26, 30)),
    "residual, 3-D": Host(lambda: residual(3, 1), (14, 15, 16), halo=4),
    "residual on a circle": Host(lambda: residual(2, 3, "circular"), (12, 14), RING),
    "residual on a ring": Host(lambda: residual(1, 4, "circular"), (24,), RING),
    "residual on a 3-D torus": Host(lambda: residual(3, 1, "circular"), (6, 7, 8), RING),
    "ResNet stage": Host(resnet_stage, (40, 44)),
    "RegNet stages": Host(
        lambda: nn.Sequential(RegNetBlock(3, 8, 2), RegNetBlock(8, 16, 1)), (32, 36)
    ),
    "ConvNeXt stage": Host(
        lambda: nn.Sequential(nn.Conv2d(3, 6, 2, 2), *(ConvNeXtBlock(6) for _ in range(2))),
        (40, 44),
    ),
    "U-Net on a circle": Host(UNet, (24, 32), RING | FOURS),
    "window attention on the torus": Host(WindowAttention, (16, 24), RING | FOURS),
    "20 layers on a circle": Host(deep, (12, 14), RING),
    "prefix of ResNet": Host(
        lambda: prefix(
            "ResNetModel",
            "embedder",
            "encoder.stages.0",
            embedding_size=8,
            hidden_sizes=[16, 16],
            depths=[2, 1],
        ),
        (64, 72),
    ),
    "prefix of RegNet": Host(
        lambda: prefix(
            "RegNetModel",
            "embedder",
            "encoder.stages.0",
            embedding_size=8,
            hidden_sizes=[8, 16],
            depths=[2, 1],
            groups_width=4,
            layer_type="x",
        ),
        (48, 56),
    ),
    "prefix of ConvNeXt": Host(
        lambda: prefix(
            "ConvNextModel",
            "embeddings",
            "encoder.stages.0",
            hidden_sizes=[8, 8],
            depths=[2, 1],
            num_stages=2,
            layer_scale_init_value=0.5,
        ),
        (80, 96),
    ),
    "prefix of Wav2Vec2": Host(
        lambda: prefix(
            "Wav2Vec2Model",
            *(f"feature_extractor.conv_layers.{i}" for i in range(3)),
            conv_dim=[6, 6, 6],
            conv_kernel=[5, 3, 3],
            conv_stride=[2, 2, 1],
            feat_extract_norm="layer",
            hidden_size=16,
            num_attention_heads=2,
            intermediate_size=16,
            num_hidden_layers=1,
            num_conv_pos_embeddings=8,
            num_conv_pos_embedding_groups=2,
        ),
        (200,),
        channels=1,
    ),
}
