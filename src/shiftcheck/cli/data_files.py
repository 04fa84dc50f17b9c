"""Sets of data from files: one array of items, or a folder with a file for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from shiftcheck.cli.signal_files import PICTURES, read_signal
from shiftcheck.errors import InputError

OPTION = "--data"


class ItemsOfArray(Dataset[torch.Tensor]):
    """The items of an array ``[items, channels, *spatial]``, read from its file one by one."""

    def __init__(self, array: NDArray[Any], dtype: torch.dtype) -> None:
        self.array, self.dtype = array, dtype

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, number: int) -> torch.Tensor:
        return as_item(self.array[number], self.dtype)


class ItemsOfFiles(Dataset[torch.Tensor]):
    """An item ``[channels, *spatial]`` in each of some files."""

    def __init__(self, paths: Sequence[Path], dtype: torch.dtype) -> None:
        self.paths, self.dtype = paths, dtype

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> torch.Tensor:
        path = self.paths[number]
        if path.suffix.lower() in PICTURES:
            return read_signal(path, OPTION)[0].to(self.dtype)
        return as_item(_loaded(path, least=2, called="[channels, *spatial]"), self.dtype)


def read_items(path: Path, dtype: torch.dtype) -> Dataset[torch.Tensor]:
    """The items at a path: an array in a ``.npy`` file, or the files of a folder by their names.

    Raises:
        InputError: where there is no such path, no file in it, or no array of items.
    """
    if path.is_dir():
        known = (".npy", *PICTURES)
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in known and p.is_file())
        if not found:
            raise InputError(
                f"{OPTION} {path}: there is no file in this folder that ends with"
                f" {', '.join(known)}"
            )
        return ItemsOfFiles(found, dtype)
    if not path.exists():
        raise InputError(f"{OPTION} {path}: there is no such file or folder")
    if path.suffix.lower() != ".npy":
        raise InputError(f"{OPTION} {path}: give a .npy file, or a folder of them or of pictures")
    return ItemsOfArray(_loaded(path, least=3, called="[items, channels, *spatial]"), dtype)


def _loaded(path: Path, *, least: int, called: str) -> NDArray[Any]:
    """An array as it lies in its file, of which only what is used is read."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{OPTION} {path} cannot be read: {error}") from error
    if array.dtype.kind not in "fiub":
        raise InputError(
            f"{OPTION} {path} holds an array of dtype {array.dtype}: an item is made of real"
            " numbers"
        )
    if array.ndim < least:
        raise InputError(f"{OPTION} {path} holds an array of shape {array.shape}: save {called}")
    return array


def as_item(array: NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
    """An item as a tensor of the model's type, whatever the file holds."""
    return torch.from_numpy(np.array(array, dtype=np.float64)).to(dtype)
