"""Views: the factors of a layout in dimensions of another shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shiftcheck.lattice.axis import GeometryError
from shiftcheck.lattice.factors import SPLIT, Dim, Factor, canonical
from shiftcheck.lattice.layout import Layout, with_dims


def regroup(layout: Layout, shape: Sequence[int]) -> Layout:
    """The layout after a view to ``shape``; raises GeometryError where it cuts across a factor."""
    queue = [f for dim in layout.dims for f in dim]
    dims: list[Dim] = []
    for size in shape:
        taken, queue = _take(queue, size)
        dims.append(taken)
    trailing = [f for f in queue if f.size != 1]
    if trailing:
        raise GeometryError(f"a view to {tuple(shape)} leaves factors over")
    return with_dims(layout, dims)


def _take(queue: list[Factor], size: int) -> tuple[Dim, list[Factor]]:
    taken: list[Factor] = []
    room = size
    while room > 1 or (not taken and size == 1 and queue and queue[0].size == 1):
        if not queue:
            raise GeometryError("a view needs more factors than there are")
        head, queue = queue[0], queue[1:]
        if room % head.size == 0:
            taken.append(head)
            room //= head.size
        elif head.kind in ("plain", *SPLIT) and head.size % room == 0:
            rest = head.size // room
            step = head.step * rest if head.kind in SPLIT else 1
            taken.append(replace(head, size=room, step=step))
            queue, room = [replace(head, size=rest), *queue], 1
        else:
            raise GeometryError(f"a view cuts across {_name(head)} of size {head.size}")
    return canonical(taken), queue


def _name(factor: Factor) -> str:
    names = {"copies": "the batch", "plain": "a dimension", "joined": "pieces that were joined"}
    return names.get(factor.kind, f"spatial axis {factor.axis}")
