"""An evaluation that was stopped goes on, and ends as if it had not been."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checks.evaluation.slow_network import Slow, data, evaluation
from torch import nn

import shiftcheck
from shiftcheck.checks.evaluation import checkpoint as module
from shiftcheck.checks.tiles import bar
from shiftcheck.errors import InputError, ModelError

ROOT = Path(__file__).parents[3]


class Stopped(BaseException):
    """As if the user had pressed a key."""


RAN: list[int] = []
"""The passes of all such networks, by their batch sizes."""


class StopsAt(Slow):
    """Is stopped at a pass; its weights and forward are those of the other one."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.__dict__["left"] = at

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.__dict__["left"] -= 1
        RAN.append(len(x))
        if self.__dict__["left"] < 0:
            raise Stopped
        return super().forward(x)


def evaluated(model: nn.Module, path: Path | None, **kwargs: Any) -> str:
    report = shiftcheck.evaluate(
        model, data(11), "invariance", draws=2, batch_size=2, checkpoint=path, **kwargs
    )
    return report.to_json()


@pytest.mark.parametrize("at", [0, 4, 8, 13, 19])
def test_stopped_at_any_pass_it_goes_on_to_the_same_report(tmp_path: Path, at: int) -> None:
    path = tmp_path / "kept"
    with pytest.raises(Stopped):
        evaluated(StopsAt(at), path)
    assert path.exists()
    again = StopsAt(1000)
    assert evaluated(again, path) == evaluated(StopsAt(1000), None)
    assert not path.exists()


def test_what_was_done_is_not_done_again(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    with pytest.raises(Stopped):
        evaluated(StopsAt(17), path)
    done = json.loads(path.read_text())["done"]
    passes = []
    for kept in (path, None):
        RAN.clear()
        evaluated(StopsAt(1000), kept)
        passes.append(len(RAN))
    assert done > 1
    assert passes[1] - passes[0] == 3 * done


def test_killed_it_goes_on_to_the_same_report(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    command = [
        sys.executable,
        "-m",
        "tests.checks.evaluation.slow_network",
        "60",
        str(path),
        "0.02",
    ]
    running = subprocess.Popen(command, cwd=ROOT)
    until = time.monotonic() + 60
    while time.monotonic() < until and not path.exists():
        time.sleep(0.01)
    time.sleep(0.1)
    running.send_signal(signal.SIGKILL)
    running.wait()
    before = json.loads(path.read_text())
    assert 0 < before["done"] < 15
    assert evaluation(60, path, 0.0).to_json() == evaluation(60, None, 0.0).to_json()


@pytest.mark.parametrize(("every", "written"), [(0.0, 6), (1e9, 0)])
def test_it_is_written_every_so_many_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: float, written: int
) -> None:
    replaced: list[Any] = []
    replace = os.replace
    monkeypatch.setattr(module.os, "replace", lambda *a: (replaced.append(a), replace(*a)))
    evaluated(StopsAt(1000), tmp_path / "kept", checkpoint_every=every)
    assert len(replaced) == written  # of 11 items in batches of 2


OTHERS = {
    "weights or modules": lambda path: evaluated(changed(StopsAt(99)), path),
    "code of the model": lambda path: evaluated(nn.Sequential(nn.Flatten()), path),
    "question": lambda path: evaluated(StopsAt(99), path, seed=1),
    "batch size": lambda path: shiftcheck.evaluate(
        StopsAt(99), data(11), "invariance", draws=2, batch_size=3, checkpoint=path
    ),
    "length or choice": lambda path: shiftcheck.evaluate(
        StopsAt(99), data(12), "invariance", draws=2, batch_size=2, checkpoint=path
    ),
}


def changed(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        next(iter(model.parameters())).view(-1)[0] += 1e-6
    return model


@pytest.mark.parametrize("what", OTHERS)
def test_another_evaluation_is_refused_and_its_file_left(tmp_path: Path, what: str) -> None:
    path = tmp_path / "kept"
    with pytest.raises(Stopped):
        evaluated(StopsAt(14), path)
    before = path.read_bytes()
    with pytest.raises(InputError, match=what):
        OTHERS[what](path)
    assert path.read_bytes() == before


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept"
    with pytest.raises(Stopped):
        evaluated(StopsAt(14), path)
    monkeypatch.setattr(torch, "__version__", "1.0")
    with pytest.raises(InputError, match="versions of torch"):
        evaluated(StopsAt(99), path)


@pytest.mark.parametrize("text", ["", "{", '{"schema_version": 1}', "[]"])
def test_a_file_that_is_none_is_refused_and_left(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kept"
    path.write_text(text)
    with pytest.raises(InputError, match="delete it to start anew"):
        evaluated(StopsAt(99), path)
    assert path.read_text() == text


def test_no_folder_is_said_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        evaluated(StopsAt(0), tmp_path / "nowhere" / "kept")


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_on_a_full_disk_the_file_before_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    path = tmp_path / "kept"
    with pytest.raises(Stopped):
        evaluated(StopsAt(14), path)
    before = path.read_bytes()

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module.os, where, full)
    with pytest.raises(Stopped), pytest.warns(RuntimeWarning, match="No space left"):
        evaluated(StopsAt(8), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    assert evaluated(StopsAt(99), path) == evaluated(StopsAt(99), None)


class RaisesOn(nn.Module):
    """Raises on items with a large first pixel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool((x > 5).any()):
            raise ValueError("too large")
        return x.flatten(1)[:, :3]


def test_an_error_leaves_a_checkpoint_to_go_on_from(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    given = data(11)
    given[9, 0, 0, 0] = 9.0
    with pytest.raises(ModelError, match=r"item 9 could not be run: .*too large"):
        shiftcheck.evaluate(
            RaisesOn(), given, "invariance", batch_size=2, checkpoint=path, errors="raise"
        )
    assert json.loads(path.read_text())["done"] == 4


def streamed(model: nn.Module, path: Path | None, images: torch.Tensor) -> str:
    parts = iter(images.split(2))
    return shiftcheck.evaluate(model, parts, "invariance", draws=2, checkpoint=path).to_json()


def test_a_stream_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    with pytest.raises(Stopped):
        streamed(StopsAt(14), path, data(11))
    assert json.loads(path.read_text())["done"] >= 2
    assert streamed(StopsAt(99), path, data(11)) == streamed(StopsAt(99), None, data(11))


@pytest.mark.parametrize(
    ("images", "says"),
    [(data(11).flip(0), "gives other items than before"), (data(2), "gives 1 batches, and")],
)
def test_a_stream_of_other_items_is_refused(
    tmp_path: Path, images: torch.Tensor, says: str
) -> None:
    path = tmp_path / "kept"
    with pytest.raises(Stopped):
        streamed(StopsAt(14), path, data(11))
    before = json.loads(path.read_text())
    with pytest.raises(InputError, match=says):
        streamed(StopsAt(99), path, images)
    assert json.loads(path.read_text()) == before


def test_a_bar_shows_the_figures_so_far(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bar, "PAUSE", 0.0)
    evaluated(Slow(), None, progress=True)
    shown = capsys.readouterr().err
    assert "items: invariance" in shown
    assert "11/11" in shown
    evaluated(Slow(), None, progress=False)
    assert not capsys.readouterr().err
