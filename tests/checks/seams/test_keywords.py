"""Circles, arguments that stand still, chosen outputs, and classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tests.checks.seams.test_compare import UNet, faults, lines, noise, plain, tiles
from torch import nn

import shiftcheck
from shiftcheck import InputError, ModelError
from shiftcheck.report import TilesVerdict, TilingFault

Tensor = torch.Tensor


@pytest.fixture(autouse=True)
def _weights() -> None:
    torch.manual_seed(0)


# -- an axis that closes on itself -----------------------------------------------------------------


def panorama() -> nn.Module:
    """Halo 3, around the last axis; zeros beyond the first."""

    class Padded(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            side = self.kernel_size[0] // 2
            return super().forward(nn.functional.pad(x, (side, side, 0, 0), mode="circular"))

    return nn.Sequential(
        Padded(1, 3, 5, padding=(2, 0)), nn.Tanh(), Padded(3, 2, 3, padding=(1, 0))
    ).eval()


def around(
    model: Callable[[Tensor], Tensor], overlap: int, tile: int, *, closed: bool = True
) -> Callable[[Tensor], Tensor]:
    """Tiles along the last axis, which go on at the other end, or end where the image does."""

    def tiled(x: Tensor) -> Tensor:
        size, parts = x.shape[-1], []
        for start in range(0, size, tile):
            if closed:
                places = torch.arange(start - overlap, start + tile + overlap) % size
                parts.append(model(x[..., places])[..., overlap : overlap + tile])
            else:
                first, last = max(0, start - overlap), min(size, start + tile + overlap)
                parts.append(model(x[..., first:last])[..., start - first :][..., :tile])
        return torch.cat(parts, -1)

    return tiled


CIRCLE = ("valid", "circular")


@pytest.mark.parametrize("overlap", [0, 1, 2])
def test_where_a_circle_closes_is_a_seam_like_others(overlap: int) -> None:
    net = panorama()
    x = noise(1, 1, 24, 96)
    found = shiftcheck.compare_tiled(net, around(net, overlap, 24), x, boundary=CIRCLE)
    assert faults(found) == (TilingFault.OVERLAP,)
    assert lines(found) == [(), (0, 24, 48, 72)]
    lacks = 3 - overlap
    assert found.missing == (None, (lacks, lacks))
    first = found.outputs[0].axes[1].seams[0]
    assert (first.start, first.stop, first.line) == (-lacks, lacks, 0)
    assert found.boundary == CIRCLE
    shiftcheck.assert_tiled_equals_whole(net, around(net, 3, 24), x, boundary=CIRCLE)


def test_tiles_that_do_not_go_on_at_the_other_end_are_told_so() -> None:
    net = panorama()
    ends = around(net, 3, 24, closed=False)
    found = shiftcheck.compare_tiled(net, ends, noise(1, 1, 24, 96), boundary=CIRCLE)
    assert faults(found) == (TilingFault.OVERLAP,)
    assert lines(found) == [(), (0,)]
    assert "axis 1 closes on itself" in str(found)
    assert "outer border" not in str(found)
    opened = shiftcheck.compare_tiled(net, ends, noise(1, 1, 24, 96))
    assert faults(opened) == (TilingFault.BORDER,)


def test_the_plan_of_a_circle_passes() -> None:
    net, x = panorama(), noise(1, 1, 24, 90)
    plan = shiftcheck.tiling(net, x, tile=(24, 36), boundary=CIRCLE)
    by_plan = shiftcheck.tiled(net, plan)
    found = shiftcheck.assert_tiled_equals_whole(net, by_plan, x, boundary=CIRCLE)
    assert found.halo[1] == (3, 3)


def test_a_tile_that_is_missing_at_the_end_of_a_circle_is_missing() -> None:
    net = panorama()

    def forgets(x: Tensor) -> Tensor:
        y = around(net, 3, 24)(x)
        y[..., 72:] = 0
        return y

    found = shiftcheck.compare_tiled(net, forgets, noise(1, 1, 24, 96), boundary=CIRCLE)
    assert faults(found) == (TilingFault.DROPPED,)


def test_strides_on_a_circle() -> None:
    net = nn.Conv1d(1, 2, 6, stride=2, padding=2, padding_mode="circular").eval()
    x = noise(1, 1, 64)

    def halves(overlap: int) -> Callable[[Tensor], Tensor]:
        def tiled(x: Tensor) -> Tensor:
            parts = []
            for start in (0, 32):
                places = torch.arange(start - overlap, start + 32 + overlap) % 64
                parts.append(net(x[..., places])[..., overlap // 2 :][..., :16])
            return torch.cat(parts, -1)

        return tiled

    shiftcheck.assert_tiled_equals_whole(net, halves(4), x, boundary="circular")
    found = shiftcheck.compare_tiled(net, halves(0), x, boundary="circular")
    assert faults(found) == (TilingFault.OVERLAP,)
    assert lines(found) == [(0, 16)]


# -- arguments that stand still --------------------------------------------------------------------


class Matched(nn.Module):
    """A template of the size of an image that is no image: its mean is what counts."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 5, padding=2)

    def forward(self, template: Tensor, x: Tensor) -> Tensor:
        return self.conv(x) * template.mean()


def test_an_argument_that_stands_still_goes_to_each_tile_as_it_is() -> None:
    net = Matched().eval()
    template, x = noise(1, 1, 16, 16).abs(), noise(1, 1, 48, 64)

    def by_tiles(overlap: int) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda template, x: tiles(lambda t: net(template, t), 16, overlap)(x)

    given = (template, x)
    same = shiftcheck.assert_tiled_equals_whole(net, by_tiles(2), given, fixed=("template",))
    assert same.overlap == ((2, 2), (2, 2))
    assert all(piece[-1] < 64 for piece in same.pieces)
    found = shiftcheck.compare_tiled(net, by_tiles(1), given, fixed=(0,))
    assert faults(found) == (TilingFault.OVERLAP,)
    assert found.missing == ((1, 1), (1, 1))
    uncut = shiftcheck.compare_tiled(net, lambda t, x: net(t, x), given, fixed=("template",))
    assert uncut.reason == "nothing was cut"
    with pytest.raises(InputError, match="there is no argument 'other'"):
        shiftcheck.compare_tiled(net, by_tiles(2), given, fixed=("other",))


# -- outputs that count ----------------------------------------------------------------------------


class Several(nn.Module):
    """A map, and a score that depends on everything."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 5, padding=2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.conv(x)
        return {"map": y, "score": y.mean((2, 3))}


def of_maps(net: nn.Module, overlap: int) -> Callable[[Tensor], dict[str, Tensor]]:
    def tiled(x: Tensor) -> dict[str, Tensor]:
        y = tiles(lambda t: net(t)["map"], 16, overlap)(x)
        return {"map": y, "score": torch.zeros(1, 2)}

    return tiled


@pytest.mark.parametrize("chosen", [["map"], [0], ["output['map']"]])
def test_outputs_that_are_left_out_do_not_count(chosen: list[str | int]) -> None:
    net, x = Several().eval(), noise(1, 1, 48, 64)
    all_of_them = shiftcheck.compare_tiled(net, of_maps(net, 2), x)
    assert all_of_them.verdict is TilesVerdict.DIFFERENT
    for tiled in (of_maps(net, 2), lambda x: of_maps(net, 2)(x)["map"]):
        found = shiftcheck.assert_tiled_equals_whole(net, tiled, x, outputs=chosen)
        assert [output.name for output in found.outputs] == ["output['map']"]
    wrong = shiftcheck.compare_tiled(net, of_maps(net, 1), x, outputs=chosen)
    assert faults(wrong) == (TilingFault.OVERLAP,)
    with pytest.raises(InputError, match=r"there is no output 'mask'"):
        shiftcheck.compare_tiled(net, of_maps(net, 2), x, outputs=["mask"])


def test_a_tiled_callable_of_too_many_outputs_is_told() -> None:
    net, x = Several().eval(), noise(1, 1, 48, 64)
    with pytest.raises(ModelError, match="returned 3 outputs, the model 1"):
        shiftcheck.compare_tiled(net, lambda x: (x, x, x), x, outputs=["map"])


def test_an_output_in_a_list_is_what_the_structure_tells_of_it() -> None:
    net = plain()
    found = shiftcheck.compare_tiled(
        lambda x: [net(x)], lambda x: [tiles(net, 16, 2)(x)], noise(1, 1, 64, 96)
    )
    assert faults(found) == (TilingFault.OVERLAP,)
    assert found.missing == ((1, 1), (1, 1))


# -- classes ---------------------------------------------------------------------------------------


def classes(net: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: net(x).argmax(1)


@pytest.mark.parametrize("overlap", [0, 1])
def test_of_classes_the_seams_and_the_share_that_changes_are_told(overlap: int) -> None:
    model, x = classes(plain()), noise(1, 1, 128, 160)
    stitched = tiles(model, 32, overlap)
    found = shiftcheck.compare_tiled(model, stitched, x)
    assert faults(found) == (TilingFault.CHOICES,)
    assert lines(found) == [(32, 64, 96), (32, 64, 96, 128)]
    changed = (model(x) != stitched(x)).numpy()
    (output,) = found.outputs
    assert output.share == pytest.approx(changed.mean())
    near, reached = output.near_seams or (0.0, 1.0)
    assert (near, reached < 0.45) == (1.0, True)
    along = np.zeros(160, bool)
    for line in (32, 64, 96, 128):
        along[line - 3 : line + 3] = True
    rows = np.zeros(128, bool)
    for line in (32, 64, 96):
        rows[line - 3 : line + 3] = True
    assert reached == pytest.approx((along[None] | rows[:, None]).mean())
    assert f"{output.share:.1%} of the places have another number" in str(found)
    assert "100.0% of the places that differ lie so near to these seams" in str(found)
    shiftcheck.assert_tiled_equals_whole(model, tiles(model, 32, 3), x)


def test_classes_that_differ_anywhere_have_no_seams() -> None:
    net = plain()
    model = classes(net)
    noisy = lambda x: (net(x) + 0.2 * noise(1, 2, 128, 160)).argmax(1)  # noqa: E731
    found = shiftcheck.compare_tiled(model, noisy, noise(1, 1, 128, 160))
    assert faults(found) == (TilingFault.CHOICES,)
    assert found.outputs[0].near_seams is None
    assert found.outputs[0].axes == ()


def test_seams_of_classes_lie_on_the_grid_of_the_model() -> None:
    net = UNet()
    model = lambda x: (net(x) > 0).long()  # noqa: E731
    found = shiftcheck.compare_tiled(model, tiles(model, 64, 0), noise(1, 1, 192, 256))
    assert lines(found) == [(64, 128), (64, 128, 192)]


def test_classes_on_a_circle_have_a_seam_where_it_closes() -> None:
    model = classes(panorama())
    found = shiftcheck.compare_tiled(
        model, around(model, 0, 32), noise(1, 1, 128, 96), boundary=CIRCLE
    )
    assert lines(found)[1] == (0, 32, 64)
