"""Weights that are zero: what is multiplied by them is not read, where that is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.factors import Factor
from shiftcheck.lattice.layout import Layout
from shiftcheck.rules.operands import Constant

_reading: ContextVar[bool] = ContextVar("weights are read", default=False)


@contextmanager
def reading_weights() -> Iterator[None]:
    """Take what weights of zero would read as not read, as long as this lasts.

    A masked convolution looks one way only because of its weights. Elsewhere a kernel counts whole:
    weights that are zero now need not stay so.
    """
    token = _reading.set(True)
    try:
        yield
    finally:
        _reading.reset(token)


def taken(weight: Constant, kernel: Sequence[int]) -> list[list[int]]:
    """Which entries of a kernel are read along each of its dimensions: all, or those not zero."""
    every = [list(range(k)) for k in kernel]
    there = weight.nonzero() if _reading.get() else None
    if there is None or not all(there):
        return every
    return [list(entries) for entries in there[-len(kernel) :]]


Entries = NDArray[np.bool_]


def entries_of(weight: Constant, *, inputs_last: bool) -> Entries | None:
    """Which inputs each output reads, ``[outputs, inputs]``; None where it is not asked or known.

    ``inputs_last``: those are the last dimension of the weight and the outputs the one before, or
    the other way round; what a stack of weights reads is taken together.
    """
    values = weight.values() if _reading.get() else None
    if values is None or values.ndim < 2:
        return None
    there = (values != 0).reshape(-1, *values.shape[-2:]).any(0)
    return np.asarray(there if inputs_last else there.T)


def channels_of(kernel: Constant, groups: int, *, transposed: bool) -> Entries | None:
    """The same of the channels of a convolution, ``[out, in, *kernel]`` or transposed."""
    values = kernel.values() if _reading.get() and groups == 1 else None
    if values is None:
        return None
    there = (values != 0).reshape(*values.shape[:2], -1).any(-1)
    return np.asarray(there.T if transposed else there)


def mixed_by(before: Layout, after: Layout, dim: int, entries: Entries | None) -> Layout:
    """``after``, a linear map of ``before`` along a whole axis, as far as its weights are not zero.

    It moves with no shift, but each sample sees no more than it has weights for.
    """
    place = before.axis_in(dim) if entries is not None else None
    if place is None or entries is None:
        return after
    new = by_table(before.geometry(place), entries)
    if new is None:
        return after
    factor = Factor("axis", new.size, place)
    return after.with_factors(dim, (factor,)).with_state(place, new)


def by_table(axis: Axis, entries: Entries) -> Axis | None:
    """Samples each of which sees those of ``axis`` that a table says, ``[samples, those seen]``.

    None where it is not asked for, does not fit, or has samples that see nothing.
    """
    size = len(entries)
    if not _reading.get() or entries.shape[1] != axis.size or not entries.any(1).all():
        return None
    index = np.arange(axis.size)
    return replace(
        axis,
        stride=Fraction(axis.pixels, size),
        lattice=axis.pixels,
        first=np.where(entries, axis.first_of(index), np.inf).min(1),
        last=np.where(entries, axis.last_of(index), -np.inf).max(1),
        valid=np.zeros(size, dtype=bool),
        different=None,
        broken=True,
    )
