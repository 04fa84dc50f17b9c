"""The training scripts run from end to end on a few made-up digits."""

import gzip
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from shiftcheck.models import MLP, LeNet

EXAMPLES = Path(__file__).parents[1] / "examples"


def write_split(folder: Path, prefix: str, count: int) -> None:
    """Write images whose bright row tells their class."""
    labels = torch.arange(count) % 10
    images = torch.zeros(count, 28, 28, dtype=torch.uint8)
    images[torch.arange(count), 2 * labels + 4] = 255
    header = struct.pack(">4B3I", 0, 0, 8, 3, count, 28, 28)
    pixels = gzip.compress(header + images.numpy().tobytes())
    (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(pixels)
    header = struct.pack(">4BI", 0, 0, 8, 1, count)
    (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(header + bytes(labels.tolist()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("mnist")
    write_split(path, "train", 300)
    write_split(path, "t10k", 50)
    return path


def run(script: str, *options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, EXAMPLES / script, *options]
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("script", "model", "dtype", "fact", "printed"),
    [
        ("train_lenet.py", LeNet, torch.float32, "test_error_percent", "test error"),
        ("train_mlp.py", MLP, torch.float16, "test_error", "mean squared error"),
    ],
)
def test_script_trains_prints_its_error_and_saves(
    folder, tmp_path, script, model, dtype, fact, printed
):
    out = tmp_path / "weights.safetensors"
    done = run(script, folder, "--epochs", 2, "--seed", 3, "--out", out)
    assert done.returncode == 0, done.stderr
    assert printed in done.stdout
    with safe_open(out, "pt") as file:
        assert file.metadata().keys() == {fact, "epochs", "seed"}
        assert file.metadata()["epochs"] == "2"
        assert float(file.metadata()[fact]) >= 0
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    model().load_state_dict(weights)
    assert {w.dtype for w in weights.values()} == {dtype}


@pytest.mark.slow
def test_same_seed_gives_the_same_weights(folder, tmp_path):
    outs = [tmp_path / "first", tmp_path / "second"]
    for out in outs:
        assert run("train_mlp.py", folder, "--epochs", 1, "--out", out).returncode == 0
    first, second = map(load_file, outs)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_folder_without_the_files_is_named(tmp_path):
    done = run("train_lenet.py", tmp_path)
    assert done.returncode != 0
    assert f"{tmp_path}: holds neither train-images" in done.stderr


def test_no_epochs_are_refused(folder):
    done = run("train_lenet.py", folder, "--epochs", 0)
    assert done.returncode == 2
    assert "--epochs must be at least 1, not 0" in done.stderr
