"""Arrays and pictures as inputs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from shiftcheck import InputError, MissingExtraError
from shiftcheck.cli.signal_files import read_signal

PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4", "f2", "u1", "u2", "i8", "?", "longdouble"])
def test_arrays_of_every_kind(tmp_path: Path, dtype: str) -> None:
    array = (np.arange(2 * 5 * 6).reshape(1, 2, 5, 6) % 2).astype(dtype)
    np.save(tmp_path / "x.npy", array)
    x = read_signal(tmp_path / "x.npy")
    assert torch.equal(x.double(), torch.from_numpy(array.astype("f8")))


@pytest.mark.parametrize(
    ("mode", "shape", "expected"),
    [
        ("RGB", (1, 3, 4, 6), PIXELS[2, 3, 1] / 255),
        ("L", (1, 1, 4, 6), None),
        ("1", (1, 1, 4, 6), None),
        ("P", (1, 3, 4, 6), None),
        ("RGBA", (1, 4, 4, 6), None),
        ("LA", (1, 2, 4, 6), None),
    ],
)
def test_pictures_of_every_mode(
    tmp_path: Path, mode: str, shape: tuple[int, ...], expected: float | None
) -> None:
    Image.fromarray(PIXELS).convert(mode).save(tmp_path / "x.png")
    x = read_signal(tmp_path / "x.png")
    assert x.shape == shape
    assert 0 <= float(x.min()) <= float(x.max()) <= 1
    if expected is not None:
        assert float(x[0, 1, 2, 3]) == pytest.approx(expected)


def test_a_picture_of_sixteen_bits(tmp_path: Path) -> None:
    values = np.array([[0, 65535], [32768, 1]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "x.png")
    assert read_signal(tmp_path / "x.png")[0, 0].numpy() == pytest.approx(values / 65535)


def test_white_is_one_in_black_and_white(tmp_path: Path) -> None:
    Image.new("1", (3, 2), 1).save(tmp_path / "x.png")
    assert torch.equal(read_signal(tmp_path / "x.png"), torch.ones(1, 1, 2, 3).double())


def write_objects(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    ("name", "write", "says"),
    [
        ("x.npy", None, "there is no such file"),
        ("x.txt", lambda p: p.write_text("1"), "ends with .npy or .png"),
        ("x.npy", lambda p: p.write_text("nothing"), "cannot be read"),
        ("x.npy", lambda p: p.write_bytes(b""), "cannot be read"),
        ("x.npy", write_objects, "cannot be read"),
        ("x.npy", lambda p: np.save(p, np.ones((1, 1, 4), complex)), "dtype complex128"),
        ("x.npy", lambda p: np.save(p, np.ones((4, 5))), r"array\[None, None\]"),
        ("x.png", lambda p: p.write_text("nothing"), "cannot be read"),
    ],
)
def test_files_that_hold_no_signal(tmp_path: Path, name: str, write: Any, says: str) -> None:
    if write is not None:
        write(tmp_path / name)
    with pytest.raises(InputError, match=says):
        read_signal(tmp_path / name)


def test_without_pillow_the_pip_line_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (3, 2)).save(tmp_path / "x.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'torch-shiftcheck\[image\]'"):
        read_signal(tmp_path / "x.png")
