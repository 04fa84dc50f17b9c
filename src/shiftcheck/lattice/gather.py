"""Samples taken from an axis by a list of places, and the pattern that the list follows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from shiftcheck.lattice.axis import (
    Axis,
    GeometryError,
    Indices,
    Mask,
    Taps,
    coarsen,
    resample,
    whole_turns,
    window,
    with_different,
)

MOST_RUNS = 7
"""Four pieces and their seams: a list of places in more pieces than that is in no order."""

LONGEST_PATTERN = 64
"""The largest number of samples after which a list of indices is looked at for a repetition."""


def take(
    axis: Axis,
    indices: Indices,
    *,
    forward: bool = False,
    stored: tuple[int, int] | None = None,
) -> Axis:
    """The geometry after a gather of the samples ``indices``, on a closed circle modulo its turn.

    The longest part of ``indices`` that advances regularly decides the stride; samples outside
    that pattern are not valid, and may be few pieces, as a padding or a seam leaves them. They are
    different where the pattern would go on to a sample that is ``stored``: from its first to
    before its last entry, by default the whole axis. ``forward``: the pattern is none that goes
    backwards. Raises GeometryError where no half of them follows a pattern.

    On any circle the first stored sample may follow the last one, as circular padding has it.
    """
    turn = axis.circle if axis.closed else None
    taps = _regular_part(indices, turn, forward)
    if taps is None and axis.circular:
        turn, taps = axis.circle, _regular_part(indices, axis.size, forward)
    if taps is None:
        raise GeometryError("the indices follow no pattern")
    source = coarsen(axis, abs(taps.num)) if taps.den > 1 else axis
    out = resample(source, taps, len(indices))
    here = np.arange(len(indices))
    expected = here // taps.den * taps.num + np.array(taps.phases)[here % taps.den, 0]
    apart = indices - expected if turn is None else (indices - expected) % turn
    out = replace(out, valid=source.valid[indices] & (apart == 0))
    if turn is not None:
        return whole_turns(replace(out, different=None))
    start, stop = stored or (0, axis.size)
    there = (expected >= start) & (expected < stop)
    readable = np.where(apart == 0, source.readable[indices], there)
    inside = np.clip(expected, 0, max(axis.size - 1, 0))
    return whole_turns(with_different(out, readable & source.readable[inside]))


def runs(valid: Mask) -> tuple[tuple[int, int], ...]:
    """A mask as its runs of True: (start, stop) each."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], valid, [False])).astype(np.int8)))
    return tuple((int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True))


def _regular_part(indices: Indices, turn: int | None, forward: bool) -> Taps | None:
    """The shortest pattern that half of the indices follow, modulo ``turn``; None where few do."""
    if turn == 1 and forward:  # on a circle of one sample each is the next one
        return window(1, [int(indices[0])])
    best = (len(indices) - 1) // 2
    for den in range(1, min(len(indices) - 1, LONGEST_PATTERN) + 1):
        advances = _advances(indices, den, turn)
        start, stop, num = _longest_run(advances)
        covered = stop - start + den
        enough = 2 * den if covered == len(indices) else 3 * den
        if (num > 0 or (num < 0 and not forward)) and covered > best and covered >= enough:
            pieces = 1 + np.count_nonzero(np.diff(advances))
            return _pattern(indices, start, num, den) if pieces <= MOST_RUNS * den else None
    return None


def _advances(indices: Indices, den: int, turn: int | None) -> Indices:
    """How far the indices advance in ``den`` samples, on a circle the shorter way."""
    ahead = indices[den:] - indices[:-den]
    if turn is None:
        return ahead
    ahead = ahead % turn
    return np.where(ahead > turn // 2, ahead - turn, ahead)


def _longest_run(values: Indices) -> tuple[int, int, int]:
    """Start and stop of the longest run of one value other than zero, and that value."""
    edges = np.flatnonzero(np.diff(values)) + 1
    starts, stops = np.concatenate(([0], edges)), np.concatenate((edges, [len(values)]))
    lengths = np.where(values[starts] != 0, stops - starts, 0)
    longest = int(lengths.argmax())
    start = int(starts[longest])
    return start, start + int(lengths[longest]), int(values[start])


def _pattern(indices: Indices, start: int, num: int, den: int) -> Taps:
    phases = []
    for r in range(den):
        at = start + (r - start) % den
        phases.append((int(indices[at]) - at // den * num,))
    return Taps(num=num, phases=tuple(phases))
