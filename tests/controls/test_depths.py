"""Each cause at several depths, and as small as it may be: the layer and the cause are named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import Verdict

Function = Callable[[torch.Tensor], torch.Tensor]
RING: dict[str, Any] = {"boundary": "circular"}
SIZE = (24, 30)


def image(*size: int) -> torch.Tensor:
    return torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(4))


def conv(mode: str = "zeros", k: int = 1) -> nn.Conv2d:
    return nn.Conv2d(2, 2, k, padding=k // 2, padding_mode=mode)


class Layer(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


class Branch(nn.Module):
    """A good path, and beside it one with the layer."""

    def __init__(self, bad: nn.Module) -> None:
        super().__init__()
        self.good, self.bad, self.join = conv(), bad, conv()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.join(self.good(x) + self.bad(x))  # type: ignore[no-any-return]


def chain(bad: nn.Module, place: int) -> nn.Module:
    layers: list[nn.Module] = [m for _ in range(4) for m in (conv(), nn.LeakyReLU(0.5))][:-1]
    layers.insert(place, bad)
    return nn.Sequential(*layers)


# how a network is made around the layer, and the name that the layer has in it
DEPTHS: dict[str, tuple[Callable[[nn.Module], nn.Module], str]] = {
    "first": (lambda bad: chain(bad, 0), "0"),
    "in the middle": (lambda bad: chain(bad, 3), "3"),
    "last": (lambda bad: chain(bad, 7), "7"),
    "nested": (
        lambda bad: nn.Sequential(conv(), nn.ModuleDict({"a": nn.Sequential(conv(), bad)})["a"]),
        "1.1",
    ),
    "in a branch": (lambda bad: nn.Sequential(conv(), Branch(bad), conv()), "1.bad"),
}
TABLE = torch.randn(1, 2, *SIZE, generator=torch.Generator().manual_seed(6))
SWAPPED = [0, 1, 2, 4, 3, *range(5, 30)]


def held(x: torch.Tensor) -> torch.Tensor:
    return F.max_pool2d(x, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)


def resized(x: torch.Tensor) -> torch.Tensor:
    larger = F.interpolate(x, scale_factor=1.5, mode="bilinear")
    return F.interpolate(larger, scale_factor=2 / 3, mode="nearest")


# the layer, the options of the check, the verdict and reason, the cause
KINDS: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], str, str]] = {
    "POSITION": (lambda: Layer(lambda x: x + TABLE), {}, "", "POSITION"),
    "STRIDE": (lambda: Layer(held), {"shifts": [(1, 0), (0, 1)]}, "", "STRIDE"),
    "RESIZE": (lambda: Layer(resized), {"shifts": [(1, 0), (0, 1)]}, "", "RESIZE"),
    "PADDING": (lambda: conv(k=3), RING, "", "PADDING"),
    "MIXING": (lambda: nn.Linear(30, 30), {}, "", "MIXING"),
    "INDEX": (lambda: Layer(lambda x: x[..., SWAPPED]), RING, "", "INDEX"),
    "GLOBAL": (lambda: nn.GroupNorm(1, 2), {}, "no valid region", "GLOBAL"),
    "STOCHASTIC": (
        lambda: Layer(lambda x: F.dropout(x, 0.5, training=True)),
        {},
        "nondeterministic",
        "STOCHASTIC",
    ),
    "UNSUPPORTED_OP": (
        lambda: Layer(lambda x: x.masked_scatter(x > 0, x)),
        {},
        "unsupported operation",
        "UNSUPPORTED_OP",
    ),
}


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_layer_and_the_cause_are_named(kind: str, depth: str) -> None:
    make, options, reason, cause = KINDS[kind]
    around, layer = DEPTHS[depth]
    torch.manual_seed(1)
    report = shiftcheck.check_equivariance(around(make()), image(*SIZE), **options)
    expected = Verdict.BROKEN if reason == "" else Verdict.INCONCLUSIVE
    assert (report.verdict, report.reason) == (expected, reason)
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.layer) == (cause, layer)


class Pad(nn.Module):
    """A circular pad along the last axis, made by hand from the rows that are given."""

    def __init__(self, left: list[int], right: list[int]) -> None:
        super().__init__()
        self.left, self.right = left, right

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [x[..., i : i + 1 or None] if i < 0 else x[..., i : i + 1]
                 for i in (*self.left, *self.right)]  # fmt: skip
        n = len(self.left)
        return torch.cat([*parts[:n], x, *parts[n:]], -1)


def around(pad: Pad) -> nn.Module:
    return nn.Sequential(pad, nn.Conv2d(2, 2, (1, 3)))


def deep(mode: Callable[[int], str], layers: int = 20) -> nn.Module:
    convs = [conv(mode(i), 3) for i in range(layers)]
    for one in convs:
        nn.init.kaiming_normal_(one.weight, nonlinearity="linear")
    return nn.Sequential(*convs)


class UNet(nn.Module):
    """Steps down and up by two, with circular padding."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(conv("circular", 3) for _ in range(levels))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2, 2, 2, 2) for _ in range(levels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for layer in self.down:
            skips.append(x := layer(x))
            x = F.max_pool2d(x, 2)
        for layer in self.up:
            x = layer(x) + skips.pop()
        return x


# the network, the input's size, the options, the cause and its layer
SUBTLE: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], dict[str, Any], str, str]] = {
    "a ramp of 1e-6": (
        lambda: chain(Layer(lambda x: x + 1e-6 * torch.linspace(0, 1, 30)), 3),
        SIZE,
        {},
        "POSITION",
        "3",
    ),
    "a factor of 1 + 1e-6 in one row": (
        lambda: chain(Layer(lambda x: x * (1 + 1e-6 * torch.eye(24)[11][:, None])), 7),
        SIZE,
        {},
        "POSITION",
        "7",
    ),
    "half of the period of a U-Net": (
        lambda: UNet(3),
        (32, 48),
        RING | {"shifts": [(4, 0), (0, 4)]},
        "STRIDE",
        "max_pool2d_2",
    ),
    "a quarter of the period": (
        lambda: UNet(3),
        (32, 48),
        RING | {"shifts": [(0, 2)]},
        "STRIDE",
        "max_pool2d_1",
    ),
    "zeros for circular in the last layer of twenty": (
        lambda: deep(lambda i: "zeros" if i == 19 else "circular"),
        (12, 14),
        RING,
        "PADDING",
        "19",
    ),
    "zeros for circular in the tenth layer of twenty": (
        lambda: deep(lambda i: "zeros" if i == 9 else "circular"),
        (12, 14),
        RING,
        "PADDING",
        "9",
    ),
    "reflect for circular in the first layer of twenty": (
        lambda: deep(lambda i: "reflect" if i == 0 else "circular"),
        (12, 14),
        RING,
        "PADDING",
        "0",
    ),
    "a replicated row for a circular one": (
        lambda: around(Pad([-1], [-1])),
        (8, 12),
        RING,
        "INDEX",
        "0",
    ),
    "one wrong row in a circular pad": (
        lambda: around(Pad([-2], [0])),
        (8, 12),
        RING,
        "INDEX",
        "0",
    ),
    "two rows in the wrong order": (
        lambda: nn.Sequential(Pad([-1, -2], [0, 1]), nn.Conv2d(2, 2, (1, 5))),
        (8, 12),
        RING,
        "INDEX",
        "0",
    ),
    "the halos of H and W exchanged": (
        lambda: nn.Sequential(
            nn.CircularPad2d((1, 1, 2, 2)), nn.Conv2d(2, 2, (3, 5)), conv("circular", 3)
        ),
        (12, 16),
        RING,
        "PADDING",
        "2",
    ),
    "a slice that is off by one": (
        lambda: nn.Sequential(
            nn.CircularPad2d((1, 1, 0, 0)),
            nn.Conv2d(2, 2, (1, 3)),
            Layer(lambda x: x[..., 1:]),
            conv("circular", 3),
        ),
        (12, 16),
        RING,
        "PADDING",
        "3",
    ),
    "a slice that is off by one, and zeros in its place": (
        lambda: nn.Sequential(
            conv("circular", 3), Layer(lambda x: F.pad(x[..., 1:], (0, 1))), conv("circular", 3)
        ),
        (12, 16),
        RING,
        "PADDING",
        "1",
    ),
    "a sample that is added to all": (
        lambda: chain(Layer(lambda x: x + 1e-6 * x[:, :, 5:6]), 3),
        SIZE,
        {},
        "INDEX",
        "3",
    ),
    "a mirror image beside": (
        lambda: chain(Layer(lambda x: x + 1e-6 * x.flip(2)), 3),
        SIZE,
        {},
        "INDEX",
        "3",
    ),
    "padding that is uneven at even sizes": (
        lambda: nn.Conv2d(2, 2, 3, 2, 1),
        (12, 16),
        RING,
        "PADDING",
        "conv2d",
    ),
    "a stride that the size does not fit": (
        lambda: nn.Conv2d(2, 2, 3, 2, 1, padding_mode="circular"),
        (13, 16),
        RING,
        "STRIDE",
        "conv2d",
    ),
    "resized by its size and not by a factor": (
        lambda: Layer(lambda x: F.interpolate(x, size=(16, 25), mode="nearest")),
        (12, 18),
        {"shifts": [(0, 6)]},
        "RESIZE",
        "upsample_nearest2d",
    ),
    "a mask at one corner": (
        lambda: chain(Layer(lambda x: x * (1 - torch.eye(24, 30)[:, :] * 0.01)), 3),
        SIZE,
        {},
        "POSITION",
        "3",
    ),
}


@pytest.mark.parametrize("name", SUBTLE)
def test_a_small_break_is_one(name: str) -> None:
    make, size, options, kind, layer = SUBTLE[name]
    torch.manual_seed(1)
    report = shiftcheck.check_equivariance(make(), image(*size), **options)
    assert report.verdict is not Verdict.EQUIVARIANT
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.layer) == (kind, layer)


@pytest.mark.parametrize("dims", [1, 3])
@pytest.mark.parametrize(
    "kind", ["POSITION", "STRIDE", "PADDING", "GLOBAL", "MIXING", "INDEX", "RESIZE"]
)
def test_in_one_and_three_dimensions(kind: str, dims: int) -> None:
    torch.manual_seed(1)
    size = (12, 14, 16)[:dims]
    conv_of = {1: nn.Conv1d, 3: nn.Conv3d}[dims]
    pool = {1: F.max_pool1d, 3: F.max_pool3d}[dims]
    table = torch.randn(1, 2, *size) * 1e-3
    layers: dict[str, tuple[nn.Module, dict[str, Any]]] = {
        "POSITION": (Layer(lambda x: x + table), {}),
        "STRIDE": (
            Layer(lambda x: F.interpolate(pool(x, 2), scale_factor=2)),
            {"shifts": [tuple([1] + [0] * (dims - 1))]},
        ),
        "PADDING": (conv_of(2, 2, 3, padding=1), RING),
        "GLOBAL": (nn.GroupNorm(1, 2), {}),
        "MIXING": (nn.Linear(size[-1], size[-1]), {}),
        "INDEX": (Layer(lambda x: x + 1e-3 * x.flip(-1)), {}),
        "RESIZE": (
            Layer(lambda x: F.interpolate(F.interpolate(x, scale_factor=1.5), size=x.shape[2:])),
            {"shifts": [tuple([1] + [0] * (dims - 1))]},
        ),
    }
    bad, options = layers[kind]
    model = nn.Sequential(conv_of(2, 2, 1), bad, nn.ReLU(), conv_of(2, 2, 1))
    report = shiftcheck.check_equivariance(model, image(*size), **options)
    assert report.verdict is not Verdict.EQUIVARIANT
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.layer) == (kind, "1")
