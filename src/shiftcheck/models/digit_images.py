"""MNIST digits: the reader of its files, the fifty digits that are shipped, and a larger canvas."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Sequence
from importlib.resources import as_file, files
from os import PathLike
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from shiftcheck.errors import InputError

Split = Literal["train", "test"]

MEAN, DEVIATION = 0.1307, 0.3081  # of the pixels of the 60,000 training digits, in [0, 1]

_GZIP_MAGIC = b"\x1f\x8b"
_PREFIXES = {"train": "train", "test": "t10k"}
_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | PathLike[str]) -> Tensor:
    """Read one file in the IDX format, gzipped or not, which its first bytes tell.

    Args:
        path: the file. It starts with two zero bytes, the code of the type, the number of
            dimensions, and each dimension as four bytes, big end first.

    Returns:
        A tensor of the shape and type that the file states.

    Raises:
        InputError: when the file is missing or unreadable, its first four bytes are no IDX magic
            number, or its length is not what its dimensions ask for.

    Example:
        >>> import pathlib, tempfile
        >>> from shiftcheck.models.digit_images import read_idx
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "three-bytes.idx"
        ...     _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
        ...     read_idx(file)
        tensor([7, 8, 9], dtype=torch.uint8)
    """
    file = Path(path)
    content = _content(file)
    kind, rank = _magic(file, content)
    start = 4 + 4 * rank
    if len(content) < start:
        raise InputError(
            f"{file}: truncated: {rank} dimensions need a header of {start} bytes, "
            f"the file holds {len(content)}"
        )
    shape = [int(size) for size in np.frombuffer(content, ">u4", rank, 4)]
    expected = start + math.prod(shape) * kind.itemsize
    if len(content) != expected:
        what = "truncated" if len(content) < expected else "too long"
        raise InputError(
            f"{file}: {what}: dimensions {shape} of {kind.itemsize}-byte values need {expected} "
            f"bytes with the header, the file holds {len(content)}"
        )
    values = np.frombuffer(content, kind, offset=start).reshape(shape)
    return torch.from_numpy(values.astype(kind.newbyteorder("=")))


def mnist(folder: str | PathLike[str], split: Split = "train") -> tuple[Tensor, Tensor]:
    """Read the images and labels of one half of MNIST from its original files.

    Args:
        folder: holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the same with
            ``t10k``; each may end in ``.gz``.
        split: ``"train"`` (60,000 digits in the original) or ``"test"`` (10,000).

    Returns:
        The images ``[n, 28, 28]`` as uint8 from 0 to 255, and the labels ``[n]`` as int64.

    Raises:
        InputError: when the split has another name, a file is missing or damaged, the images are
            not 28x28 bytes, a label is not a digit, or there are not as many labels as images.

    Example:
        >>> from shiftcheck.models.digit_images import mnist
        >>> mnist("no-such-folder", "test")
        Traceback (most recent call last):
        shiftcheck.errors.InputError: no-such-folder...
    """
    if split not in get_args(Split):
        raise InputError(f"split must be 'train' or 'test', not {split!r}")
    images_path = _find(Path(folder), f"{_PREFIXES[split]}-images-idx3-ubyte")
    labels_path = _find(Path(folder), f"{_PREFIXES[split]}-labels-idx1-ubyte")
    images, labels = read_idx(images_path), read_idx(labels_path)
    _require_images(images_path, images)
    _require_labels(labels_path, labels, count=len(images))
    return images, labels.long()


def digits() -> tuple[Tensor, Tensor]:
    """Return the fifty test digits of MNIST that the library ships, five of each class.

    Returns:
        The images ``[50, 1, 28, 28]`` as float32 in [0, 1], and the labels ``[50]`` as int64.

    >>> images, labels = digits()
    >>> images.shape, labels.bincount().tolist()
    (torch.Size([50, 1, 28, 28]), [5, 5, 5, 5, 5, 5, 5, 5, 5, 5])
    """
    with as_file(files("shiftcheck.models") / "data") as folder:
        images = read_idx(folder / "digits-images-idx3-ubyte.gz")
        labels = read_idx(folder / "digits-labels-idx1-ubyte.gz")
    return images[:, None] / 255, labels.long()


def standardise(images: Tensor) -> Tensor:
    """Subtract the mean of MNIST's pixels and divide by their standard deviation.

    The shipped models were trained on images treated like this.

    Args:
        images: floating, in [0, 1], of any shape such as ``[batch, 1, height, width]``. To place
            them on a larger canvas, call `embed` before: black is not zero afterwards.

    Returns:
        A tensor of the same shape and type.

    Raises:
        InputError: when the images are not floating.

    >>> standardise(torch.tensor([0.1307, 0.4388]))
    tensor([0., 1.])
    """
    if not images.is_floating_point():
        raise InputError(
            f"images must be floating, in [0, 1], not {images.dtype}: divide bytes by 255"
        )
    return (images - MEAN) / DEVIATION


def embed(images: Tensor, canvas: tuple[int, int] = (38, 38)) -> Tensor:
    """Place images in the middle of a canvas of zeros, so that there is room to shift them.

    Args:
        images: ``[..., height, width]``, for instance ``[batch, channels, height, width]``.
        canvas: height and width of the result. Where the margin is odd, the right or lower one
            is the wider.

    Returns:
        A new tensor ``[..., *canvas]`` of the same type, on the same device.

    Raises:
        InputError: when the images have fewer than two dimensions, or the canvas is smaller than
            they are or is not two whole numbers.

    >>> embed(torch.ones(1, 2), canvas=(3, 4))
    tensor([[0., 0., 0., 0.],
            [0., 1., 1., 0.],
            [0., 0., 0., 0.]])
    """
    if images.ndim < 2:
        raise InputError(f"images must be [..., height, width], not of shape {[*images.shape]}")
    if not _two_whole_numbers(canvas):
        raise InputError(f"canvas must be two whole numbers (height, width), not {canvas!r}")
    height, width = images.shape[-2:]
    top, left = (canvas[0] - height) // 2, (canvas[1] - width) // 2
    if top < 0 or left < 0:
        raise InputError(f"canvas {canvas} is smaller than the images, {(height, width)}")
    result = images.new_zeros(*images.shape[:-2], *canvas)
    result[..., top : top + height, left : left + width] = images
    return result


def _two_whole_numbers(canvas: object) -> bool:
    if not isinstance(canvas, Sequence) or len(canvas) != 2:
        return False
    return all(isinstance(size, int) for size in canvas)


def _content(file: Path) -> bytes:
    try:
        content = file.read_bytes()
        return gzip.decompress(content) if content.startswith(_GZIP_MAGIC) else content
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such file") from error
    except (EOFError, zlib.error) as error:
        raise InputError(f"{file}: truncated or damaged gzip file: {error}") from error
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error}") from error


def _magic(file: Path, content: bytes) -> tuple[np.dtype[np.generic], int]:
    """Return the type of the values and the number of dimensions that the first bytes state."""
    magic = content[:4]
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_TYPES or magic[3] == 0:
        raise InputError(
            f"{file}: not an IDX file: it starts with {magic.hex(' ') or 'nothing'}, not with "
            f"00 00, a type from 08 to 0e and a number of dimensions"
        )
    return np.dtype(_IDX_TYPES[magic[2]]), magic[3]


def _find(folder: Path, name: str) -> Path:
    for file in (folder / f"{name}.gz", folder / name):
        if file.is_file():
            return file
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    raise InputError(f"{folder}: holds neither {name}.gz nor {name}")


def _require_images(file: Path, images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
        raise InputError(
            f"{file}: expected uint8 images [n, 28, 28], found {images.dtype} {[*images.shape]}"
        )
    if len(images) == 0:
        raise InputError(f"{file}: holds no image")


def _require_labels(file: Path, labels: Tensor, *, count: int) -> None:
    if labels.dtype != torch.uint8 or labels.ndim != 1:
        raise InputError(
            f"{file}: expected uint8 labels [n], found {labels.dtype} {[*labels.shape]}"
        )
    if len(labels) != count:
        raise InputError(f"{file}: holds {len(labels)} labels for {count} images")
    if int(labels.max()) > 9:
        raise InputError(f"{file}: labels go from 0 to 9, found {int(labels.max())}")
