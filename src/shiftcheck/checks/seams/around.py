"""An axis that closes on itself, as one that goes on at its end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from shiftcheck.checks.seams.differences import Along, Array, bands
from shiftcheck.report.seams import Seam


def closed(values: Array, along: Along) -> Array:
    """Values along an axis; on a circle, those that begin it stand behind its end instead.

    What is moved are the wrong samples, those above 0, up to the first band of right ones. An axis
    without right samples, and one that is open, is given as it is.
    """
    if not along.circular:
        return values
    found = bands(values > 0, along.block)
    first = found[0][1] if found and found[0][0] < along.block else 0
    if first == len(values):
        return values
    moved = np.concatenate([values, values[: first + along.block]])
    moved[:first] = 0
    return moved


def opened(seam: Seam, size: int) -> Seam:
    """A seam of a circle with its line on the axis; it begins below 0 where it goes around."""
    line = seam.start if seam.line is None else seam.line
    by = size if line >= size else 0
    return replace(
        seam,
        start=seam.start - by,
        stop=seam.stop - by,
        line=None if seam.line is None else seam.line - by,
    )


def pieces(band: tuple[int, int], size: int) -> list[tuple[int, int]]:
    """A band of a circle as bands that do not go around."""
    start, stop = band
    if start < 0:
        return [(start + size, size), (0, stop)]
    if stop > size:
        return [(start, size), (0, stop - size)]
    return [band]
