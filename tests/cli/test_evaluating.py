"""The command that measures over a set of data in files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shiftcheck.cli import main
from shiftcheck.report import EvaluationReport

Captured = pytest.CaptureFixture[str]
SOURCE = """
from torch import nn


def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU())


def head():
    return nn.Sequential(net(), nn.Flatten(), nn.Linear(4 * 6 * 8, 5))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "net.py").write_text(SOURCE, "utf-8")
    items = np.random.default_rng(0).random((6, 3, 12, 16))
    np.save(tmp_path / "items.npy", items)
    (tmp_path / "each").mkdir()
    for i, item in enumerate(items):
        np.save(tmp_path / "each" / f"{i:03}.npy", item.astype(np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def evaluate(*arguments: str) -> int:
    return main(["evaluate", *arguments])


def test_an_array_and_a_folder_of_its_items_are_the_same(capsys: Captured) -> None:
    reports = []
    for data in ("items.npy", "each"):
        status = evaluate("net.py:head", "--data", data, "--what", "invariance", "--json", "-")
        assert status == 0
        reports.append(EvaluationReport.from_json(capsys.readouterr().out))
    assert reports[0].quantities == reports[1].quantities
    assert (reports[0].items, reports[0].what) == (6, ("invariance",))
    assert reports[0].pictures == reports[1].pictures
    assert reports[0].pictures


def test_the_options_reach_the_evaluation(folder: Path, capsys: Captured) -> None:
    options = ("--reach", "1", "--fill", "replicate", "--batch-size", "4", "--items", "0,2,5")
    files = ("--html", "page.html", "--json", "report.json")
    kept = ("--checkpoint", "half.json", "--what", "invariance,classes")
    evaluate("net.py:head", "--data", "items.npy", *options, *files, *kept)
    report = EvaluationReport.from_json((folder / "report.json").read_text("utf-8"))
    assert (report.items, report.pairs, report.batch_size) == (3, 24, 4)
    assert report.fill == ("replicate",)
    assert "image/png" in (folder / "page.html").read_text("utf-8")
    assert not (folder / "half.json").exists()
    told = capsys.readouterr().out
    assert "shiftcheck evaluate net.py:head --data items.npy --what invariance --items" in told
    assert "evaluate(model" not in told
    assert main(["render", "report.json"]) == 0


def test_what_cannot_be_told_is_no_pass(capsys: Captured) -> None:
    assert evaluate("net.py:head", "--data", "items.npy") == 3
    assert "not spatial" in capsys.readouterr().out
    assert evaluate("net.py:net", "--data", "items.npy", "--what", "equivariance,classes") == 3


def test_a_file_that_is_no_item_is_named_and_the_rest_is_measured(
    folder: Path, capsys: Captured
) -> None:
    (folder / "each" / "zz.npy").write_bytes(b"nonsense")
    assert evaluate("net.py:net", "--data", "each") == 0
    told = capsys.readouterr().out
    assert "over 6 items" in told
    assert "item 6 (data): InputError: --data each/zz.npy cannot be read" in told


def test_pictures_are_items(folder: Path, capsys: Captured) -> None:
    image = pytest.importorskip("PIL.Image")
    (folder / "photos").mkdir()
    for i in range(3):
        levels = np.random.default_rng(i).integers(0, 256, (12, 16, 3), np.uint8)
        image.fromarray(levels).save(folder / "photos" / f"{i}.png")
    assert evaluate("net.py:net", "--data", "photos", "--json", "-") == 0
    report = EvaluationReport.from_json(capsys.readouterr().out)
    assert (report.items, report.input_shapes) == (3, ((3, 12, 16),))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (("--data", "nowhere"), "--data nowhere: there is no such file or folder"),
        (("--data", "net.py"), "--data net.py: give a .npy file, or a folder"),
        (("--data", "empty"), "--data empty: there is no file in this folder"),
        (("--data", "flat.npy"), "--data flat.npy holds an array of shape"),
        (("--data", "items.npy", "--what", "speed"), "--what speed: give one or several of"),
        (("--data", "items.npy", "--items", "9"), "--items 9: give numbers from 0 to 5"),
        (("--data", "items.npy", "--html", "no/page.html"), "cannot be written to no/page.html"),
    ],
)
def test_bad_options_are_named(
    folder: Path, capsys: Captured, options: tuple[str, ...], match: str
) -> None:
    (folder / "empty").mkdir()
    np.save(folder / "flat.npy", np.zeros((3, 4)))
    assert evaluate("net.py:net", *options) == 2
    assert match in capsys.readouterr().err
