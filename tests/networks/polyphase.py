"""Networks of the papers on sampling that keeps shifts: blur pools and adaptive polyphase sampling.

Zhang, Making Convolutional Networks Shift-Invariant Again, 2019. Chaman and Dokmanic, Truly
Shift-Invariant Convolutional Neural Networks, 2020 (APS), and Truly Shift-Equivariant Convolutional
Neural Networks with Adaptive Polyphase Upsampling, 2021 (APS-U).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

Down = Literal["max", "blur3", "blur5", "blur7", "aps"]


class BlurPool(nn.Module):
    """A dense max-pool, a binomial filter around the circle, then every second sample."""

    def __init__(self, taps: int) -> None:
        super().__init__()
        row = torch.tensor([float(math.comb(taps - 1, k)) for k in range(taps)])
        self.register_buffer("kernel", torch.outer(row, row) / row.sum() ** 2)
        self.kernel: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channels, reach = x.shape[1], (len(self.kernel) - 1) // 2
        x = F.max_pool2d(F.pad(x, (0, 1, 0, 1), mode="circular"), 2, 1)
        weight = self.kernel.expand(channels, 1, *self.kernel.shape)
        return F.conv2d(F.pad(x, [reach] * 4, mode="circular"), weight, stride=2, groups=channels)


class MaxPool(nn.Module):
    """The pool with stride that the others mend."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(x, 2)


class PolyphaseDown(nn.Module):
    """Keeps the one of the four polyphase components that has the largest norm.

    ``choice`` says how it is taken: by an index, by a gather or by a sum with a mask. The place of
    the component is remembered as a mask ``[batch, 4]``.
    """

    def __init__(self, choice: Literal["index", "gather", "mask"] = "index") -> None:
        super().__init__()
        self.choice = choice

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = F.max_pool2d(F.pad(x, (0, 1, 0, 1), mode="circular"), 2, 1)
        odd = (0, x.shape[3] % 2, 0, x.shape[2] % 2)
        x = F.pad(x, odd, mode="circular") if any(odd) else x
        parts = torch.stack([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)
        place = parts.flatten(2).norm(dim=2).argmax(1)
        mask = F.one_hot(place, 4)
        if self.choice == "index":
            return parts[torch.arange(len(x)), place], mask
        if self.choice == "gather":
            at = place.view(-1, 1, 1, 1, 1).expand(-1, 1, *parts.shape[2:])
            return parts.gather(1, at).squeeze(1), mask
        return (parts * mask.view(-1, 4, 1, 1, 1)).sum(1), mask


def polyphase_up(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Each sample back to the place where its component was, zero elsewhere."""
    n, c, h, w = x.shape
    spread = x[:, :, None] * mask.view(n, 1, 4, 1, 1)
    return F.pixel_shuffle(spread.reshape(n, c * 4, h, w), 2)


def pool_of(down: Down) -> nn.Module:
    """The module that halves the resolution."""
    if down == "aps":
        return PolyphaseDown()
    return MaxPool() if down == "max" else BlurPool(int(down[4:]))


def conv(a: int, b: int) -> nn.Conv2d:
    """A 3x3 around the circle, with weights that keep the magnitude of what goes through."""
    layer = nn.Conv2d(a, b, 3, padding=1, padding_mode="circular")
    nn.init.kaiming_normal_(layer.weight)
    return layer


class Classifier(nn.Module):
    """Convolutions and ``levels`` steps down, a global mean, and ten logits."""

    def __init__(self, down: Down, levels: int = 3, width: int = 8) -> None:
        super().__init__()
        sizes = [1, *(width * 2**i for i in range(levels))]
        self.convs = nn.ModuleList(conv(a, b) for a, b in pairwise(sizes))
        self.downs = nn.ModuleList(pool_of(down) for _ in range(levels))
        self.last = nn.Linear(sizes[-1], 10)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """The maps before the global mean."""
        for layer, down in zip(self.convs, self.downs, strict=True):
            x = down(F.relu(layer(x)))
            x = x[0] if isinstance(x, tuple) else x
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.features(x).mean((2, 3)))  # type: ignore[no-any-return]


class UNet(nn.Module):
    """``levels`` steps down and up with shortcuts, by max-pools or by polyphase components."""

    def __init__(self, levels: int, *, aps: bool, width: int = 4) -> None:
        super().__init__()
        self.aps = aps
        self.inner = nn.ModuleList(conv(1 if i == 0 else width, width) for i in range(levels + 1))
        self.outer = nn.ModuleList(conv(2 * width, width) for _ in range(levels))
        self.downs = nn.ModuleList(PolyphaseDown() if aps else MaxPool() for _ in range(levels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips: list[tuple[torch.Tensor, torch.Tensor | None]] = []
        for layer, down in zip(self.inner, self.downs, strict=False):
            x = F.relu(layer(x))
            if self.aps:
                low, mask = down(x)
                skips.append((x, mask))
                x = low
            else:
                skips.append((x, None))
                x = down(x)
        x = F.relu(self.inner[-1](x))
        for layer in self.outer:
            skip, mask = skips.pop()
            up = F.interpolate(x, scale_factor=2) if mask is None else polyphase_up(x, mask)
            up = up[..., : skip.shape[2], : skip.shape[3]]
            x = layer(torch.cat([skip, up], 1))
        return x


class Residual(nn.Module):
    """``depth`` layers with zero padding and shortcuts."""

    def __init__(self, depth: int = 20, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.layers = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth - 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = x + F.relu(layer(x))
        return x
