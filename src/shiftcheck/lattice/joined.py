"""Dimensions of pieces one after another, as a class token and its patches."""

from __future__ import annotations

from collections.abc import Sequence

from shiftcheck.lattice.axis import GeometryError
from shiftcheck.lattice.factors import SPATIAL, Dim, Factor, canonical, flat, plain, size_of


def joined(dims: Sequence[Dim]) -> Dim:
    """Pieces one after another along one dimension; raises GeometryError where two hold an axis."""
    spatial = [d for d in dims if any(f.kind in SPATIAL for f in flat(d))]
    if len(spatial) > 1:
        raise GeometryError("pieces that each hold a spatial axis are joined")
    pieces = tuple(p for d in dims for p in (d[0].pieces if _is_joined(d) else (d,)))
    return canonical([Factor("joined", sum(map(size_of, dims)), pieces=pieces)])


def _is_joined(dim: Dim) -> bool:
    return len(dim) == 1 and dim[0].kind == "joined"


def main_piece(factor: Factor) -> tuple[int, Dim]:
    """Where the piece that holds a spatial axis starts in a joined factor, and its factors."""
    start = 0
    for piece in factor.pieces:
        if any(f.kind in SPATIAL for f in flat(piece)):
            return start, piece
        start += size_of(piece)
    return 0, factor.pieces[0]


def narrowed(dim: Dim) -> Dim:
    """The dimension with only the piece of each joined factor that holds a spatial axis."""
    return tuple(f for g in dim for f in (main_piece(g)[1] if g.kind == "joined" else (g,)))


def pieces_in(dim: Dim, chosen: range) -> Dim | None:
    """The whole pieces of a joined dimension that ``chosen`` takes; None where it cuts one."""
    if not _is_joined(dim) or chosen.step != 1:
        return None
    start, taken = 0, []
    for piece in dim[0].pieces:
        stop = start + size_of(piece)
        if chosen.start <= start and stop <= chosen.stop:
            taken.append(piece)
        elif chosen.start < stop and start < chosen.stop:
            return _part_of_plain(piece, range(chosen.start - start, chosen.stop - start))
        start = stop
    return taken[0] if len(taken) == 1 else joined(taken)


def _part_of_plain(piece: Dim, chosen: range) -> Dim | None:
    inside = chosen.start >= 0 and chosen.stop <= size_of(piece)
    return plain(len(chosen)) if inside and all(f.kind == "plain" for f in piece) else None
