"""The tile and the memory that were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from shiftcheck.checks.tiles.structure import Sizes
from shiftcheck.errors import InputError


def read_tile(tile: Any, pixels: Sequence[int]) -> Sizes | None:
    """The size along every axis; raises InputError for what is none."""
    if tile is None:
        return None
    entries = tuple(tile) if isinstance(tile, Sequence) and not isinstance(tile, str) else (tile,)
    if not all(_is_whole(n) for n in entries):
        raise InputError(
            f"tile={tile!r}: give whole pixels, once or for each of the {len(pixels)} spatial axes"
        )
    if not isinstance(tile, Sequence):
        entries = entries * len(pixels)
    if len(entries) != len(pixels):
        raise InputError(
            f"tile={tile!r} has {len(entries)} entries, the image has {len(pixels)} spatial axes:"
            " give one for each, or one number for all"
        )
    if min(entries) < 1:
        raise InputError(f"tile={tile!r}: give at least 1 pixel")
    return tuple(int(n) for n in entries)


def read_memory(memory: Any) -> int | None:
    """The bytes; raises InputError for what is no number of bytes."""
    if memory is None:
        return None
    number = isinstance(memory, int | float | np.number) and not isinstance(memory, bool)
    if not number or not 0 < memory < float("inf"):
        raise InputError(f"memory={memory!r}: give a number of bytes above 0, such as 2 * 2**30")
    return int(memory)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
