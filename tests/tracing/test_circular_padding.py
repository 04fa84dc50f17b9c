"""Operations with circular padding against the same on a canvas of several turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck.checks.equivariance.build_report import build_report
from shiftcheck.checks.equivariance.judge_run import Findings, judge_run
from shiftcheck.measuring.batched import measure
from shiftcheck.measuring.call import call
from shiftcheck.measuring.passes import Passes
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.signals.read_arguments import read_inputs
from shiftcheck.report.equivariance import Report, Verdict
from shiftcheck.tracing.circular_padding import around, twin_of
from shiftcheck.tracing.modules import modules_of
from shiftcheck.tracing.restoring.state import preserved


def signal_of(*size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(1, 2, *size, generator=generator, dtype=torch.float64)


def run(model: Any, x: torch.Tensor, boundary: Any = "circular") -> torch.Tensor:
    """What the model gives when it pads circularly."""
    inputs = read_inputs(x, boundary=boundary, spatial_dims=None)
    with (
        preserved(modules_of(model), inputs.tensors, training=False) as originals,
        torch.inference_mode(),
    ):
        traced = call(
            Plan(model=model, inputs=inputs, circular_padding=True),
            [x.clone()],
            copies=1,
            originals=originals,
            on_row=lambda row, tensor: None,
        )
    return traced.outputs[0][1]


def check(model: Any, x: torch.Tensor, shifts: Any, boundary: Any = "circular") -> Report:
    inputs = read_inputs(x, boundary=boundary, spatial_dims=None)
    plan = Plan(
        model=model,
        inputs=inputs,
        shifts=shifts,
        shifts_given=True,
        every_layer=True,
        circular_padding=True,
    )
    with preserved(modules_of(model), inputs.tensors, training=False) as originals:
        measured = measure(Passes(plan, originals))
    return build_report(judge_run(Findings(plan=plan, measured=measured)), measured.notes)


def turns(x: torch.Tensor, dims: tuple[int, ...]) -> torch.Tensor:
    """The signal three times along each of the dims."""
    return x.repeat([3 if d in dims else 1 for d in range(x.ndim)])


def doubled(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return module.double().eval()


conv1, conv2, conv3 = nn.Conv1d, nn.Conv2d, nn.Conv3d
up1, up2, up3 = nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d
# the layer, the input's size, output samples for each pixel
LAYERS: dict[str, tuple[Callable[[], Any], tuple[int, ...], float]] = {
    "1-D": (lambda: conv1(2, 3, 5, padding=2), (12,), 1),
    "2-D": (lambda: conv2(2, 3, (3, 5), padding=(1, 2)), (12, 14), 1),
    "3-D": (lambda: conv3(2, 3, 3, padding=1), (6, 8, 10), 1),
    "same": (lambda: conv2(2, 3, 3, padding="same"), (12, 14), 1),
    "same, even": (lambda: conv1(2, 3, 4, padding="same"), (12,), 1),
    "strided": (lambda: conv2(2, 3, 3, 2, 1), (12, 16), 0.5),
    "strided, padded unevenly": (lambda: conv2(2, 3, 7, 2, 3), (16, 24), 0.5),
    "dilated": (lambda: conv2(2, 3, 3, padding=2, dilation=2), (12, 14), 1),
    "grouped": (lambda: conv2(2, 4, 3, padding=1, groups=2), (12, 14), 1),
    "reflect": (lambda: conv2(2, 3, 5, padding=2, padding_mode="reflect"), (12, 14), 1),
    "replicate": (lambda: conv2(2, 3, 5, padding=2, padding_mode="replicate"), (12, 14), 1),
    "replicate, 3-D": (lambda: nn.ReplicationPad3d(0), (4, 4, 4), 1),
    "max pool": (lambda: nn.MaxPool2d(3, 2, 1), (12, 16), 0.5),
    "max pool, ceil": (lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True), (12, 16), 0.5),
    "max pool, dilated": (lambda: nn.MaxPool1d(3, 1, 1, dilation=1), (12,), 1),
    "average pool": (lambda: nn.AvgPool2d(3, 1, 1), (12, 16), 1),
    "average pool of what is there": (
        lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        (12, 16),
        1,
    ),
    "average pool, 3-D": (lambda: nn.AvgPool3d(3, 1, 1), (4, 6, 8), 1),
    "transposed": (lambda: up2(2, 3, 4, 2, 1), (6, 8), 2),
    "transposed, output padding": (lambda: up2(2, 3, 3, 2, 1, output_padding=1), (6, 8), 2),
    "transposed, 1-D, no padding of its own": (lambda: up1(2, 3, 2, 2), (6,), 2),
    "transposed, 3-D": (lambda: up3(2, 3, 4, 2, 1), (4, 4, 6), 2),
    "transposed, dilated": (lambda: up1(2, 3, 3, 1, 2, dilation=2), (9,), 1),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_itself_on_the_torus(name: str) -> None:
    make, size, ratio = LAYERS[name]
    layer, x = doubled(make()), signal_of(*size)
    dims = tuple(range(2, x.ndim))
    with torch.no_grad():
        long = layer(turns(x, dims))
    found = run(layer, x)
    for d in dims:  # a layer may give a sample more than one turn
        assert found.shape[d] - int(x.shape[d] * ratio) in (0, 1)
        long = long.narrow(d, int(x.shape[d] * ratio), found.shape[d])
    assert torch.allclose(found, long, rtol=0, atol=1e-12)
    shifts = [tuple(int(1 / min(ratio, 1)) if a == b else 0 for b in range(len(size)))
              for a in range(len(size))]  # fmt: skip
    assert check(layer, x, tuple(shifts)).verdict is Verdict.EQUIVARIANT


def test_padding_by_functions_and_in_channels() -> None:
    x = signal_of(8, 10)

    def model(y: torch.Tensor) -> torch.Tensor:
        channels = F.pad(y, (0, 0, 0, 0, 1, 0))
        return F.pad(channels, (1, 2, 0, 1), mode="constant", value=3.0)

    expected = F.pad(F.pad(x, (0, 0, 0, 0, 1, 0)), (1, 2, 0, 1), mode="circular")
    assert torch.equal(run(model, x), expected)


def test_only_circles_are_padded_circularly() -> None:
    conv, x = doubled(conv2(2, 3, 3, padding=1)), signal_of(8, 10)
    with torch.no_grad():
        expected = conv(turns(x, (3,)))[..., 10:20]
    assert torch.allclose(run(conv, x, ("valid", "circular")), expected, atol=1e-12)
    pool = nn.AvgPool2d(3, 1, 1)
    expected = pool(turns(x, (3,)))[..., 10:20]
    assert torch.allclose(run(pool, x, ("valid", "circular")), expected, atol=1e-12)
    with torch.no_grad():
        assert torch.equal(run(conv, x, "valid"), conv(x))


def test_patches() -> None:
    x = signal_of(8, 10)
    expected = F.unfold(F.pad(x, (1, 1, 1, 1), mode="circular"), 3)
    assert torch.equal(run(lambda y: F.unfold(y, 3, padding=1), x), expected)


def test_the_vocabulary_outside_inference_mode() -> None:
    conv, up = doubled(conv2(2, 3, 3, padding=1)), doubled(up2(2, 3, 4, 2, 1))
    x = signal_of(8, 10)
    inputs = read_inputs(x, boundary="circular", spatial_dims=None)
    signal = inputs.signal(inputs.main, 1)
    common = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)
    twin = twin_of("aten::convolution", signal, (x, conv.weight, conv.bias, *common), {})
    assert twin is not None
    assert torch.equal(twin(), run(conv, x))
    common = ([2, 2], [1, 1], [1, 1], True, [0, 0], 1)
    twin = twin_of("aten::convolution", signal, (x, up.weight, up.bias, *common), {})
    assert twin is not None
    assert torch.equal(twin(), run(up, x))


def test_what_pads_nothing_stays() -> None:
    x = signal_of(8, 10)
    inputs = read_inputs(x, boundary="circular", spatial_dims=None)
    signal = inputs.signal(inputs.main, 1)
    weight = torch.ones(3, 2, 3, 3)
    for packet, args in {
        "aten::conv2d": (x, weight),
        "aten::max_pool2d": (x, [2, 2]),
        "aten::pad": (x, [1, 1], "circular"),
        "aten::relu": (x,),
    }.items():
        assert twin_of(packet, signal, args, {}) is None


def test_more_than_one_turn_is_refused() -> None:
    with pytest.raises(ValueError, match="more than one turn, 4"):
        around(signal_of(4), 2, 5, 0)


class PaddedByItself(nn.Module):
    """Zeros by hand, windows of 8 pixels, and channels-last padding by as many as there are."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3)
        self.patches = nn.Conv2d(4, 4, 8, stride=8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for dim in (2, 3):
            edge = x.new_zeros(x.narrow(dim, 0, 1).shape)
            x = torch.cat([edge, x, edge], dim)
        y = self.patches(self.first(x)).permute(0, 2, 3, 1)
        padded = F.pad(y, (0, 0, 2, 1, 2, 2)).permute(0, 3, 1, 2)
        return torch.cat([padded, padded.relu()], 1)


def test_a_map_keeps_its_axes_when_it_is_padded_by_all_of_it() -> None:
    report = shiftcheck.check_equivariance(doubled(PaddedByItself()), signal_of(16, 16))
    (trial,) = [t for t in report.trials if t.change.circular_padding]
    assert (trial.verdict, trial.reason) == (Verdict.BROKEN, "")
    assert trial.guilty is not None
    assert (trial.guilty.kind, trial.guilty.layer) == ("PADDING", "cat")
