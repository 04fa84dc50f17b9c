"""A report as a table."""

from __future__ import annotations

import functools
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import Report


def test_the_table_of_the_lenet() -> None:
    text = str(shiftcheck.geometry(shiftcheck.models.LeNet(), (1, 1, 28, 28)))
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith(" ")}
    assert rows["conv4"] == ["conv4", "5x12x12", "1", "1", "0+16", "0:12"]
    assert rows["max_pool2d"] == ["max_pool2d", "5x6x6", "2", "2", "0+17", "0:6", "STRIDE"]
    assert rows["fc1"] == ["fc1", "10", "-", "-", "-", "-", "MIXING"]


def test_names_from_the_model_are_no_markup() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module("[red]x[/red]", nn.Conv1d(1, 1, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return next(self.children())(x)

    report = shiftcheck.check_equivariance(Odd(), torch.randn(1, 1, 20))
    assert "[red]x[/red]" in str(report)


class Deep(nn.Module):
    """Layers with long names, of which two break the output, and one a branch beside it."""

    def __init__(self) -> None:
        super().__init__()
        inner = nn.ModuleDict({"a_convolution_of_" + "long_name" * 2: nn.Conv2d(2, 2, 3)})
        self.stages_of_the_encoder = nn.ModuleDict({"first_of_all": inner})
        self.place = nn.Parameter(torch.linspace(0, 1, 14))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = next(iter(self.stages_of_the_encoder["first_of_all"].values()))(x) * self.place
        return {"map": x * x.mean((2, 3), keepdim=True), "side": x.flatten(1) @ torch.ones(392, 3)}


class Block(nn.Module):
    def __init__(self, enters: int, leaves: int, dims: int) -> None:
        super().__init__()
        conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
        self.conv = nn.Sequential(conv(enters, leaves, 3, padding=1), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.conv(x))


class UNet(nn.Module):
    """One level; its middle is entered twice, and gives a second output."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.dims = dims
        self.down, self.middle, self.last = Block(1, 4, dims), Block(4, 4, dims), Block(8, 2, dims)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[self.dims - 1]
        fine = self.down(x)
        coarse = self.middle(self.middle(pool(fine, 2)))
        up = F.interpolate(coarse, scale_factor=2, mode="nearest")
        return {"map": self.last(torch.cat([fine, up], 1)), "coarse": coarse}


SIZES = {1: (40,), 2: (32, 40), 3: (14, 16, 18)}


@functools.cache
def checked(dims: int, boundary: str) -> Report:
    torch.manual_seed(0)
    x = torch.randn(1, 1, *SIZES[dims])
    shifts = [tuple(2 * (a == b) for b in range(dims)) for a in range(dims)]
    return shiftcheck.check_equivariance(UNet(dims), x, shifts=shifts, boundary=boundary)


@functools.cache
def network(name: str) -> Report:
    """Reports of many kinds."""
    if name == "geometry":
        return shiftcheck.geometry(UNet(3), (1, 1, *SIZES[3]))
    if name == "long names":
        return shiftcheck.check_equivariance(Deep(), torch.randn(1, 2, 16, 16))
    if name == "infinite halo":
        model = nn.Sequential(nn.Conv3d(1, 16, (3, 3, 1), padding=(1, 1, 0)), nn.InstanceNorm3d(16))
        return shiftcheck.check_equivariance(model, torch.randn(1, 1, 12, 14, 10))
    boundary, _, dims = name.partition(" ")
    return checked(int(dims[0]), boundary)


NETWORKS = [f"{b} {d}-D" for b in ("valid", "circular") for d in (1, 2, 3)]
NETWORKS += ["geometry", "infinite halo", "long names"]


def names_in(table: str) -> list[str]:
    """The full names that a reader makes of the tree."""
    open_modules: list[str] = []
    names = []
    for line in table.splitlines()[2:]:
        cell, *others = re.split(r"  +", line.strip(" "))
        depth = (len(line) - len(line.lstrip(" "))) // 2
        open_modules = [*open_modules[:depth], cell]
        names += [".".join(open_modules)] if others else []
    return names


@pytest.mark.parametrize("name", NETWORKS)
def test_the_names_of_all_rows_can_be_read_off_in_order(name: str) -> None:
    report = network(name)
    names = names_in(report.table(width=200))
    assert names == [row.name for row in report]
    assert all(report[entry] for entry in names)


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100])
@pytest.mark.parametrize("name", NETWORKS)
def test_each_layer_has_one_line_that_fits(name: str, width: int) -> None:
    report = network(name)
    whole, table = report.table(width=400).splitlines(), report.table(width=width).splitlines()
    assert len(table) == len(whole)
    assert max(map(len, table)) <= width
    modules = [i for i, line in enumerate(whole) if len(re.split(r"  +", line.strip(" "))) == 1]
    assert len(table) - len(modules) - 1 == len(report.layers)  # the rule is no module


@pytest.mark.parametrize("name", NETWORKS)
def test_at_80_columns_the_verdict_and_the_shape_are_there(name: str) -> None:
    titles = network(name).table(width=80).splitlines()[0].split()
    assert {"layer", "shape", "stride", "cause"} <= set(titles)
    assert ("verdict" in titles) == (name != "geometry")


def test_columns_are_left_out_in_the_order_that_is_stated() -> None:
    stated = ["period", "valid", "halo", "stride", "shape", "cause"]
    assert f"order: {', '.join(stated)}." in " ".join((Report.table.__doc__ or "").split())
    for name in ("valid 1-D", "circular 3-D", "geometry", "long names"):
        left_out: list[str] = []
        for width in range(200, 19, -4):
            titles = network(name).table(width=width).splitlines()[0].split()
            left_out += [t for t in stated if t not in titles and t not in left_out]
        start = len(stated) - len(left_out)
        assert left_out == stated if start == 0 else left_out[-1] == "cause"
        assert [t for t in stated if t in left_out] == left_out


def test_the_lines_of_a_network_at_60_columns() -> None:
    assert network("valid 2-D").table(width=60) == NARROW.strip("\n")


NARROW = """
 layer               shape    stride  verdict      cause
 ─────────────────────────────────────────────────────────
 down
   conv
     0               4x32x40       1  equivariant  PADDING
     1               4x32x40       1  equivariant
   tanh              4x32x40       1  equivariant
 max_pool2d          4x16x20       2  equivariant  STRIDE
 middle
   conv
     0               4x16x20       2  equivariant  PADDING
     1               4x16x20       2  equivariant
   tanh              4x16x20       2  equivariant
   conv
     0#2             4x16x20       2  equivariant  PADDING
     1#2             4x16x20       2  equivariant
   tanh_1            4x16x20       2  equivariant
 upsample_nearest2d  4x32x40       1  equivariant
 cat                 8x32x40       1  equivariant
 last
   conv
     0               2x32x40       1  equivariant  PADDING
     1               2x32x40       1  equivariant
   tanh              2x32x40       1  equivariant
"""


def test_rows_that_no_shift_fits_were_not_compared() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 1, 40, 48)
    shifts = [(1, 0), (0, 1)]
    report = shiftcheck.check_equivariance(UNet(2), x, shifts=shifts, outputs=["map"])
    inside = [row.name for row in report if row.verdict is shiftcheck.Verdict.INCONCLUSIVE]
    assert inside[0] == "max_pool2d"
    assert len(inside) == 7
    for table in (report.table(), report.table(wide=True)):
        assert "inconclusive" not in table
        assert table.count("not compared") == 7


def test_a_width_that_is_none() -> None:
    with pytest.raises(shiftcheck.errors.InputError, match="width=19 is too narrow"):
        network("valid 1-D").table(width=19)


def test_what_is_printed_has_the_width_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    report = network("long names")
    monkeypatch.setenv("COLUMNS", "50")
    assert report.table() == report.table(width=50)
    assert report.table(width=50) in str(report)
    monkeypatch.delenv("COLUMNS")
    assert report.table() == report.table(width=100)
    assert report.table(width=100) in str(report)


def test_rows_of_an_assertion_that_passed_have_no_verdict() -> None:
    report = shiftcheck.assert_equivariant(nn.Conv1d(1, 1, 3), torch.randn(1, 1, 20))
    assert "verdict" not in report.table().splitlines()[0]


def test_the_other_causes_are_named_where_they_break_this_output() -> None:
    x = torch.randn(1, 2, 16, 16)
    report = shiftcheck.check_equivariance(Deep(), x)
    text = str(report)
    assert "cause GLOBAL: every sample" in text
    assert "also: cause POSITION in layer 'mul' (mul)" in text
    assert "remedy: " not in text  # nobody wants the part before what is broken
    local = str(shiftcheck.check_equivariance(Deep(), x, layer="mul"))
    assert "cause POSITION: a constant" in local
    assert "also" not in local


def test_the_shift_that_is_shown_is_one_that_the_cause_explains() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.AvgPool2d(2), nn.Upsample(scale_factor=2), nn.MaxPool2d(4), nn.Upsample(scale_factor=4)
    )
    report = shiftcheck.check_equivariance(
        model, torch.randn(1, 1, 32, 32), shifts=[(1, 0), (2, 0)]
    )
    assert report.guilty is not None
    assert (report.guilty.layer, report.guilty.period) == ("0", 2)
    assert all(s.verdict is shiftcheck.Verdict.BROKEN for s in report.outputs[0].shifts)
    assert "shift (1, 0): gap" in str(report)


def test_a_pooled_side_output_is_not_told_of_the_map() -> None:
    up = nn.Upsample(scale_factor=2)

    def model(x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = up(nn.functional.max_pool2d(x, 2))
        return {"map": y, "pooled": y.mean((2, 3)), "classes": y.flatten(1) @ torch.ones(512, 3)}

    report = shiftcheck.check_equivariance(model, torch.randn(1, 2, 16, 16))
    assert {"GLOBAL", "MIXING"} <= {cause.kind for cause in report.causes}
    text = str(report)
    assert "cause STRIDE" in text
    assert "also" not in text
