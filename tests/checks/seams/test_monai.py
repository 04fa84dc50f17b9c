"""MONAI's sliding window against the whole, at overlaps that people use and at others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.checks.seams.test_compare import UNet, faults, noise, plain
from torch import nn

import shiftcheck
from shiftcheck.report import TilesVerdict, TilingFault

Tensor = torch.Tensor
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _weights() -> None:
    torch.manual_seed(0)


def window(model: nn.Module, **options: Any) -> Callable[[Tensor], Tensor]:
    inferers = pytest.importorskip("monai.inferers", reason="needs the extra 'tiles'")
    return lambda x: inferers.sliding_window_inference(
        x, sw_batch_size=1, predictor=model, **options
    )


@pytest.mark.parametrize("overlap", [0.0, 2 / 32])
def test_an_overlap_that_is_too_small_is_told_with_its_seams(overlap: float) -> None:
    """With none, what is missing is the halo; with two pixels, the margins are averaged as well."""
    net = plain()
    found = shiftcheck.compare_tiled(
        net, window(net, roi_size=32, overlap=overlap), noise(1, 1, 128, 160)
    )
    assert faults(found) == (TilingFault.OVERLAP,)
    assert found.overlap == ((3, 3), (3, 3))
    if not overlap:
        assert [axis.lines for axis in found.outputs[0].axes] == [
            (32, 64, 96),
            (32, 64, 96, 128),
        ]
        assert found.missing == ((3, 3), (3, 3))
    assert set(found.pieces) == {(1, 1, 32, 32)}


@pytest.mark.parametrize("mode", ["constant", "gaussian"])
@pytest.mark.parametrize("overlap", [0.25, 0.5])
def test_usual_overlaps_blend_margins(mode: str, overlap: float) -> None:
    net = plain()
    stitched = window(net, roi_size=32, overlap=overlap, mode=mode)
    found = shiftcheck.compare_tiled(net, stitched, noise(1, 1, 128, 128))
    assert faults(found) == (TilingFault.BLENDED,)
    assert found.outputs[0].share > 0.05
    assert found.outputs[0].error is not None
    assert found.outputs[0].error > (1e-3 if mode == "constant" else 1e-5)


def test_gaussian_weights_shrink_the_error_and_do_not_mend_it() -> None:
    net, x = plain(), noise(1, 1, 128, 128)
    errors = []
    for mode in ("constant", "gaussian"):
        found = shiftcheck.compare_tiled(net, window(net, roi_size=32, overlap=0.5, mode=mode), x)
        assert found.verdict is TilesVerdict.DIFFERENT
        errors.append(found.outputs[0].error or 0.0)
    assert 0 < errors[1] < errors[0]


def test_windows_off_the_grid_of_a_u_net_are_told() -> None:
    net = UNet()
    found = shiftcheck.compare_tiled(
        net, window(net, roi_size=48, overlap=0.375 + 1 / 48), noise(1, 1, 96, 192)
    )
    assert found.verdict is TilesVerdict.DIFFERENT
    assert {TilingFault.OFF_GRID, TilingFault.BLENDED} & set(faults(found))
    assert found.period == (4, 4)


@pytest.mark.parametrize("build", [plain, UNet])
def test_what_a_plan_tells_monai_passes(build: Callable[[], nn.Module]) -> None:
    net, x = build().eval(), noise(1, 1, 96, 128)
    found = shiftcheck.tiling(net, x, tile=48).to_monai()
    stitched = window(net, **found.arguments())
    assert shiftcheck.assert_tiled_equals_whole(net, stitched, x).verdict is TilesVerdict.SAME
    without = {name: value for name, value in found.arguments().items() if "map" not in name}
    bare = shiftcheck.compare_tiled(net, window(net, **without), x)
    assert bare.verdict is TilesVerdict.DIFFERENT


def test_an_image_that_is_smaller_than_the_window_was_not_cut() -> None:
    net = plain()
    found = shiftcheck.compare_tiled(
        net, window(net, roi_size=64, overlap=0.5), noise(1, 1, 48, 64)
    )
    padded = found.outputs[0]
    assert found.verdict is not TilesVerdict.SAME
    assert found.verdict is TilesVerdict.INCONCLUSIVE or TilingFault.BORDER in padded.faults


def test_classes_by_a_sliding_window() -> None:
    net = plain()
    stitched = window(net, roi_size=32, overlap=0.0)
    found = shiftcheck.compare_tiled(
        lambda x: net(x).argmax(1), lambda x: stitched(x).argmax(1), noise(1, 1, 128, 160)
    )
    assert faults(found) == (TilingFault.CHOICES,)
    assert found.outputs[0].axes[1].lines == (32, 64, 96, 128)
