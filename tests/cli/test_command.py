"""The command line: exit statuses in processes of their own, the rest in this one."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import shiftcheck
from shiftcheck import Report, Verdict
from shiftcheck.cli import main
from shiftcheck.report.base import AnyReport
from shiftcheck.report.invariance import InvarianceReport
from shiftcheck.report.linearity import LinearityReport

SOURCE = """
import sys
import torch
from torch import nn

print("printed by the target")

class DownUp(nn.Module):
    def __init__(self, channels=3):
        super().__init__()
        self.pool, self.up = nn.MaxPool2d(2), nn.ConvTranspose2d(channels, 1, 2, stride=2)
    def forward(self, x):
        return self.up(self.pool(x))

class Two(nn.Module):
    def forward(self, x, y):
        return x + 2 * y

class Leaves(nn.Module):
    def forward(self, x):
        sys.exit(0)

class Raises(nn.Module):
    def forward(self, x):
        raise RuntimeError("an error of the model's own")

def conv(width=2, padding=1, padding_mode="zeros"):
    return nn.Conv2d(3, width, 3, padding=padding, padding_mode=padding_mode)

def double(x):
    return 2 * x

doubled = conv().double()

def line():
    return nn.Conv1d(3, 2, 3)

class Wave(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Conv1d(1, 2, 3)

    def forward(self, x):
        return self.line(x[:, None])

wave = Wave

def volume():
    return nn.Conv3d(1, 1, 3)

def point():
    return nn.ReLU()

def mixed():
    return nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 2, 3))

def classifier(stride=1):
    circular = nn.Conv2d(3, 4, 3, stride, padding=1, padding_mode="circular")
    return nn.Sequential(circular, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

def last(x):
    return x.movedim(-1, 1).relu().movedim(1, -1)

def mean():
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.InstanceNorm2d(2))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "net.py").write_text(SOURCE, "utf-8")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path


SHAPE = ["--shape", "1,3,16,18"]


def shell(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "shiftcheck", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **HERE},
    )


HERE = {"PYTHONPATH": str(Path(shiftcheck.__file__).parent.parent), "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize(
    ("arguments", "status", "out", "err"),
    [
        (["check", "net.py:conv", *SHAPE], 0, "EQUIVARIANT", "printed by the target"),
        (["check", "net.py:DownUp", *SHAPE, "--shifts", "1,0"], 1, "cause STRIDE", ""),
        (["check", "net.py:Leaves", *SHAPE], 2, "", "the model ended the program"),
        (["check", "net.py:conv", "--shape", "1,3"], 2, "", "'1,3' is no shape"),
        (["check", "net.py:mean", *SHAPE], 3, "no valid region", ""),
    ],
)
def test_the_exit_status(
    folder: Path, arguments: list[str], status: int, out: str, err: str
) -> None:
    done = shell(*arguments, cwd=folder)
    assert done.returncode == status, done.stderr
    assert out in done.stdout
    assert err in done.stderr


def test_a_reader_that_goes_away_is_no_traceback(folder: Path) -> None:
    command = f"{sys.executable} -m shiftcheck check net.py:conv --shape 1,3,16,18 --json - | true"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **HERE},
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


Captured = pytest.CaptureFixture[str]


def test_the_json_alone_goes_to_the_output(folder: Path, capsys: Captured) -> None:
    assert main(["check", "net.py:DownUp", *SHAPE, "--shifts", "-1,0 0,2", "--json", "-"]) == 1
    told = capsys.readouterr()
    report = Report.from_json(told.out)
    assert report.verdict is Verdict.BROKEN
    assert report.shifts == ((-1, 0), (0, 2))
    assert "printed by the target" in told.err


def test_the_json_goes_to_a_file(folder: Path, capsys: Captured) -> None:
    assert main(["check", "net.py:conv", *SHAPE, "--json", "report.json", "--seed", "7"]) == 0
    written = json.loads((folder / "report.json").read_text("utf-8"))
    assert (written["verdict"], written["seed"]) == ("equivariant", 7)
    assert "EQUIVARIANT" in capsys.readouterr().out


def reported(capsys: Captured, *arguments: str) -> Report:
    """The report of a check, whatever its verdict."""
    assert main([*arguments, "--json", "-"]) in (0, 1, 3)
    return Report.from_json(capsys.readouterr().out)


def test_the_options_reach_the_check(folder: Path, capsys: Captured) -> None:
    report = reported(capsys, "check", "net.py:DownUp", *SHAPE, "--layer", "pool", "--seed", "3")
    assert (report.layer, report.seed, report.verdict) == ("pool", 3, Verdict.EQUIVARIANT)
    ring = ["--arg", "padding_mode=circular", "--boundary", "circular,valid"]
    report = reported(capsys, "check", "net.py:conv", *ring, *SHAPE, "--dtype", "float64")
    assert report.boundary == ("circular", "valid")
    assert (report.dtype, report.verdict) == ("float64", Verdict.EQUIVARIANT)
    report = reported(capsys, "check", "net.py:conv", *SHAPE, "--reach", "2")
    assert len(report.shifts) == 24
    loose = ["--rtol", "1e3", "--atol", "1"]
    report = reported(capsys, "check", "net.py:conv", *SHAPE, *loose, "--max-batch", "2")
    assert report.reason == "tolerance larger than the signal"
    report = reported(capsys, "check", "net.py:conv", *SHAPE, "--weights", "randomized")
    assert len(report.draws) == 3
    report = reported(capsys, "check", "net.py:double", "--function", *SHAPE, "--training")
    assert report.model == "double"


def test_a_model_keeps_its_own_dtype(folder: Path, capsys: Captured) -> None:
    assert reported(capsys, "check", "net.py:doubled", *SHAPE).dtype == "float64"
    single = reported(capsys, "check", "net.py:doubled", *SHAPE, "--dtype", "float32")
    assert single.dtype == "float32"


def test_the_same_seed_gives_the_same_report(folder: Path, capsys: Captured) -> None:
    one = reported(capsys, "check", "net.py:DownUp", *SHAPE, "--shifts", "1,0", "--seed", "5")
    again = reported(capsys, "check", "net.py:DownUp", *SHAPE, "--shifts", "1,0", "--seed", "5")
    other = reported(capsys, "check", "net.py:DownUp", *SHAPE, "--shifts", "1,0", "--seed", "6")
    assert one == again
    assert one.outputs[0].error != other.outputs[0].error


def test_inputs_from_files(folder: Path, capsys: Captured) -> None:
    draw = np.random.default_rng(0)
    np.save(folder / "x.npy", draw.normal(size=(2, 3, 12, 14)))
    report = reported(capsys, "check", "net.py:conv", "--input", "x.npy")
    assert (report.input_shape, report.dtype) == ((2, 3, 12, 14), "float32")
    pixels = draw.integers(0, 256, (20, 15, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(folder / "x.png")
    report = reported(capsys, "check", "net.py:conv", "--input", "x.png")
    assert (report.input_shape, report.verdict) == ((1, 3, 20, 15), Verdict.EQUIVARIANT)


def test_several_inputs(folder: Path, capsys: Captured) -> None:
    report = reported(capsys, "check", "net.py:Two", *SHAPE, *SHAPE)
    assert report.verdict is Verdict.EQUIVARIANT


def test_the_geometry(folder: Path, capsys: Captured) -> None:
    assert main(["geometry", "net.py:DownUp", "--arg", "channels=1", "--shape", "1,1,4096,64"]) == 0
    told = capsys.readouterr().out
    assert "structure only, nothing was run" in told
    assert "pool" in told
    report = reported(capsys, "geometry", "net.py:DownUp", *SHAPE)
    assert report.outputs[0].period == (2, 2)
    assert report.verdict is None


WIDE = {"check": "field border compared", "geometry": "field valid", "render": "field border"}


@pytest.mark.parametrize("command", WIDE)
def test_all_columns_on_request(
    folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    given = ["net.py:conv", "--shape", "1,3,16,18"]
    if command == "render":
        main(["check", *given, "--json", "report.json"])
        given = ["report.json"]
        capsys.readouterr()
    main([command, *given])
    table = capsys.readouterr().out.split("\n\n")[1]
    assert max(map(len, table.splitlines())) <= 40
    main([command, *given, "--wide"])
    titles = capsys.readouterr().out.split("\n\n")[1].splitlines()[0].split()
    assert set(WIDE[command].split()) <= set(titles)
    assert not set(WIDE[command].split()) & set(table.splitlines()[0].split())


def test_the_report_as_a_page(folder: Path, capsys: Captured) -> None:
    assert main(["check", "net.py:conv", *SHAPE, "--html", "page.html"]) == 0
    assert "conv" in (folder / "page.html").read_text("utf-8")


def test_a_page_that_cannot_be_made_is_an_error(
    folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def to_html(report: Report, path: Path) -> None:
        raise shiftcheck.MissingExtraError("pip install 'torch-shiftcheck[html]'")

    monkeypatch.setattr(Report, "to_html", to_html)
    assert main(["check", "net.py:conv", *SHAPE, "--html", "page.html"]) == 2
    assert "torch-shiftcheck[html]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check", "net.py:conv"], "no input: give --shape"),
        (["check", "net.py:conv", "--input", "missing.npy"], "there is no such file"),
        (["check", "net.py:conv", *SHAPE, "--json", "nowhere/report.json"], "there is no folder"),
        (["check", "net.py:conv", *SHAPE, "--json", "."], "it is a folder"),
        (["check", "net.py:conv", *SHAPE, "--layer", "nowhere"], "--layer nowhere was not met"),
        (["check", "net.py:conv", "--shape", "1,1,16,18"], "expected input"),
        (["check", "net.py:conv", *SHAPE, "--shifts", "1"], "has 1 entry"),
        (["check", "net.py:conv", *SHAPE, "--rtol", "1"], "both or neither"),
        (["check", "net.py:conv", *SHAPE, "--arg", "depth=3"], "has no such argument"),
        (["check", "net.py:conv", *SHAPE, "--device", "cuda:99"], "--device cuda:99"),
        (["check", "net.py:Raises", *SHAPE], "an error of the model's own"),
        (["check", "net.py:nothing", *SHAPE], "has no 'nothing'"),
        (["geometry", "net.py:double", *SHAPE], "wants x"),
    ],
)
def test_errors_have_status_two_and_no_traceback_of_ours(
    folder: Path, capsys: Captured, arguments: list[str], says: str
) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert says in told.err
    assert told.err.startswith(("shiftcheck: ", "printed by the target"))
    assert "cli.py" not in told.err
    assert told.out == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check"], "TARGET"),
        (["check", "net.py:conv", "--shape", "1,x,4"], "'x' is no whole number"),
        (["check", "net.py:conv", "--shape", "1,3,0"], "is no shape"),
        (["check", "net.py:conv", *SHAPE, "--shifts", "1.5,0"], "'1.5' is no whole number"),
        (["check", "net.py:conv", *SHAPE, "--shifts", ""], "is no whole number"),
        (["check", "net.py:conv", *SHAPE, "--shifts", "1,0", "--reach", "2"], "not allowed with"),
        (["check", "net.py:conv", *SHAPE, "--reach", "0"], "at least 1"),
        (["check", "net.py:conv", *SHAPE, "--seed", "-1"], "at least 0"),
        (["check", "net.py:conv", *SHAPE, "--boundary", "open"], "give valid or circular"),
        (["check", "net.py:conv", *SHAPE, "--device", "toaster"], "is no device"),
        (["check", "net.py:conv", *SHAPE, "--device", "meta"], "holds no values"),
        (["check", "net.py:conv", *SHAPE, "--dtype", "int8"], "invalid choice"),
    ],
)
def test_usage_errors(folder: Path, capsys: Captured, arguments: list[str], says: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert says in capsys.readouterr().err


def test_a_bug_of_ours_is_not_taken_for_a_broken_model(
    folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: Any, **options: Any) -> Report:
        raise LookupError("inside")

    monkeypatch.setattr("shiftcheck.cli.running.check_equivariance", fails)
    assert main(["check", "net.py:conv", *SHAPE]) == 2
    assert "LookupError: inside" in capsys.readouterr().err


def test_help_shows_examples_and_statuses(capsys: Captured) -> None:
    for command in (
        [],
        ["geometry"],
        ["check"],
        ["invariance"],
        ["linearity"],
        ["sizes"],
        ["halo"],
        ["tiling"],
        ["render"],
    ):
        with pytest.raises(SystemExit) as caught:
            main([*command, "--help"])
        assert caught.value.code == 0
        told = capsys.readouterr().out
        assert "examples:" in told
        assert all(len(line) <= 100 for line in told.splitlines())
        assert not command or "exit status:" in told


def test_the_version(capsys: Captured) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert shiftcheck.__version__ in capsys.readouterr().out


def test_without_a_command_there_is_help(capsys: Captured) -> None:
    assert main([]) == 0
    told = capsys.readouterr()
    assert "examples:" in told.out
    assert told.err == ""


WITHOUT_TORCH = """
import sys
from shiftcheck.cli import main
try:
    status = main(sys.argv[1:])
except SystemExit as left:
    status = left.code
heavy = {"torch", "numpy", "rich"} & set(sys.modules)
assert not heavy, heavy
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ([], 0),
        (["--help"], 0),
        (["check", "--help"], 0),
        (["sizes", "--help"], 0),
        (["halo", "--help"], 0),
        (["tiling", "--help"], 0),
        (["--version"], 0),
        (["check"], 2),
        (["halo", "net.py:net", "--tolerance", "x"], 2),
        (["tiling", "net.py:net", "--tile", "x"], 2),
        (["tiling", "net.py:net", "--tile", "64,"], 2),
        (["tiling", "net.py:net", "--memory", "0"], 2),
        (["tiling", "net.py:net", "--memory", "2 bits"], 2),
        (["tiling", "net.py:net", "--memory", "1GiB", "--tile", "64"], 2),
    ],
)
def test_help_does_not_wait_for_torch(arguments: list[str], status: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, *arguments]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, check=False, env={**os.environ, **HERE}
    )
    assert done.returncode == status, done.stderr


# -- what is read ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape",
    [
        "1,3,16,18",
        "1x3x16x18",
        "1\u00d73\u00d716\u00d718",
        "[1, 3, 16, 18]",
        "(1, 3, 16, 18)",
        "torch.Size([1, 3, 16, 18])",
        "1 3 16 18",
    ],
)
def test_a_shape_as_it_is_printed(folder: Path, capsys: Captured, shape: str) -> None:
    assert reported(capsys, "geometry", "net.py:conv", "--shape", shape).input_shape == (
        (1, 3, 16, 18)
    )


def test_a_shape_in_parts(folder: Path, capsys: Captured) -> None:
    report = reported(capsys, "geometry", "--shape", "1", "3", "16", "18", "net.py:conv")
    assert report.input_shape == (1, 3, 16, 18)


@pytest.mark.parametrize(
    ("target", "shape", "whole"),
    [
        ("conv", "3,16,18", (1, 3, 16, 18)),
        ("DownUp", "3x16x18", (1, 3, 16, 18)),
        ("line", "3,20", (1, 3, 20)),
        ("line", "1,3,20", (1, 3, 20)),
        ("volume", "1,9,10,11", (1, 1, 9, 10, 11)),
        ("mixed", "3,4,5", (1, 3, 4, 5)),
    ],
)
def test_a_shape_without_a_batch(
    folder: Path, capsys: Captured, target: str, shape: str, whole: tuple[int, ...]
) -> None:
    assert main(["geometry", f"net.py:{target}", "--shape", shape, "--json", "-"]) == 0
    told = capsys.readouterr()
    assert Report.from_json(told.out).input_shape == whole
    without = len(whole) > len(shape.replace("x", ",").split(","))
    assert ("has no batch: read as" in told.err) == without


@pytest.mark.parametrize("command", ["causality", "streaming", "sharding"])
def test_a_shape_of_batch_and_time(folder: Path, capsys: Captured, command: str) -> None:
    parts = ["--parts", "2"] if command == "sharding" else []
    main([command, "net.py:wave", "--shape", "2,60", "--json", "-", *parts])
    told = capsys.readouterr()
    assert json.loads(told.out)["input_shape"] == [2, 60], told.err
    assert "has no batch" not in told.err
    main([command, "net.py:line", "--shape", "3,60", "--json", "-", *parts])
    told = capsys.readouterr()
    assert json.loads(told.out)["input_shape"] == [1, 3, 60], told.err
    assert "has no batch: read as" in told.err


def test_a_shape_of_batch_and_time_where_dimensions_are_named(
    folder: Path, capsys: Captured
) -> None:
    named = "check", "net.py:wave", "--shape", "2,60", "--spatial-dims", "1"
    assert reported(capsys, *named).input_shape == (2, 60)


def test_a_shape_that_may_be_two_is_refused(folder: Path, capsys: Captured) -> None:
    assert main(["check", "net.py:point", "--shape", "3,16,18"]) == 2
    told = capsys.readouterr().err
    assert "write the batch too, --shape 1,3,16,18" in told
    lines = reported(capsys, "check", "net.py:point", "--shape", "3,16,18", "--spatial-dims", "2")
    assert (lines.input_shape, lines.spatial_dims) == ((3, 16, 18), (2,))
    assert main(["linearity", "net.py:point", "--shape", "3,16,18"]) == 1  # it is the same there


def test_other_spatial_dimensions(folder: Path, capsys: Captured) -> None:
    last = ["check", "net.py:last", "--function", "--shape", "1,16,18,3", "--spatial-dims", "1,2"]
    report = reported(capsys, *last, "--reach", "1")
    assert (report.verdict, len(report.shifts)) == (Verdict.EQUIVARIANT, 8)


@pytest.mark.parametrize(
    "shifts",
    [
        ["--shifts", "2,0", "0,-4"],
        ["--shifts", "2,0 0,-4"],
        ["--shifts=2,0", "0,-4"],
        ["--shifts", "2, 0;0, -4"],
        ["--shifts", "[(2, 0), (0, -4)]"],
        ["--shifts", "(2, 0)", "(0, -4)"],
        ["--shifts", "[2, 0]", "[0, -4]"],
        ["--shifts", "2,0", "--shifts", "0,-4"],
    ],
)
def test_shifts_as_they_are_typed(folder: Path, capsys: Captured, shifts: list[str]) -> None:
    for arguments in (["check", "net.py:conv", *SHAPE, *shifts], ["check", *shifts, "net.py:conv"]):
        given = arguments if SHAPE[1] in arguments else [*arguments, *SHAPE]
        assert reported(capsys, *given).shifts == ((2, 0), (0, -4))


def test_negative_shifts_come_first_too(folder: Path, capsys: Captured) -> None:
    report = reported(capsys, "check", "--shifts", "-1,0", "-2,3", "net.py:conv", *SHAPE)
    assert report.shifts == ((-1, 0), (-2, 3))
    line = reported(capsys, "check", "net.py:line", "--shape", "1,3,20", "--shifts", "1", "-2")
    assert line.shifts == ((1,), (-2,))


# -- the other checks ------------------------------------------------------------------------------


def test_invariance(folder: Path, capsys: Captured) -> None:
    given = ["invariance", "net.py:classifier", "--shape", "2,3,16,18"]
    assert main([*given, "--json", "report.json", "--html", "page.html"]) == 0
    assert "INVARIANT over" in capsys.readouterr().out
    report = InvarianceReport.from_json((folder / "report.json").read_text("utf-8"))
    assert report.verdict == "invariant"
    assert "invariant" in (folder / "page.html").read_text("utf-8")
    assert main([*given, "--arg", "stride=2", "--shifts", "1,0"]) == 1
    assert "NOT INVARIANT over 1 shift" in capsys.readouterr().out
    assert main([*given, "--fill", "zeros"]) == 3
    bound = ["--fill", "zeros", "--max-relative-error", "0.9", "--reach", "1"]
    assert main([*given, *bound]) == 1
    canvas = ["invariance", "net.py:classifier", "--shape", "2,3,24,26", "--crop", "16,18"]
    assert main([*canvas, "--max-relative-error", "0.9", "--json", "-"]) in (0, 1)
    assert main([*given, "--max-relative-error", "2"]) == 2


def test_linearity(folder: Path, capsys: Captured) -> None:
    given = ["linearity", "net.py:conv", *SHAPE]
    assert main([*given, "--json", "report.json"]) == 1
    assert "give --affine" in capsys.readouterr().out
    report = LinearityReport.from_json((folder / "report.json").read_text("utf-8"))
    assert report.verdict == "affine"
    assert main([*given, "--affine"]) == 0
    assert "give --affine" not in capsys.readouterr().out
    assert main([*given, "--layer", "nowhere"]) == 2
    assert main(["linearity", "net.py:point", *SHAPE]) == 1
    assert main(["linearity", "net.py:conv", *SHAPE, "--json", "-"]) == 1
    capsys.readouterr()


@pytest.mark.parametrize("command", ["invariance", "linearity"])
def test_reports_of_other_checks_are_shown_too(
    folder: Path, capsys: Captured, command: str
) -> None:
    main([command, "net.py:classifier", "--shape", "2,3,16,18", "--json", "report.json"])
    text = capsys.readouterr().out
    assert main(["render", "report.json"]) == 0
    shown = capsys.readouterr().out
    assert shown.strip()
    assert shown in text


# -- render ----------------------------------------------------------------------------------------


def a_report() -> shiftcheck.Report:
    return shiftcheck.check_equivariance(torch.nn.MaxPool2d(2), torch.randn(1, 1, 12, 16))


def test_a_report_is_shown_from_its_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = a_report()
    path = tmp_path / "report.json"
    path.write_text(report.to_json(), encoding="utf-8")
    page, own = tmp_path / "page.html", tmp_path / "own.html"
    assert main(["render", str(path), "--html", str(page)]) == 0
    assert capsys.readouterr().out == f"{report}\n"
    report.to_html(own)
    assert page.read_bytes() == own.read_bytes()


@pytest.mark.parametrize(
    "check", [shiftcheck.check_invariance, shiftcheck.check_linear, shiftcheck.check_convolution]
)
def test_reports_of_the_other_checks_are_shown_too(
    check: Callable[..., AnyReport], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = check(torch.nn.AvgPool2d(2), torch.randn(2, 1, 12, 16))
    path, page = tmp_path / "report.json", tmp_path / "page.html"
    path.write_text(report.to_json(), encoding="utf-8")
    assert main(["render", str(path), "--html", str(page)]) == 0
    assert capsys.readouterr().out == f"{report}\n"
    assert main(["render", str(path), "--wide"]) == 0
    assert capsys.readouterr().out == f"{report}\n"
    assert "<h1>AvgPool2d on 2x1x12x16" in page.read_text("utf-8")


def test_a_report_is_read_from_the_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(a_report().to_json()))
    assert main(["render", "-"]) == 0
    assert "EQUIVARIANT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read: "),
        ("{", "text is no JSON"),
        ("{}", "it has no schema_version"),
        (json.dumps({"schema_version": 99}), "upgrade with 'pip install -U torch-shiftcheck'"),
        (b"\xff\xfe", "cannot be read: "),
    ],
)
def test_what_is_no_report_is_refused(
    text: str | bytes | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    if text is not None:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    assert main(["render", str(path)]) == 2
    said = capsys.readouterr().err
    assert str(path) in said
    assert words in said
