"""Models that are not equivariant, or of which nothing can be said: never EQUIVARIANT."""

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import Verdict

CIRCLE: dict[str, Any] = {"boundary": "circular"}
RAMP = torch.linspace(0, 1, 18)
MAP = (1, 2, 16, 18)
Function = Callable[[torch.Tensor], Any]


def image(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


def conv(c_in: int = 2, c_out: int = 2, k: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, k, **options)


class Named(nn.Module):
    """A convolution called good, a layer called bad, and a convolution called end."""

    def __init__(self, bad: nn.Module, channels: int = 2) -> None:
        super().__init__()
        self.good, self.bad, self.end = conv(k=1), bad, conv(channels, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.end(self.bad(self.good(x)))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


class Position(nn.Module):
    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.pos = nn.Parameter(torch.randn(1, 2, 16, 18) * scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.pos


class Excite(nn.Module):
    """Multiplies by the mean of what another layer sees; ``bad`` breaks that mean."""

    def __init__(self, bad: nn.Module, gain: float = 1.0) -> None:
        super().__init__()
        self.bad, self.gain = bad, gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate: torch.Tensor = self.bad(x).relu().mean((2, 3), keepdim=True)
        return x * (1 + self.gain * gate)


class DownUp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pool, self.up = nn.MaxPool2d(2), nn.ConvTranspose2d(2, 2, 2, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(self.pool(x)) + x  # type: ignore[no-any-return]


WEIGHT = torch.randn(2, 16, 18, generator=torch.Generator().manual_seed(7))


def in_place(change: Callable[[torch.Tensor], Any]) -> nn.Module:
    def function(x: torch.Tensor) -> torch.Tensor:
        y = x * 1
        change(y)
        return y

    return Layer(function)


# name: model, options, kind and layer of the guilty cause
BROKEN: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], str, str]] = {
    "position embedding": (lambda: Named(Position()), {}, "POSITION", "bad"),
    "small position embedding": (lambda: Named(Position(1e-7)), {}, "POSITION", "bad"),
    "position embedding on a circle": (lambda: Named(Position()), CIRCLE, "POSITION", "bad"),
    "ramp added": (lambda: Named(Layer(lambda x: x + RAMP)), {}, "POSITION", "bad"),
    "ramp multiplied": (lambda: Named(Layer(lambda x: x * RAMP)), {}, "POSITION", "bad"),
    "ramp of 1e-9": (lambda: Named(Layer(lambda x: x + 1e-9 * RAMP)), {}, "POSITION", "bad"),
    "ramp in one small channel": (
        lambda: Named(Layer(lambda x: torch.cat([x[:, :1] * 1e8, x[:, 1:] + RAMP], 1))),
        {},
        "POSITION",
        "bad",
    ),
    "ramp added in place": (lambda: Named(in_place(lambda y: y.add_(RAMP))), {}, "POSITION", "bad"),
    "ramp by cumsum": (
        lambda: Named(Layer(lambda x: x + torch.ones_like(x).cumsum(-1))),
        {},
        "POSITION",
        "bad",
    ),
    "ramp of the signal's type": (
        lambda: Named(Layer(lambda x: x + RAMP.type_as(x))),
        {},
        "POSITION",
        "bad",
    ),
    "ramp expanded": (
        lambda: Named(Layer(lambda x: x + RAMP.expand_as(x))),
        {},
        "POSITION",
        "bad",
    ),
    "one row scaled in place": (
        lambda: Named(in_place(lambda y: y.narrow(2, 7, 1).mul_(0.5))),
        {},
        "POSITION",
        "bad",
    ),
    "one row selected and scaled in place": (
        lambda: Named(in_place(lambda y: y.select(2, 7).mul_(0.5))),
        {},
        "POSITION",
        "bad",
    ),
    "one row written over by another": (
        lambda: Named(in_place(lambda y: y.select(2, 7).copy_(y.select(2, 3)))),
        {},
        "INDEX",
        "bad",
    ),
    "ring closed with a wrong row": (
        lambda: Named(in_place(lambda y: y.select(2, 0).copy_(y.select(2, -2)))),
        CIRCLE,
        "INDEX",
        "bad",
    ),
    "one-hot": (
        lambda: Named(Layer(lambda x: x + F.one_hot(torch.tensor(3), 18))),
        {},
        "POSITION",
        "bad",
    ),
    "mesh grid": (
        lambda: Named(
            Layer(lambda x: x + torch.stack(torch.meshgrid(RAMP[:16], RAMP, indexing="ij")))
        ),
        {},
        "POSITION",
        "bad",
    ),
    "coordinates as channels": (
        lambda: Named(
            Layer(lambda x: torch.cat([x, RAMP.expand(x.shape[0], 1, 16, 18)], 1)), channels=3
        ),
        {},
        "POSITION",
        "bad",
    ),
    "half and half": (
        lambda: Named(Layer(lambda x: torch.where(torch.arange(18) < 9, x, 2 * x))),
        {},
        "POSITION",
        "bad",
    ),
    "masked_fill": (
        lambda: Named(Layer(lambda x: x.masked_fill(torch.arange(18) < 3, 0.0))),
        {},
        "POSITION",
        "bad",
    ),
    "checkerboard": (
        lambda: Named(Layer(lambda x: x * (torch.arange(18) % 2))),
        {},
        "POSITION",
        "bad",
    ),
    "affine LayerNorm over all, on a circle": (
        lambda: Named(Layer(lambda x: F.layer_norm(x, (2, 16, 18), WEIGHT))),
        CIRCLE,
        "POSITION",
        "bad",
    ),
    "linear over W": (lambda: Named(nn.Linear(18, 18)), {}, "MIXING", "bad"),
    "linear over W, on a circle": (lambda: Named(nn.Linear(18, 18)), CIRCLE, "MIXING", "bad"),
    "matrix over H": (lambda: Named(Layer(lambda x: WEIGHT[0, :, :16] @ x)), {}, "MIXING", "bad"),
    "indices of a pool": (
        lambda: Layer(lambda x: F.max_pool2d(x, 2, return_indices=True)[1]),
        {},
        "INDEX",
        "function",
    ),
    "zero padding on a circle": (lambda: Named(conv(padding=1)), CIRCLE, "PADDING", "bad"),
    "padding with a value on a circle": (
        lambda: Named(nn.ConstantPad2d(1, 3.0)),
        CIRCLE,
        "PADDING",
        "bad",
    ),
    "transposed convolution on a circle": (
        lambda: Named(nn.ConvTranspose2d(2, 2, 3, 2, 1, output_padding=1)),
        CIRCLE,
        "PADDING",
        "bad",
    ),
    "a stride that does not divide the circle": (
        lambda: Named(nn.AvgPool2d(4)),
        CIRCLE,
        "STRIDE",
        "bad",
    ),
    "pool and up again": (DownUp, {}, "STRIDE", "pool"),
    "pool and up again, on a circle": (DownUp, CIRCLE, "STRIDE", "pool"),
    "gate that sees a stride": (lambda: Excite(conv(k=2, stride=2)), CIRCLE, "STRIDE", "bad"),
    "gate that sees zero padding": (lambda: Excite(conv(padding=1)), CIRCLE, "PADDING", "bad"),
    "gate that sees a ramp": (lambda: Excite(Position()), CIRCLE, "POSITION", "bad"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_at_the_guilty_layer(name: str) -> None:
    make, options, kind, layer = BROKEN[name]
    torch.manual_seed(0)
    report = shiftcheck.check_equivariance(make(), image(*MAP), **options)
    assert report.verdict is Verdict.BROKEN, report.reason
    assert report.guilty is not None
    assert report.guilty.kind == kind
    if layer != "function":
        assert report.guilty.layer == layer
    with pytest.raises(shiftcheck.NotEquivariantError):
        shiftcheck.assert_equivariant(make(), image(*MAP), **options)


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x * self.calls


class Remembers(nn.Module):
    """Adds the mean of what it saw in its last call."""

    def __init__(self) -> None:
        super().__init__()
        self.last: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x if self.last is None else x + self.last.mean()
        self.last = x
        return y


class DropConnect(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 2, 3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, F.dropout(self.weight, 0.5))


@dataclasses.dataclass
class Output:
    y: torch.Tensor


def numpy_mean(x: torch.Tensor) -> torch.Tensor:
    return x * float(x.numpy().mean())


def corner(x: torch.Tensor) -> torch.Tensor:
    return x * float(x.tolist()[0][0][0][0])


def greatest(x: torch.Tensor) -> torch.Tensor:
    return x * float(np.abs(x.numpy()).max())


def branch(x: torch.Tensor) -> torch.Tensor:
    one, other = x * 2, x + RAMP
    return one if x[0, 0, 0, 0] < 100 else other


def swallow(x: torch.Tensor) -> torch.Tensor:
    try:
        return x * float(x.mean())
    except Exception:
        return x


def batch_size(x: torch.Tensor) -> torch.Tensor:
    return x + RAMP if x.shape[0] == 1 else x * 2


def random_pad(x: torch.Tensor) -> torch.Tensor:
    left = random.randint(0, 3)
    return F.pad(x, (left, 3 - left))


def noise_into_a_view(x: torch.Tensor) -> torch.Tensor:
    noise = torch.zeros(1, 2, 1, 1)
    noise[:, 0].normal_()
    return x + noise


def mean_into_a_view(x: torch.Tensor) -> torch.Tensor:
    gain = torch.zeros(1)
    gain.view(1, 1).copy_(x.mean().view(1, 1) * 1e-9)
    return x * (1 + gain)


def canvas(x: torch.Tensor) -> torch.Tensor:
    """Assembled on a canvas, and wrong there."""
    out = torch.zeros_like(x)
    out[:, :, 1:-1, 1:-1] = (x * RAMP)[:, :, :-2, :-2]
    return out


def beside(*others: Function) -> Function:
    """A good output and others besides."""
    return lambda x: (F.avg_pool2d(x, 3, 1), *(other(x) for other in others))


# name: model, options; whatever is said, it must not be EQUIVARIANT
NEVER: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "x[:, :, 0] = 0": (lambda: in_place(lambda y: y[:, :, 0].zero_()), {}),
    "x[..., :9] += 1e-6": (lambda: in_place(lambda y: y[..., :9].add_(1e-6)), {}),
    "every second to 0": (lambda: in_place(lambda y: y[..., ::2].zero_()), {}),
    "through view(-1)": (lambda: in_place(lambda y: y.view(-1)[::7].zero_()), {}),
    "through detach": (lambda: in_place(lambda y: y.detach()[..., 0].zero_()), {}),
    "through data": (lambda: in_place(lambda y: y.data[..., 0].zero_()), {}),
    "through numpy": (lambda: in_place(lambda y: y.numpy()[..., 0].fill(0)), {}),
    "index_put": (
        lambda: in_place(lambda y: y.index_put_((torch.arange(1),), torch.tensor(0.0))),
        {},
    ),
    "index_fill": (lambda: in_place(lambda y: y.index_fill_(3, torch.tensor([0]), 0.0)), {}),
    "one flip beside none": (lambda: lambda x: x + x.flip(-1), {}),
    "one flip beside two": (lambda: lambda x: x.flip(-1) + x.flip(-1).relu().flip(-1), {}),
    "flip, and a ramp": (lambda: lambda x: x.flip(-1) + RAMP, {}),
    "sorted": (lambda: lambda x: x.sort(-1)[0], {}),
    "sum with its transpose": (lambda: lambda x: x[..., :16] + x[..., :16].transpose(2, 3), {}),
    "sides swapped by a view": (lambda: lambda x: x.reshape(x.shape[0], 2, 18, 16), {}),
    "flatten and linear": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(576, 5)), {}),
    "softmax over W": (lambda: nn.Softmax(-1), {}),
    "InstanceNorm": (lambda: nn.InstanceNorm2d(2), {}),
    "GroupNorm": (lambda: nn.GroupNorm(1, 2), {}),
    "LayerNorm over all": (lambda: nn.LayerNorm([2, 16, 18]), {}),
    "squeeze and excite": (lambda: Excite(conv()), {}),
    "BatchNorm in training": (lambda: nn.BatchNorm2d(2), {"training": True}),
    "dropout in training": (lambda: nn.Dropout(0.1), {"training": True}),
    "gate that sees a stride, a little": (lambda: Excite(conv(k=2, stride=2), 1e-7), CIRCLE),
    "gate that sees a ramp, a little": (lambda: Excite(Position(), 1e-7), CIRCLE),
    "mean read by numpy": (lambda: numpy_mean, {}),
    "greatest read by numpy": (lambda: greatest, {}),
    "corner read by tolist": (lambda: corner, {}),
    "mean read by item": (lambda: lambda x: x * x.mean().item(), {}),
    "branch on a value": (lambda: branch, {}),
    "swallows errors": (lambda: swallow, {}),
    "depends on the batch size": (lambda: batch_size, {}),
    "random gain of torch": (lambda: lambda x: x * torch.rand(()), {}),
    "random gain of torch, read": (lambda: lambda x: x * torch.rand(()).item(), {}),
    "random gain of python": (lambda: lambda x: x * random.random(), {}),
    "random gain of numpy": (lambda: lambda x: x * float(np.random.rand()), {}),
    "random crop": (lambda: random_pad, {}),
    "random filter": (lambda: lambda x: F.conv2d(x, torch.randn(2, 2, 3, 3)), {}),
    "random matrix over channels": (
        lambda: lambda x: F.linear(x.movedim(1, 3), torch.randn(2, 2)).movedim(3, 1),
        {},
    ),
    "dropped weights": (DropConnect, {}),
    "noise into a view": (lambda: noise_into_a_view, {}),
    "counts its calls": (Counter, {}),
    "remembers its last call": (Remembers, {}),
    "global mean through a view": (lambda: mean_into_a_view, {}),
    "canvas": (lambda: lambda x: canvas(x) * 1, {}),
    "beside a good output: canvas": (lambda: beside(canvas), {}),
    "beside a good output: made by numpy": (
        lambda: beside(lambda x: torch.from_numpy(np.cumsum(x.numpy(), -1))),
        {},
    ),
    "beside a good output: an array": (lambda: beside(lambda x: np.cumsum(x.numpy(), -1)), {}),
    "beside a good output: a dataclass": (lambda: beside(lambda x: Output(x + RAMP)), {}),
    "beside a good output: a set": (lambda: beside(lambda x: {x + RAMP}), {}),
    "beside a good output: a constant ramp": (lambda: beside(lambda x: RAMP.expand(x.shape)), {}),
    "beside a good output: an MLP's map": (
        lambda: beside(
            lambda x: (x.flatten(1) @ WEIGHT.view(-1, 1) * RAMP.repeat(16)).view(-1, 16, 18)
        ),
        {},
    ),
    "beside a good output: flatten and linear": (
        lambda: beside(lambda x: x.flatten(1) @ WEIGHT.view(-1, 1)),
        {},
    ),
    "beside a good output: a profile of NaN": (
        lambda: beside(lambda x: x.mean(2) * float("nan")),
        {},
    ),
    "beside a good output: a broken profile": (lambda: beside(lambda x: x.mean(2) + RAMP), {}),
    "dead": (lambda: lambda x: F.relu(x - 1e6), {}),
    "NaN": (lambda: lambda x: x * float("nan"), {}),
    "infinite": (lambda: lambda x: x * 1e38 * 1e38, {}),
    "constant": (lambda: lambda x: x * 0 + 3, {}),
    "a border around nothing": (lambda: lambda x: F.pad(x * 0, (1, 1, 1, 1), value=1.0), {}),
    "saturated": (lambda: lambda x: torch.sigmoid(x + 1e4), {}),
    "only the zero shift": (nn.Identity, {"shifts": [(0, 0)]}),
    "nothing valid": (lambda: conv(k=31, padding=15), {}),
    "tolerance larger than the signal": (lambda: lambda x: x * 1e-3, {"rtol": 0.0, "atol": 1.0}),
    "tolerance larger than all that varies": (
        lambda: lambda x: torch.cat([x * 0 + 1000, x * 1e-3], 1),
        {"rtol": 0.0, "atol": 1.0},
    ),
    "tolerance that hides a ramp": (lambda: lambda x: x + 1e-4 * RAMP, {"rtol": 0.01, "atol": 0.0}),
}


@pytest.mark.parametrize("name", NEVER)
def test_never_equivariant(name: str) -> None:
    make, options = NEVER[name]
    torch.manual_seed(0)
    try:
        report = shiftcheck.check_equivariance(make(), image(*MAP), **options)
    except shiftcheck.ShiftcheckError:
        return
    assert report.verdict is not Verdict.EQUIVARIANT
    with pytest.raises(shiftcheck.ShiftcheckError):
        shiftcheck.assert_equivariant(make(), image(*MAP), **options)


def test_a_mask_that_does_not_move_with_the_image() -> None:
    def model(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return x * mask

    mask = torch.arange(18).expand(1, 1, 16, 18) < 9
    still = shiftcheck.check_equivariance(model, (image(*MAP), mask), fixed=(1,))
    assert still.verdict is Verdict.BROKEN
    moved = shiftcheck.check_equivariance(model, (image(*MAP), mask))
    assert moved.verdict is Verdict.EQUIVARIANT  # a mask is moved like any other map


@pytest.mark.parametrize("how", ["slice", "select"])
def test_the_geometry_sees_a_mask_written_through_a_view(how: str) -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        mask = torch.ones(1, 1, 16, 18)
        (mask[..., :3] if how == "slice" else mask[..., 0]).zero_()
        return x * mask

    report = shiftcheck.geometry(model, MAP)
    assert [c.kind for c in report.causes] == ["POSITION"]
    assert report.outputs[0].period[1] is None


@pytest.mark.parametrize("bad", [conv(k=2, stride=2), Position()], ids=["stride", "ramp"])
def test_the_period_of_a_gate_is_that_of_what_it_sees(bad: nn.Module) -> None:
    report = shiftcheck.geometry(Excite(bad), MAP, boundary="circular")
    expected = 2 if isinstance(bad, nn.Conv2d) else None
    assert report.outputs[0].period == (expected, expected)
