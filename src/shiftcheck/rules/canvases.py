"""Results that are written piece by piece: what is known of a canvas and of all its patches.

A canvas with patches is what their pieces are, put together: the rule of a concatenation says it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from shiftcheck.lattice.axis import GeometryError
from shiftcheck.lattice.factors import flat
from shiftcheck.lattice.layout import Layout, Recipe, with_dims
from shiftcheck.lattice.notes import by_recipe
from shiftcheck.rules.common import join_dims
from shiftcheck.rules.concatenation import put_together, stack
from shiftcheck.rules.note_causes import STAYS
from shiftcheck.rules.operands import Constant
from shiftcheck.rules.views import take_range

MOST_PATCHES = 64
"""A canvas with more patches than that is not followed."""

Region = tuple[range, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Patch:
    """What was written: its place on the canvas, whose dimensions ``part`` has all.

    ``starts``: the first sample along each dimension; the next is ``steps`` further on.
    """

    starts: tuple[int, ...]
    steps: tuple[int, ...]
    part: Layout | Constant

    def places(self, dim: int) -> range:
        """The samples of the canvas that are written along a dimension."""
        start, step = self.starts[dim], self.steps[dim]
        return range(start, start + step * self.part.shape[dim], step)


@dataclass(frozen=True, kw_only=True, eq=False)
class Canvas:
    """A tensor that is written to: what it held at first, and the patches, the latest last.

    ``base``: None where the same constant was everywhere.
    """

    shape: tuple[int, ...]
    base: Layout | None
    patches: tuple[Patch, ...] = ()

    def with_patch(self, patch: Patch) -> Canvas:
        """The canvas after one more patch; raises GeometryError where there are too many."""
        if len(self.patches) >= MOST_PATCHES:
            raise GeometryError(f"more than {MOST_PATCHES} pieces are written one by one")
        return replace(self, patches=(*self.patches, patch))


def assembled(canvas: Canvas) -> Layout:
    """What is known of a canvas; raises GeometryError where the pieces do not fit together."""
    out = _whole(canvas)
    if isinstance(out, Constant):
        raise GeometryError("constants were written over all that was followed")
    return out


def _whole(canvas: Canvas) -> Layout | Constant:
    """All that a canvas holds, of which nothing need depend on the signal any more."""
    stepped = [d for d in range(len(canvas.shape)) if any(p.steps[d] > 1 for p in canvas.patches)]
    if stepped:
        return _by_residues(canvas, stepped[0])
    return _piece(canvas, tuple(range(n) for n in canvas.shape))


def _by_residues(canvas: Canvas, dim: int) -> Layout | Constant:
    """A canvas of which every n-th sample is written: each residue is a canvas by itself."""
    step = math.lcm(*(p.steps[dim] for p in canvas.patches))
    if canvas.shape[dim] % step:
        raise GeometryError(f"every {step}th of {canvas.shape[dim]} samples is written")
    residues = [_residue(canvas, dim, r, step) for r in range(step)]
    pieces = [_whole(c) if c.base or c.patches else _blank(c.shape) for c in residues]
    if all(isinstance(piece, Constant) for piece in pieces):
        return _blank(canvas.shape)
    together = stack(pieces, dim + 1)
    joint, dims = join_dims(*together.dims[dim : dim + 2]), together.dims
    return with_dims(together, [*dims[:dim], joint, *dims[dim + 2 :]])


def _residue(canvas: Canvas, dim: int, residue: int, step: int) -> Canvas:
    """The samples ``residue, residue + step, ...`` of a dimension."""
    every = range(residue, canvas.shape[dim], step)
    base = None if canvas.base is None else take_range(canvas.base, dim, every)
    patches = tuple(p for q in canvas.patches for p in _of_residue(q, dim, residue, step))
    shape = tuple(len(every) if d == dim else n for d, n in enumerate(canvas.shape))
    return Canvas(shape=shape, base=base, patches=patches)


def _of_residue(patch: Patch, dim: int, residue: int, step: int) -> Iterator[Patch]:
    """The part of a patch that is written to a residue."""
    places = patch.places(dim)
    mine = [i for i, place in enumerate(places) if place % step == residue]
    if not mine:
        return
    chosen = range(mine[0], mine[-1] + 1, mine[1] - mine[0] if len(mine) > 1 else 1)
    starts, steps = list(patch.starts), list(patch.steps)
    starts[dim], steps[dim] = places[mine[0]] // step, 1
    part = patch.part
    if isinstance(part, Layout):
        part = take_range(part, dim, chosen)
    else:
        part = _blank([len(chosen) if d == dim else n for d, n in enumerate(part.shape)])
    yield Patch(starts=tuple(starts), steps=tuple(steps), part=part)


def _piece(canvas: Canvas, region: Region) -> Layout | Constant:
    """What a region of the canvas holds: one piece of the latest patch there, or several joined."""
    touching = [p for p in canvas.patches if _overlap(p, region)]
    if not touching:
        return _of_base(canvas, region)
    latest = touching[-1]
    if _covers(latest, region):
        within = zip(region, latest.starts, strict=True)
        return _piece_of(latest.part, [range(r.start - s, r.stop - s) for r, s in within])
    dim, edges = _cut(touching, region)
    parts = [range(a, b) for a, b in itertools.pairwise(edges)]
    pieces = [_piece(canvas, (*region[:dim], part, *region[dim + 1 :])) for part in parts]
    if all(isinstance(piece, Constant) for piece in pieces):
        return _blank([len(r) for r in region])
    held = None if canvas.base is None else _part_of(canvas.base, region)
    out = put_together(pieces, dim, held)
    recipe = _recipe_of_join(pieces, dim)
    return out if recipe is None else by_recipe(out, recipe)


def _recipe_of_join(pieces: Sequence[Layout | Constant], dim: int) -> Recipe | None:
    """The recipe of pieces that lie side by side as in the tensor that they are of, if they do.

    Constants between them only hide a part of it.
    """
    recipes, start = [], 0
    for piece in pieces:
        if isinstance(piece, Layout):
            recipe, axis = piece.recipe, piece.axis_in(dim)
            if recipe is None or axis is None:
                return None
            ahead = recipe.starts.get(axis, Fraction(0)) - start * piece.geometry(axis).stride
            recipes.append(replace(recipe, starts={**recipe.starts, axis: ahead}))
        start += piece.shape[dim]
    one = recipes[0]
    same = [
        (r.starts, r.steps) == (one.starts, one.steps) and r.whole is one.whole for r in recipes
    ]
    return one if all(same) else None


def _cut(touching: Sequence[Patch], region: Region) -> tuple[int, list[int]]:
    """The dimension along which a region is cut, and where.

    At every edge of a patch: along the dimension along which the latest patch that fills the region
    along all others has one, else along the first that has one.
    """
    for patch in reversed(touching):
        inside = [_edges_inside([patch], d, region[d]) for d in range(len(region))]
        cut = [d for d, edges in enumerate(inside) if edges]
        if len(cut) == 1:
            dim = cut[0]
            break
    else:
        dim = next(d for d, whole in enumerate(region) if _edges_inside(touching, d, whole))
    whole = region[dim]
    return dim, [whole.start, *_edges_inside(touching, dim, whole), whole.stop]


def _edges_inside(patches: Sequence[Patch], dim: int, whole: range) -> list[int]:
    """Where a patch begins or ends within a range of a dimension."""
    edges = {edge for patch in patches for edge in _edges(patch, dim)}
    return sorted(edge for edge in edges if whole.start < edge < whole.stop)


def _of_base(canvas: Canvas, region: Region) -> Layout | Constant:
    if canvas.base is None:
        return _blank([len(r) for r in region])
    return _piece_of(canvas.base, region)


def _piece_of(layout: Layout | Constant, region: Sequence[range]) -> Layout | Constant:
    """A part of a tensor; of one that holds the same value everywhere, a constant."""
    if isinstance(layout, Constant):
        return _blank([len(r) for r in region])
    kinds = {f.kind for dim in layout.dims for f in flat(dim)}
    if kinds <= {"uniform", "copies"} and not any(c.kind in STAYS for c in layout.causes):
        return _blank([len(r) for r in region])
    return _part_of(layout, region)


def _part_of(layout: Layout, region: Sequence[range]) -> Layout:
    """A part of a tensor, along its axes first: parts of the same channels have one recipe."""
    out = layout
    for dim in sorted(range(len(region)), key=lambda d: not layout.axes_in([d])):
        part = take_range(out, dim, region[dim])
        if part is not out and part.recipe is None and out.recipe is not None:
            steps = hash((out.recipe.steps, dim, region[dim]))
            part = by_recipe(part, replace(out.recipe, steps=steps))
        out = part
    return out


def _blank(shape: Sequence[int]) -> Constant:
    """A constant that is the same everywhere."""
    return Constant(tuple(shape), lambda *_: 1)


def _edges(patch: Patch, dim: int) -> tuple[int, int]:
    places = patch.places(dim)
    return places.start, places.start + len(places)


def _overlap(patch: Patch, region: Region) -> bool:
    edges = [_edges(patch, d) for d in range(len(region))]
    return all(a < r.stop and r.start < b for (a, b), r in zip(edges, region, strict=True))


def _covers(patch: Patch, region: Region) -> bool:
    edges = [_edges(patch, d) for d in range(len(region))]
    return all(a <= r.start and r.stop <= b for (a, b), r in zip(edges, region, strict=True))
