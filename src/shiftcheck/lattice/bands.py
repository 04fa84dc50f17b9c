"""The law of which positions each sample is related to, read off a table of all pairs.

A table holds a whole number for each pair of a place and a place that it may be related to: 0 where
the pair is hidden, and otherwise the same number for pairs that are treated alike. Only numbers are
seen here, no tensor and no layout.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shiftcheck.lattice.axis import (
    Axis,
    Indices,
    Taps,
    accumulate,
    coarsen,
    globalise,
    join,
    resample,
)
from shiftcheck.lattice.gather import LONGEST_PATTERN

Codes = NDArray[np.int64]

TWICE = 2
"""How many places have to obey a law before it counts as one."""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How far the samples of one axis look along it.

    ``taps``: what each of them reads; None where that has no end, which then is so on the side
    ``before``, on the one ``after`` it, or on both. ``around``: it goes on at the other end of a
    circle. ``period``: in samples, where there are no taps. ``ahead``: for each sample of the
    period, how many samples after it are seen where that has an end; empty where it has none.

    Example:
        >>> Reach(taps=Taps(num=1, phases=((-2, -1, 0),))).bounded
        True
    """

    taps: Taps | None = None
    before: bool = True
    after: bool = True
    around: bool = False
    period: int = 1
    ahead: tuple[int, ...] = ()

    @property
    def bounded(self) -> bool:
        """Whether samples look no further than a fixed distance."""
        return self.taps is not None


def causal(axes: int) -> tuple[Reach, ...]:
    """What a sample sees that is related to itself and all before it, in row order.

    Example:
        >>> [(reach.before, reach.after) for reach in causal(2)]
        [(True, False), (True, True)]
    """
    return (Reach(after=False), *[Reach()] * (axes - 1))


def reached(axis: Axis, reach: Reach) -> Axis:
    """The geometry of a value that is made of the samples of ``axis`` within reach.

    Example:
        >>> from shiftcheck.lattice.axis import input_axis
        >>> band = Reach(taps=Taps(num=1, phases=((-2, -1, 0),)))
        >>> reached(input_axis(5, circular=False), band).valid.tolist()
        [False, False, True, True, True]
    """
    if reach.taps is not None:
        return resample(axis, reach.taps, axis.size, wrap=reach.around)
    if reach.around:
        return coarsen(globalise(axis), reach.period)
    out = accumulate(axis) if reach.before else axis
    if reach.ahead:
        return join(out, _up_to(axis, reach))
    return accumulate(out, backwards=True) if reach.after else out


def _up_to(axis: Axis, reach: Reach) -> Axis:
    """Samples that see themselves and those after them within reach; the rest is not of them."""
    phases = tuple((r, r + ahead) for r, ahead in enumerate(reach.ahead))
    seen = resample(axis, Taps(num=reach.period, phases=phases), axis.size)
    return replace(seen, valid=axis.valid, different=axis.different, origins=axis.origins)


def reaches(
    codes: Codes, sizes: Sequence[int], circles: Sequence[bool]
) -> tuple[Reach, ...] | None:
    """The law of a table ``[*sizes, *sizes]`` along each axis, None where there is none.

    A place that would look beyond an edge is excused from it. The others obey it without exception,
    and each part of it is seen at two places at least. On a circle it goes around, or ends.

    Example:
        >>> here = np.arange(8)
        >>> ahead = here[None] - here[:, None]
        >>> reaches(((ahead <= 0) & (ahead > -3)).astype(np.int64), [8], [False])[0].taps
        Taps(num=1, phases=((0, -1, -2),))
        >>> reaches((ahead <= 0).astype(np.int64), [8], [False])[0].after
        False
        >>> reaches(((here[None] % 5) > 1).astype(np.int64) + 0 * ahead, [8], [False]) is None
        True
    """
    table = _Table(codes.reshape(*sizes, *sizes), tuple(sizes))
    for around in dict.fromkeys((tuple(circles), (False,) * len(circles))):
        law = _bounded(table, around)
        if law is not None:
            return law
    return None if any(circles) else _diagonal(table) or _all_before(table)


class _Table:
    """The pairs, and how many each place is related to."""

    def __init__(self, codes: Codes, sizes: tuple[int, ...]) -> None:
        self.codes, self.sizes = codes, sizes
        self.counts = (codes != 0).reshape(*sizes, -1).sum(-1)


def _bounded(table: _Table, around: tuple[bool, ...]) -> tuple[Reach, ...] | None:
    """The law with the shortest period along each axis, of which every part is confirmed.

    Along one axis it holds at all places of the others, at their edges, too.
    """
    out, periods = [], []
    for axis in range(len(table.sizes)):
        along = _along(table, axis, around)
        if along is None:
            return None
        period, offsets = along
        periods.append(period)
        out.append(_reach(table, axis, offsets, period, around[axis]))
    together = _offsets(table, periods, around, range(len(periods)))
    return None if together is None else tuple(out)


def _along(table: _Table, axis: int, around: tuple[bool, ...]) -> tuple[int, Offsets] | None:
    """After how many places the law repeats along one axis, and what it is there."""
    size = table.sizes[axis]
    for period in range(1, max(1, min(size // TWICE, LONGEST_PATTERN)) + 1):
        periods = [period if a == axis else n for a, n in enumerate(table.sizes)]
        if around[axis] and size % period:
            continue
        offsets = _offsets(table, periods, around, [axis])
        if offsets is not None:
            return period, offsets
    return None


Offsets = dict[tuple[int, ...], Indices]
"""For each phase of the period, how far away the places are that it is related to."""


def _offsets(
    table: _Table, periods: Sequence[int], around: tuple[bool, ...], axes: Sequence[int]
) -> Offsets | None:
    """The offsets of each phase; None where places differ, or only one obeys along an axis."""
    by_phase = {}
    for phase in itertools.product(*map(range, periods)):
        steps = [np.arange(r, n, p) for r, n, p in zip(phase, table.sizes, periods, strict=True)]
        places = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, len(steps))
        for model in _models(table, places):
            offsets = _obeyed(table, places, model, around, axes)
            if offsets is not None:
                by_phase[phase] = offsets
                break
        else:
            return None
    return by_phase


def _models(table: _Table, places: Indices) -> Iterator[Indices]:
    """The places to take the law from: the middle one, and the one that is related to most."""
    middle = np.abs(2 * places - np.array(table.sizes)).sum(1)
    yield places[int(middle.argmin())]
    counts = table.counts[tuple(places.T)]
    yield places[int(np.lexsort((middle, -counts))[0])]


def _obeyed(
    table: _Table,
    places: Indices,
    model: Indices,
    around: tuple[bool, ...],
    axes: Sequence[int],
) -> Indices | None:
    """The offsets of one place, where all that find what it finds do the same with it."""
    here = table.codes[tuple(model)]
    seen = np.argwhere(here)
    if not len(seen):
        return None
    offsets, sizes = seen - model, np.array(table.sizes)
    open_axes = ~np.array(around)
    low, high = offsets.min(0), offsets.max(0)
    inside = (places + low >= 0) & (places + high < sizes)
    whole = places[(inside | ~open_axes).all(1)]
    for a in axes:
        if table.sizes[a] > 1 and len(np.unique(whole[:, a])) < TWICE:
            return None
        if not around[a] and not _ends(offsets[:, a], whole[:, a], table.sizes[a]):
            return None
    if not bool((table.counts[tuple(whole.T)] == len(seen)).all()):
        return None
    there = (whole[:, None] + offsets) % sizes
    pairs = tuple(np.broadcast_to(whole[:, None, a], there.shape[:2]) for a in range(len(sizes)))
    same = table.codes[(*pairs, *np.moveaxis(there, -1, 0))] == here[tuple(seen.T)]
    return offsets if bool(same.all()) else None


def _ends(offsets: Indices, places: Indices, size: int) -> bool:
    """Whether some of the places would see one more offset on each side, if there were one.

    Else it is the edge of the table that ends the offsets: every third place of a long band.
    """
    first, last, further = _span_of(offsets)
    before = bool((places + first - further >= 0).any())
    return before and bool((places + last + further < size).any())


def _span_of(offsets: Indices) -> tuple[int, int, int]:
    """The first and the last offset, and how far they are apart at most."""
    each = np.unique(offsets)
    further = int(np.diff(each).max()) if len(each) > 1 else 1
    return int(each[0]), int(each[-1]), further


def _reach(table: _Table, axis: int, by_phase: Offsets, period: int, around: bool) -> Reach:
    size = table.sizes[axis]
    phases: list[set[int]] = [set() for _ in range(period)]
    for phase, offsets in by_phase.items():
        phases[phase[axis]] |= {int(d) for d in offsets[:, axis]}
    if around and any(len({d % size for d in one}) == size for one in phases):
        return Reach(around=True, period=period)
    taps = []
    for r, one in enumerate(phases):
        ahead = _from_the_nearest(one, size) if around else one
        taps.append(tuple(r + d for d in sorted(ahead, reverse=True)))
    return Reach(taps=Taps(num=period, phases=tuple(taps)), around=around)


def _from_the_nearest(offsets: set[int], size: int) -> set[int]:
    """Offsets on a circle, cut open where the widest gap is."""
    turned = sorted(d % size for d in offsets)
    gaps = [(b - a, b) for a, b in itertools.pairwise([*turned, turned[0] + size])]
    widest = max(gap for gap, _ in gaps)
    ways = []
    for gap, start in gaps:
        if gap == widest:
            way = {start % size + (d - start) % size for d in turned}
            turns = math.floor((max(way) + min(way)) / (2 * size) + 0.5)
            ways.append({d - turns * size for d in way})
    return min(ways, key=lambda way: max(map(abs, way)))


def _diagonal(table: _Table) -> tuple[Reach, ...] | None:
    """The law of a table whose pairs are alike wherever they are equally far apart."""
    axes = range(len(table.sizes))
    places = np.indices(table.codes.shape)
    ahead = [places[len(axes) + a] - places[a] for a in axes]
    spans = tuple(2 * n - 1 for n in table.sizes)
    index = np.ravel_multi_index(
        tuple(d + n - 1 for d, n in zip(ahead, table.sizes, strict=True)), spans
    )
    alike = np.zeros(math.prod(spans), dtype=np.int64)
    alike[index] = table.codes
    seen = table.codes != 0
    if not seen.any() or not bool((alike[index] == table.codes).all()):
        return None
    out = []
    for a, size in zip(axes, table.sizes, strict=True):
        offsets = np.unique(ahead[a][seen])
        first, last, further = _span_of(offsets)
        ends = first - further > -size and last + further < size and last - first + TWICE <= size
        taps = Taps(num=1, phases=(tuple(map(int, offsets[::-1])),)) if ends else None
        some = last > 0 and first < 0 and last + further < size - TWICE and len(table.sizes) == 1
        some = some and not ends
        reach = Reach(taps=taps, before=first < 0, after=last > 0, ahead=(last,) if some else ())
        out.append(reach)
    return tuple(out)


def _all_before(table: _Table) -> tuple[Reach, ...] | None:
    """The law of places that see all before them and some after, as many for each of a period.

    Chunks that see themselves and all earlier ones are such places.
    """
    if len(table.sizes) != 1:
        return None
    (size,), codes = table.sizes, table.codes
    seen = codes != 0
    if not seen[:, 0].all():
        return None
    ahead = size - 1 - seen[:, ::-1].argmax(1) - np.arange(size)
    for period in range(1, min(size // (TWICE + 1), LONGEST_PATTERN) + 1):
        if bool((codes[period:, period:] == codes[:-period, :-period]).all()):
            each = [_repeated(ahead[r::period], size - period) for r in range(period)]
            if all(n is not None and n >= 0 for n in each):
                found = tuple(n for n in each if n is not None)
                return (Reach(after=any(found), ahead=found, period=period),)
    return None


def _repeated(ahead: Indices, most: int) -> int | None:
    """How far ahead places see that are alike; the last may be cut off by the end."""
    whole = ahead[:-1] if len(ahead) > TWICE else ahead
    same = len(whole) >= TWICE and bool((whole == whole[0]).all())
    return int(whole[0]) if same and whole[0] < most else None
