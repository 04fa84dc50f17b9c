"""Arrays that lie in files: written for good, and let go of, so that they fill no memory."""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from typing import Any

import numpy as np

SHARED = ("r", "r+", "w+")
"""The modes in which what is let go of is read again from the file, with all that was written."""


def settle(arrays: Iterable[Any]) -> None:
    """Have what was written stand in the files, and keep no page of them in memory."""
    for array in arrays:
        if not isinstance(array, np.memmap):
            continue
        if array.mode != "r":
            array.flush()
        pages = _pages_of(array)
        if pages is not None and array.mode in SHARED and hasattr(mmap, "MADV_DONTNEED"):
            pages.madvise(mmap.MADV_DONTNEED)


def _pages_of(array: Any) -> mmap.mmap | None:
    base = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None
