"""A plan says where tiles begin, how much they overlap, and what keeps them from being exact."""

from __future__ import annotations

import ast
import math
import re
from fractions import Fraction

import numpy as np
import pytest
import torch
from tests.networks.tiled import Attention, Embedded, PaddedTo, Pyramid, SqueezeExcite, UNet
from torch import nn
from torch.nn import functional as F

import shiftcheck
from shiftcheck import InputError
from shiftcheck.checks.tiles.grid import MOST_REFUSED, MOST_STEPS
from shiftcheck.measuring.effort import counted
from shiftcheck.report import Reach


def test_the_halo_and_the_grid_of_a_u_net() -> None:
    plan = shiftcheck.tiling(UNet(), (1, 1, 400, 404), tile=96)
    assert plan.exactness == "exact"
    assert plan.halo == ((22, 22), (22, 22))
    assert plan.step == (4, 4)
    assert plan.axes[0].starts == (0, 52, 104, 156, 208, 260, 312)
    assert plan.passes == 1


def test_a_causal_layer_has_a_halo_on_one_side() -> None:
    model = nn.Sequential(nn.ConstantPad1d((8, 0), 0.0), nn.Conv1d(1, 4, 3, dilation=4))
    assert shiftcheck.tiling(model, (1, 1, 500), tile=50).halo == ((8, 0),)


def test_outputs_of_several_strides_have_one_grid() -> None:
    plan = shiftcheck.tiling(Pyramid(), (1, 1, 96, 120), tile=32)
    strides = [output.margins[0].stride for output in plan.outputs]
    assert strides == [Fraction(2), Fraction(4), Fraction(1, 2)]
    assert plan.step == (4, 4)
    assert plan.outputs[2].dims == (1, 2)


def test_a_model_that_pads_to_a_multiple_has_tiles_on_that_grid() -> None:
    plan = shiftcheck.tiling(PaddedTo(UNet(), 32), (1, 1, 290, 300))
    assert plan.step == (32, 32)


def test_a_model_that_refuses_sizes_has_tiles_of_sizes_that_it_takes() -> None:
    inner = UNet()

    def choosy(x: torch.Tensor) -> torch.Tensor:
        assert all(n % 16 == 0 for n in x.shape[2:])
        return inner(x)

    plan = shiftcheck.tiling(choosy, (1, 1, 272, 288), tile=96)
    assert plan.exactness == "exact"
    assert plan.step == (16, 16)


def test_the_axis_that_is_looked_at_as_a_whole_is_not_cut() -> None:
    plan = shiftcheck.tiling(lambda x: x + x.softmax(3), (1, 2, 96, 40))
    assert plan.exactness == "exact"
    assert plan.axes[1].whole
    assert not plan.axes[0].whole
    assert "axis 1 is not cut" in plan.notes[0]
    assert {b.reach for b in plan.blocking} == {Reach.GLOBAL}


def test_one_number_is_for_the_axes_that_are_cut() -> None:
    x = torch.randn(1, 2, 30, 40)
    plan = shiftcheck.tiling(lambda x: x + x.softmax(3), x, tile=12)
    assert plan.tile == (12, 40)
    assert shiftcheck.tiled(lambda x: x + x.softmax(3), plan).difference(x) == 0


def axes_and_layers(model: nn.Module, x: torch.Tensor, tile: int | None = 24) -> list[str]:
    plan = shiftcheck.tiling(model, x, tile=tile)
    return [f"{b.layer}: {b.reach}" for b in plan.blocking]


X = torch.randn(1, 1, 48, 56, generator=torch.Generator().manual_seed(0))


def test_layers_that_block_are_named_and_classed() -> None:
    reducible = "global but reducible"
    assert axes_and_layers(UNet("group"), X, 52) == [
        f"{name}.1: {reducible}" for name in ("first", "second", "middle", "third", "fourth")
    ]
    assert axes_and_layers(UNet("batch"), X, 52) == []
    assert axes_and_layers(SqueezeExcite(), X) == [
        f"adaptive_avg_pool2d: {reducible}",
        f"mean: {reducible}",
    ]
    assert axes_and_layers(Attention(), X) == ["inner: global"]
    assert axes_and_layers(Embedded(48, 56), X) == ["add: local"]
    flat = nn.Sequential(nn.Flatten(), nn.Linear(48 * 56, 2))
    assert axes_and_layers(flat, X, None) == ["1: global"]


class AttentionAmongNorms(nn.Module):
    """As the decoders of latent diffusion: one attention, and group norms before and after it."""

    def __init__(self, norms: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(2, 4) for _ in range(norms))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for norm in self.norms[:2]:
            x = norm(x)
        flat = x.flatten(2).transpose(1, 2)
        mixed = nn.functional.scaled_dot_product_attention(flat, flat, flat)
        x = x + mixed.transpose(1, 2).reshape(x.shape)
        for norm in self.norms[2:]:
            x = norm(x)
        return x


@pytest.mark.parametrize("norms", [2, 7])
def test_what_blocks_comes_before_what_can_be_pooled(norms: int) -> None:
    model = AttentionAmongNorms(norms)
    plan = shiftcheck.tiling(model, torch.randn(1, 4, 24, 24), tile=12)
    assert plan.exactness == "not exact"
    assert [b.layer for b in plan.blocking[:2]] == ["scaled_dot_product_attention", "norms.0"]
    assert [b.reach for b in plan.blocking] == [Reach.GLOBAL] + norms * [Reach.REDUCIBLE]
    text = " ".join(str(plan).split())
    assert text.index("scaled_dot_product_attention is global") < text.index("norms.0")
    assert "come before the one that writes" not in text
    assert ("7 statistics of the whole besides" in text) is (norms == 7)
    assert text.count("can be pooled") == (1 if norms == 7 else norms)
    with pytest.raises(InputError) as raised:
        shiftcheck.tiled(model, plan)
    assert "because of scaled_dot_product_attention (global): give" in str(raised.value)


@pytest.mark.parametrize("norm", [nn.Identity(), nn.GroupNorm(2, 4)])
def test_a_window_as_large_as_the_image_is_named_where_its_sample_loses_its_axes(
    norm: nn.Module,
) -> None:
    """As the pooler of EfficientNet: statistics that can be pooled are not why it is not exact."""
    pool = nn.AvgPool2d(100, ceil_mode=True)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), norm, pool, nn.Flatten())
    plan = shiftcheck.tiling(model, X)
    assert plan.exactness == "not exact"
    assert (plan.blocking[0].layer, plan.blocking[0].reach) == ("2", Reach.LOCAL)
    assert "'2' (AvgPool2d) is local" in str(plan)


def test_an_output_whose_axes_have_changed_places_is_named_as_the_user_knows_it() -> None:
    plan = shiftcheck.tiling(lambda x: {"map": x.mT}, X)
    assert [b.layer for b in plan.blocking] == ["output['map']"]


def test_the_size_of_an_effect_is_that_of_tiles_against_the_whole() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4))
    plan = shiftcheck.tiling(model, X, tile=24)
    (blocking,) = plan.blocking
    with torch.no_grad():
        whole = model(X)
    gap = 0.0
    for row, rows in zip(plan.axes[0].starts, ((0, 23), (23, 45), (45, 48)), strict=True):
        for column, columns in zip(plan.axes[1].starts, ((0, 23), (23, 45), (45, 56)), strict=True):
            with torch.no_grad():
                part = model(X[:, :, row : row + 24, column : column + 24])
            there = whole[:, :, rows[0] : rows[1], columns[0] : columns[1]]
            here = part[
                :, :, rows[0] - row : rows[1] - row, columns[0] - column : columns[1] - column
            ]
            scale = whole.abs().amax((0, 2, 3), keepdim=True)
            gap = max(gap, float(((there - here).abs() / scale).max()))
    assert blocking.effect == pytest.approx(gap, rel=1e-4)


def test_effects_are_measured_on_values_only() -> None:
    model = nn.GroupNorm(1, 2)
    assert shiftcheck.tiling(model, (1, 2, 40, 40), tile=16).blocking[0].effect is None
    effect = shiftcheck.tiling(model, torch.randn(1, 2, 40, 40), tile=16).blocking[0].effect
    assert effect is not None
    assert effect > 0.01


def test_a_border_that_is_filled_from_the_other_end_is_no_border_of_a_plane() -> None:
    model = nn.Conv2d(1, 1, 5, padding=2, padding_mode="circular")
    plan = shiftcheck.tiling(model, (1, 1, 64, 64))
    assert plan.exactness == "not exact"
    assert [(b.reach, b.detail) for b in plan.blocking] == [("local", "circular padding")]
    around = shiftcheck.tiling(model, (1, 1, 64, 64), tile=32, boundary="circular")
    assert around.exactness == "exact"
    mixed = ("circular", "valid")
    assert shiftcheck.tiling(model, (1, 1, 64, 64), boundary=mixed).axes[1].whole


@pytest.mark.parametrize(
    "model",
    [
        lambda x: torch.cat([x[..., -1:], x, x[..., :1]], -1)[..., 2:] + x,
        lambda x: F.avg_pool2d(torch.roll(x, 1, -1), (1, 3), 1, (0, 1)),
    ],
)
def test_no_other_way_around_passes_for_a_border(model: object) -> None:
    plan = shiftcheck.tiling(model, (1, 1, 64, 64))  # type: ignore[arg-type]
    assert plan.axes[1].whole


class Dark(nn.Module):
    """Circular padding whose output is zero on values that are small."""

    def __init__(self, threshold: float = 30.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular")
        self.threshold = threshold

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.conv(x) - self.threshold)


@pytest.mark.parametrize("x", [(1, 1, 72, 96), 255 * torch.rand(1, 1, 72, 96)], ids=["shape", "x"])
@pytest.mark.parametrize("threshold", [30.0, 30_000.0])
def test_an_end_that_is_dark_on_noise_is_no_border_of_a_plane(x: object, threshold: float) -> None:
    plan = shiftcheck.tiling(Dark(threshold), x, tile=24)
    assert plan.exactness == "not exact"
    assert [b.detail for b in plan.blocking] == ["circular padding"]


def test_a_bright_branch_hides_no_dark_one() -> None:
    dark, bright = Dark(), nn.Conv2d(1, 4, 3, padding=1)
    plan = shiftcheck.tiling(lambda x: dark(x) + bright(x), (1, 1, 72, 96), tile=24)
    assert plan.exactness == "not exact"


def test_an_end_that_nothing_changes_is_not_taken_for_a_border() -> None:
    conv = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")
    plan = shiftcheck.tiling(lambda x: 0 * conv(x), (1, 1, 64, 64), tile=24)
    assert plan.exactness == "not exact"
    assert "could not be seen" in " ".join(plan.notes)


def test_a_border_of_zeros_goes_nowhere_around() -> None:
    conv = nn.Conv2d(1, 1, 3, padding=1)

    def model(x: torch.Tensor) -> torch.Tensor:
        y = conv(x).clone()
        y[..., 0] = y[..., -1] = 0
        return y

    plan = shiftcheck.tiling(model, (1, 1, 64, 64), tile=24)
    assert (plan.exactness, plan.step) == ("exact", (1, 1))


def test_a_channel_that_is_small_is_told_by_its_own_scale() -> None:
    conv = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")
    model = lambda x: torch.cat([x, 1e-12 * conv(x)], 1)  # noqa: E731
    assert shiftcheck.tiling(model, (1, 1, 64, 64), tile=24).exactness == "not exact"


@pytest.mark.parametrize("as_shape", [True, False])
def test_names_and_masks_are_tried_with_their_own_values(as_shape: bool) -> None:
    embedding = nn.Embedding(12, 4)
    conv = nn.Conv2d(4, 1, 3, padding=1, padding_mode="circular")
    names = torch.randint(0, 12, (1, 1, 64, 64))
    plan = shiftcheck.tiling(
        lambda x: conv(embedding(x[:, 0].long()).permute(0, 3, 1, 2)),
        tuple(names.shape) if as_shape else names,
        tile=24,
    )
    assert plan.exactness == "not exact"  # and no error of torch for names that there are not
    one = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")
    mask = torch.rand(1, 1, 64, 64) > 0.5
    assert shiftcheck.tiling(lambda x: one(x.float()), mask, tile=24).exactness == "not exact"


def test_a_border_that_is_cut_off_again_goes_nowhere_around() -> None:
    conv = nn.Conv2d(1, 2, 3, padding=1)
    model = lambda x: F.pad(conv(x), (1, 1, 1, 1), "circular")[..., 1:-1, 1:-1]  # noqa: E731
    assert shiftcheck.tiling(model, (1, 1, 64, 64), tile=24).exactness == "exact"


def test_what_rolls_is_blamed_and_not_a_layer_that_pads_before_it() -> None:
    conv = nn.Conv2d(1, 2, 3, padding=1)
    plan = shiftcheck.tiling(lambda x: conv(x) - torch.roll(conv(x), 1, -1), (1, 1, 64, 64), 24)
    assert plan.axes[1].whole
    assert [b.layer for b in plan.blocking] == ["roll"]


def test_zeros_at_the_seam_open_a_circle() -> None:
    plan = shiftcheck.tiling(nn.Conv2d(1, 1, 3, padding=1), (1, 1, 64, 64), boundary="circular")
    assert plan.exactness == "not exact"
    assert [b.kind for b in plan.blocking] == ["PADDING"]


def test_memory_bounds_the_tile() -> None:
    model, shape = UNet(width=16), (1, 1, 2000, 2000)
    small = shiftcheck.tiling(model, shape, memory=200 * 2**20)
    large = shiftcheck.tiling(model, shape, memory=400 * 2**20)
    assert small.memory is not None
    assert large.memory is not None
    assert small.memory <= 200 * 2**20 < large.memory <= 400 * 2**20
    more = small.size_of(tuple(t + s for t, s in zip(small.tile, small.step, strict=True)))
    again = shiftcheck.tiling(model, shape, tile=more.tile)
    assert again.memory is not None
    assert again.memory > 200 * 2**20


def test_tiles_are_not_tiny_where_none_were_asked_for() -> None:
    plan = shiftcheck.tiling(nn.Conv2d(1, 1, 1), (1, 1, 20_000, 20_000))
    assert 1 < plan.tiles <= 2**12


def test_the_smallest_tile_for_an_overhead() -> None:
    plan = shiftcheck.tiling(UNet(), (1, 1, 2000, 3000), tile=96)
    size = plan.smallest_tile(overhead=0.25)
    assert size.read <= 1.25
    smaller = tuple(t - s for t, s in zip(size.tile, plan.step, strict=True))
    assert plan.size_of(smaller).read > 1.25
    assert plan.smallest_tile(overhead=0).tiles == 1


@pytest.mark.parametrize("tile", [52, 96, 200, 404])
def test_what_a_size_costs_is_what_its_tiles_read(tile: int) -> None:
    plan = shiftcheck.tiling(UNet(), (1, 1, 400, 404), tile=tile)
    sizes = [[axis.size_at(start, axis.tile) for start in axis.starts] for axis in plan.axes]
    read = sum(sizes[0]) * sum(sizes[1]) / (400 * 404)
    assert plan.size_of(tile).read == pytest.approx(read)
    assert plan.size_of(tile).tiles == plan.tiles == math.prod(map(len, sizes))


def test_everything_is_left_as_it_was_found() -> None:
    model = UNet("batch").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    plan = shiftcheck.tiling(model, X, tile=52)
    shiftcheck.tiled(model, plan)(X)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_trying_the_ends_writes_to_no_buffer() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen += 1
            return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), "circular"), 3, 1)

    model = Counting()
    assert shiftcheck.tiling(model, (1, 1, 64, 64)).exactness == "not exact"
    assert float(model.seen) == 0


def test_a_plan_survives_json_and_prints() -> None:
    plan = shiftcheck.tiling(UNet("group"), X, tile=52)
    assert shiftcheck.TilingPlan.from_json(plan.to_json()) == plan
    text = str(plan)
    assert "EXACT WITH POOLED STATISTICS" in text
    assert "'first.1' (group_norm) is global but reducible" in text
    assert "GroupNorm" not in plan._repr_html_() or "first.1" in plan._repr_html_()


CONV = nn.Conv2d(1, 1, 5, padding=2)
SHAPE = (1, 1, 64, 64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 4}, r"tile=4: 4 does not work along axis 0, 4 pixels of a tile are halo.*give 5"),
        ({"tile": (32, 3)}, r"tile=\(32, 3\): 3 does not work along axis 1"),
        ({"tile": 0}, "tile=0: give at least 1 pixel"),
        ({"tile": 3.5}, "tile=3.5: give whole pixels"),
        ({"tile": "big"}, "tile='big': give whole pixels"),
        ({"tile": True}, "tile=True: give whole pixels"),
        ({"tile": (8, 8, 8)}, r"tile=\(8, 8, 8\) has 3 entries, the image has 2 spatial axes"),
        ({"memory": 1000}, r"memory=1000 bytes is too little: the smallest tile, \(5, 5\), needs"),
        ({"memory": 0}, "memory=0: give a number of bytes above 0"),
        ({"memory": "2 GB"}, "memory='2 GB': give a number of bytes"),
        ({"memory": float("nan")}, "memory=nan: give a number of bytes"),
        ({"memory": 10**9, "tile": 16}, "tile=16, memory=1000000000: give one of them"),
        ({"boundary": "torus"}, "boundary='torus'"),
    ],
)
def test_what_cannot_be_used_is_told(options: dict[str, object], message: str) -> None:
    with pytest.raises(shiftcheck.InputError, match=message):
        shiftcheck.tiling(CONV, SHAPE, **options)  # type: ignore[arg-type]


def test_a_tile_off_the_grid_is_told_with_the_nearest_that_work() -> None:
    inner = UNet()

    def choosy(x: torch.Tensor) -> torch.Tensor:
        assert all(n % 16 == 0 for n in x.shape[2:])
        return inner(x)

    with pytest.raises(shiftcheck.InputError, match=r"multiples of 16: give 96 or 112"):
        shiftcheck.tiling(choosy, (1, 1, 272, 288), tile=100)


class Wide(nn.Module):
    """Another layer from 40 columns on, so that tiles are at least as wide."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow, self.wide = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 5, padding=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.narrow(x) if x.shape[-1] > 40 else self.wide(x)
        return y


@pytest.mark.parametrize("tile", [24, (24, 24), (24, 33)])
@pytest.mark.parametrize(
    ("model", "shape"),
    [(Wide(), (1, 1, 72, 96)), (PaddedTo(UNet(), 8, centred=True), (1, 1, 133, 155))],
)
def test_the_tile_that_is_offered_works(model: nn.Module, shape: object, tile: object) -> None:
    with pytest.raises(shiftcheck.InputError) as raised:
        shiftcheck.tiling(model, shape, tile=tile)  # type: ignore[arg-type]
    offered = ast.literal_eval(str(raised.value).rpartition("give ")[2].rpartition(" or ")[2])
    if isinstance(tile, tuple) and isinstance(offered, int):
        at = int(str(raised.value).partition("along axis ")[2][0])
        offered = tuple(offered if a == at else n for a, n in enumerate(tile))
    plan = shiftcheck.tiling(model, shape, tile=offered)
    assert plan.exactness == "exact"


def test_an_array_gives_the_plan_of_its_tensor() -> None:
    x = np.zeros((1, 1, 48, 56), dtype=np.float32)
    by_array = shiftcheck.tiling(CONV, x, tile=16)
    assert by_array == shiftcheck.tiling(CONV, torch.from_numpy(x), tile=16)


def test_the_least_tile_leaves_a_last_one_that_the_model_takes() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return F.pad(x, (0, 1, 0, 1), "reflect")  # of one pixel there is nothing to mirror

    x = torch.randn(1, 1, 30, 31)
    least = tuple(axis.least for axis in shiftcheck.tiling(model, x).axes)
    assert min(least) >= 2
    plan = shiftcheck.tiling(model, x, tile=least)
    assert shiftcheck.tiled(model, plan).difference(x) == 0


def test_no_tile_is_so_small_that_nothing_is_left_of_it() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, scale_factor=0.5, mode="bilinear")  # raises on one pixel

    x = torch.randn(1, 1, 12, 13)
    plan = shiftcheck.tiling(model, x)
    assert plan.tiles > 1
    assert shiftcheck.tiled(model, plan).difference(x) < 1e-6


@pytest.mark.parametrize(("factor", "noted"), [(2, False), (3, True), (1.5, True), (0.25, False)])
def test_rounded_coordinates_are_noted(factor: float, noted: bool) -> None:
    model = nn.Sequential(nn.Conv1d(1, 1, 3), nn.Upsample(scale_factor=factor, mode="linear"))
    plan = shiftcheck.tiling(model, (1, 1, 482))
    assert any("'1' resizes by a ratio" in note for note in plan.notes) == noted


class OfOneSize(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(1, 4, 64) * 2


@pytest.mark.parametrize(
    ("layer", "name"),
    [(nn.LayerNorm(64), "1"), (OfOneSize(), "1"), (nn.LayerNorm((4, 64)), "1")],
    ids=["weights for each place", "a size that is written down", "weights for all"],
)
def test_a_layer_that_takes_no_other_size_is_the_one_that_is_named(
    layer: nn.Module, name: str
) -> None:
    model = nn.Sequential(nn.Conv1d(4, 4, 3, padding=1), layer, nn.ReLU(), nn.Conv1d(4, 4, 3))
    plan = shiftcheck.tiling(model.eval(), torch.randn(1, 4, 64))
    assert not plan.exact
    assert (plan.blocking[0].layer, plan.blocking[0].reach) == (name, "local")
    assert re.fullmatch(r"not reached on \d+: the model raises", plan.blocking[0].detail)
    alone = shiftcheck.tiling(layer.eval(), torch.randn(1, 4, 64))
    assert not alone.exact
    assert not [b for b in alone.blocking if "output[" in b.layer]


class Multiples(nn.Module):
    """Takes multiples of a number alone, or these and a remainder."""

    def __init__(self, number: int, remainder: int = 0, stride: int = 1) -> None:
        super().__init__()
        self.number, self.remainder = number, remainder
        self.first = nn.Conv2d(1, 2, 3, padding=1, stride=stride)
        self.last = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        if any(n % self.number != self.remainder for n in x.shape[2:]):
            raise ValueError(f"give multiples of {self.number}")
        out: torch.Tensor = self.last(y)
        return out


@pytest.mark.parametrize(
    ("model", "shape", "step"),
    [
        (Multiples(24), (1, 1, 192, 192), 24),
        (Multiples(7), (1, 1, 98, 98), 7),
        (Multiples(24), (1, 1, 192, 240), 24),
        (Multiples(8, 1), (1, 1, 121, 121), 8),
        (Multiples(12, stride=2), (1, 1, 120, 96), 12),
        (Multiples(10, stride=4), (1, 1, 160, 120), 20),
        (Multiples(14, 1), (1, 1, 337, 337), 14),
        (Multiples(9, 4), (1, 1, 103, 94), 9),
        (Multiples(14, 1, stride=2), (1, 1, 225, 197), 14),
    ],
    ids=[
        "24",
        "7",
        "unequal axes",
        "a remainder",
        "of its stride",
        "and not of its stride",
        "a remainder of no power of two",
        "and of an odd one",
        "and a stride",
    ],
)
def test_a_model_that_asks_for_multiples_gets_tiles_of_these(
    model: nn.Module, shape: tuple[int, ...], step: int
) -> None:
    x = torch.randn(shape, dtype=torch.float64)
    plan = shiftcheck.tiling(model.double().eval(), x)
    assert (plan.exactness, plan.step) == ("exact", (step, step))
    assert plan.tiles > 1
    with torch.no_grad():
        assert torch.allclose(shiftcheck.tiled(model, plan)(x), model(x), rtol=0, atol=1e-13)


class OneSize(nn.Module):
    """Takes one size, and says so before its layers or behind them."""

    def __init__(self, *, behind: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(4)))
        self.behind = behind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.layers(x) if self.behind else x
        if x.shape[2:] != (150, 150):
            raise ValueError("give 150 x 150")
        return y if self.behind else self.layers(x)


def test_what_refuses_late_is_not_asked_for_every_step() -> None:
    passes = {}
    for behind in (False, True):
        with counted() as ledger:
            plan = shiftcheck.tiling(OneSize(behind=behind).eval(), (1, 1, 150, 150))
        assert plan.exactness == "not exact"
        passes[behind] = ledger.passes
    assert MOST_REFUSED < passes[True] < MOST_REFUSED + 12
    assert passes[False] > MOST_STEPS - 12
