"""Where whole numbers differ, such as classes: the lines near which most of them do.

A choice differs only where two scores are nearly alike, so that seams of classes have gaps, and
their places are counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shiftcheck.checks.seams.around import closed, opened
from shiftcheck.checks.seams.differences import Along, Array, Difference, bands
from shiftcheck.checks.seams.lines import Band, step_of
from shiftcheck.report.seams import Seam, SeamAxis

ABOVE = 4.0
"""By so many deviations of a count of chance a seam has more than what lies between seams."""


def lines_of_choices(diff: Difference, axis: int, along: Along) -> SeamAxis:
    """The seams along an axis, each with the part of its lines that differs at a sample."""
    wrong = np.moveaxis(diff.wrong, axis, 0).reshape(diff.wrong.shape[axis], -1)
    counts = wrong.sum(axis=1).astype(float)
    share = counts / max(1, wrong.shape[1])
    usual = float(np.median(counts))
    more = np.where(counts > usual + ABOVE * np.sqrt(usual + 1), counts - usual, 0.0)
    seams = []
    if along.reach is not None:
        size = len(counts)
        whole = closed(more, along)
        for band in bands(whole > 0, max(1, sum(along.reach))):
            seam = _seam(band, whole, along, size)
            if seam is not None:
                seams.append(opened(seam, size) if along.circular else seam)
    lines = on_grid(sorted({s.line for s in seams if s.line is not None}), counts > usual, along)
    return SeamAxis(
        axis=axis,
        seams=tuple(sorted(seams, key=lambda seam: seam.start)),
        lines=lines,
        step=step_of(lines),
        profile=tuple(map(float, share)),
    )


def _seam(band: Band, more: Array, along: Along, size: int) -> Seam | None:
    """A band that is as narrow as what a cut can change, with the line in its middle."""
    before, behind = along.reach or (0, 0)
    at_end = not along.circular and (band[0] == 0 or band[1] == size)
    if band[1] - band[0] > before + behind + along.block - 1 or at_end:
        return None
    places = np.arange(*band)
    middle = float(np.average(places + 0.5, weights=more[slice(*band)]))
    middle += (before - behind) / 2 * (band[1] - band[0]) / max(1, before + behind)
    line = round(middle / along.block) * along.block
    return Seam(start=band[0], stop=band[1], line=line)


def on_grid(lines: Sequence[int], some: Array, along: Along) -> tuple[int, ...]:
    """The lines as multiples of one tile, with those between them; as they are if they are none.

    ``some``: the samples at which more differ than usual. The last line may be that of a tile which
    is moved back to end with the image. A seam that few choices show is a sample off, or was not
    found.
    """
    first = [line for line in lines if line]
    for tile in range(max(first, default=0), max(sum(along.reach or ()), along.block), -1):
        fits = [abs(line - round(line / tile) * tile) <= 1 for line in first]
        if len(first) < ENOUGH or tile % along.block or not all(fits[:-1]):
            continue
        between = range(tile, max(first[:-1]) + 1, tile)
        shown = {n for n in between if some[n - 1 : n + 1].any()}
        last = {round(first[-1] / tile) * tile} if fits[-1] else {first[-1]}
        return tuple(sorted({*(n for n in lines if not n), *shown, *last}))
    return tuple(lines)


ENOUGH = 3
"""So many lines are needed for a tile to be seen in them."""


def near(diff: Difference, axes: Sequence[SeamAxis], along: Sequence[Along]) -> tuple[float, float]:
    """Of the places that differ, and of all places, the part that seams can have changed."""
    reached = np.zeros(diff.wrong.shape, bool)
    for found, one in zip(axes, along, strict=True):
        before, behind = one.reach or (0, 0)
        size = diff.wrong.shape[found.axis]
        there = np.zeros(size, bool)
        for line in found.lines:
            places = np.arange(line - before, line + behind)
            inside = places % size if one.circular else places[(places >= 0) & (places < size)]
            there[inside] = True
        shape = [1] * diff.wrong.ndim
        shape[found.axis] = size
        reached |= there.reshape(shape)
    return float(reached[diff.wrong].mean()), float(reached.mean())
