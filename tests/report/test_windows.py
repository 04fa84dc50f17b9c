"""Plans in the words of MONAI and tiler: what they average is the whole, or they are refused."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.networks.tiled import Attention, Embedded, PaddedTo, SqueezeExcite, UNet
from torch import nn

import shiftcheck
from shiftcheck.report import MonaiWindows, TilerPlan, TilerTiles
from shiftcheck.report.windows import gives_the_whole, share_of

Tensor = torch.Tensor


@pytest.fixture(autouse=True)
def _weights() -> None:
    torch.manual_seed(0)


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=dtype)


def gap(found: Tensor, whole: Tensor) -> float:
    """In eps of the type, relative to the largest value."""
    assert found.shape == whole.shape
    return float((found - whole).abs().max() / whole.abs().max() / torch.finfo(whole.dtype).eps)


# -- what the tools do, written by what their documentation says -------------------------------


def slid(model: nn.Module, x: Tensor, found: MonaiWindows, weights: np.ndarray) -> Tensor:
    """Windows of one size on a grid, the last moved back, weighed and averaged."""
    starts = []
    for size, roi, overlap in zip(x.shape[2:], found.roi_size, found.overlap, strict=True):
        interval = roi if roi == size else int(roi * (1 - overlap))
        along = list(range(0, size - roi, interval)) if roi < size else []
        starts.append([*along, size - roi])
    total = times = torch.zeros(())
    for corner in itertools.product(*starts):
        at = [slice(a, a + n) for a, n in zip(corner, found.roi_size, strict=True)]
        y = model(x[(..., *at)])
        ratio = [y.shape[2 + d] / n for d, n in enumerate(found.roi_size)]
        if not total.ndim:
            whole = [round(n * r) for n, r in zip(x.shape[2:], ratio, strict=True)]
            total = torch.zeros(*y.shape[:2], *whole, dtype=x.dtype)
            times = torch.zeros(whole, dtype=x.dtype)
        heavy = torch.from_numpy(weights).to(x.dtype)[None, None]
        heavy = nn.functional.interpolate(heavy, y.shape[2:], mode="nearest-exact")[0, 0]
        to = [slice(round(s.start * r), round(s.stop * r)) for s, r in zip(at, ratio, strict=True)]
        total[(..., *to)] += heavy * y
        times[tuple(to)] += heavy
    return total / times


def corners(tiles: TilerTiles) -> Iterator[tuple[slice, ...]]:
    each = []
    for size, tile, overlap in zip(tiles.data_shape, tiles.tile_shape, tiles.overlap, strict=True):
        count = -(-(size - overlap) // (tile - overlap))
        starts = [n * (tile - overlap) for n in range(count)]
        each.append([slice(a, min(a + tile, size)) for a in starts])
    yield from itertools.product(*each)


def merged(model: nn.Module, x: Tensor, plan: TilerPlan) -> Tensor:
    """Tiles of which the last is shorter; a window is cut at its end to the tile."""
    (out,) = plan.outputs
    total, times = np.zeros(out.data_shape), np.zeros(out.data_shape)
    for read, write in zip(corners(plan.input), corners(out), strict=True):
        y = model(x[read]).numpy()
        heavy = out.window()[tuple(slice(0, n) for n in y.shape)]
        total[write] += heavy * y
        times[write] += heavy
    return torch.from_numpy(total / times)


def strided(*strides: int, dims: int = 2) -> nn.Module:
    conv = getattr(nn, f"Conv{dims}d")
    layers = [conv(2 if n else 1, 2, 5, stride=s, padding=2) for n, s in enumerate(strides)]
    return nn.Sequential(*layers)


def upsampling() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.Upsample(scale_factor=2), nn.Conv2d(2, 1, 5, padding=2)
    )


def causal() -> nn.Module:
    return nn.Sequential(nn.ConstantPad1d((6, 0), 0.0), nn.Conv1d(1, 3, 7))


NETWORKS = {
    "one convolution": (lambda: nn.Conv2d(1, 2, 7, padding=3), (2, 1, 45, 59), 20),
    "U-Net": (UNet, (1, 1, 96, 148), (72, 76)),
    "U-Net of volumes": (lambda: UNet(dims=3, width=1), (1, 1, 120, 12, 16), (72, 12, 16)),
    "strides": (lambda: strided(2, 3), (1, 1, 60, 90), 42),
    "strides of volumes": (lambda: strided(2, dims=3), (1, 1, 20, 22, 24), 12),
    "larger": (upsampling, (1, 1, 33, 40), 16),
    "causal": (causal, (1, 1, 200), 25),
    "pointwise": (nn.Tanh, (1, 1, 20, 30), 7),
    "one axis": (lambda: nn.Conv2d(1, 1, 5, padding=2), (1, 1, 40, 60), (40, 20)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_what_the_tools_average_is_the_whole(name: str) -> None:
    make, shape, tile = NETWORKS[name]
    model, x = make().double().eval(), noise(*shape)
    plan = shiftcheck.tiling(model, x, tile=tile)
    with torch.no_grad():
        whole = model(x)
        found = plan.to_monai()
        assert gap(slid(model, x, found, found.weight_map()), whole) < 64
        assert gap(merged(model, x, plan.to_tiler()), whole) < 64
        assert plan.tiles > 1
        if not found.weighted:
            return
        assert gap(slid(model, x, found, np.ones(found.roi_size)), whole) > 1e6


@pytest.mark.parametrize("name", ["one convolution", "strides", "larger", "causal"])
def test_margins_are_as_narrow_as_they_can_be(name: str) -> None:
    make, shape, tile = NETWORKS[name]
    model, x = make().double().eval(), noise(*shape)
    plan = shiftcheck.tiling(model, x, tile=tile)
    found, tiler = plan.to_monai(), plan.to_tiler()
    stride = max(1, x.shape[-1] // plan.outputs[0].shape[-1])
    less = tuple((max(0, a - stride), max(0, b - stride)) for a, b in found.margins)
    (out,) = tiler.outputs
    fewer = tuple((max(0, a - 1), max(0, b - 1)) for a, b in out.margins)
    with torch.no_grad():
        whole = model(x)
        narrow = replace(found, margins=less)
        assert gap(slid(model, x, found, narrow.weight_map()), whole) > 1e6
        narrow_tiler = replace(tiler, outputs=(replace(out, margins=fewer),))
        assert gap(merged(model, x, narrow_tiler), whole) > 1e6


def test_float32_is_weighed_so_that_corners_of_volumes_are_held() -> None:
    model, x = nn.Conv3d(1, 1, 3, padding=1).eval(), noise(1, 1, 20, 20, 20, dtype=torch.float32)
    found = shiftcheck.tiling(model, x, tile=10).to_monai()
    with torch.no_grad():
        y = slid(model, x, found, found.weight_map())
        assert bool(torch.isfinite(y).all())
        assert gap(y, model(x)) < 64


def test_windows_survive_json_and_print() -> None:
    plan = shiftcheck.tiling(strided(2), (1, 1, 64, 96), tile=32)
    for record in (plan.to_monai(), plan.to_tiler()):
        assert type(record).from_json(record.to_json()) == record
        assert shiftcheck.report.read_report(record.to_json()) == record
        assert "12 tiles" in str(record) or "12 windows" in str(record)
        assert record._repr_html_()
    assert "roi_size=(32, 32)" in str(plan.to_monai())
    assert "tile_shape=(1, 2, 16, 16)" in str(plan.to_tiler())


@pytest.mark.parametrize("roi", [7, 10, 49, 96, 100, 123])
def test_the_share_gives_back_the_interval(roi: int) -> None:
    for interval in range(1, roi + 1):
        share = share_of(roi, interval)
        assert 0 <= share < 1
        assert int(roi * (1 - share)) == interval


@pytest.mark.parametrize(
    ("windows", "size", "right"),
    [
        ([(0, 16), (10, 26), (20, 36)], 36, True),
        ([(0, 16), (10, 26), (20, 30)], 30, True),  # the last one is shorter
        ([(0, 16), (10, 26), (14, 30)], 30, True),
        ([(0, 16), (10, 26), (12, 28)], 28, False),  # two reach into the last margin
        ([(0, 16), (11, 27), (20, 36)], 36, False),  # between the first two, both are wrong
        ([(0, 16), (2, 18)], 18, False),  # two reach into the first margin
        ([(0, 16), (10, 26)], 36, False),  # the end is in none
    ],
)
def test_windows_that_do_and_that_do_not(
    windows: list[tuple[int, int]], size: int, right: bool
) -> None:
    """Against a count of the samples at which windows that are wrong weigh most."""
    assert gives_the_whole(windows, 16, (3, 3), size) == right
    weight = np.array([1e-9] * 3 + [1.0] * 10 + [1e-9] * 3)
    assert right == all(_is_right(p, windows, weight, size) for p in range(size))


def _is_right(p: int, windows: list[tuple[int, int]], weight: np.ndarray, size: int) -> bool:
    here = [(weight[p - a], a, b) for a, b in windows if a <= p < b]
    most = max((w for w, _, _ in here), default=0)
    return bool(here) and all(
        (a == 0 or p - a >= 3) and (b == size or b - p > 3) for w, a, b in here if w == most
    )


class Outputs(nn.Module):
    """Two of them, of which the order and the container are chosen."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.one, self.two = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 2, stride=2)

    def forward(self, x: Tensor) -> object:
        full, half = self.one(x), self.two(x)
        kinds = {
            "full first": (full, half),
            "half first": (half, full),
            "dict": {"z": half, "a": full},
            "inside": [full, (half, half)],
        }
        return kinds[self.kind]


class ChannelsLast(nn.Conv2d):
    def __init__(self) -> None:
        super().__init__(1, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).permute(0, 2, 3, 1)


IMAGE = (1, 1, 64, 96)
REFUSED = {
    "pooled": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.GroupNorm(1, 2)),
        32,
        "runs each tile once.*pools what they need",
    ),
    "attention": (Attention, 32, "runs each tile once.*run the model on the whole"),
    "position": (lambda: Embedded(64, 96), 32, "runs each tile once"),
    "squeeze": (SqueezeExcite, 32, "runs each tile once"),
    "small tile": (
        lambda: nn.Conv2d(1, 1, 15, padding=7),
        18,
        "averages wrong margins.*tile of 2[12]",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("tool", ["to_monai", "to_tiler"])
def test_what_neither_tool_can_do_is_refused(name: str, tool: str) -> None:
    make, tile, message = REFUSED[name]
    plan = shiftcheck.tiling(make().eval(), IMAGE, tile=tile)
    with pytest.raises(shiftcheck.InputError, match=message):
        getattr(plan, tool)()


BY_MONAI = {
    "valid": (lambda: nn.Conv2d(1, 1, 5), {}, r"60 samples for 64 pixels along axis 0"),
    "ragged": (lambda: PaddedTo(nn.Conv2d(1, 1, 3, padding=1), 4), {"x": 66}, "multiple of 4"),
    "odd": (lambda: strided(2), {"x": 65}, "multiple of 2"),
    "channels last": (lambda: ChannelsLast(), {}, "permute it in the model"),
    "rounded": (lambda: nn.Conv2d(1, 1, 49, stride=49), {"x": 196, "tile": 98}, "rounds places"),
    "half first": (lambda: Outputs("half first"), {}, "return it before the others"),
    "inside": (lambda: Outputs("inside"), {}, "inside of another one"),
}


@pytest.mark.parametrize("name", BY_MONAI)
def test_what_monai_cannot_do_is_refused(name: str) -> None:
    make, options, message = BY_MONAI[name]
    size = options.get("x", 64)
    plan = shiftcheck.tiling(make().eval(), (1, 1, size, size), tile=options.get("tile", 32))
    with pytest.raises(shiftcheck.InputError, match=message):
        plan.to_monai()
    assert plan.to_tiler().tiles > 1


@pytest.mark.parametrize("kind", ["full first", "dict"])
def test_several_outputs_have_margins_of_whole_periods(kind: str) -> None:
    plan = shiftcheck.tiling(Outputs(kind), IMAGE, tile=32)
    assert plan.to_monai().margins == ((2, 2), (2, 2))


def test_types_in_which_no_weight_is_small_enough_are_refused() -> None:
    model = nn.Conv2d(1, 1, 3, padding=1).half()
    plan = shiftcheck.tiling(model, torch.zeros(1, 1, 64, 64, dtype=torch.float16), tile=32)
    with pytest.raises(shiftcheck.InputError, match=r"float16.*convert x to float32"):
        plan.to_monai()


class AtLeast(nn.Conv2d):
    """Refuses images of fewer than 32 pixels."""

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[2:]) < 32:
            raise ValueError("too small")
        return super().forward(x)


@pytest.mark.parametrize("size", [115, 150])
def test_the_last_tile_is_as_large_as_the_model_asks_for(size: int) -> None:
    model, x = AtLeast(1, 1, 5, padding=2).double(), noise(1, 1, size, 40)
    plan = shiftcheck.tiling(model, x, tile=(64, 40))
    with torch.no_grad():
        assert gap(merged(model, x, plan.to_tiler()), model(x)) < 64


def test_a_circle_is_refused() -> None:
    model = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")
    plan = shiftcheck.tiling(model, (1, 1, 64, 64), tile=32, boundary="circular")
    for tool in (plan.to_monai, plan.to_tiler):
        with pytest.raises(shiftcheck.InputError, match="does not go on at the other end"):
            tool()


def test_a_tile_that_is_named_in_a_refusal_does() -> None:
    model, x = nn.Conv2d(1, 1, 15, padding=7).double(), noise(1, 1, 64, 64)
    plan = shiftcheck.tiling(model, x, tile=22)
    found = plan.to_monai()
    with torch.no_grad():
        assert gap(slid(model, x, found, found.weight_map()), model(x)) < 64
