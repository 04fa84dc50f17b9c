"""Signals from files: arrays of NumPy, and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shiftcheck.errors import InputError, MissingExtraError

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def read_signal(path: Path, option: str = "--input") -> torch.Tensor:
    """The signal ``[batch, channels, *spatial]`` in a file, as it is stored there.

    ``.npy`` holds an array of that shape. A picture becomes ``[1, channels, height, width]``, its
    values divided by the largest one that a pixel can have; pictures need pillow. ``option``: how
    the file was given, for the messages.

    Raises:
        InputError: for a file that is not there, cannot be read, or holds no such signal.
        MissingExtraError: for a picture where pillow is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "x.npy"
        ...     np.save(path, np.ones((1, 2, 8, 9)))
        ...     read_signal(path).shape
        torch.Size([1, 2, 8, 9])
    """
    kind = path.suffix.lower()
    if kind not in (".npy", *PICTURES):
        raise InputError(
            f"{option} {path}: give a file that ends with .npy or {', '.join(PICTURES)}"
        )
    if not path.is_file():
        raise InputError(f"{option} {path}: there is no such file")
    return _array(path, option) if kind == ".npy" else _picture(path, option)


def _array(path: Path, option: str) -> torch.Tensor:
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{option} {path} cannot be read: {error}") from error
    if array.dtype.kind not in "fiub":
        raise InputError(
            f"{option} {path} holds an array of dtype {array.dtype}: a signal is made of real"
            " numbers"
        )
    if array.ndim < 3:
        raise InputError(
            f"{option} {path} holds an array of shape {array.shape}: save one of shape [batch,"
            " channels, *spatial], for example with numpy.save(path, array[None, None])"
        )
    native = array.astype(array.dtype.newbyteorder("="))
    if native.dtype.kind in "ub" or native.dtype == np.longdouble:
        native = native.astype(np.float64)
    return torch.from_numpy(np.ascontiguousarray(native))


def _picture(path: Path, option: str) -> torch.Tensor:
    try:
        from PIL import Image, UnidentifiedImageError
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{option} {path}: pictures need pillow, which is not installed:"
            " pip install 'torch-shiftcheck[image]'"
        ) from error
    try:
        with Image.open(path) as opened:
            pixels = _pixels(opened)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(f"{option} {path} cannot be read: {error}") from error
    channels = pixels if pixels.ndim == 3 else pixels[..., None]
    return torch.from_numpy(np.ascontiguousarray(channels.transpose(2, 0, 1)))[None]


def _pixels(picture: Any) -> NDArray[Any]:
    """The values of a picture, ``[height, width]`` or ``[height, width, channels]``, up to 1."""
    if picture.mode == "P":
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    elif picture.mode == "1":
        picture = picture.convert("L")
    values = np.asarray(picture)
    if values.dtype == np.uint8:
        return values / 255
    if values.dtype.kind in "iu":  # sixteen bits, which pillow also keeps in larger integers
        return values / 65535
    return values.astype(np.float64)
