"""Networks that are choosy about the sizes they take, each in a way of its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tests.networks.sized import UNet
from torch import nn
from torch.nn import functional as F

Make = Callable[[], nn.Module]


class Own(nn.Module):
    """A module that does what a function does."""

    def __init__(self, forward: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.does = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.does(x)


class Patches(nn.Module):
    """Patches as tokens, with a position for each, as in a ViT; ``interpolated`` to any grid."""

    def __init__(self, patch: int, grid: int, *, interpolated: bool = False) -> None:
        super().__init__()
        self.embed = nn.Conv2d(1, 4, patch, stride=patch)
        self.places = nn.Parameter(torch.randn(1, 4, grid, grid))
        self.mix = nn.TransformerEncoderLayer(4, 1, 8, batch_first=True, dropout=0.0)
        self.interpolated = interpolated

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x)
        places = self.places
        if self.interpolated:
            places = F.interpolate(places, size=x.shape[-2:], mode="bilinear")
        rows, columns = x.shape[-2:]
        tokens = (x + places).flatten(2).transpose(1, 2)
        return self.mix(tokens).transpose(1, 2).unflatten(2, (rows, columns))


class Head(nn.Module):
    """Strides, and then a linear head that takes one number of features."""

    def __init__(self, grid: int, depth: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(*(nn.Conv2d(1, 1, 3, 2, 1) for _ in range(depth)))
        self.head = nn.Linear(grid * grid, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).flatten(1))


class Added(nn.Module):
    """Down and up, and added at each level, where one sample fits any number of them."""

    def __init__(self, depth: int, kernel: int = 2) -> None:
        super().__init__()
        self.depth, self.kernel = depth, kernel

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = []
        for _ in range(self.depth):
            kept.append(x)
            x = F.max_pool1d(x, self.kernel)
        for below in reversed(kept):
            x = F.interpolate(x, scale_factor=self.kernel) + below
        return x


class Asking(nn.Module):
    """A convolution that looks at the size itself."""

    def __init__(self, multiple: int = 1, least: int = 0, most: int = 10**6) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        self.multiple, self.least, self.most = multiple, least, most

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for n in x.shape[2:]:
            if n % self.multiple or not self.least <= n <= self.most:
                raise ValueError(f"a size of {n} does not do")
        return self.conv(x)


class Positions(nn.Module):
    """Positions from a table, which is as long as it is."""

    def __init__(self, length: int, *, looked_up: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(length, 4)
        self.lift = nn.Conv1d(1, 4, 1)
        self.looked_up = looked_up

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n = x.shape[-1]
        known = self.table(torch.arange(n)) if self.looked_up else self.table.weight[:n]
        return self.lift(x) + known.T


def padded_to(multiple: int, net: nn.Module) -> Own:
    def forward(x: torch.Tensor) -> torch.Tensor:
        down, right = (-x.shape[-2] % multiple, -x.shape[-1] % multiple)
        padded = net(F.pad(x, (0, right, 0, down)))
        return padded[..., : x.shape[-2], : x.shape[-1]]

    own = Own(forward)
    own.net = net
    return own


def conv2(kernel: int, stride: int = 1, padding: int = 0) -> nn.Conv2d:
    return nn.Conv2d(1, 1, kernel, stride, padding)


def strided_concat(x: torch.Tensor) -> torch.Tensor:
    """The second level alone asks for an even number: 4 k and 4 k + 3."""
    halved = F.avg_pool1d(x, 3, 2, padding=1)
    return torch.cat([F.interpolate(F.max_pool1d(halved, 2), scale_factor=2), halved], 1)


def one_fits_all(x: torch.Tensor) -> torch.Tensor:
    """Four levels down; where one sample is left at the third, it fits the two of the fourth."""
    for _ in range(3):
        x = F.avg_pool1d(x, 3, 2, padding=1)
    return F.interpolate(F.avg_pool1d(x, 3, 2, padding=1), scale_factor=2) + x


def windows(x: torch.Tensor) -> torch.Tensor:
    n, c, h, w = x.shape
    parts = x.view(n, c, h // 7, 7, w // 7, 7).permute(0, 1, 2, 4, 3, 5)
    return (parts - parts.mean((-1, -2), keepdim=True)).permute(0, 1, 2, 4, 3, 5).reshape(x.shape)


NETWORKS: dict[str, tuple[Make, int]] = {
    "convolution, padded": (lambda: conv2(3, 1, 1), 2),
    "convolution, not padded": (lambda: conv2(7), 2),
    "strided convolutions": (lambda: nn.Sequential(*(conv2(3, 2, 1) for _ in range(5))), 2),
    "strided, not padded": (lambda: nn.Sequential(*(conv2(3, 2) for _ in range(3))), 2),
    "odd stride": (lambda: nn.Sequential(conv2(5, 3), conv2(3, 3)), 2),
    "reflection": (
        lambda: nn.Sequential(
            nn.ReflectionPad2d(3), conv2(7), nn.MaxPool2d(2), nn.ReflectionPad2d(3), conv2(7)
        ),
        2,
    ),
    "U-Net, 1 level": (lambda: UNet(1), 2),
    "U-Net, 3 levels": (lambda: UNet(3), 2),
    "U-Net, 5 levels": (lambda: UNet(5, width=1), 2),
    "U-Net that crops": (lambda: UNet(2, "crop"), 2),
    "U-Net that pads": (lambda: UNet(3, "pad"), 2),
    "U-Net that resizes": (lambda: UNet(3, "resize"), 2),
    "U-Net padded to its multiple": (lambda: padded_to(8, UNet(3)), 2),
    "U-Net padded to half of it": (lambda: padded_to(4, UNet(3)), 2),
    "added, 1 level": (lambda: Added(1), 1),
    "added, 3 levels": (lambda: Added(3), 1),
    "added, 4 levels": (lambda: Added(4), 1),
    "added, by threes": (lambda: Added(2, 3), 1),
    "second level alone": (lambda: Own(strided_concat), 1),
    "one sample fits any number": (lambda: Own(one_fits_all), 1),
    "patches of 16, fixed": (lambda: Patches(16, 4), 2),
    "patches of 16, interpolated": (lambda: Patches(16, 4, interpolated=True), 2),
    "patches of 14, fixed": (lambda: Patches(14, 5), 2),
    "linear head": (lambda: Head(8), 2),
    "linear head after five strides": (lambda: Head(3, 5), 2),
    "linear over the axis": (lambda: nn.Linear(48, 5), 1),
    "adaptive pool and head": (
        lambda: nn.Sequential(
            conv2(3, 2, 1), nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(49, 2)
        ),
        2,
    ),
    "global pool": (
        lambda: nn.Sequential(conv2(3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2)),
        2,
    ),
    "unshuffled by 4": (lambda: nn.PixelUnshuffle(4), 2),
    "unshuffled by 3, strided": (lambda: nn.Sequential(nn.PixelUnshuffle(3), nn.MaxPool2d(2)), 2),
    "windows of 7": (lambda: Own(windows), 2),
    "ceil mode": (
        lambda: Own(
            lambda x: torch.cat(
                [F.interpolate(F.max_pool2d(x, 2, ceil_mode=True), scale_factor=2), x], 1
            )
        ),
        2,
    ),
    "ceil mode, by threes": (
        lambda: nn.Sequential(nn.MaxPool2d(3, 3, ceil_mode=True), nn.MaxPool2d(2)),
        2,
    ),
    "asks for multiples of 24": (lambda: Asking(24), 2),
    "asks for at least 33": (lambda: Asking(least=33), 2),
    "asks for 40 to 90": (lambda: Asking(least=40, most=90), 2),
    "asks for multiples of 16 up to 128": (lambda: Asking(16, most=128), 2),
    "asks for one size": (lambda: Asking(least=65, most=65), 2),
    "a table that is cut": (lambda: Positions(150, looked_up=False), 1),
    "a table that is looked up": (lambda: Positions(150, looked_up=True), 1),
    "squares": (lambda: Own(lambda x: x + x.mT), 2),
    "squares of multiples": (
        lambda: Own(lambda x: F.max_pool2d(x, 4) @ F.pixel_unshuffle(x, 4)),
        2,
    ),
    "instance norm": (lambda: nn.Sequential(conv2(3, 2, 1), nn.InstanceNorm2d(1)), 2),
    "line, dilated": (lambda: nn.Conv1d(1, 1, 5, dilation=6), 1),
    "line, down and up": (
        lambda: Own(
            lambda x: F.conv_transpose1d(F.avg_pool1d(x, 5), torch.ones(1, 1, 5), stride=5) - x
        ),
        1,
    ),
    "volume": (lambda: nn.Sequential(nn.Conv3d(1, 1, 3, 2), nn.MaxPool3d(2)), 3),
    "volume, down and up": (
        lambda: Own(lambda x: torch.cat([F.interpolate(F.avg_pool3d(x, 4), scale_factor=4), x], 1)),
        3,
    ),
    "other strides along the axes": (
        lambda: (
            nn.PixelUnshuffle(2).append
            if False
            else Own(
                lambda x: torch.cat(
                    [F.interpolate(F.max_pool2d(x, (2, 6)), scale_factor=(2.0, 6.0)), x], 1
                )
            )
        ),
        2,
    ),
}
