"""Local equivariance errors against finite differences of the group's action."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck.report import LieDerivative

STEP = 1e-4


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def by_name(model: Any, x: Any, **options: Any) -> dict[str, LieDerivative]:
    return {row.name: row for row in shiftcheck.lie_derivatives(model, x, **options)}


def smooth() -> nn.Module:
    """Border, stride, upsampling and smooth maps, on a torus of 24 x 28."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.GroupNorm(2, 4),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
        nn.GELU(),
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.Softmax(dim=1),
    ).double()


def action(
    h: Callable[[torch.Tensor], torch.Tensor], z: torch.Tensor, pixels: tuple[int, ...], axis: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """``d/dv S_-v h(S_v z)`` and ``d/dv S_v h(z)`` by central differences, all on the torus."""

    def moved(tensor: torch.Tensor, by: float) -> torch.Tensor:
        n = tensor.shape[2 + axis]
        offset = [0.0] * len(pixels)
        offset[axis] = by * n / pixels[axis]
        return shiftcheck.shift(tensor, offset)

    there = moved(h(moved(z, STEP)), -STEP)
    back = moved(h(moved(z, -STEP)), STEP)
    still = h(z)
    return (there - back) / (2 * STEP), (moved(still, STEP) - moved(still, -STEP)) / (2 * STEP)


def test_every_layer_and_the_whole_by_finite_differences() -> None:
    net, x = smooth(), noise(1, 2, 24, 28)
    found = by_name(net, x, boundary="circular")
    assert list(found) == [*map(str, range(8)), "output"]
    z = x
    with torch.no_grad():
        for i, layer in enumerate([*net, net]):
            z = x if layer is net else z
            row = found["output" if layer is net else str(i)]
            for axis in (0, 1):
                lie, motion = action(layer, z, (24, 28), axis)
                error, speed = float(lie.square().mean()), float(motion.square().mean())
                assert row.mean_square[axis] == pytest.approx(error, rel=1e-5, abs=1e-12)
                assert row.relative[axis] == pytest.approx(
                    math.sqrt(error / speed), rel=1e-5, abs=1e-6
                )
                assert row.share[axis] == 1.0
            z = layer(z)


def test_on_the_plane_by_finite_differences_of_the_kernel() -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.Tanh()).double(), noise(1, 2, 30)

    def moved(tensor: torch.Tensor, by: float) -> torch.Tensor:
        return shiftcheck.shift(tensor, (by,), fill="zeros")

    with torch.no_grad():
        z = net[0](x)
        there, back = net[1](moved(z, STEP)), net[1](moved(z, -STEP))
        still = net[1](z)
        lie = ((there - back) - (moved(still, STEP) - moved(still, -STEP))) / (2 * STEP)
    row = by_name(net, x)["1"]
    assert row.share == (24 / 30,)  # the convolution's border, and two neighbours
    assert row.mean_square[0] == pytest.approx(float(lie[..., 3:-3].square().mean()), rel=1e-5)


@pytest.mark.parametrize("stride", [1, 2, 0.5])
def test_what_is_compared_is_what_a_larger_canvas_has(stride: float) -> None:
    """A sample counts if what lies around the window changes nothing of it."""
    torch.manual_seed(0)
    last: nn.Module = nn.ConvTranspose1d(3, 2, 4, stride=2, padding=1)
    if stride >= 1:
        last = nn.Conv1d(3, 2, 5, stride=int(stride), padding=2)
    net = nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.Tanh(), last).double()
    x, step = noise(1, 2, 48), 1e-6

    def lie(around: int) -> torch.Tensor:
        draw = torch.Generator().manual_seed(around)
        canvas = torch.randn(1, 2, 48 * 3, generator=draw, dtype=torch.float64)
        canvas[..., 48:96] = x

        def moved(tensor: torch.Tensor, by: float) -> torch.Tensor:
            return shiftcheck.shift(tensor, (by,), fill="zeros")

        with torch.no_grad():
            there, back = net(moved(canvas, step)), net(moved(canvas, -step))
            still = net(canvas)
        by = step / stride
        n = still.shape[-1] // 3
        both = (there - back) - (moved(still, by) - moved(still, -by))
        return (both / (2 * step))[..., n : 2 * n]

    clean = (lie(1) - lie(2)).abs().amax((0, 1)) < 1e-4
    row = by_name(net, x)["output"]
    assert row.share[0] is not None
    assert 0.6 * int(clean.sum()) < row.share[0] * len(clean) < int(clean.sum()) + 0.5
    expected = float(lie(1)[..., clean].square().mean())
    assert row.mean_square[0] == pytest.approx(expected, rel=0.5)


def test_what_is_exact_and_what_stands_still() -> None:
    x = noise(1, 2, 24, 28)
    conv = nn.Conv2d(2, 2, 3, padding=1).double()
    plane = by_name(nn.Sequential(conv), x)["0"]
    assert max(r for r in plane.relative if r is not None) < 1e-13
    torus = by_name(nn.Sequential(conv), x, boundary="circular")["0"]
    assert min(r for r in torus.relative if r is not None) > 0.01  # its border
    table = noise(1, 2, 24, 28)
    fixed = by_name(lambda x: 0 * x + table, x)["output"]
    assert fixed.relative == pytest.approx((1.0, 1.0))


def test_errors_do_not_travel() -> None:
    net = nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3)).double()
    found = by_name(net, noise(1, 2, 24, 28))
    assert found["0"].relative[0] < 1e-13 < 0.01 < found["1"].relative[0]  # type: ignore[operator]
    assert found["2"].relative[0] < 1e-13 < 0.01 < found["output"].relative[0]  # type: ignore[operator]


def test_the_axes_are_told_apart() -> None:
    ramp = torch.linspace(0, 3, 28, dtype=torch.float64)
    found = by_name(lambda x: x + ramp, noise(1, 2, 24, 28))["output"]
    assert found.relative[0] == pytest.approx(0.0, abs=1e-13)
    assert found.relative[1] is not None
    assert found.relative[1] > 0.01


def test_a_module_that_is_called_twice_has_two_rows() -> None:
    act = nn.Tanh()
    found = by_name(lambda x: act(2 * act(x)), noise(1, 2, 24))
    assert list(found) == ["act", "act#2", "output"]
    assert found["act"].relative != found["act#2"].relative


def test_several_inputs_and_outputs() -> None:
    class Product(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return a * b

    product = Product()
    found = by_name(
        lambda a, b: (product(a, b), a + b, a.mean(2)), (noise(1, 2, 24), noise(1, 2, 24).flip(1))
    )
    assert found["output[2]"].reason == "its geometry is not understood"
    assert found["product"].relative[0] is not None
    assert found["product"].relative[0] > 0.01
    assert found["output[1]"].relative[0] == pytest.approx(0.0, abs=1e-13)


class Windows(nn.Module):
    """A linear map of the channels inside of windows of 4 x 4, laid out as tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, c, h, w = x.shape
        windows = x.view(b, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1)
        tokens = self.map(windows.reshape(-1, 16, c))
        back = tokens.view(b, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4)
        return back.reshape(b, c, h, w)


def test_a_module_inside_windows_is_fed_with_what_moves() -> None:
    found = by_name(Windows().double(), noise(1, 3, 16, 24), boundary="circular")
    for row in found.values():
        assert row.relative == pytest.approx((0.0, 0.0), abs=1e-13)


def test_attention_is_differentiated() -> None:
    def attention(x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        out = F.scaled_dot_product_attention(tokens, tokens, tokens)
        return out.transpose(1, 2).reshape(x.shape)

    found = by_name(attention, noise(1, 3, 9, 11), boundary="circular")["output"]
    assert found.reason == ""
    assert found.relative[0] is not None  # exact for whole pixels, and not between them
    assert 1e-6 < found.relative[0] < 1


class NoDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.exp()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        return g


class Own(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return NoDerivative.apply(x)  # type: ignore[no-any-return, no-untyped-call]


class Named(nn.Module):
    def forward(self, *, x: torch.Tensor) -> torch.Tensor:
        return x.tanh()


def test_what_cannot_be_measured_says_so() -> None:
    x = noise(1, 2, 24, 28)
    own = by_name(nn.Sequential(Own(), nn.Tanh()), x)
    assert "no forward-mode derivative" in own["0"].reason
    assert "no forward-mode derivative" in own["output"].reason
    assert own["1"].relative[0] is not None
    named = Named()
    assert by_name(lambda x: named(x=x), x)["output"].relative[0] is not None
    flat = by_name(nn.Sequential(nn.Flatten(), nn.Linear(2 * 24 * 28, 5)).double(), x)
    assert flat["1"].reason == "its geometry is not understood"
    assert flat["1"].relative == (None, None)
    assert by_name(nn.Sequential(nn.Conv2d(2, 1, 23).double()), x)["0"].reason == "no valid region"
    dead = by_name(lambda x: F.relu(-x.abs() - 1), x)["output"]
    assert dead.relative == (None, None)
    assert dead.reason == "its output does not change along the shift"
    assert by_name(lambda x: x / (x - x), x)["output"].reason == "not finite"


def test_everything_is_left_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.ReLU(inplace=True))
    net = net.double().train()
    x = noise(2, 2, 24, 28)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    kept, state = x.clone(), torch.get_rng_state()
    shiftcheck.lie_derivatives(net, x)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(m.training for m in net.modules())
    assert torch.equal(x, kept)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(m._forward_pre_hooks for m in net.modules())
    calls: list[int] = []

    def fails_later(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return net(x) * (1 / (len(calls) < 2))  # the first call tells the structure

    with pytest.raises(shiftcheck.ModelError, match="division by zero"):
        shiftcheck.lie_derivatives(fails_later, x)
    assert not any(m._forward_pre_hooks for m in net.modules())
    assert all(m.training for m in net.modules())
