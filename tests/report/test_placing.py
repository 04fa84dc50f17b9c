"""Where a sample sits, against probing: one pixel is changed, and what moves has seen it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shiftcheck
from shiftcheck import InputError, Report
from shiftcheck.report import LayerResult, Placement

SIZE = 24
Network = Callable[[torch.Tensor], torch.Tensor]


def conv(kernel: int, *, stride: int = 1, padding: int = 0, dilation: int = 1) -> nn.Module:
    return nn.Conv1d(1, 1, kernel, stride=stride, padding=padding, dilation=dilation)


def up(kernel: int, stride: int, padding: int = 0, output_padding: int = 0) -> nn.Module:
    return nn.ConvTranspose1d(
        1, 1, kernel, stride=stride, padding=padding, output_padding=output_padding
    )


def interpolated(size: int, mode: str = "linear", *, align_corners: bool | None = True) -> Network:
    def resize(x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, size=size, mode=mode, align_corners=align_corners)

    return resize


def tokens(x: torch.Tensor) -> torch.Tensor:
    patches = x.unfold(-1, 4, 4).sum(-1)  # of four pixels each
    return patches.transpose(1, 2).flatten(1)[:, None]


NETWORKS: dict[str, Network] = {
    "nothing": nn.Identity(),
    "odd kernel": conv(3),
    "odd kernel, padded": conv(5, padding=2),
    "even kernel": conv(2),
    "even kernel, padded": conv(4, padding=2),
    "dilated": conv(3, dilation=3, padding=2),
    "strided": conv(3, stride=2, padding=1),
    "strided, stride 3": conv(4, stride=3, padding=1),
    "causal": nn.Sequential(nn.ConstantPad1d((4, 0), 0.0), conv(5)),
    "padded on one side, strided": nn.Sequential(nn.ConstantPad1d((0, 1), 0.0), conv(3, stride=2)),
    "max pool": nn.MaxPool1d(2),
    "max pool, padded": nn.MaxPool1d(3, 2, padding=1),
    "max pool, ceil mode": nn.MaxPool1d(3, 2, ceil_mode=True),
    "average pool": nn.AvgPool1d(4, 2, padding=1),
    "two strides": nn.Sequential(conv(3, stride=2, padding=1), conv(2, stride=2)),
    "transposed, 2": up(2, 2),
    "transposed, 3": up(3, 2, 1, 1),
    "transposed, 4": up(4, 2, 1),
    "transposed, 5 by 3": up(5, 3, 1),
    "down and up": nn.Sequential(conv(3, stride=2, padding=1), up(4, 2, 1)),
    "nearest": nn.Upsample(scale_factor=2),
    "linear": nn.Upsample(scale_factor=2, mode="linear"),
    "by 3/2": nn.Upsample(scale_factor=1.5, mode="linear"),
    "corners aligned": interpolated(47),
    "corners aligned, down": interpolated(12),
    "corners aligned, an odd ratio": interpolated(31),
    "crop": lambda x: x[..., 3:-2],
    "every other": lambda x: x[..., 1::2],
    "crop and pad": lambda x: F.pad(x[..., 4:-3], (2, 1)),
    "negative padding": lambda x: F.pad(x, (-3, 2)),
    "mirrored": lambda x: x.flip(-1),
    "mirrored after a stride": lambda x: F.avg_pool1d(x, 3, 2).flip(-1),
    "mirrored twice": lambda x: F.avg_pool1d(x.flip(-1), 2, 1).flip(-1),
    "tokens": tokens,
}


def signal() -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.rand(1, 1, SIZE, generator=draw, dtype=torch.float64)


def seen_pixels(network: Network, x: torch.Tensor) -> list[set[int]]:
    """For each sample, the pixels of which a large change moves it, up or down."""
    each = 50 * torch.eye(SIZE, dtype=torch.float64)[:, None]
    with torch.no_grad():
        gaps = (network(torch.cat([x + each, x - each])) - network(x)).abs()
    moved = (gaps > 1e-9).any(1).unflatten(0, (2, SIZE)).any(0)
    return [set(torch.nonzero(moved[:, q]).flatten().tolist()) for q in range(moved.shape[1])]


def of(network: Network) -> LayerResult:
    module = network.double() if isinstance(network, nn.Module) else network
    return shiftcheck.geometry(module, signal()).outputs[0]


def along(network: Network) -> Placement:
    (placement,) = of(network).placement
    assert placement is not None
    return placement


@pytest.fixture(autouse=True)
def _weights() -> None:
    torch.manual_seed(0)


def positive(network: Network) -> Network:
    """The same with weights of which none is near zero, so that whatever is read shows."""
    if isinstance(network, nn.Module):
        network = network.double()
        for parameter in network.parameters():
            torch.nn.init.uniform_(parameter, 0.5, 1.0)
    return network


@pytest.mark.parametrize("name", NETWORKS)
def test_the_field_of_every_sample_is_what_moves_it(name: str) -> None:
    network = positive(NETWORKS[name])
    placement, seen = along(network), seen_pixels(network, signal())
    assert placement.samples == len(seen)
    whole, valid = 0, valid_samples(network)
    for q, pixels in enumerate(seen):
        field = placement.field(q)
        assert field is not None
        start, stop = field
        assert pixels <= set(range(int(start), int(stop)))
        if start >= 0 and stop <= SIZE and q in valid:
            assert (min(pixels), max(pixels) + 1) == field
            assert placement.centre(q) == Fraction(min(pixels) + max(pixels), 2)
            whole += 1
    assert whole >= 3


def valid_samples(network: Network) -> set[int]:
    (runs,) = of(network).valid
    return {q for start, stop in runs or () for q in range(start, stop)}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_offset_is_the_centre_of_sample_0_by_that_of_another(name: str) -> None:
    network = positive(NETWORKS[name])
    placement, seen = along(network), seen_pixels(network, signal())
    (offset,) = of(network).offset
    period = len(placement.fields)
    alike = [q for q in sorted(valid_samples(network)) if q % period == 0]
    assert alike or "corners" in name
    for q in alike:
        centre = Fraction(min(seen[q]) + max(seen[q]), 2)
        assert offset == centre - q * placement.stride
        assert offset == placement.centre(0)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_origin_is_where_samples_stand_on_average(name: str) -> None:
    network = positive(NETWORKS[name])
    placement, seen = along(network), seen_pixels(network, signal())
    period = len(placement.fields)
    valid = sorted(valid_samples(network))
    rows = [valid[i : i + period] for i in range(len(valid) - period + 1)]
    for run in [r for r in rows if r[-1] - r[0] == period - 1]:
        middles = [Fraction(min(seen[q]) + max(seen[q]), 2) - q * placement.stride for q in run]
        assert placement.origins == (sum(middles) / period,) * 2


@pytest.mark.parametrize("name", NETWORKS)
def test_and_back(name: str) -> None:
    network = positive(NETWORKS[name])
    report = shiftcheck.geometry(network, signal())
    seen = seen_pixels(network, signal())
    for pixel in range(-3, SIZE + 3):
        ((runs),) = report.samples_seeing("output", pixel)
        assert runs is not None
        told = {q for start, stop in runs for q in range(start, stop)}
        assert {q for q, pixels in enumerate(seen) if pixel in pixels} <= told
        for q in range(len(seen)):
            field = report.locate("output", q).field[0]
            assert field is not None
            assert (q in told) == (field[0] <= pixel < field[1])


@pytest.mark.parametrize(
    ("network", "offset", "origins"),
    [
        (conv(3), 1, 1),
        (conv(3, padding=1), 0, 0),
        (conv(2), Fraction(1, 2), Fraction(1, 2)),
        (nn.MaxPool1d(2), Fraction(1, 2), Fraction(1, 2)),
        (nn.Sequential(nn.MaxPool1d(2), nn.MaxPool1d(2)), Fraction(3, 2), Fraction(3, 2)),
        (nn.Upsample(scale_factor=2), 0, Fraction(-1, 4)),
        (nn.Sequential(nn.MaxPool1d(2), nn.Upsample(scale_factor=2)), Fraction(1, 2), 0),
        (lambda x: x.flip(-1), SIZE - 1, SIZE - 1),
        (interpolated(47), 0, 0),
        (lambda x: x[..., 5:], 5, 5),
    ],
)
def test_some_that_can_be_counted(
    network: Network, offset: float | Fraction, origins: float | Fraction
) -> None:
    placement = along(network)
    assert placement.offset == offset
    assert placement.origins == (origins, origins)
    assert placement.aligned


def test_branches_with_other_centres_are_seen() -> None:
    def joined(x: torch.Tensor) -> torch.Tensor:
        return x + F.pad(F.avg_pool1d(x, 2, 1), (0, 1))

    placement = along(joined)
    assert placement.origins == (0, Fraction(1, 2))
    assert not placement.aligned
    assert placement.offset == Fraction(1, 2)  # of what both see together
    after = along(lambda x: F.avg_pool1d(joined(x), 2))
    assert after.origins == (Fraction(1, 2), 1)
    assert not along(lambda x: joined(x).flip(-1)).aligned
    assert along(lambda x: x + F.avg_pool1d(x, 3, 1, padding=1)).aligned
    phases = along(lambda x: torch.cat([x[..., ::2], x[..., 1::2]], 1))
    assert phases.origins == (0, 1)


def test_what_sees_everything_has_an_origin_but_no_offset() -> None:
    network = nn.Sequential(nn.MaxPool1d(2), nn.GroupNorm(1, 1))
    placement = along(network)
    assert placement.offset is None
    assert placement.centre(3) is None
    assert placement.field(3) == (-math.inf, math.inf)
    assert placement.origins == (Fraction(1, 2),) * 2
    assert placement.seeing(-7) == ((0, SIZE // 2),)


def test_a_sample_that_sees_nothing() -> None:
    placement = along(up(1, 2))
    assert placement.field(1) is None
    assert placement.centre(1) is None
    assert placement.origins == (0, 0)
    assert placement.seeing(3) == ((6, 7),)
    assert along(lambda x: up(1, 2).double()(x)[..., 1:]).offset is None


def test_an_axis_that_is_gone_or_lost() -> None:
    report = shiftcheck.geometry(lambda x: x.mean(2, keepdim=True), (1, 1, 12, 13))
    assert report.outputs[0].offset == (None, 0)
    found = report.locate("output", (0, 4))
    assert found.field == (None, (4, 5))
    assert found.centre == (None, 4)
    assert report.samples_seeing("output", (0, 4)) == (None, ((4, 5),))


def test_around_a_circle() -> None:
    ring = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular")
    report = shiftcheck.geometry(ring, (1, 1, 12), boundary="circular")
    assert report.locate("output", 0).field == ((-1, 2),)
    assert report.samples_seeing("output", 11) == (((0, 1), (10, 12)),)
    assert report.samples_seeing("output", -1) == (((0, 1), (10, 12)),)


def test_cells_cover_the_image() -> None:
    for network in (nn.MaxPool1d(2), nn.Upsample(scale_factor=2), nn.Identity()):
        assert along(network).extent == (-0.5, SIZE - 0.5)
    assert along(lambda x: x.flip(-1)).extent == (SIZE - 0.5, -0.5)


def test_rows_of_a_check_have_it_and_json_keeps_it() -> None:
    report = shiftcheck.check_equivariance(nn.Conv2d(1, 1, 4, stride=2), torch.rand(1, 1, 16, 19))
    assert [str(c) for c in report.layers[0].offset] == ["3/2", "3/2"]
    again = Report.from_json(report.to_json())
    assert again == report
    assert again.locate("conv2d", (-1, 2)) == report.locate("conv2d", (6, 2))


def test_what_was_written_before_can_be_read_and_says_so() -> None:
    data = json.loads(shiftcheck.geometry(nn.Conv1d(1, 1, 3), (1, 1, 9)).to_json())
    for row in (*data["layers"], *data["outputs"]):
        del row["placement"]
    earlier = Report.from_json(json.dumps(data))
    assert earlier.layers[0].offset == ()
    with pytest.raises(InputError, match="does not say where its samples stand"):
        earlier.locate("conv1d", 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.locate("conv", (0, 0)), "layer='conv' is unknown; there are conv2d, output"),
        (lambda r: r.locate("conv2d", (0,)), r"has samples \(14, 15\)"),
        (lambda r: r.locate("conv2d", (0, 15)), r"index=\(0, 15\): layer='conv2d' has samples"),
        (lambda r: r.locate("conv2d", (-15, 0)), r"has samples \(14, 15\)"),
        (lambda r: r.samples_seeing("conv2d", 3), "pixel=3: give one entry for each of 2 axes"),
    ],
)
def test_what_cannot_be_located_is_named(call: Callable[[Report], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(shiftcheck.geometry(nn.Conv2d(1, 1, 3), (1, 1, 16, 17)))


def test_two_axes_stay_apart() -> None:
    network = nn.Conv2d(1, 1, (3, 4), stride=(2, 1), padding=(1, 0)).double()
    report = shiftcheck.geometry(network, (1, 1, 16, 17))
    x = torch.rand(1, 1, 16, 17, dtype=torch.float64)
    each = torch.eye(16 * 17, dtype=torch.float64).reshape(-1, 1, 16, 17)
    with torch.no_grad():
        moved = (network(x + each) - network(x)).abs().squeeze(1) > 1e-9
    for index in [(i, j) for i in range(1, 7) for j in range(14)]:
        seen = [
            np.unravel_index(int(p), (16, 17)) for p in torch.nonzero(moved[:, *index]).flatten()
        ]
        for axis, field in enumerate(report.locate("output", index).field):
            assert field == (min(p[axis] for p in seen), max(p[axis] for p in seen) + 1)
