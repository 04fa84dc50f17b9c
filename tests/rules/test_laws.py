"""The law of each operation: claimed by geometry, and true in float64 at that shift only."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck

Layer = Callable[[torch.Tensor], torch.Tensor]
SIZE = 60


def conv(**options: object) -> nn.Module:
    return nn.Conv1d(2, 3, **options)  # type: ignore[arg-type]


def up(**options: object) -> nn.Module:
    return nn.ConvTranspose1d(2, 3, **options)  # type: ignore[arg-type]


def batch_norm() -> nn.Module:
    norm = nn.BatchNorm1d(2).eval()
    norm.running_mean, norm.running_var = torch.tensor([0.3, -1.0]), torch.tensor([2.0, 0.5])
    return norm


def channel_norm(x: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(x.transpose(1, 2), [2]).transpose(1, 2)


def along(layer: nn.Module) -> Layer:
    """A recurrent layer along the axis."""
    return lambda x: layer(x.movedim(-1, 0))[0].movedim(0, -1)  # type: ignore[no-any-return]


def attention(x: torch.Tensor) -> torch.Tensor:
    tokens = x.transpose(1, 2)
    return F.scaled_dot_product_attention(tokens, tokens, tokens).transpose(1, 2)


def attention_over_channels(x: torch.Tensor) -> torch.Tensor:
    tokens = x.transpose(1, 2)[..., None]
    return F.scaled_dot_product_attention(tokens, tokens * 2, tokens)[..., 0].transpose(1, 2)


def excite(x: torch.Tensor) -> torch.Tensor:
    return x * F.adaptive_avg_pool1d(x, 1).sigmoid()


def held(x: torch.Tensor) -> torch.Tensor:
    return x[..., ::3].repeat_interleave(3, -1)


def columns(x: torch.Tensor) -> torch.Tensor:
    return F.unfold(x[:, :, None], (1, 3), stride=(1, 2))


def put_back(x: torch.Tensor) -> torch.Tensor:
    wide = F.unfold(x[:, :, None], (1, 4), stride=(1, 2)).softmax(1)
    return F.fold(wide, (1, x.shape[-1]), (1, 4), stride=(1, 2))[:, :, 0]


LEVELS = torch.linspace(-2, 2, 9)
PLACES = torch.linspace(-1, 1, SIZE)[:, None] + torch.arange(3)
TABLE = torch.randn(4, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
TAPS = torch.randn(2, 5, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
HANN = torch.hann_window(8)


def fake_quantised(x: torch.Tensor) -> torch.Tensor:
    rounded = torch.fake_quantize_per_tensor_affine(x.float(), 0.05, 3, -128, 127)
    return rounded.to(x) + x


def fake_quantised_channels(x: torch.Tensor) -> torch.Tensor:
    scale, zero = torch.tensor([0.05, 0.2]), torch.tensor([0, 5], dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(x.float(), scale, zero, 1, -128, 127).to(x) + x


def bags(x: torch.Tensor) -> torch.Tensor:
    index = ((x > 0).long() + 2 * (x.roll(1, 1) > 0).long()).transpose(1, 2)
    bag = F.embedding_bag(index.reshape(-1, 2), TABLE.to(x), mode="sum")
    return bag.unflatten(0, (-1, x.shape[-1])).transpose(1, 2) + x[:, :1]


def rows(x: torch.Tensor) -> torch.Tensor:
    return x.transpose(1, 2).contiguous()


def filtered(n: int) -> Layer:
    def layer(x: torch.Tensor) -> torch.Tensor:
        product = torch.fft.rfft(x, n) * torch.fft.rfft(TAPS.to(x), n)
        return torch.fft.irfft(product, n)[..., :SIZE]

    return layer


def correlated(x: torch.Tensor) -> torch.Tensor:
    product = torch.fft.fft(x, 90) * torch.fft.fft(TAPS.to(x), 90).conj()
    return 2 * torch.fft.ifft(product / 3).real[..., :SIZE]


def short_time(x: torch.Tensor) -> torch.Tensor:
    return torch.stft(x.flatten(0, 1), 8, 4, window=HANN.to(x), return_complex=True)


def back_in_time(x: torch.Tensor) -> torch.Tensor:
    frames = short_time(x)
    again = torch.istft(frames * frames.abs(), 8, 4, window=HANN.to(x))
    return again.unflatten(0, (-1, 2))


def interpolate(**options: object) -> Layer:
    return lambda x: F.interpolate(x, **options)  # type: ignore[arg-type]


LAWS: dict[str, tuple[Layer, int, int]] = {
    "convolution": (conv(kernel_size=3), 1, 1),
    "even kernel": (conv(kernel_size=4, padding=2), 1, 1),
    "dilation": (conv(kernel_size=3, dilation=4, padding=4), 1, 1),
    "same": (conv(kernel_size=4, padding="same"), 1, 1),
    "circular mode": (conv(kernel_size=3, padding=1, padding_mode="circular"), 1, 1),
    "reflect mode": (conv(kernel_size=3, padding=1, padding_mode="reflect"), 1, 1),
    "replicate mode": (conv(kernel_size=3, padding=1, padding_mode="replicate"), 1, 1),
    "groups": (nn.Conv1d(2, 4, 3, groups=2), 1, 1),
    "batch norm": (batch_norm(), 1, 1),
    "channel layer norm": (channel_norm, 1, 1),
    "relu": (F.relu, 1, 1),
    "gelu": (F.gelu, 1, 1),
    "softmax over channels": (lambda x: x.softmax(1), 1, 1),
    "stride 2": (conv(kernel_size=3, stride=2, padding=1), 2, 1),
    "stride 3": (conv(kernel_size=2, stride=3), 3, 1),
    "max pool 2": (nn.MaxPool1d(2), 2, 1),
    "max pool 2, stride 1": (nn.MaxPool1d(2, 1), 1, 1),
    "max pool ceil": (nn.MaxPool1d(3, 2, 1, ceil_mode=True), 2, 1),
    "avg pool": (nn.AvgPool1d(3, 2, 1, count_include_pad=False), 2, 1),
    "lp pool": (nn.LPPool1d(2, 2), 2, 1),
    "patches": (conv(kernel_size=4, stride=4), 4, 1),
    "transposed 2": (up(kernel_size=3, stride=2), 1, 2),
    "transposed 2, output padding": (
        up(kernel_size=4, stride=2, padding=1, output_padding=1),
        1,
        2,
    ),
    "transposed 3": (up(kernel_size=5, stride=3, dilation=2), 1, 3),
    "adaptive average 60 to 15": (nn.AdaptiveAvgPool1d(15), 4, 1),
    "adaptive maximum 60 to 40": (nn.AdaptiveMaxPool1d(40), 3, 2),
    "every second sample": (lambda x: x[..., 1::2], 2, 1),
    "crop": (lambda x: x[..., 3:-4], 1, 1),
    "attention over channels": (attention_over_channels, 1, 1),
    "instance norm with running statistics": (nn.InstanceNorm1d(2, track_running_stats=True), 1, 1),
    "rms norm over channels": (
        lambda x: F.rms_norm(x.transpose(1, 2), [2]).transpose(1, 2),
        1,
        1,
    ),
    "local response norm": (nn.LocalResponseNorm(2), 1, 1),
    "pad": (lambda x: F.pad(x, (3, 2)), 1, 1),
    "linear over channels": (
        lambda x: (x.transpose(1, 2) @ torch.ones(2, 3).to(x)).transpose(1, 2),
        1,
        1,
    ),
    "einsum over channels": (
        lambda x: torch.einsum("bct,dc->bdt", x, torch.ones(3, 2).to(x)),
        1,
        1,
    ),
    "running sum over channels": (lambda x: x.cumsum(1), 1, 1),
    "sorted channels": (lambda x: x.sort(1)[0], 1, 1),
    "stride 2, even size of kernel": (conv(kernel_size=4, stride=2, padding=1), 2, 1),
    "windows of 5": (lambda x: x.unfold(-1, 5, 5).amax(-1), 5, 1),
    "columns": (columns, 2, 1),
    "columns put back": (put_back, 2, 2),
    "samples held": (held, 3, 3),
    "nearest by 2": (interpolate(scale_factor=2), 1, 2),
    "repeat_interleave": (lambda x: x.repeat_interleave(2, -1), 1, 2),
    "linear by 2": (interpolate(scale_factor=2, mode="linear"), 1, 2),
    "pixel shuffle": (
        lambda x: F.pixel_shuffle(
            torch.stack([x, 2 * x, 3 * x.sin(), x - 1], 2).flatten(1, 2)[:, :, None], 2
        )[:, :, 1],
        1,
        2,
    ),
    "pixel unshuffle": (
        lambda x: F.pixel_unshuffle(x[:, :, None].expand(-1, -1, 2, -1), 2)[:, :, 0],
        2,
        1,
    ),
    "nearest by 3/2": (interpolate(scale_factor=1.5), 2, 3),
    "linear by 3/2": (interpolate(scale_factor=1.5, mode="linear"), 2, 3),
    "linear, 60 to 40": (interpolate(size=40, mode="linear"), 3, 2),
    "linear, 60 to 24": (interpolate(size=24, mode="linear"), 5, 2),
    "nearest-exact, 60 to 45": (interpolate(size=45, mode="nearest-exact"), 4, 3),
    "aligned corners, 60 to 119": (
        interpolate(size=119, mode="linear", align_corners=True),
        1,
        2,
    ),
    "roll": (lambda x: x.roll(2, -1), 1, 1),
    "flip": (lambda x: x.flip(-1), 1, -1),
    "two flips": (lambda x: x.flip(-1).sin().flip(-1), 1, 1),
    "levels": (lambda x: 0.1 * torch.searchsorted(LEVELS.to(x), x).to(x) + x, 1, 1),
    "levels for each channel": (
        lambda x: x + torch.searchsorted(torch.stack([LEVELS, LEVELS + 1]).to(x), x[0])[None],
        1,
        1,
    ),
    "levels of its own": (
        lambda x: x + torch.searchsorted(rows(x).sort(-1)[0], rows(x)).transpose(1, 2),
        1,
        1,
    ),
    "quantised": (fake_quantised, 1, 1),
    "quantised by channel": (fake_quantised_channels, 1, 1),
    "bags over channels": (bags, 1, 1),
    "conjugate": (lambda x: (torch.complex(x, x.sin()).conj() * (1 + 2j)).imag, 1, 1),
    "convolution by transforms": (filtered(60), 1, 1),
    "convolution by longer transforms": (filtered(72), 1, 1),
    "correlation by transforms": (correlated, 1, 1),
    "a transform cropped": (lambda x: torch.fft.irfft(torch.fft.rfft(x, 48), 48), 1, 1),
    "short-time transform": (lambda x: short_time(x).abs(), 4, 1),
    "short-time transform and back": (back_in_time, 4, 4),
    "list of indices": (lambda x: x[..., torch.arange(2, 59, 3)], 3, 1),
    "index of pairs": (lambda x: x[..., [i for i in range(60) if i % 3 < 2]], 3, 2),
}
"""Layers with their law: a shift by the first number is a shift of the output by the second."""


def moved(layer: Layer, v: int, w: int) -> float:
    """The largest gap between layer(S_v x) and S_w layer(x) well inside, in float64."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, 2, SIZE, dtype=torch.float64, generator=generator)
    fresh = torch.randn(1, 2, SIZE, dtype=torch.float64, generator=generator)
    shifted = torch.cat([fresh[..., :v], x[..., : SIZE - v]], dim=-1)
    with torch.no_grad():
        base, copy = layer(x), layer(shifted)
    inner = 16 * base.shape[-1] // SIZE
    size = base.shape[-1]
    inner = max(inner, abs(w))
    here = copy[..., inner : size - inner]
    there = base[..., inner - w : size - inner - w]
    return float((here - there).abs().max())


@pytest.mark.parametrize("name", LAWS)
def test_law(name: str) -> None:
    layer, v, w = LAWS[name]
    if isinstance(layer, nn.Module):
        layer = layer.double().eval()
    out = shiftcheck.geometry(layer, torch.zeros(1, 2, SIZE, dtype=torch.float64)).outputs[0]
    assert out.stride == (Fraction(v, w),)
    assert out.period == (v,)
    assert moved(layer, v, w) < 1e-13
    for smaller in range(1, v):
        for step in range(-abs(w), abs(w) + 1):
            assert moved(layer, smaller, step) > 1e-6, f"{smaller} -> {step} holds as well"


SQUARE = torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(0))
NONE: dict[str, tuple[Layer, str]] = {
    "position embedding, multiplied": (lambda x: x * torch.linspace(0, 1, SIZE), "POSITION"),
    "position embedding, joined": (
        lambda x: torch.cat([x, torch.linspace(0, 1, SIZE).expand(len(x), 1, -1)], 1),
        "POSITION",
    ),
    "linear over the axis": (lambda x: x @ SQUARE, "MIXING"),
    "fixed index select": (lambda x: x[..., [5, 17, 2, 40, 3, 8, 59, 21]], "INDEX"),
    "permutation": (
        lambda x: x[..., torch.randperm(SIZE, generator=torch.Generator().manual_seed(0))],
        "INDEX",
    ),
    "sorted": (lambda x: x.sort(-1)[0], "INDEX"),
    "scatter": (lambda x: x.index_fill(-1, torch.tensor([3]), 9.0), "INDEX"),
    "attention": (attention, "GLOBAL"),
    "squeeze and excite": (excite, "GLOBAL"),
    "running sum": (lambda x: x.cumsum(-1), "GLOBAL"),
    "recurrent layer": (along(nn.GRU(2, 3)), "GLOBAL"),
    "adaptive 60 to 1, multiplied": (lambda x: x + F.adaptive_max_pool1d(x, 1), "GLOBAL"),
    "select": (lambda x: x + x[..., :1].expand(-1, -1, SIZE), "INDEX"),
    "position embedding": (lambda x: x + torch.linspace(0, 1, SIZE), "POSITION"),
    "flatten and linear": (
        lambda x: (x.flatten(1) @ torch.randn(120, 120)).view(1, 2, SIZE),
        "MIXING",
    ),
    "softmax over the axis": (lambda x: x.softmax(-1), "GLOBAL"),
    "mean over the axis": (lambda x: x * x.mean(-1, keepdim=True), "GLOBAL"),
    "layer norm over everything": (lambda x: F.layer_norm(x, [2, SIZE]), "GLOBAL"),
    "instance norm": (nn.InstanceNorm1d(2), "GLOBAL"),
    "group norm": (nn.GroupNorm(1, 2), "GLOBAL"),
    "an operation without a rule": (
        lambda x: x * torch.linalg.qr(x.transpose(1, 2))[0].transpose(1, 2),
        "UNSUPPORTED_OP",
    ),
    "a norm of each channel": (lambda x: x.renorm(2, 1, 1.0), "GLOBAL"),
    "a diagonal": (lambda x: x * x.diagonal(dim1=1, dim2=2).sum(-1)[:, None, None], "INDEX"),
    "a scale for each place": (
        lambda x: torch.fake_quantize_per_channel_affine(
            x, torch.linspace(0.1, 1, SIZE), torch.zeros(SIZE, dtype=torch.int32), 2, -128, 127
        ),
        "POSITION",
    ),
    "a sequence for each place": (
        lambda x: x + torch.searchsorted(PLACES.expand(2, -1, -1), x[0, ..., None])[..., 0],
        "POSITION",
    ),
    "a kernel as long as the axis": (
        lambda x: torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(SQUARE[0].to(x))),
        "GLOBAL",
    ),
    "the conjugate transformed back": (
        lambda x: torch.fft.irfft(torch.fft.rfft(x).conj(), SIZE),
        "UNSUPPORTED_OP",
    ),
}


@pytest.mark.parametrize("name", NONE)
def test_no_law(name: str) -> None:
    layer, kind = NONE[name]
    report = shiftcheck.check_equivariance(layer, torch.randn(1, 2, SIZE))
    assert report.verdict is not shiftcheck.Verdict.EQUIVARIANT
    assert kind in {cause.kind for cause in report.causes}


CLOSED: dict[str, tuple[Layer, bool]] = {
    "softmax over the axis": (lambda x: x.softmax(-1), True),
    "attention": (attention, True),
    "global pooling": (lambda x: x - x.mean(-1, keepdim=True), True),
    "adaptive pool to 1": (lambda x: x * F.adaptive_avg_pool1d(x, 1), True),
    "squeeze and excite": (excite, True),
    "instance norm": (nn.InstanceNorm1d(2), True),
    "group norm": (nn.GroupNorm(1, 2), True),
    "layer norm over everything": (lambda x: F.layer_norm(x, [2, SIZE]), True),
    "a rank of the axis": (lambda x: x * x.kthvalue(7, -1, keepdim=True)[0], True),
    "running sum": (lambda x: x.cumsum(-1), False),
    "recurrent layer": (along(nn.GRU(2, 3)), False),
    "recurrent layer, both ways": (along(nn.GRU(2, 3, bidirectional=True)), False),
}
"""Global layers, and whether they are exact on a closed axis."""


@pytest.mark.parametrize("name", CLOSED)
def test_a_global_layer_is_exact_on_a_closed_axis_only(name: str) -> None:
    torch.manual_seed(0)
    layer, exact = CLOSED[name]
    x = torch.randn(1, 2, SIZE, generator=torch.Generator().manual_seed(2))
    plane = shiftcheck.check_equivariance(layer, x)
    assert (plane.verdict, plane.reason) == (shiftcheck.Verdict.INCONCLUSIVE, "no valid region")
    assert plane.guilty is not None
    assert plane.guilty.kind == "GLOBAL"
    assert plane.outputs[0].valid == ((),)
    circle = shiftcheck.check_equivariance(layer, x, boundary="circular")
    expected = shiftcheck.Verdict.EQUIVARIANT if exact else shiftcheck.Verdict.BROKEN
    assert circle.verdict is expected
    with torch.no_grad():
        turned = (layer(x.roll(7, -1)) - layer(x).roll(7, -1)).abs().max()
    assert (float(turned) < 1e-5) is exact


def test_a_law_by_size_is_not_that_by_scale() -> None:
    x = torch.zeros(1, 2, 33)
    by_factor = interpolate(scale_factor=1.5, mode="linear")
    by_size = interpolate(size=49, mode="linear")
    assert shiftcheck.geometry(by_factor, x).outputs[0].period == (2,)
    assert shiftcheck.geometry(by_size, x).outputs[0].period == (33,)


THIS_SIZE = {"list of indices", "index of pairs", "pixel unshuffle"}
"""Layers that take no other size, or no odd one."""


def test_rules_agree_with_torch_on_sizes() -> None:
    for name, (layer, _, _) in LAWS.items():
        if name in THIS_SIZE:
            continue
        module = layer.float() if isinstance(layer, nn.Module) else layer
        for size in (24, 30, 36, 41):
            if "adaptive" in name and size % 4:
                continue
            x = torch.zeros(1, 2, size)
            with torch.no_grad():
                expected = module(x).shape
            out = shiftcheck.geometry(module, x).outputs[0]
            assert out.shape == tuple(expected), name
            assert out.stride != (None,), name
