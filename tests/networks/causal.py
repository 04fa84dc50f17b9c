"""Networks over time, causal or not quite: each with what is to be said of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

Tensor = torch.Tensor
TIME = 48


class CausalConv(nn.Module):
    """A convolution padded on the left; ``pad``: how much, by a formula that may be wrong."""

    def __init__(
        self, inside: int, outside: int, kernel: int, dilation: int = 1, stride: int = 1, **how: int
    ) -> None:
        super().__init__()
        self.pad = how.get("pad", (kernel - 1) * dilation)
        self.conv = nn.Conv1d(inside, outside, kernel, stride, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (self.pad, 0)))


class WaveNet(nn.Module):
    """Gated, dilated, with skips."""

    def __init__(self, wrong: int | None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            CausalConv(4, 8, 2, d, pad=d if i != wrong else d - 1)
            for i, d in enumerate((1, 2, 4, 8))
        )
        self.out = nn.Conv1d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = torch.zeros_like(x)
        for layer in self.layers:
            a, b = layer(x).chunk(2, 1)
            z = a.tanh() * b.sigmoid()
            skips, x = skips + z[..., : x.shape[-1]], F.pad(z, (0, 1))[..., : x.shape[-1]] + x
        return self.out(skips)


class BehindStride(nn.Module):
    """Down by a stride and up again; ``pad``: on the left of the inner layer, at half the rate."""

    def __init__(self, pad: int) -> None:
        super().__init__()
        self.down = CausalConv(4, 4, 3, stride=2)
        self.inner = CausalConv(4, 4, 5, pad=pad)
        self.trailing = 4 - pad
        self.up = nn.Upsample(scale_factor=2)
        self.last = CausalConv(4, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        low = self.inner(F.pad(self.down(x).relu(), (0, self.trailing)))
        return self.last(self.up(low))


class Recurrent(nn.Module):
    """Layers over ``[batch, time, channels]``, of which the middle one may run both ways."""

    def __init__(self, both: bool, kind: type[nn.RNNBase] = nn.LSTM) -> None:
        super().__init__()
        self.first = nn.GRU(4, 6, batch_first=True)
        self.middle = kind(6, 6, batch_first=True, bidirectional=both)
        self.last = nn.GRU(12 if both else 6, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.first(x)[0])[0])[0]


class Attention(nn.Module):
    """One head over ``[batch, time, channels]``, masked in one way or another."""

    def __init__(self, how: str, offset: int = 0) -> None:
        super().__init__()
        self.qkv, self.out, self.how = nn.Linear(4, 12), nn.Linear(4, 4), how
        keep = torch.ones(TIME, TIME).tril(offset).bool()
        chunks = torch.arange(TIME) // 4
        if how == "chunks":
            keep = chunks[:, None] >= chunks
        self.register_buffer("keep", keep)
        self.register_buffer("added", torch.zeros(TIME, TIME).masked_fill(~keep, -torch.inf))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        if self.how == "is_causal":
            return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True))
        if self.how in ("boolean", "chunks"):
            return self.out(F.scaled_dot_product_attention(q, k, v, attn_mask=self.keep))
        if self.how == "none":
            return self.out(F.scaled_dot_product_attention(q, k, v))
        scores = q @ k.transpose(1, 2) / 2
        scores = scores + self.added if self.how == "added" else scores.where(self.keep, -1e9)
        return self.out(scores.softmax(-1) @ v)


class Masked(nn.Module):
    """Convolutions of which a mask lets the weights on one side count alone, in 1-D or 3-D."""

    def __init__(self, dims: int, ahead: int = 0) -> None:
        super().__init__()
        conv = {1: nn.Conv1d, 3: nn.Conv3d}[dims]
        self.conv = conv(2, 2, 5, padding=2)
        mask = torch.zeros(5)
        mask[: 3 + ahead] = 1
        self.register_buffer("mask", mask.reshape(5, *(1,) * (dims - 1)))
        self.call = {1: F.conv1d, 3: F.conv3d}[dims]

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x, self.conv.weight * self.mask, self.conv.bias, padding=2)


class Trimmed(nn.Module):
    """A transposed convolution, of whose output what is too much is cut off somewhere."""

    def __init__(self, left: int, right: int) -> None:
        super().__init__()
        self.up, self.left, self.right = nn.ConvTranspose1d(4, 4, 6, stride=2), left, right

    def forward(self, x: Tensor) -> Tensor:
        y = self.up(x)
        return y[..., self.left : y.shape[-1] - self.right]


class Codec(nn.Module):
    """Down by two strides of which each frame sees all of its block, and up again."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(CausalConv(1, 4, 4, stride=2, pad=2), nn.ELU())
        self.further = CausalConv(4, 4, 8, stride=4, pad=4)
        self.up = nn.ModuleList([nn.ConvTranspose1d(4, 4, 8, 4), nn.ConvTranspose1d(4, 1, 4, 2)])

    def forward(self, x: Tensor) -> Tensor:
        y = self.further(self.down(x))
        for up, trim in zip(self.up, (4, 2), strict=True):
            y = up(y)[..., :-trim]
        return y


def cumulative_norm(x: Tensor) -> Tensor:
    """By running sums over the time."""
    count = torch.arange(1, x.shape[-1] + 1)
    mean = x.mean(1, keepdim=True).cumsum(-1) / count
    square = (x**2).mean(1, keepdim=True).cumsum(-1) / count
    return (x - mean) / (square - mean**2 + 0.1).sqrt()


def sequence(*layers: Any) -> nn.Module:
    return nn.Sequential(*layers)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network with its input, and what is to be said of it; ``ahead``: by the structure.

    ``known``: the structure tells how far it sees.
    """

    name: str
    make: Callable[[], Any]
    shape: tuple[int, ...] = (1, 4, TIME)
    given: dict[str, Any] = field(default_factory=dict)
    kind: str = ""
    layer: str = ""
    ahead: float = 0
    known: bool = True


VIDEO = (1, 2, 8, 5, 5)
LAST = (1, TIME, 4)
AT_1 = {"axis": 1}

CASES = (
    Case(name="tcn", make=lambda: sequence(CausalConv(4, 4, 3), nn.ReLU(), CausalConv(4, 4, 3, 2))),
    Case(name="wavenet", make=lambda: WaveNet()),
    Case(
        name="wavenet, one dilation forgotten",
        make=lambda: sequence(
            CausalConv(4, 4, 2), nn.ConstantPad1d((2, 6), 0.0), nn.Conv1d(4, 4, 3, dilation=4)
        ),
        kind="window reaches ahead",
        layer="2",
        ahead=6,
    ),
    Case(name="causal behind a stride, to the block", make=lambda: BehindStride(4), ahead=0),
    Case(
        name="padded on both sides behind a stride",
        make=lambda: BehindStride(2),
        kind="window reaches ahead",
        layer="inner.conv",
        ahead=4,
    ),
    Case(
        name="group norm over time",
        make=lambda: sequence(CausalConv(4, 4, 3), nn.GroupNorm(2, 4), nn.ReLU()),
        kind="statistics over time",
        layer="1",
        ahead=math.inf,
    ),
    Case(
        name="squeeze and excite",
        make=lambda: lambda x: x * x.mean(-1, keepdim=True).sigmoid(),
        kind="statistics over time",
        layer="mean",
        ahead=math.inf,
    ),
    Case(name="layer norm over channels", make=lambda: nn.LayerNorm(4), shape=LAST, given=AT_1),
    Case(name="recurrent", make=lambda: Recurrent(False), shape=LAST, given=AT_1),
    Case(
        name="one bidirectional layer in the middle",
        make=lambda: Recurrent(True),
        shape=LAST,
        given=AT_1,
        kind="runs backwards",
        layer="middle[0]",
        ahead=math.inf,
    ),
    Case(
        name="look-ahead of 3 declared as 2",
        make=lambda: sequence(nn.ConstantPad1d((3, 3), 0.0), nn.Conv1d(4, 4, 7)),
        given={"lookahead": 2},
        kind="window reaches ahead",
        layer="1",
        ahead=3,
    ),
    Case(
        name="look-ahead of 3 declared as 3",
        make=lambda: sequence(nn.ConstantPad1d((3, 3), 0.0), nn.Conv1d(4, 4, 7)),
        given={"lookahead": 3},
        ahead=3,
    ),
    *(
        Case(name=f"attention, {how}", make=lambda how=how: Attention(how), shape=LAST, given=AT_1)
        for how in ("is_causal", "boolean", "added", "where")
    ),
    *(
        Case(
            name=f"attention, {how}, one off",
            make=lambda how=how: Attention(how, offset=1),
            shape=LAST,
            given=AT_1,
            kind="mask ahead of the diagonal",
            ahead=1,
        )
        for how in ("boolean", "added", "where")
    ),
    Case(
        name="attention without a mask",
        make=lambda: Attention("none"),
        shape=LAST,
        given=AT_1,
        kind="attention without a mask",
        layer="scaled_dot_product_attention",
        ahead=math.inf,
    ),
    Case(
        name="attention in chunks of 4",
        make=lambda: Attention("chunks"),
        shape=LAST,
        given=AT_1,
        kind="mask ahead of the diagonal",
        ahead=3,
    ),
    Case(name="cumulative norm", make=lambda: cumulative_norm),
    Case(name="masked convolution", make=lambda: Masked(1), shape=(1, 2, TIME)),
    Case(
        name="masked convolution, one weight too many",
        make=lambda: Masked(1, ahead=1),
        shape=(1, 2, TIME),
        kind="window reaches ahead",
        layer="conv1d",
        ahead=1,
    ),
    Case(name="masked video", make=lambda: Masked(3), shape=VIDEO, given={"axis": 2}),
    Case(
        name="masked video, one frame too many",
        make=lambda: Masked(3, ahead=1),
        shape=VIDEO,
        given={"axis": 2},
        kind="window reaches ahead",
        ahead=1,
    ),
    Case(
        name="causal video",
        make=lambda: sequence(nn.ConstantPad3d((1, 1, 1, 1, 2, 0), 0.0), nn.Conv3d(2, 2, 3)),
        shape=VIDEO,
        given={"axis": 2},
    ),
    Case(
        name="video, padded on both sides",
        make=lambda: nn.Conv3d(2, 2, 3, padding=1),
        shape=VIDEO,
        given={"axis": 2},
        kind="window reaches ahead",
        layer="conv3d",
        ahead=1,
    ),
    Case(
        name="spectrogram, time last",
        make=lambda: sequence(nn.ConstantPad2d((2, 0, 1, 1), 0.0), nn.Conv2d(2, 2, 3)),
        shape=(1, 2, 6, 16),
    ),
    Case(name="transposed, trimmed on the right", make=lambda: Trimmed(0, 4)),
    Case(
        name="transposed, trimmed on the left",
        make=lambda: Trimmed(4, 0),
        kind="moved ahead by a crop",
        layer="slice",
        ahead=2,
    ),
    Case(name="codec, in blocks", make=Codec, shape=(1, 1, 64), given={"block": 8}),
    Case(
        name="codec, by samples",
        make=Codec,
        shape=(1, 1, 64),
        kind="window reaches ahead",
        layer="down.0.conv",
        ahead=7,
    ),
    Case(
        name="pooling",
        make=lambda: nn.MaxPool1d(3, 1, 1),
        kind="pooling window reaches ahead",
        layer="max_pool1d",
        ahead=1,
    ),
    Case(
        name="interpolation",
        make=lambda: nn.Upsample(scale_factor=2, mode="linear"),
        kind="interpolation reaches ahead",
        layer="upsample_linear1d",
        ahead=1,
    ),
    Case(
        name="running sum from the end",
        make=lambda: lambda x: x.flip(-1).cumsum(-1).flip(-1),
        kind="time reversed",
        ahead=math.inf,
    ),
    Case(
        name="turned around",
        make=lambda: lambda x: x.flip(-1),
        kind="time reversed",
        layer="flip",
        ahead=math.inf,
    ),
    Case(
        name="mirrored at the start",
        make=lambda: sequence(nn.ReflectionPad1d((2, 0)), nn.Conv1d(4, 4, 3)),
        kind="filled from later samples",
        layer="0",
    ),
    Case(
        name="mirrored before a running sum",
        make=lambda: lambda x: F.pad(x, (2, 0), mode="reflect").cumsum(-1)[..., :TIME],
        kind="filled from later samples",
        layer="pad",
        ahead=-2,
    ),
    Case(
        name="moved on by a roll",
        make=lambda: lambda x: x.roll(1, -1),
        kind="filled from later samples",
        layer="roll",
        ahead=-1,
    ),
    Case(name="moved on by a pad", make=lambda: lambda x: F.pad(x, (1, 0))[..., :-1], ahead=-1),
    Case(
        name="last sample everywhere",
        make=lambda: lambda x: x - x[..., -1:],
        kind="later sample at a fixed place",
        layer="slice",
    ),
    Case(name="weights below the diagonal", make=lambda: Mixing(0), shape=LAST, given=AT_1),
    Case(
        name="weights one above the diagonal",
        make=lambda: Mixing(1),
        shape=LAST,
        given=AT_1,
        kind="weights for each time",
        layer="matmul",
        ahead=1,
    ),
    Case(
        name="weights below the diagonal, by a convolution",
        make=lambda: MixingByConvolution(),
        shape=LAST,
        given=AT_1,
    ),
    Case(name="a loop over the time", make=lambda: Loop(), shape=(1, 4, 12), known=False),
    Case(
        name="a loop one ahead",
        make=lambda: Loop(1),
        shape=(1, 4, 12),
        kind="another operation",
        known=False,
    ),
)


class MixingByConvolution(nn.Module):
    """The times as channels, and a mask on their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(TIME, TIME, 1)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.conv.weight * torch.ones(TIME, TIME, 1).squeeze(-1).tril()[..., None]
        return F.conv1d(x, weight, self.conv.bias)


class Loop(nn.Module):
    """A recurrence that is written out; ``ahead``: each step meets the sample after it, too."""

    def __init__(self, ahead: int = 0) -> None:
        super().__init__()
        self.cell, self.ahead = nn.GRUCell(4, 3), ahead

    def forward(self, x: Tensor) -> Tensor:
        state, states = x.new_zeros(len(x), 3), []
        for t in range(x.shape[-1]):
            state = self.cell(x[..., min(t + self.ahead, x.shape[-1] - 1)], state)
            states.append(state)
        return torch.stack(states, -1)


class Mixing(nn.Module):
    """A linear map over the time, with weights up to a diagonal."""

    def __init__(self, offset: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(TIME, TIME))
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        return self.weight.tril(self.offset) @ x
