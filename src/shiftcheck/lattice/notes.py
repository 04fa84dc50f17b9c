"""What is known of a tensor beside its layout, while nothing else is done to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from shiftcheck.lattice.factors import Dim
from shiftcheck.lattice.layout import Layout, Made, Pairs, Recipe, Slice


def as_slice(layout: Layout, whole: Layout, dim: int, chosen: range) -> Layout:
    """The same layout, known to be a slice of another; whatever is made of it is none any more."""
    out = replace(layout)
    object.__setattr__(out, "source", Slice(whole, dim, chosen))
    object.__setattr__(out, "recipe", layout.recipe)
    return out


def as_whole(layout: Layout, dim: int) -> Layout:
    """The same layout, known to be all of itself; what is a slice of another stays that."""
    out = replace(layout)
    source = layout.source or Slice(layout, dim, range(layout.shape[dim]))
    object.__setattr__(out, "source", source)
    for name in ("recipe", "is_mask", "pairs", "made"):
        object.__setattr__(out, name, getattr(layout, name))
    return out


def whole_of(layout: Layout) -> Layout:
    """What the layout is all of: itself, unless it was sliced from end to end."""
    source = layout.source
    if source is None or len(source.chosen) != source.whole.shape[source.dim]:
        return layout
    return whole_of(source.whole) if source.chosen.step == 1 else layout


def is_same(one: Layout, other: Layout) -> bool:
    """Whether both are known to be the same values: of one tensor, or the same slice of one."""
    one, other = whole_of(one), whole_of(other)
    if one is other:
        return True
    mine, its = one.source, other.source
    if mine is None or its is None:
        return False
    return (mine.dim, mine.chosen) == (its.dim, its.chosen) and is_same(mine.whole, its.whole)


def sliced_from(layout: Layout, dim: int) -> Iterator[tuple[Layout, range]]:
    """The tensors of which a layout is a slice along ``dim``, itself first, and its samples."""
    whole = whole_of(layout)
    chosen = range(whole.shape[dim])
    yield whole, chosen
    while whole.source is not None and whole.source.dim == dim:
        chosen = whole.source.chosen[chosen.start : chosen.stop : chosen.step]
        whole = whole_of(whole.source.whole)
        yield whole, chosen


def with_other_dims(layout: Layout, dims: Sequence[Dim]) -> Layout:
    """The same values with dimensions of size 1 more or less: still what they were made of."""
    out = replace(layout, dims=tuple(dims))
    object.__setattr__(out, "recipe", layout.recipe)
    return out


def by_recipe(layout: Layout, recipe: Recipe | None) -> Layout:
    """The same layout, known to be made so; whatever is made of it is so no more."""
    out = replace(layout)
    object.__setattr__(out, "source", layout.source)
    object.__setattr__(out, "recipe", recipe)
    return out


def as_mask(layout: Layout) -> Layout:
    """The same layout, known to be true or false."""
    out = by_recipe(layout, layout.recipe)
    object.__setattr__(out, "is_mask", True)
    return out


def recipe_of_part(layout: Layout, axis: int, chosen: range, stride: Fraction) -> Recipe:
    """The recipe of the samples ``chosen`` of an axis, which are ``stride`` pixels apart."""
    before = layout.recipe or Recipe(layout, {})
    start = before.starts.get(axis, Fraction(0)) + chosen.start * stride
    steps = before.steps if chosen.step == 1 else hash((before.steps, "every", chosen.step))
    return Recipe(before.whole, {**before.starts, axis: start}, steps)


def noted(layout: Layout, *, pairs: Pairs | None = None, made: Made | None = None) -> Layout:
    """The same layout, known to relate pairs, or how it was made; what is made of it is not."""
    if pairs is None and made is None and layout.pairs is None and layout.made is None:
        return layout
    out = by_recipe(layout, layout.recipe)
    object.__setattr__(out, "is_mask", layout.is_mask)
    object.__setattr__(out, "pairs", pairs)
    object.__setattr__(out, "made", made)
    return out
