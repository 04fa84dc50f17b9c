"""Figures: the numbers of what is drawn are those of the report."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import InputError, MissingExtraError, Report

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")

from matplotlib import pyplot as plt  # noqa: E402

from shiftcheck import plot  # noqa: E402
from shiftcheck.checks.figures.feature_maps import feature_maps  # noqa: E402


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))


def image(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def report(**options: Any) -> Report:
    return shiftcheck.check_equivariance(
        net(), image(1, 1, 20, 22), shifts=[(1, 0), (0, 1), (2, 0), (0, -2)], **options
    )


def test_bars_are_the_errors() -> None:
    found = report(boundary="circular")
    ax = plot.layers(found)
    ends = {round(p.get_y() + p.get_height() / 2): p.get_x() + p.get_width() for p in ax.patches}
    for place, row in enumerate(found):
        assert row.relative_error is not None
        assert ends[place] == pytest.approx(row.relative_error)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["0", "1", "2"]
    assert ax.get_xscale() == "log"
    (line,) = ax.lines
    assert line.get_xdata()[0] == found.layers[0].shifts[0].allowance
    assert ax.get_xlabel() == "largest relative error over all shifts"
    assert "broken" in ax.get_title()


def test_the_border_has_bars_of_its_own() -> None:
    found = report()
    ax = plot.layers(found)
    ends = [p.get_x() + p.get_width() for p in ax.patches]
    for row in found:
        assert row.relative_border_error is not None
        assert any(end == pytest.approx(row.relative_border_error) for end in ends)


def test_the_map_over_shifts_shows_the_lattice() -> None:
    found = report()
    ax = plot.shifts(found, "2")
    known, unknown = ax.collections
    assert {tuple(v) for v in known.get_offsets().tolist()} == {(0, 2), (-2, 0)}  # x is axis 1
    assert {tuple(v) for v in unknown.get_offsets().tolist()} == {(0, 1), (1, 0)}
    assert ax.get_xlabel() == "shift along axis 1 (pixels)"
    assert ax.get_ylabel() == "shift along axis 0 (pixels)"
    assert "period 2 x 2 pixels" in ax.get_title()
    broken = plot.shifts(report(boundary="circular"), "0").collections[0]
    assert broken.get_array().min() > 1e-3


def test_one_axis_has_stems_and_three_are_chosen_from() -> None:
    line = shiftcheck.check_equivariance(nn.Conv1d(1, 1, 3), image(1, 1, 20), shifts=[(1,), (-2,)])
    (stems,) = plot.shifts(line, "conv1d").containers
    assert stems.markerline.get_xdata().tolist() == [1, -2]
    space = shiftcheck.check_equivariance(
        nn.Conv3d(1, 1, 3), image(1, 1, 9, 10, 11), shifts=[(1, 0, 0), (0, 1, 0)]
    )
    ax = plot.shifts(space, "conv3d", axes=(0, 1))
    assert {tuple(v) for v in ax.collections[0].get_offsets().tolist()} == {(0, 1), (1, 0)}
    with pytest.raises(InputError, match="axes=\\(0, 3\\): give one or two of the 3"):
        plot.shifts(space, "conv3d", axes=(0, 3))


def test_the_receptive_field_is_that_of_the_sample() -> None:
    geometry = shiftcheck.geometry(net(), (1, 1, 20, 24))
    ax = plot.receptive_field(geometry, "2", (3, 5))
    whole, valid, field = ax.patches
    assert (whole.get_width(), whole.get_height()) == (24, 20)
    # sample 3 of the pool reads 6 and 7 of the convolution, which read pixels 5 to 8
    assert (field.get_y(), field.get_height()) == (5, 4)
    assert (field.get_x(), field.get_width()) == (9, 4)
    assert (valid.get_y(), valid.get_height()) == (2, 15)  # samples 1 to 8 stand at 2 to 16
    assert ax.get_title() == "2: sample (3, 5) sees 4 x 4 pixels"
    ax = plot.receptive_field(shiftcheck.geometry(nn.Conv1d(1, 1, 3), (1, 1, 9)), "conv1d", (2,))
    assert ax.patches[2].get_x() == 2
    assert ax.patches[2].get_width() == 3


def test_the_kernel_has_its_origin_at_zero() -> None:
    conv = nn.Conv2d(2, 3, 3, bias=False)
    ax = plot.impulse_response(
        shiftcheck.impulse_response(conv, image(1, 2, 16, 18)), out=2, channel=1
    )
    (drawn,) = ax.images
    expected = conv.weight.detach()[2, 1].flip(0, 1)
    np.testing.assert_allclose(drawn.get_array(), expected, atol=1e-6)
    assert drawn.get_extent() == [-2.5, 0.5, 0.5, -2.5]
    line = shiftcheck.impulse_response(nn.ConvTranspose1d(1, 1, 4, 2), image(1, 1, 16))
    (stems,) = plot.impulse_response(line).containers
    assert stems.markerline.get_xdata().tolist() == [0, 1, 2, 3]
    with pytest.raises(InputError, match=r"out=1, channel=0: the kernel has 1 channels out of 1"):
        plot.impulse_response(line, out=1)


def test_feature_maps_are_those_of_the_module() -> None:
    conv, x = nn.Conv2d(1, 2, 3), image(2, 1, 16, 18)
    (maps,) = feature_maps(conv, x, [(2, -1)], "conv2d")
    with torch.no_grad():
        base = conv(x[:1])[0].double()
        found = conv(torch.from_numpy(maps.shifted_signal).float()[None])[0].double()
    np.testing.assert_allclose(maps.base, base, atol=1e-6)
    np.testing.assert_allclose(maps.found, found, atol=1e-6)
    np.testing.assert_allclose(maps.expected[:, 2:, :-1], base[:, :-2, 1:], atol=1e-6)
    assert np.isnan(maps.expected[:, :2]).all()
    assert np.isnan(maps.expected[:, :, -1:]).all()
    assert maps.valid == (((2, 14),), ((0, 15),))
    np.testing.assert_allclose(maps.shifted_signal[:, 2:, :-1], x[0, :, :-2, 1:], atol=1e-7)
    assert np.nanmax(np.abs(maps.difference)) < 1e-6


def test_four_panels_with_an_outline() -> None:
    drawn = plot.feature_maps(nn.Conv2d(1, 2, 3), image(1, 1, 16, 18), (2, -1), "conv2d", channel=1)
    assert [ax.get_title() for ax in drawn] == ["S f", "phi(S f)", "S phi(f)", "difference"]
    for ax in drawn[1:]:
        (box,) = ax.patches
        assert (box.get_x(), box.get_y()) == (-0.5, 1.5)
        assert (box.get_width(), box.get_height()) == (15, 12)
    line = plot.feature_maps(nn.Conv1d(1, 1, 3), image(1, 1, 16), (2,), "conv1d")
    assert line[1].lines[0].get_ydata().shape == (14,)


def test_given_axes_are_drawn_into_and_returned() -> None:
    found = report()

    def new() -> Any:
        return plt.subplots()[1]

    geometry = shiftcheck.geometry(net(), (1, 1, 20, 24))
    kernel = shiftcheck.impulse_response(nn.Conv1d(1, 1, 3), image(1, 1, 16))
    for ax, drawn in (
        (new(), lambda ax: plot.layers(found, ax=ax)),
        (new(), lambda ax: plot.shifts(found, "2", ax=ax)),
        (new(), lambda ax: plot.receptive_field(geometry, "2", ax=ax)),
        (new(), lambda ax: plot.impulse_response(kernel, ax=ax)),
    ):
        assert drawn(ax) is ax
        assert ax.has_data()
    four = plt.subplots(1, 4)[1]
    assert plot.feature_maps(net(), image(1, 1, 20, 22), (2, 2), "2", ax=four) is four


def test_what_cannot_be_drawn() -> None:
    geometry = shiftcheck.geometry(net(), (1, 1, 20, 24))
    found = report()
    with pytest.raises(InputError, match="no layer of it was compared"):
        plot.layers(geometry)
    with pytest.raises(InputError, match="layer='conv9': no layer 'conv9'; there are 0, 1, 2"):
        plot.shifts(found, "conv9")
    with pytest.raises(InputError, match=r"position=\(3, 99\): layer='2' has samples \(10, 12\)"):
        plot.receptive_field(geometry, "2", (3, 99))
    flat = shiftcheck.geometry(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), (1, 1, 3, 4))
    with pytest.raises(InputError, match="layer='1' has no geometry along every axis"):
        plot.receptive_field(flat, "1")
    with pytest.raises(InputError, match=r"shift=\(1, 0\) is no whole number of samples"):
        plot.feature_maps(net(), image(1, 1, 20, 22), (1, 0), "2")
    with pytest.raises(InputError, match="channel=7: the layer has 3 channels"):
        plot.feature_maps(net(), image(1, 1, 20, 22), (2, 0), "2", channel=7)
    with pytest.raises(InputError, match="ax has 2 axes: give four"):
        plot.feature_maps(net(), image(1, 1, 20, 22), (2, 0), "2", ax=[None, None])  # type: ignore[list-item]
    with pytest.raises(InputError, match="layer='1' has no spatial axes"):
        feature_maps(
            nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), image(1, 1, 3, 4), [(1, 0)], "1"
        )


def test_without_matplotlib_the_pip_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'torch-shiftcheck\[plot\]'"):
        plot.layers(report())


def test_the_package_imports_no_matplotlib() -> None:
    code = (
        "import sys, shiftcheck; assert 'matplotlib' not in sys.modules;"
        " shiftcheck.plot.layers; assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_the_gallery_is_written(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    script = Path(__file__).parents[2] / "examples" / "gallery.py"
    told = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert len(told.stdout.splitlines()) == len(list(tmp_path.glob("*.png"))) == 14


def test_curves_are_the_errors_against_the_distance() -> None:
    found = shiftcheck.effective_halo(nn.AvgPool2d(5, 1, 2), image(1, 1, 40, 44), draws=2)
    ax = plot.effective_halo(found, axis=1)
    sides = [side for side in found.outputs[0].sides if side.axis == 1]
    curves = [line for line in ax.lines if len(line.get_xdata()) > 2]
    assert len(curves) == 2 * len(found.percentiles)
    for side, (line,) in zip(sides, (curves[3:4], curves[7:8]), strict=True):
        assert tuple(line.get_xdata()) == side.distances
        shown = [max(e, 1e-17) for e in side.errors[-1]]
        assert list(line.get_ydata()) == pytest.approx(shown)
    assert ax.get_yscale() == "log"
    assert "output" in ax.get_title()


def test_what_has_no_curve_is_named() -> None:
    found = shiftcheck.effective_halo(lambda x: 0 * x, image(1, 1, 40, 44), draws=1)
    with pytest.raises(InputError, match="nothing was measured of 'output' there, dead output"):
        plot.effective_halo(found)
    with pytest.raises(InputError, match="layer='conv': no layer 'conv'; there are output"):
        plot.effective_halo(found, "conv")


@pytest.mark.parametrize("shape", [(1, 1, 64), (1, 1, 40, 64), (1, 1, 6, 20, 64)])
def test_the_difference_of_tiles_is_drawn_with_its_seams(shape: tuple[int, ...]) -> None:
    kind = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}[len(shape)]
    net = kind(1, 1, 5, padding=2)
    found = shiftcheck.compare_tiled(
        net, lambda x: torch.cat([net(t) for t in x.split(16, -1)], -1), image(*shape)
    )
    ax = plot.tiled_difference(found)
    dashed = [line for line in ax.get_lines() if line.get_linestyle() == "--"]
    assert [line.get_xdata()[0] for line in dashed] == [16, 32, 48]
    assert ax.get_title() == "output: overlap too small"
    with pytest.raises(shiftcheck.InputError, match="output='other': of the outputs, output can"):
        plot.tiled_difference(found, "other")
