"""Dimensions as products of factors, which follow a spatial axis through views."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal


@dataclass(frozen=True)
class Factor:
    """One factor of a dimension.

    ``copies``: the stacked copies. ``axis``: a spatial axis, or one factor of it, whose neighbours
    are ``step`` samples of the axis apart. ``key``: the same of the positions that each sample is
    related to, as along the last dimension of attention scores, with the ``stride`` that they have.
    ``frequency``: the frequencies of an axis. ``joined``: ``pieces`` one after another.
    ``uniform``: one value for every index, as after a size of 1 was expanded. ``plain``: anything
    else.

    Example:
        >>> from shiftcheck.rules import Factor
        >>> tokens = (Factor("axis", 4, axis=0), Factor("axis", 6, axis=1))  # one dimension of 24
        >>> [factor.size for factor in tokens]
        [4, 6]
    """

    kind: Literal["copies", "axis", "key", "frequency", "joined", "uniform", "plain"]
    size: int
    axis: int = -1
    step: int = 1
    pieces: tuple[tuple[Factor, ...], ...] = ()
    stride: Fraction = Fraction(0)


Dim = tuple[Factor, ...]
SPATIAL = ("axis", "key", "frequency")
"""The kinds of factors that belong to a spatial axis."""

SPLIT = ("axis", "key")
"""Those of which one axis may have several."""


def flat(dim: Dim) -> list[Factor]:
    """The factors of a dimension, those of joined pieces included."""
    factors: list[Factor] = []
    for factor in dim:
        if factor.kind == "joined":
            factors += [f for piece in factor.pieces for f in flat(piece)]
        else:
            factors.append(factor)
    return factors


def mapped(dim: Dim, change: Callable[[Factor], Factor]) -> Dim:
    """A dimension with every factor changed, those of joined pieces included."""
    return canonical(
        replace(f, pieces=tuple(mapped(piece, change) for piece in f.pieces))
        if f.kind == "joined"
        else change(f)
        for f in dim
    )


def plain(size: int) -> Dim:
    """A dimension that is neither batch nor axis."""
    return () if size == 1 else (Factor("plain", size),)


def uniform(size: int) -> Dim:
    """A dimension along which all values are the same."""
    return () if size == 1 else (Factor("uniform", size),)


def size_of(dim: Dim) -> int:
    """The size of a dimension."""
    return math.prod([f.size for f in dim])


def canonical(factors: Iterable[Factor]) -> Dim:
    """The same product, with neighbours merged that are one plain factor or one stretch of an axis.

    Plain factors of size 1 are dropped, and pieces that are all plain are one plain factor.
    """
    out: list[Factor] = []
    for given in factors:
        plain_pieces = given.kind == "joined" and all(f.kind == "plain" for f in flat((given,)))
        factor = Factor("plain", given.size) if plain_pieces else given
        if factor.kind == "plain" and factor.size == 1:
            continue
        last = out[-1] if out else None
        if last is not None and last.kind == factor.kind == "plain":
            out[-1] = Factor("plain", last.size * factor.size)
        elif last is not None and _continues(last, factor):
            out[-1] = replace(factor, size=last.size * factor.size)
        else:
            out.append(factor)
    return tuple(out)


def _continues(outer: Factor, inner: Factor) -> bool:
    of_one = (outer.kind, outer.axis, outer.stride) == (inner.kind, inner.axis, inner.stride)
    return of_one and outer.kind in SPLIT and outer.step == inner.size * inner.step
