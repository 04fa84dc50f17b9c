"""Putting tensors together, along a new dimension or one that they have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from shiftcheck.lattice.axis import Axis, GeometryError
from shiftcheck.lattice.broadcasting import join_states
from shiftcheck.lattice.causes import with_cause
from shiftcheck.lattice.factors import plain
from shiftcheck.lattice.joined import joined
from shiftcheck.lattice.layout import Layout, Recipe, Waves, no_longer_uniform, with_axis, with_dim
from shiftcheck.lattice.notes import is_same, sliced_from
from shiftcheck.lattice.splicing import Piece, Splice, spliced
from shiftcheck.lattice.windows import interleaved
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.rules.common import combined, normal_dim, uncoupled
from shiftcheck.rules.constants import with_constants
from shiftcheck.rules.indexing import Places, taken
from shiftcheck.rules.mirrored import without_mirror
from shiftcheck.rules.note_causes import STAYS
from shiftcheck.rules.operands import Constant
from shiftcheck.rules.registry import register_rule
from shiftcheck.rules.views import unsqueeze


@register_rule("aten::stack", law="1 -> 1", keeps_frequencies=True)
def stack(tensors: Sequence[object], dim: int = 0) -> Layout:
    """Tensors of one shape along a new dimension."""
    first = next(t for t in tensors if isinstance(t, Layout))
    at = normal_dim(dim, len(first.dims) + 1)
    return cat([_unsqueezed(t, at) for t in tensors], at)


def _unsqueezed(tensor: object, at: int) -> object:
    if isinstance(tensor, Constant):
        shape = (*tensor.shape[:at], 1, *tensor.shape[at:])
        return replace(tensor, shape=shape)
    return unsqueeze(tensor, at)


@register_rule(
    "aten::cat",
    "aten::concat",
    "aten::concatenate",
    law="1 -> 1 over channels; along an axis one side of the seam is invalid",
    keeps_uniform=True,
    keeps_frequencies=True,
)
def cat(tensors: Sequence[object], dim: int = 0) -> Layout:
    """Tensors one after the other along a dimension."""
    return put_together(tensors, dim)


NOTHING = (0,)
"""The shape that joins tensors of any rank, and adds nothing: an empty cache has it."""


def put_together(tensors: Sequence[object], dim: int, held: Layout | None = None) -> Layout:
    """The same; ``held``: the tensor, at their places along the dimension, that they replace."""
    at = normal_dim(dim, len(next(t for t in tensors if isinstance(t, Layout)).dims))
    tensors = [t for t in tensors if not isinstance(t, Constant) or t.shape != NOTHING]
    if len(tensors) == 1 and held is None and isinstance(tensors[0], Layout):
        return tensors[0]
    tensors = [no_longer_uniform(t, [at]) if isinstance(t, Layout) else t for t in tensors]
    tensors = [_with_samples(t, at) if isinstance(t, Layout) else t for t in tensors]
    layouts = [t for t in tensors if isinstance(t, Layout)]
    constants = [t for t in tensors if isinstance(t, Constant)]
    _need_of_one_kind(layouts, constants, at)
    axes = {a for s in layouts for a in s.axes_in([at])}
    fixed = [s for s in layouts if any(getattr(a, "kind", "") == CauseKind.INDEX for a in s.axes)]
    if len(fixed) > 1 and not axes:
        raise GeometryError("samples that were taken at fixed places are put together again")
    if any(s.axes_in([at]) and s.axis_in(at) is None for s in layouts):
        return _joined(tensors, at)
    if axes:
        return _cat_along_axis(tensors, at, axes, held)
    total = sum(s.shape[at] for s in layouts) + sum(c.shape[at] for c in constants)
    out = _mixed([with_dim(s, at, ()) for s in layouts])
    return with_dim(with_constants(out, constants), at, plain(total))


def _need_of_one_kind(layouts: Sequence[Layout], constants: Sequence[Constant], at: int) -> None:
    """Raise where tensors differ in rank, mix the batch, or not all of them are frequencies."""
    ranks = {len(s.shape) for s in layouts} | {len(c.shape) for c in constants}
    if len(ranks) > 1:
        raise GeometryError("tensors of different rank are joined")
    for layout in layouts:
        uncoupled(layout, [at], "a concatenation along the batch")
    if constants and any(isinstance(state, Waves) for s in layouts for state in s.axes):
        raise GeometryError("a constant is joined to the frequencies of a signal")


def _mixed(layouts: Sequence[Layout]) -> Layout:
    """Layouts as channels of one; it is remembered where some of them see less than others."""
    out = combined(layouts)
    for axis, state in enumerate(out.axes):
        seen = [s.axes[axis] for s in layouts]
        if isinstance(state, Axis) and any(not _sees_alike(s, seen[0]) for s in seen[1:]):
            out = with_axis(out, axis, replace(state, mixed=True))
    return out


def _sees_alike(one: object, other: object) -> bool:
    if not isinstance(one, Axis) or not isinstance(other, Axis):
        return one == other
    same = np.array_equal(one.first, other.first) and np.array_equal(one.last, other.last)
    return one is other or same


def _with_samples(layout: Layout, at: int) -> Layout:
    """The layout with the channels of coarse samples along ``at`` as finer samples."""
    ranked = at < len(layout.dims)
    return interleaved(layout, [at]) if ranked else layout


def _joined(tensors: Sequence[object], at: int) -> Layout:
    """Pieces of which one is a product of axes, as a class token before the patches."""
    pieces = [t for t in tensors if isinstance(t, Layout | Constant)]
    dims = [p.dims[at] if isinstance(p, Layout) else plain(p.shape[at]) for p in pieces]
    dim = joined(dims)
    layouts = [p for p in pieces if isinstance(p, Layout)]
    axes = next(s for s in layouts if s.axes_in([at])).axes_in([at])
    states = {a: join_states([s.axes[a] for s in layouts], present=True) for a in axes}
    rest = _beside(pieces, at, axes)
    for axis, state in states.items():
        rest = rest.with_state(axis, state)
    return rest.with_factors(at, dim)


def _cat_along_axis(
    tensors: Sequence[object], at: int, axes: set[int], held: Layout | None
) -> Layout:
    pieces = [t for t in tensors if isinstance(t, Layout | Constant)]
    if len(axes) > 1:
        raise GeometryError("pieces of different meaning are joined along a spatial axis")
    again = _slices_of_one(pieces, at)
    if again is not None:
        stored = None if held else (int(again[2].min()), int(again[2].max()) + 1)
        return taken(*again, "a concatenation", forward=True, stored=stored)
    axis = next(iter(axes))
    laid = list(_laid(pieces, at, axis))
    before = held is not None and held.axis_in(at) == axis
    whole = spliced(laid, held.geometry(axis) if held is not None and before else None)
    kept = [_causes_kept(p, axis, whole, place) for p, place in zip(pieces, laid, strict=True)]
    upright = whole.axis.stride > 0
    rest = _beside(
        [without_mirror(p, axis) if upright and isinstance(p, Layout) else p for p in kept],
        at,
        [axis],
    )
    owner = next(p for p in pieces if isinstance(p, Layout) and p.axis_in(at) == axis)
    factors = tuple(replace(f, size=whole.axis.size) for f in owner.dims[at])
    out = rest.with_state(axis, whole.axis).with_factors(at, factors)
    others = [p for p in kept if isinstance(p, Layout) and p.axis_in(at) != axis]
    picked = any((c.kind, c.axis) == (CauseKind.INDEX, axis) for p in others for c in p.causes)
    return _note_splice(out, axis, whole, laid, written=held is not None, picked=picked)


def _beside(pieces: Sequence[Layout | Constant], at: int, axes: Sequence[int]) -> Layout:
    """What the pieces make along all other dimensions and axes, as if each were one sample."""
    rest = combined([without(p, at, axes) for p in pieces if isinstance(p, Layout)])
    return with_constants(rest, [p for p in pieces if isinstance(p, Constant)])


def _laid(pieces: Sequence[Layout | Constant], at: int, axis: int) -> Iterator[Piece]:
    """The pieces at their places along ``axis``, which some of them have as dimension ``at``."""
    start = 0
    for piece in pieces:
        size = piece.shape[at]
        if isinstance(piece, Layout) and piece.axis_in(at) == axis:
            state, recipe = piece.geometry(axis), piece.recipe
            origin = recipe.starts.get(axis) if recipe is not None else None
            if recipe is None or origin is None:
                yield Piece(start=start, size=size, axis=state, law=None)
            else:
                law = _law_beside(recipe, axis)
                yield Piece(start=start, size=size, axis=state, law=law, origin=origin)
        else:
            yield Piece(start=start, size=size, axis=None, law=None)
        start += size


def _law_beside(recipe: Recipe, axis: int) -> object:
    """What two parts of a tensor have in common that differ in their place along ``axis`` alone."""
    others = frozenset((a, start) for a, start in recipe.starts.items() if a != axis)
    return id(recipe.whole), others, recipe.steps


def _causes_kept(
    piece: Layout | Constant, axis: int, whole: Splice, place: Piece
) -> Layout | Constant:
    """The piece without what was done to it along the axis, where that is not what is wrong.

    Where another law holds, the join is to blame for a law that is a good one by itself.
    """
    places = slice(place.start, place.stop)
    excused, another = whole.excused[places], whole.another[places]
    if isinstance(piece, Constant) or not another.all():
        return piece
    harmless = excused.all()
    causes = tuple(
        c
        for c in piece.causes
        if c.axis != axis
        or c.kind in STAYS
        or not (harmless or c.period is not None or c.kind in (CauseKind.PADDING, CauseKind.GLOBAL))
    )
    return replace(piece, causes=causes)


def _note_splice(
    out: Layout, axis: int, whole: Splice, laid: Sequence[Piece], *, written: bool, picked: bool
) -> Layout:
    """Name what became of the places; what is ``written`` to its own place is no other sample.

    ``picked``: some of it is a sample of the axis that was taken at a fixed place.
    """
    detail = "pieces are joined at a fixed place"
    opened = out.geometry(axis).circular and not written and not whole.axis.valid.all()
    if whole.excused.any() or opened:
        out = with_cause(out, Cause(kind=CauseKind.PADDING, axis=axis, detail=detail))
    if whole.different.any():
        layouts = np.concatenate([np.full(p.size, p.axis is not None) for p in laid])
        pieces = whole.moved if written else whole.different & layouts
        kind = CauseKind.INDEX if picked or pieces.any() else CauseKind.POSITION
        out = with_cause(out, Cause(kind=kind, axis=axis, detail=detail))
    return out


def _slices_of_one(
    pieces: Sequence[Layout | Constant], at: int
) -> tuple[Layout, int, Places] | None:
    """The nearest tensor of which all pieces are slices, and the places of its samples there."""
    lines = [list(sliced_from(p, at)) for p in pieces if isinstance(p, Layout)]
    if len(lines) < len(pieces):
        return None
    for whole, _ in lines[0]:
        parts = [next((c for other, c in line if is_same(whole, other)), None) for line in lines]
        if all(part is not None for part in parts):
            return whole, at, np.concatenate([np.asarray(part, dtype=np.intp) for part in parts])
    return None


def without(layout: Layout, dim: int, axes: Sequence[int]) -> Layout:
    """One sample along a dimension, with nothing known about ``axes``."""
    out = layout.with_factors(dim, ())
    for axis in axes:
        out = out.with_state(axis, None)
    return out
