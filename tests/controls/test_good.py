"""Models that are equivariant by construction: the verdict must be EQUIVARIANT."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import Verdict

CIRCLE: dict[str, Any] = {"boundary": "circular"}
Case = tuple[Callable[[], Any], tuple[int, ...], dict[str, Any]]


def image(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5)).to(dtype)


def conv(c_in: int = 2, c_out: int = 2, k: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, k, **options)


class UNet(nn.Module):
    def __init__(self, mode: str = "zeros") -> None:
        super().__init__()
        self.down = conv(2, 8, padding=1, padding_mode=mode)
        self.deep = conv(8, 8, padding=1, padding_mode=mode)
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.out = conv(16, 1, padding=1, padding_mode=mode)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = F.relu(self.down(x))
        y = self.up(F.relu(self.deep(F.max_pool2d(skip, 2))))
        return self.out(torch.cat([skip, y], 1))  # type: ignore[no-any-return]


class Residual(nn.Module):
    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.stem = conv(2, 16)
        self.blocks = nn.ModuleList(
            nn.Sequential(conv(16, 16, padding=1), nn.BatchNorm2d(16), nn.ReLU())
            for _ in range(blocks)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.stem(x)
        for block in self.blocks:
            y = y + block(y)
        return y  # type: ignore[no-any-return]


class Amplifier(nn.Module):
    """Thirty layers that each amplify rounding: equivariant, and noisy in any precision."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.stem = conv(2, 8, 1)
        self.layers = nn.ModuleList(conv(8, 8, 1) for _ in range(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.stem(x)
        for layer in self.layers:
            y = torch.sin(3 * layer(y))
        return y  # type: ignore[no-any-return]


class TinyVariance(nn.Module):
    """What varies is a few units in the last place of a constant, then amplified ten million times.

    A dozen such units in float32: enough that most is left on every processor, in whatever order
    it adds, and so little that rounding is several per cent of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = conv(2, 8), nn.BatchNorm2d(8, eps=1e-30), conv(8, 4)
        self.first.weight.data *= 1e-5
        self.first.bias.data.fill_(5.0)  # type: ignore[union-attr]
        self.norm.running_var.fill_(1e-14)  # type: ignore[union-attr]
        self.norm.running_mean.fill_(5.0)  # type: ignore[union-attr]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.norm(self.first(x)))  # type: ignore[no-any-return]


class ChannelsLastNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = conv(2, 8), nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.conv(x).permute(0, 2, 3, 1))
        return self.head(F.gelu(y)).permute(0, 3, 1, 2)  # type: ignore[no-any-return]


class PerFrame(nn.Module):
    """The same layer for each frame; as good as a 1x1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv1d(2, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        return torch.stack([self.head(y[:, :, t]) for t in range(y.shape[2])], 2)


class Excite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = conv(2, 4, padding=1, padding_mode="circular"), conv(4, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        return y * self.gate(F.adaptive_avg_pool2d(y, 1)).sigmoid()  # type: ignore[no-any-return]


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bias = conv(padding=1), nn.Parameter(torch.randn(2, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        y += self.bias
        y.mul_(2).relu_()
        return torch.add(y, x, out=torch.zeros_like(y))


def to(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    return copy.deepcopy(model).to(dtype)


MAP = (1, 2, 16, 18)
LARGE = (1, 2, 40, 44)
GOOD: dict[str, Case] = {
    "identity": (nn.Identity, MAP, {}),
    "zero padding": (lambda: conv(padding=2), MAP, {}),
    "dilated, grouped": (lambda: conv(2, 4, dilation=2, groups=2), MAP, {}),
    "same padding": (lambda: conv(k=5, padding="same"), MAP, {}),
    "uneven padding": (lambda: nn.Sequential(nn.ZeroPad2d((3, 0, 0, 1)), conv()), MAP, {}),
    "padding with a value": (lambda: nn.Sequential(nn.ConstantPad2d(1, 3.0), conv()), MAP, {}),
    "padding with a huge value": (lambda: nn.ConstantPad2d(1, 1e12), MAP, {}),
    "reflection": (lambda: conv(padding=1, padding_mode="reflect"), MAP, {}),
    "circular padding on a plane": (lambda: conv(padding=1, padding_mode="circular"), MAP, {}),
    "circular padding on a circle": (lambda: conv(padding=1, padding_mode="circular"), MAP, CIRCLE),
    "no padding on a circle": (lambda: nn.Sequential(conv(), nn.ReLU(), conv()), MAP, CIRCLE),
    "halos exchanged on a circle": (
        lambda: nn.Sequential(
            nn.CircularPad2d((1, 2, 0, 0)),
            conv(k=4, padding=(2, 0)),
            nn.CircularPad2d((2, 1, 0, 0)),
            conv(k=4, padding=(1, 0)),
        ),
        MAP,
        {"boundary": ("valid", "circular")},
    ),
    "padded more, and cropped on one side": (
        lambda: nn.Sequential(
            nn.CircularPad2d((2, 2, 1, 1)),
            conv(),
            nn.ZeroPad2d((-2, 0, 0, 0)),
            conv(padding=1, padding_mode="circular"),
        ),
        MAP,
        CIRCLE,
    ),
    "cropping on a circle": (lambda: nn.ZeroPad2d((-1, -2, -3, 0)), MAP, CIRCLE),
    "cropping": (lambda: nn.ZeroPad2d((-1, -2, -3, 0)), MAP, {}),
    "stride 2": (lambda: conv(stride=2, padding=1), MAP, {}),
    "pool with ceil_mode": (lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True), MAP, {}),
    "mean pool without its pads": (
        lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        MAP,
        {},
    ),
    "patches": (lambda: conv(2, 6, 4, stride=4), (1, 2, 32, 36), {}),
    "transposed, output_padding": (
        lambda: nn.ConvTranspose2d(2, 3, 3, 2, 1, output_padding=1),
        MAP,
        {},
    ),
    "adaptive pool to a half": (lambda: nn.AdaptiveAvgPool2d((8, 9)), MAP, {}),
    "adaptive pool to three quarters": (lambda: nn.AdaptiveMaxPool2d((12, 12)), MAP, {}),
    "U-Net at its period": (UNet, (1, 2, 32, 32), {"shifts": [(2, 0), (0, -4), (6, 2)]}),
    "U-Net on a circle": (
        lambda: UNet("circular"),
        (1, 2, 16, 20),
        {"shifts": [(2, 0), (0, -4)], **CIRCLE},
    ),
    "residual, float32": (lambda: Residual(6), LARGE, {}),
    "residual, float64": (lambda: Residual(6).double(), LARGE, {}),
    "residual, bfloat16": (lambda: to(Residual(3), torch.bfloat16), LARGE, {}),
    "residual, float16": (lambda: to(Residual(2), torch.float16), LARGE, {}),
    "amplified rounding, float32": (lambda: Amplifier(30), LARGE, {}),
    "amplified rounding, float64": (lambda: Amplifier(30).double(), LARGE, {}),
    "tiny variance": (TinyVariance, LARGE, {}),
    "tiny variance, float64": (lambda: TinyVariance().double(), LARGE, {}),
    "tiny numbers": (lambda: lambda x: x * 1e-30, MAP, {}),
    "huge numbers": (lambda: lambda x: x * 1e37, MAP, {}),
    "channels of all magnitudes": (
        lambda: lambda x: x * torch.tensor([1e12, 1e-12]).view(2, 1, 1),
        MAP,
        {},
    ),
    "a dead channel": (lambda: lambda x: x * torch.tensor([1.0, 0.0]).view(2, 1, 1), MAP, {}),
    "batch elements of all magnitudes": (
        lambda: lambda x: F.avg_pool2d(x * torch.tensor([1.0, 1e8, 1e-8]).view(3, 1, 1, 1), 3, 1),
        (3, 2, 16, 18),
        {},
    ),
    "channels-last norm and linear": (ChannelsLastNorm, MAP, {}),
    "channels-last input": (
        lambda: lambda x: F.avg_pool2d(x.permute(0, 3, 1, 2), 3, 1).permute(0, 2, 3, 1),
        (1, 14, 15, 2),
        {"spatial_dims": (1, 2)},
    ),
    "in-place": (InPlace, MAP, {}),
    "copy into an empty tensor": (lambda: lambda x: torch.empty_like(x).copy_(x), MAP, {}),
    "constant expanded like the signal": (
        lambda: lambda x: x * torch.full((2, 1, 1), 3.0).expand_as(x),
        MAP,
        {},
    ),
    "differences of slices": (lambda: lambda x: x[..., 1:] - x[..., :-1], MAP, {}),
    "differences of slices on a circle": (lambda: lambda x: x[..., 1:] - x[..., :-1], MAP, CIRCLE),
    "pieces joined again": (lambda: lambda x: torch.cat(x.chunk(2, -1), -1), MAP, {}),
    "squeeze and excite on a circle": (Excite, MAP, CIRCLE),
    "InstanceNorm on a circle": (lambda: nn.InstanceNorm2d(2), MAP, CIRCLE),
    "LayerNorm over all on a circle": (lambda: lambda x: F.layer_norm(x, x.shape[1:]), MAP, CIRCLE),
    "softmax over a circle": (lambda: lambda x: x.softmax(-1), MAP, CIRCLE),
    "BatchNorm in eval mode": (lambda: nn.Sequential(conv(), nn.BatchNorm2d(2)).train(), MAP, {}),
    "dropout in eval mode": (lambda: nn.Sequential(conv(), nn.Dropout(0.5)).train(), MAP, {}),
    "booleans": (lambda: lambda x: x > 0, MAP, {}),
    "argmax over channels": (lambda: lambda x: x.argmax(1), MAP, {}),
    "a checkerboard at its period": (
        lambda: lambda x: x * (torch.arange(18) % 2),
        MAP,
        {"shifts": [(1, 0), (0, 2), (3, -4)]},
    ),
    "antialiased, corners aligned": (
        lambda: (
            lambda x: F.interpolate(
                x, size=(31, 35), mode="bilinear", align_corners=True, antialias=True
            )
        ),
        MAP,
        {},
    ),
    "interpolated to its own size, on a circle": (
        lambda: lambda x: F.interpolate(x, size=(16, 18), mode="bilinear"),
        MAP,
        CIRCLE,
    ),
    "one axis is a circle": (
        lambda: nn.Sequential(nn.CircularPad2d((1, 1, 0, 0)), conv()),
        MAP,
        {"boundary": ("valid", "circular")},
    ),
    "along a strip only": (lambda: conv(padding=2, k=5), (1, 2, 3, 30), {"shifts": [(0, 2)]}),
    "audio, causal": (
        lambda: nn.Sequential(nn.ConstantPad1d((4, 0), 0.0), nn.Conv1d(2, 3, 5)),
        (2, 2, 40),
        {},
    ),
    "volume": (lambda: nn.Conv3d(1, 2, 3, padding=1), (1, 1, 9, 8, 7), {}),
    "script": (lambda: torch.jit.script(nn.Sequential(conv(), nn.ReLU())), MAP, {}),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.torch.jit")
@pytest.mark.parametrize("name", GOOD)
def test_equivariant(name: str) -> None:
    make, shape, options = GOOD[name]
    torch.manual_seed(0)
    model = make()
    dtype = next((p.dtype for p in getattr(model, "parameters", list)()), torch.float32)
    report = shiftcheck.check_equivariance(model, image(*shape, dtype=dtype), **options)
    assert report.verdict is Verdict.EQUIVARIANT, (report.reason, report.guilty)
    assert report.guilty is None
    assert shiftcheck.assert_equivariant(model, image(*shape, dtype=dtype), **options)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.torch.jit")
def test_frames_one_by_one_are_not_called_broken() -> None:
    report = shiftcheck.check_equivariance(PerFrame(), image(2, 2, 20))
    assert report.verdict is not Verdict.BROKEN, report.guilty
