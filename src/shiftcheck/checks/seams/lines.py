"""The seams along an axis: where tiles begin, and how many pixels they lack there."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from shiftcheck.checks.seams.around import closed, opened, pieces
from shiftcheck.checks.seams.differences import (
    Along,
    Array,
    Difference,
    bands,
    clean_lines,
    profile,
)
from shiftcheck.report.seams import Seam, SeamAxis

Band = tuple[int, int]

ODD = 2.0
"""What it counts against a line that it is not on the grid, in periods of unequal overlap."""

REGULAR = 2.0
"""So much more, for each seam, lines may cost that are multiples of one tile."""

ALONE = 2.0
"""By this factor errors fall within a margin, where not many margins show it together."""

FAR = 0.01
"""And for each sample that it is away from the largest error."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """The bands of wrong samples along an axis, sorted by what they can be.

    ``seams`` are as narrow as the halo allows, ``border`` as well, at an end; ``wide`` are not.
    ``blended``: the errors are largest where a tile begins and ends, as of margins that are kept.
    """

    seams: tuple[Seam, ...]
    border: tuple[Seam, ...]
    wide: tuple[Band, ...]
    blended: bool
    errors: tuple[float, ...]

    def every(self) -> list[Band]:
        """All bands; one that goes around a circle as two."""
        known = [*((s.start, s.stop) for s in (*self.seams, *self.border)), *self.wide]
        return [piece for band in known for piece in pieces(band, len(self.errors))]

    def of_axis(self, axis: int, size: int, *, edges: bool) -> SeamAxis:
        """As a record; ``edges``: wide bands end where tiles do."""
        lines = {seam.line for seam in self.seams if seam.line is not None}
        if edges:
            lines |= {place for band in self.wide for place in band if 0 < place < size}
        ordered = tuple(sorted(lines))
        seams = tuple(sorted((*self.seams, *self.border), key=lambda seam: seam.start))
        return SeamAxis(
            axis=axis, seams=seams, lines=ordered, step=step_of(ordered), profile=self.errors
        )


def step_of(lines: Sequence[int]) -> int | None:
    """From line to line; the last tile may be moved back to end with the image."""
    steps = [b - a for a, b in itertools.pairwise(lines)]
    if not steps:
        return None
    step, times = Counter(steps).most_common(1)[0]
    return step if times >= len(steps) - 1 and (times > 1 or len(steps) == 1) else None


def along_axis(
    diff: Difference,
    axis: int,
    along: Along,
    tile: int | None,
    cropped: Callable[[Sequence[Seam]], bool],
) -> Found:
    """The bands of wrong samples along an axis; ``tile``: the pixels of a tile, where known.

    ``cropped``: whether the values are those of tiles that lack what seams say.
    """
    size = diff.wrong.shape[axis]
    around = profile(diff, axis)
    errors, mean = closed(around, along), _mean(diff, axis)
    mean = np.concatenate([mean, mean[: len(errors) - size]])
    seams, border, wide = [], [], []
    for band in bands(errors > 0, along.block):
        ends = (False, False) if along.circular else (band[0] == 0, band[1] == size)
        if band[1] - band[0] > _widest(along, ends, size):
            wide += pieces(band, size)
        elif any(ends):
            border.append(_bare(band, errors))
        else:
            seams.append(_bare(band, errors))
    seams = _placed(seams, mean, along)
    blended = _blended(seams, mean, along)
    if not blended and _reads_enough(seams, along, tile) and not cropped(seams):
        blended, seams = True, [replace(seam, missing=None) for seam in seams]
    elif blended:
        seams = [_bare((s.start, s.stop), errors) for s in seams]
    return Found(
        seams=tuple(opened(s, size) if along.circular else s for s in seams),
        border=tuple(border),
        wide=tuple(wide),
        blended=blended,
        errors=tuple(map(float, around)),
    )


def _bare(band: Band, errors: Array) -> Seam:
    return Seam(start=band[0], stop=band[1], error=float(errors[slice(*band)].max()))


def _mean(diff: Difference, axis: int) -> Array:
    finite = np.where(np.isfinite(diff.error), diff.error, 0.0)
    lines = np.moveaxis(finite, axis, 0).reshape(finite.shape[axis], -1)
    mean: Array = lines[:, clean_lines(diff, axis)].mean(axis=1)
    return mean


def _widest(along: Along, ends: tuple[bool, bool], size: int) -> int:
    """How wide a band can be around a cut, or at an end, where only an overlap is missing."""
    if along.reach is None:
        return size // 4
    before, behind = along.reach
    at_start, at_end = ends
    reach = (0 if at_start else before) + (0 if at_end else behind)
    if at_start and at_end:
        return 0
    return reach + along.block - 1


# -- where a tile begins -----------------------------------------------------------------------


Fit = tuple[float, int, tuple[int, int]]
"""What it costs to take a line for the seam, the line, and the pixels that tiles lack there."""


def _placed(seams: Sequence[Seam], mean: Array, along: Along) -> list[Seam]:
    """The seams with their lines: multiples of one tile, where that fits nearly as well."""
    fits = [sorted(_fits((s.start, s.stop), mean, along)) for s in seams]
    if not fits or not all(fits):
        return [_at_peak(seam, mean) for seam in seams]
    chosen = [each[0] for each in fits]
    most = _cost(chosen) + REGULAR * len(fits)
    for tile in sorted({line for _, line, _ in fits[0]} if len(fits) > 1 else ()):
        regular = [next((f for f in each if tile and f[1] % tile == 0), None) for each in fits]
        known = [fit for fit in regular if fit is not None]
        if len(known) == len(fits) and _cost(known) < most:
            chosen, most = known, _cost(known)
    return [
        replace(seam, line=line, missing=missing)
        for seam, (_, line, missing) in zip(seams, chosen, strict=True)
    ]


def _cost(fits: Sequence[Fit]) -> float:
    return sum(cost for cost, _, _ in fits)


def _at_peak(seam: Seam, mean: Array) -> Seam:
    return replace(seam, line=seam.start + int(np.argmax(mean[seam.start : seam.stop])))


def _fits(band: Band, mean: Array, along: Along) -> Iterator[Fit]:
    """Lines on which the band can lie, with what tiles lack there; the best costs least.

    Both tiles are taken to overlap alike, and the error to be largest at the line.
    """
    if along.reach is None or along.placement is None or along.stride is None:
        return
    peak = band[0] + int(np.argmax(mean[slice(*band)])) + 0.5
    for line in range(band[0], band[1] + 1):
        pixel = line * along.stride
        need = needed(line, along)
        held = _held(band, line, pixel, along)
        if need is None or any(h is not None and h < 0 for h in held):
            continue
        missing = tuple(
            0 if h is None else max(0, math.ceil(n - h)) for n, h in zip(need, held, strict=True)
        )
        before = need[0] if held[0] is None else held[0]
        behind = need[1] if held[1] is None else held[1]
        unlike = abs(before - behind)
        if None in held:  # an overlap that is large enough may be larger still
            known = behind if held[0] is None else before
            enough = before if held[0] is None else behind
            unlike = max(Fraction(0), enough - known)
        period = along.period or 1
        odd = ODD * period * bool(pixel % period)
        yield float(unlike) + odd + FAR * abs(line - peak), line, (missing[0], missing[1])


def needed(line: int, along: Along) -> tuple[Fraction, Fraction] | None:
    """The pixels beyond a line that samples before it see, and those that samples behind it do."""
    placement, reach = along.placement, along.reach
    if placement is None or reach is None or along.stride is None:
        return None
    pixel = line * along.stride
    before = [placement.field(p) for p in range(max(0, line - reach[0] - along.block), line)]
    stop = line + reach[1] + along.block
    stop = stop if along.circular else min(placement.samples, stop)
    behind = [placement.field(p) for p in range(line, stop)]
    ahead = max((Fraction(f[1]) - pixel for f in before if f), default=Fraction(0))
    back = max((pixel - Fraction(f[0]) for f in behind if f), default=Fraction(0))
    return max(ahead, Fraction(0)), max(back, Fraction(0))


def _held(
    band: Band, line: int, pixel: Fraction, along: Along
) -> tuple[Fraction | None, Fraction | None]:
    """The overlap that tiles have at most before and behind a line; None where it is enough."""
    placement = along.placement
    first = placement.field(band[0]) if placement and line > band[0] else None
    last = placement.field(band[1] - 1) if placement and line < band[1] else None
    return (
        None if first is None else Fraction(first[1]) - 1 - pixel,
        None if last is None else pixel - Fraction(last[0]) - 1,
    )


# -- margins that are kept ---------------------------------------------------------------------


def _blended(seams: Sequence[Seam], mean: Array, along: Along) -> bool:
    """Whether the errors are largest where tiles begin and end, not where they meet."""
    if not seams or along.reach is None or not all(along.reach):
        return False
    wide = [s for s in seams if s.stop - s.start >= 4]
    if len(wide) > 1 and all(_hollow(mean[s.start : s.stop]) for s in wide):
        return True
    pairs = list(zip(seams[::2], seams[1::2], strict=False))
    if len(seams) % 2 or not pairs:
        return False
    before, behind = along.reach
    inside = {b.start - a.stop for a, b in pairs}
    between = [b.start - a.stop for a, b in zip(seams[1::2], seams[2::2], strict=False)]
    by = 1.0 if len(pairs) > 1 else ALONE
    return (
        all((a.stop - a.start, b.stop - b.start) == (behind, before) for a, b in pairs)
        and len(inside) == 1
        and (len(pairs) > 1 or min(along.reach) > 2)
        and (inside.isdisjoint(between) or min(along.reach) > 2)
        and all(_falls(mean[a.start : a.stop], by) for a, _ in pairs)
        and all(_falls(mean[b.start : b.stop][::-1], by) for _, b in pairs)
    )


def _reads_enough(seams: Sequence[Seam], along: Along, tile: int | None) -> bool:
    """Whether tiles hold all that they need from line to line, so that only margins are wrong."""
    step = step_of([seam.line for seam in seams if seam.line is not None])
    if tile is None or step is None or along.halo is None or along.stride is None:
        return False
    if not _as_wide_as_margins(seams, along):
        return False
    return tile - step * along.stride >= sum(along.halo)


def _as_wide_as_margins(seams: Sequence[Seam], along: Along) -> bool:
    """Whether a whole margin is wrong somewhere: of one that is cut off in part, less is."""
    margins = [reach for reach in along.reach or () if reach]
    widest = max(seam.stop - seam.start for seam in seams)
    strided = along.block > 1 or (along.stride or 1) > 1  # a margin may then be one sample narrower
    return not margins or widest + strided >= min(margins)


def _hollow(errors: Array) -> bool:
    """Whether errors are larger at both ends than in the middle."""
    middle = float(errors[1:-1].min())
    return float(min(errors[0], errors[-1])) > ALONE * middle and int(np.argmax(errors)) in (
        0,
        len(errors) - 1,
    )


def _falls(errors: Array, by: float) -> bool:
    return len(errors) == 1 or float(errors[0]) > by * float(errors[-1])
