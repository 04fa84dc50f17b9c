"""Halos that people found by hand or by trial, held against brute force on a larger canvas.

Two numbers go by the name of halo, and reports mix them. ``geometry`` tells how far a sample sees
beside its own position, at the phase of the strides where that is most: a pixel changes so many
others. A plan of tiles tells how many pixels of a tile are wrong near its edge. Tiles begin on the
grid, where the worst phase need not meet their edges, so the second may be smaller.

Weights are positive, biases are zero, and so is the signal but where it is changed: then nothing
cancels, no ReLU closes, and whatever sees the change is above zero, be it by 1e-40.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shiftcheck

pytestmark = pytest.mark.slow


class UNet3D(nn.Module):
    """Four levels, two convolutions each, upsampling by the nearest, as in pytorch-3dunet."""

    def __init__(self, levels: int = 4, width: int = 1) -> None:
        super().__init__()
        self.down = nn.ModuleList(self.pair(width if n else 1, width) for n in range(levels))
        self.up = nn.ModuleList(self.pair(2 * width, width) for _ in range(levels - 1))

    @staticmethod
    def pair(before: int, after: int) -> nn.Sequential:
        first, second = (
            nn.Conv3d(before, after, 3, padding=1),
            nn.Conv3d(after, after, 3, padding=1),
        )
        return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept: list[torch.Tensor] = []
        for level in self.down:
            x = level(F.max_pool3d(x, 2) if kept else x)
            kept.append(x)
        kept.pop()
        for level in self.up:
            x = level(torch.cat([F.interpolate(x, scale_factor=2), kept.pop()], 1))
        return x


def taesd() -> nn.Module:
    vae = pytest.importorskip("diffusers.models.autoencoders.vae")
    made: nn.Module = vae.DecoderTiny(
        in_channels=1,
        out_channels=1,
        num_blocks=(3, 3, 3, 1),
        block_out_channels=(2, 2, 2, 2),
        upsampling_scaling_factor=2,
        act_fn="relu",
        upsample_fn="nearest",
    )
    return made


def dac() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    sizes = {"encoder_hidden_size": 4, "decoder_hidden_size": 16, "hidden_size": 1}
    decoder: nn.Module = transformers.DacModel(transformers.DacConfig(**sizes)).decoder
    return decoder


def positive(model: nn.Module) -> nn.Module:
    """The model with weights above 0 whose sums over a window are about 1, in float64."""
    model = model.eval().double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif "alpha" not in name:
                parameter.copy_(torch.rand_like(parameter) + 0.5)
                parameter.div_(parameter[0].numel())
    return model


Case = tuple[Callable[[], nn.Module], tuple[int, ...], tuple[float, float], tuple[int, int], int]
CASES: dict[str, Case] = {
    # 18.1 and 19 latents are told of it: 18.125 is what is seen to the right, 19 to the left
    "TAESD": (taesd, (1, 1, 64, 6), (19.0, 18.125), (19, 19), 1),
    # 51 voxels are told of it, which is what a voxel sees at the worst of eight phases
    "UNet3D": (UNet3D, (1, 1, 240, 8, 8), (51.0, 51.0), (46, 46), 8),
    "DAC": (dac, (1, 1, 64), (10.2890625, 9.291015625), (10, 10), 1),
}


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Case]:
    torch.manual_seed(0)
    chosen = CASES[request.param]
    return positive(chosen[0]()), chosen


def zeros(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.float64)


def seen_at(model: nn.Module, x: torch.Tensor) -> tuple[int, int, Fraction]:
    """The first and the last sample of the first spatial axis that sees something; the stride."""
    last = [m for m in model.modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d)][-1]
    found: list[torch.Tensor] = []
    hook = last.register_forward_hook(lambda module, given, out: found.append(out))
    with torch.no_grad():
        model(x)  # what comes after the last convolution is pointwise, and rounds small values off
    hook.remove()
    (out,) = found
    over = [d for d in range(out.ndim) if d != 2]
    seeing = out.amax(over).nonzero()
    return int(seeing.min()), int(seeing.max()), Fraction(x.shape[2], out.shape[2])


def test_what_a_sample_sees(case: tuple[nn.Module, Case]) -> None:
    model, (_, shape, seen, _, period) = case
    left, right = Fraction(0), Fraction(0)
    for at in range(shape[2] // 2, shape[2] // 2 + period):  # a pixel of every phase
        x = zeros(shape)
        x[:, :, at] = 1
        first, last, stride = seen_at(model, x)
        left, right = max(left, last * stride - at), max(right, at - first * stride)
    assert (float(left), float(right)) == seen
    assert shiftcheck.geometry(model, shape).outputs[0].halo[0] == seen


def test_what_a_tile_gets_wrong(case: tuple[nn.Module, Case]) -> None:
    """What sees anything beside the tile is wrong in it, as the tile has something else there."""
    model, (_, shape, _, halo, period) = case
    cut = shape[2] // 2 // period * period
    x = zeros(shape)
    x[:, :, :cut] = 1
    _, last, stride = seen_at(model, x)
    first, _, _ = seen_at(model, 1 - x)
    wrong = (last + 1) * stride - cut, cut - first * stride
    plan = shiftcheck.tiling(model, torch.empty(shape, dtype=torch.float64, device="meta"))
    margins = plan.outputs[0].margins[0]
    assert (margins.start * stride, margins.tail * stride) == wrong
    assert plan.halo[0] == halo
    assert plan.step[0] == period


def test_tiles_of_the_halo_give_the_whole(case: tuple[nn.Module, Case]) -> None:
    model, (_, shape, _, _, _) = case
    x = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    plan = shiftcheck.tiling(model, torch.empty_like(x, device="meta"))
    plan = shiftcheck.tiling(model, x, tile=(plan.axes[0].least, *shape[3:]))
    assert plan.tiles > 1
    assert shiftcheck.tiled(model, plan).difference(x) < 64 * torch.finfo(torch.float64).eps
