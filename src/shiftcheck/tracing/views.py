"""Where a view lies inside another tensor of the same memory. Values are never looked at."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Box:
    """The samples of an outer tensor that a view of it holds.

    ``starts``: the first of them along each dimension of the outer tensor, whose next is ``steps``
    samples further on. ``missing``: the dimensions that the view has not, because one sample of
    them was selected.
    """

    starts: tuple[int, ...]
    steps: tuple[int, ...]
    missing: tuple[int, ...]

    def filled(self, dims: Sequence[T], missing: T) -> list[T]:
        """Something for each dimension of the view, with another for each that it has not."""
        every = list(dims)
        for d in self.missing:
            every.insert(d, missing)
        return every


def box_of(view: torch.Tensor, outer: torch.Tensor) -> Box | None:
    """The box that ``view`` is of ``outer``; None where it is no box, or lies partly outside."""
    if view.dtype != outer.dtype or view.ndim > outer.ndim or _overlaps(outer):
        return None
    starts = _place(int(view.storage_offset() - outer.storage_offset()), outer)
    if starts is None:
        return None
    for missing in itertools.combinations(range(outer.ndim), outer.ndim - view.ndim):
        kept = [d for d in range(outer.ndim) if d not in missing]
        steps = [_step(view, i, outer, d, starts[d]) for i, d in enumerate(kept)]
        if all(steps):
            of_dim = dict(zip(kept, steps, strict=True))
            every = tuple(of_dim.get(d, 1) for d in range(outer.ndim))
            return Box(starts=starts, steps=every, missing=missing)
    return None


def _step(view: torch.Tensor, i: int, outer: torch.Tensor, d: int, start: int) -> int:
    """How far neighbours of a view are apart along a dimension; 0 where they leave it."""
    size = view.shape[i]
    if size == 0:
        return 0
    step, rest = divmod(view.stride(i), outer.stride(d)) if size > 1 else (1, 0)
    inside = start + (size - 1) * step < outer.shape[d]
    return step if rest == 0 and step > 0 and inside else 0


def _overlaps(outer: torch.Tensor) -> bool:
    """Whether two samples may share a place, so that a place names no sample."""
    reach = 0
    for stride, size in sorted(zip(outer.stride(), outer.shape, strict=True)):
        if size > 1 and stride <= reach:
            return True
        reach += stride * (size - 1)
    return False


def _place(offset: int, outer: torch.Tensor) -> tuple[int, ...] | None:
    """The index of the sample that stands ``offset`` places after the first."""
    index = [0] * outer.ndim
    for d in _coarsest_first(outer.shape, outer.stride()):
        index[d], offset = divmod(offset, outer.stride(d))
        if not 0 <= index[d] < outer.shape[d]:
            return None
    return tuple(index) if offset == 0 else None


def _coarsest_first(shape: Sequence[int], strides: Sequence[int]) -> list[int]:
    wide = [d for d, size in enumerate(shape) if size > 1]
    return sorted(wide, key=lambda d: -strides[d])
