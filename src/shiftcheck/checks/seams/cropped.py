"""Whether the values around seams are those of tiles that end there, and read no more than that.

A callable may run the model several times for each tile, as once for each output: that some of the
pieces hold enough does not say that those of this output do.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from shiftcheck.checks.seams.differences import Array, lines_between_seams
from shiftcheck.checks.seams.lines import needed
from shiftcheck.checks.seams.parts import Parts
from shiftcheck.report.seams import Seam

TRIED = 4
"""The model is run on so many tiles."""


@dataclass(frozen=True, kw_only=True)
class _Tile:
    """The samples from ``first`` to ``last``, made of the pixels from ``start`` to ``stop``."""

    first: int
    last: int
    start: int
    stop: int


def cropped(parts: Parts, axis: int, seams: Sequence[Seam]) -> bool:
    """Whether the model gives these values on tiles that lack what the seams say.

    Where tiles lack something on one side alone, one that overwrites the margin of another gives
    the same; pieces as large as these tiles have to be seen then.
    """
    tiles = _tiles(parts, axis, seams)
    if not tiles:
        return False
    lacking = [seam.missing for seam in seams if seam.missing is not None and all(seam.missing)]
    if len(lacking) < len(seams) and not _are_seen(parts, axis, tiles):
        return False
    wrong = parts.diff.wrong & lines_between_seams(parts.diff, axis)
    places = np.flatnonzero(np.moveaxis(wrong, axis, 0).reshape(wrong.shape[axis], -1).any(axis=1))
    some = [t for t in tiles if ((t.first <= places) & (places < t.last)).any()][:TRIED]
    return bool(some) and all(_gives_the_same(parts, axis, tile, wrong) for tile in some)


def _tiles(parts: Parts, axis: int, seams: Sequence[Seam]) -> list[_Tile]:
    """The tiles between the seams; none where that is not known."""
    along = parts.along[axis]
    if along.circular:
        return []
    dim = parts.runner.inputs.main.spatial[axis]
    pixels = parts.runner.inputs.main.tensor.shape[dim]
    ends = [(0, Fraction(0), Fraction(0))]
    for seam in seams:
        need = None if seam.line is None else needed(seam.line, along)
        if need is None or seam.missing is None or seam.line is None:
            return []
        ends.append((seam.line, *_held(need, seam.missing)))
    ends.append((parts.diff.wrong.shape[axis], Fraction(0), Fraction(0)))
    stride = along.stride or Fraction(1)
    return [
        _Tile(
            first=a,
            last=b,
            start=max(0, math.ceil(a * stride - back)) if a else 0,
            stop=min(pixels, math.floor(b * stride + ahead)) if b != ends[-1][0] else pixels,
        )
        for (a, _, back), (b, ahead, _) in itertools.pairwise(ends)
    ]


def _held(need: tuple[Fraction, Fraction], missing: tuple[int, int]) -> tuple[Fraction, Fraction]:
    """The pixels that tiles have beyond a line, before and behind it, if they overlap alike.

    Where nothing is missing they have as much as on the other side, if that is more.
    """
    ahead, back = (max(Fraction(0), n - m) for n, m in zip(need, missing, strict=True))
    if not missing[0] and missing[1]:
        return max(ahead, back), back
    if not missing[1] and missing[0]:
        return ahead, max(ahead, back)
    return ahead, back


def _are_seen(parts: Parts, axis: int, tiles: Sequence[_Tile]) -> bool:
    """Whether the model was called on as many pieces of the size of each of the tiles."""
    main = parts.runner.inputs.main
    copies = main.tensor.shape[0] or 1
    seen: Counter[int] = Counter()
    for piece in parts.runner.pieces:
        seen[piece[main.spatial[axis]]] += max(1, piece[0] // copies)
    return Counter(tile.stop - tile.start for tile in tiles) <= seen


def _gives_the_same(parts: Parts, axis: int, tile: _Tile, wrong: Array) -> bool:
    """Whether the model gives on such a tile what stands between two seams, where that is wrong."""
    stride = parts.along[axis].stride or Fraction(1)
    skipped = tile.first - tile.start / stride
    if skipped.denominator != 1 or tile.start % (parts.along[axis].period or 1):
        return False
    main = parts.runner.inputs.main
    dim = main.spatial[axis]
    found = parts.on(main.tensor.narrow(dim, tile.start, tile.stop - tile.start))
    at = (*(slice(None),) * (axis + 1), slice(tile.first, tile.last))
    tiled = parts.diff.tiled[at]
    if found is None:
        return False
    given = found[(*at[:-1], slice(int(skipped), int(skipped) + tile.last - tile.first))]
    if given.shape != tiled.shape:
        return False
    return bool(parts.diff.agrees(given, tiled)[wrong[at[1:]]].all())
