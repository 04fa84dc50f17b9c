"""The geometry of pieces that are put one after another along an axis.

One law is that of most samples; what becomes of the places that obey another one depends on where
it would look there: beyond the edge of what all the pieces hold, or at samples that are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from shiftcheck.lattice.axis import Axis, GeometryError, Mask, Pixels, resample, window


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """So many samples of the result, from place ``start`` on, and what is known of them.

    ``axis``: their geometry; None where they are none of this axis, as a constant. ``origin``: the
    pixel at which the first of them stands, and ``law``: what was done to them; pieces of one law
    agree where their samples stand at pixels that fit.
    """

    start: int
    size: int
    axis: Axis | None
    law: object
    origin: Fraction = Fraction(0)

    @property
    def stop(self) -> int:
        """The place after the last."""
        return self.start + self.size


@dataclass(frozen=True, kw_only=True, eq=False)
class Splice:
    """The geometry of the pieces together, and which of its places no longer are what they were.

    ``another``: the places that do not obey the law of most. ``excused``: that law looks beyond
    the edge there. ``different``: it does not, and something else happens. ``moved``: there, what
    belongs to another place.
    """

    axis: Axis
    another: Mask
    excused: Mask
    different: Mask
    moved: Mask


def spliced(pieces: Sequence[Piece], held: Axis | None = None) -> Splice:
    """The geometry of pieces one after another; ``held``: what was there before they were written.

    Raises GeometryError where what most of them do cannot be told for each of them alone.
    """
    total = sum(piece.size for piece in pieces)
    main = _main(pieces)
    assert main.axis is not None
    law = resample(main.axis, window(1, [-main.start]), total)
    alike, cut = np.zeros(total, dtype=bool), np.full(total, main.law is not None)
    valid, readable = np.zeros(total, dtype=bool), np.zeros(total, dtype=bool)
    for piece in pieces:
        if piece.axis is not None and _is_alike(piece, main):
            places = slice(piece.start, piece.stop)
            alike[places] = True
            valid[places], readable[places] = piece.axis.valid, piece.axis.readable
    known = _all_reachable(law, pieces, held) & (~alike | cut)
    excused, different = ~readable & ~known, ~valid & (readable | known)
    if law.mixed and not different.any():
        _need_tight(pieces, excused & ~alike)
    if law.circular:
        different = ~alike & (held is not None)
        excused = excused & ~different
    broken = any(p.axis is not None and p.axis.broken for p in pieces)
    axis = replace(
        law,
        valid=valid,
        different=different if different.any() and not law.circular else None,
        broken=broken,
        mixed=any(p.axis is not None and p.axis.mixed for p in pieces),
    )
    return Splice(
        axis=axis,
        another=~alike,
        excused=excused & ~alike,
        different=different,
        moved=different & _moved(law, pieces),
    )


def _main(pieces: Sequence[Piece]) -> Piece:
    """A piece of the law that most places obey; of two laws, one that does not go backwards."""
    laws = [p for p in pieces if p.axis is not None]

    def weight(piece: Piece) -> tuple[int, bool]:
        alike = [p for p in laws if _is_alike(p, piece)]
        assert piece.axis is not None
        return sum(p.size for p in alike), piece.axis.stride > 0

    return max(laws, key=weight)


def _is_alike(piece: Piece, main: Piece) -> bool:
    """Whether a piece does what the main one would do at its places."""
    one, other = piece.axis, main.axis
    if piece is main:
        return True
    if one is None or other is None or piece.law is None or piece.law != main.law:
        return False
    ahead = (piece.start - main.start) * other.stride
    fits = piece.origin - main.origin == ahead and (ahead / other.lattice).denominator == 1
    return fits and (one.stride, one.lattice) == (other.stride, other.lattice)


def _moved(law: Axis, pieces: Sequence[Piece]) -> Mask:
    """The places that hold samples which see other pixels than the law does there."""
    out = np.zeros(law.size, dtype=bool)
    for piece in pieces:
        if piece.axis is not None:
            here, index = np.arange(piece.start, piece.stop), np.arange(piece.size)
            first, last = piece.axis.first_of(index), piece.axis.last_of(index)
            out[here] = (first != law.first_of(here)) | (last != law.last_of(here))
    return out


def _all_reachable(law: Axis, pieces: Sequence[Piece], held: Axis | None) -> Mask:
    """The places at which all that the law looks at is held by some of the pieces."""
    lowest, highest = np.inf, -np.inf
    for axis in (held, *(piece.axis for piece in pieces)):
        if axis is not None and axis.readable.any():
            first, last = _seen(axis)
            lowest, highest = min(lowest, first.min()), max(highest, last.max())
    index = np.arange(law.size)
    first, last = law.first_of(index), law.last_of(index)
    return np.asarray((first >= lowest) & (last <= highest), dtype=bool)


def _seen(axis: Axis) -> tuple[Pixels, Pixels]:
    index = np.flatnonzero(axis.readable)
    return axis.first_of(index), axis.last_of(index)


def _need_tight(pieces: Sequence[Piece], excused: Mask) -> None:
    """Raise where a piece is excused by a law that may see less than is known of it."""
    for piece in pieces:
        if piece.axis is not None and excused[piece.start : piece.stop].any():
            raise GeometryError("pieces are joined of which some channels see less than others")
