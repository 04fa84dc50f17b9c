"""The commands about space: which sizes a model takes, how much overlap is enough, which tiles."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import shiftcheck
from shiftcheck.cli import main
from shiftcheck.report import EffectiveHalo, InputSizes, TilingPlan

SOURCE = """
import torch
from torch import nn

print("printed by the target")

def fours():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.PixelUnshuffle(4))

def ring():
    pool = nn.MaxPool1d(2)
    return nn.Sequential(nn.Conv1d(3, 4, 3, padding=1, padding_mode="circular"), pool)

def unshuffle():
    return nn.PixelUnshuffle(4)

def line():
    return nn.MaxPool1d(2)

def blur():
    return nn.AvgPool2d(3, 1, 1)

def normed():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.GroupNorm(1, 4))

def head():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

def last(x):
    return torch.nn.functional.avg_pool2d(x.movedim(-1, 1), 3, 1).movedim(1, -1)

class Attention(nn.Module):
    def forward(self, x):
        t = x.flatten(2).mT
        return nn.functional.scaled_dot_product_attention(t, t, t).mT.reshape(x.shape)

class Both(nn.Module):
    def forward(self, x, y):
        return x - y.mean((2, 3), keepdim=True)

class Raises(nn.Module):
    def forward(self, x):
        raise RuntimeError("an error of the model's own")

class Several(nn.Module):
    def forward(self, x):
        return {"map": nn.functional.avg_pool2d(x, 5, 1, 2), "mean": x.mean((2, 3))}
"""

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "net.py").write_text(SOURCE, "utf-8")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path


def sizes_of(capsys: Captured, *arguments: str) -> InputSizes:
    assert main(["sizes", *arguments, "--json", "-"]) == 0
    return InputSizes.from_json(capsys.readouterr().out)


def halo_of(capsys: Captured, *arguments: str, status: int = 0) -> EffectiveHalo:
    assert main(["halo", *arguments, "--json", "-"]) == status
    return EffectiveHalo.from_json(capsys.readouterr().out)


# -- sizes -----------------------------------------------------------------------------------------


def test_the_sizes_of_a_model_that_refuses_the_given_one(capsys: Captured) -> None:
    assert main(["sizes", "net.py:fours", "--shape", "1,3,33,32"]) == 0
    told = capsys.readouterr()
    assert "does not take 33 x 32" in told.out
    assert "multiples of 4" in told.out
    assert "nearest: 32 or 36 along axis 0, 32 along axis 1" in told.out
    assert told.err == "printed by the target\n"


def test_the_options_reach_the_sizes(capsys: Captured) -> None:
    found = sizes_of(capsys, "net.py:fours", "--shape", "1,3,33,32")
    assert found.nearest(found.given) == ((32, 36), (32, 32))
    assert found.axes[0].closed is None
    alone = sizes_of(capsys, "net.py:fours", "--shape", "1,3,33,32", "--layer", "0")
    assert alone.accepts((33, 31))
    circle = sizes_of(capsys, "net.py:ring", "--shape", "1,3,33", "--boundary", "circular")
    assert circle.axes[0].closed is not None
    assert circle.nearest(33, "closed") == ((32, 34),)
    channels_last = ["net.py:last", "--function", "--shape", "1,16,18,3", "--spatial-dims", "1,2"]
    assert sizes_of(capsys, *channels_last).given == (16, 18)


def test_the_sizes_for_an_image(folder: Path, capsys: Captured) -> None:
    np.save(folder / "x.npy", np.zeros((1, 3, 21, 30), np.float32))
    assert sizes_of(capsys, "net.py:fours", "--input", "x.npy").given == (21, 30)


def test_a_shape_without_a_batch_that_the_model_refuses(capsys: Captured) -> None:
    assert sizes_of(capsys, "net.py:fours", "--shape", "3,33,32").given == (33, 32)
    assert sizes_of(capsys, "net.py:ring", "--shape", "1,3,1").given == (1,)
    assert sizes_of(capsys, "net.py:ring", "--shape", "3,1").given == (1,)
    assert sizes_of(capsys, "net.py:line", "--shape", "3,1").given == (1,)
    assert main(["sizes", "net.py:unshuffle", "--shape", "3,33,32"]) == 2
    told = capsys.readouterr().err
    assert "takes neither at this size: write the batch too, --shape 1,3,33,32" in told
    assert sizes_of(capsys, "net.py:unshuffle", "--shape", "1,3,33,32").given == (33, 32)


# -- halo ------------------------------------------------------------------------------------------

SHAPE = ["--shape", "1,3,32,40"]


def test_the_halo(capsys: Captured) -> None:
    assert main(["halo", "net.py:blur", *SHAPE]) == 0
    told = capsys.readouterr()
    assert "effective halo of AvgPool2d on 1x3x32x40" in told.out
    assert "> 0.1  > 0.01  > 0.001" in told.out
    assert "printed by the target" not in told.out
    found = halo_of(capsys, "net.py:blur", *SHAPE)
    assert found.needed(1e-3) == ((1, 1), (1, 1))
    assert found.layers == ()


def test_the_options_reach_the_halo(capsys: Captured) -> None:
    found = halo_of(capsys, "net.py:normed", *SHAPE, "--layers", "--seed", "4", "--training")
    assert [row.name for row in found.layers] == ["0", "1"]
    assert found.seed == 4
    assert found["output"].sides[0].levels_off
    conv = halo_of(capsys, "net.py:normed", *SHAPE, "--layer", "0", "--boundary", "circular,valid")
    assert (conv.layer, conv.boundary) == ("0", ("circular", "valid"))
    assert conv.needed(1e-3)[0] == (None, None)
    assert conv.needed(1e-3)[1] == (1, 1)
    one = halo_of(capsys, "net.py:Several", *SHAPE, "--outputs", "map")
    assert one.needed(1e-3) == ((2, 2), (2, 2))


@pytest.mark.parametrize(
    "tolerances",
    [
        ["--tolerance", "0.1", "1e-2"],
        ["--tolerance", "0.1 1e-2"],
        ["--tolerance", "0.1,1e-2"],
        ["--tolerance", "[.1, .01]"],
        ["--tolerance=0.1", "1E-2"],
        ["--tolerance", "0.1", "--tolerance", "0.01"],
    ],
)
def test_tolerances_as_they_are_typed(capsys: Captured, tolerances: list[str]) -> None:
    for given in (["net.py:blur", *SHAPE, *tolerances], [*SHAPE, *tolerances, "net.py:blur"]):
        assert halo_of(capsys, *given).tolerances == (0.1, 0.01)


def test_where_nothing_can_be_told(capsys: Captured) -> None:
    assert halo_of(capsys, "net.py:head", *SHAPE, status=3).reason == "not spatial"
    assert main(["halo", "net.py:Several", *SHAPE]) == 0  # one of two outputs tells
    assert main(["halo", "net.py:blur", "--shape", "1,3,2,2"]) == 3
    assert "give a larger --shape" in capsys.readouterr().out


def test_an_error_that_levels_off_was_told(capsys: Captured) -> None:
    found = halo_of(capsys, "net.py:normed", *SHAPE, "--tolerance", "1e-6")
    sides = found.outputs[0].sides
    assert all(need is None for side in sides for row in side.needed for need in row)
    assert main(["halo", "net.py:normed", *SHAPE, "--tolerance", "1e-6"]) == 0
    assert "no overlap brings it lower" in " ".join(capsys.readouterr().out.split())


# -- tiling ----------------------------------------------------------------------------------------


def plan_of(capsys: Captured, *arguments: str, status: int = 0) -> TilingPlan:
    assert main(["tiling", *arguments, "--json", "-"]) == status
    return TilingPlan.from_json(capsys.readouterr().out)


def test_the_plan_of_tiles(capsys: Captured) -> None:
    assert main(["tiling", "net.py:blur", *SHAPE, "--tile", "16"]) == 0
    told = capsys.readouterr()
    assert "AvgPool2d on 1x3x32x40 in 9 tiles: EXACT" in told.out
    assert "printed by the target" not in told.out
    plan = plan_of(capsys, "net.py:blur", *SHAPE, "--tile", "16,20")
    assert (plan.tile, plan.halo) == ((16, 20), ((1, 1), (1, 1)))


def test_a_plan_from_the_command_line_runs(folder: Path, capsys: Captured) -> None:
    import torch

    assert main(["tiling", "net.py:blur", *SHAPE, "--tile", "16", "--json", "plan.json"]) == 0
    plan = TilingPlan.from_json((folder / "plan.json").read_text("utf-8"))
    tiled = shiftcheck.tiled(torch.nn.AvgPool2d(3, 1, 1), plan)
    assert tiled.difference(torch.randn(1, 3, 32, 40)) < 1e-6


def test_the_options_reach_the_plan(folder: Path, capsys: Captured) -> None:
    normed = plan_of(capsys, "net.py:normed", *SHAPE, "--tile", "16x20", "--dtype", "float64")
    assert (normed.exactness, normed.dtype) == ("exact with pooled statistics", "float64")
    assert normed.blocking[0].effect is not None
    circle = plan_of(capsys, "net.py:ring", "--shape", "3,64", "--boundary", "circular")
    assert circle.axes[0].circular
    channels_last = ["net.py:last", "--function", "--shape", "1,16,18,3", "--spatial-dims", "1,2"]
    assert plan_of(capsys, *channels_last, "--tile", "8").spatial_dims == (1, 2)


def test_tiles_that_are_not_exact_have_status_three(capsys: Captured) -> None:
    plan = plan_of(capsys, "net.py:Attention", "--shape", "1,2,16,16", status=3)
    assert [b.reach for b in plan.blocking] == ["global"]
    assert main(["tiling", "net.py:Attention", "--shape", "1,2,16,16"]) == 3
    assert "NOT EXACT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("memory", "bytes_"), [("1GiB", 2**30), ("80 MB", 80_000_000), ("1e8", 10**8)]
)
def test_memory_as_it_is_typed(capsys: Captured, memory: str, bytes_: int) -> None:
    plan = plan_of(capsys, "net.py:blur", *SHAPE, "--memory", memory)
    assert plan.memory_bound == bytes_
    assert plan.memory is not None
    assert plan.memory <= bytes_


@pytest.mark.parametrize("model", ["blur", "normed", "Both"])
def test_no_values_are_drawn_for_a_large_image(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    def drawn(*arguments: object, **options: object) -> None:
        raise AssertionError("values were drawn")

    monkeypatch.setattr("shiftcheck.cli.running.sample_signal", drawn)
    large = ["--shape", "1,3,20000,20000"] * (2 if model == "Both" else 1)
    plan = plan_of(capsys, f"net.py:{model}", *large)
    assert plan.exact
    assert all(blocking.effect is None for blocking in plan.blocking)
    assert plan.tiles <= 2**12
    assert main(["geometry", f"net.py:{model}", *large]) == 0


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sizes", "net.py:fours"], "no input: give --shape"),
        (["tiling", "net.py:blur"], "no input: give --shape"),
        (["tiling", "net.py:Raises", *SHAPE], "an error of the model's own"),
        (["tiling", "net.py:blur", *SHAPE, "--tile", "2"], "--tile 2: 2 does not work along axis"),
        (["tiling", "net.py:blur", *SHAPE, "--tile", "8,8,8"], "--tile 8,8,8 has 3 entries"),
        (["tiling", "net.py:blur", *SHAPE, "--memory", "5kB"], "--memory 5000 bytes is too little"),
        (["sizes", "net.py:Raises", *SHAPE], "an error of the model's own"),
        (["sizes", "net.py:fours", *SHAPE, "--layer", "nowhere"], "--layer nowhere was not met"),
        (["halo", "net.py:fours", "--shape", "1,3,33,32"], "multiples of 4: 32 or 36"),
        (["halo", "net.py:blur", *SHAPE, "--tolerance", "0.1", "2"], "--tolerance 0.1,2.0: give"),
        (["halo", "net.py:blur", *SHAPE, "--boundary", "circular"], "--boundary circular: a"),
    ],
)
def test_errors_have_status_two(capsys: Captured, arguments: list[str], says: str) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert says in told.err
    assert "unexpected" not in told.err
    assert told.out == ""


# -- the JSON and the page -------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["sizes", "halo", "tiling"])
def test_what_was_written_is_shown_again(
    folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    given = [command, "net.py:blur", *SHAPE, "--json", "report.json", "--html", "page.html"]
    assert main(given) == 0
    text = capsys.readouterr().out
    assert main(["render", "report.json", "--html", "again.html", "--wide"]) == 0
    assert capsys.readouterr().out == text
    assert (folder / "page.html").read_bytes() == (folder / "again.html").read_bytes()
    monkeypatch.setattr("sys.stdin", io.StringIO((folder / "report.json").read_text("utf-8")))
    assert main(["render", "-"]) == 0
    assert capsys.readouterr().out == text


def test_the_command_says_what_the_function_says(capsys: Captured) -> None:
    import torch

    found = sizes_of(capsys, "net.py:blur", *SHAPE)
    alone = shiftcheck.input_sizes(torch.nn.AvgPool2d(3, 1, 1), (1, 3, 32, 40))
    assert found == alone
