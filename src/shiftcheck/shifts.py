"""The shift operator S_v of signals on a grid: ``(S_v f)(p) = f(p - v)``.

Every fill but the fresh one moves one axis after the other, by naming for each place the place it
comes from. Fresh content is drawn from all places of the signal at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import prod
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch

from shiftcheck.errors import InputError

Array: TypeAlias = torch.Tensor | np.ndarray[Any, Any]
ArrayT = TypeVar("ArrayT", torch.Tensor, np.ndarray[Any, Any])

FILLS = ("circular", "zeros", "reflect", "replicate", "fresh")


def shift(
    x: ArrayT,
    offset: Sequence[int],
    *,
    fill: str = "circular",
    spatial_dims: Sequence[int] | None = None,
    seed: int = 0,
) -> ArrayT:
    """Move a signal by whole pixels: the result at place p is the signal at place p - offset.

    Args:
        x: Tensor or NumPy array of any dtype and of any shape that has at least ``len(offset)``
            dimensions.
        offset: One to three whole numbers of pixels, one per spatial dimension; a positive one
            moves content towards larger indices (down, or to the right).
        fill: What enters at the border. ``"circular"``: what left on the other side; ``"zeros"``;
            ``"reflect"``: the mirror image, the edge not repeated; ``"replicate"``: the value at
            the edge; ``"fresh"``: values from random places of the same batch element and channel,
            and never what left on the other side.
        spatial_dims: The dimension that each entry of ``offset`` moves; by default the last
            ``len(offset)`` ones.
        seed: Seed of the draw of fresh content; the other fills do not use it.

    Returns:
        A new tensor or array with the shape, dtype and device of ``x``, which stays untouched.

    Raises:
        InputError: ``x`` is neither a tensor nor an array, or is empty; ``offset`` has the wrong
            length, is fractional, or is larger than its dimension under any fill but circular
            (``"reflect"`` allows one pixel less than the dimension); ``fill`` is unknown;
            ``spatial_dims`` repeats a dimension or names one that ``x`` does not have.

    Example:
        >>> import numpy as np
        >>> import shiftcheck
        >>> shiftcheck.shift(np.array([[1, 2, 3], [4, 5, 6]]), (0, 1), fill="zeros")
        array([[0, 1, 2],
               [0, 4, 5]])
    """
    _check_signal(x)
    moves = _whole_offset(offset)
    dims = _dims(x, moves, spatial_dims)
    _check_fill(fill)
    _check_reach(x, moves, dims, fill)
    if fill == "fresh":
        return fresh_shift(x, moves, dims, torch.Generator().manual_seed(seed))
    out = x
    for v, dim in zip(moves, dims, strict=True):
        out = _move(out, v, dim, fill)
    return _laid_out_like(x, out)


def fresh_shift(
    x: ArrayT, offset: Sequence[int], spatial_dims: Sequence[int], generator: torch.Generator
) -> ArrayT:
    """Shift by whole pixels within the size; what enters is drawn from the signal's own values.

    Each entering place takes the content of a random place of the given dimensions, the same one
    for all others (batch and channels), and never of the place that would roll around to it.
    """
    dims = tuple(dim % x.ndim for dim in spatial_dims)
    sizes = tuple(int(x.shape[dim]) for dim in dims)
    places = _fresh_places(sizes, [offset], lambda _: generator)
    return _laid_out_like(x, _from_places(x, places, dims)[0])


def fresh_shifts(
    x: torch.Tensor,
    offsets: Sequence[Sequence[int]],
    spatial_dims: Sequence[int],
    seeds: Sequence[int],
) -> torch.Tensor:
    """The results of fresh_shift for several offsets, ``[offsets, *x.shape]``, each with a seed."""
    dims = tuple(dim % x.ndim for dim in spatial_dims)
    sizes = tuple(int(x.shape[dim]) for dim in dims)
    generator = torch.Generator()
    places = _fresh_places(sizes, offsets, lambda i: generator.manual_seed(seeds[i]))
    return _from_places(x, places, dims)


def _fresh_places(
    sizes: Sequence[int],
    offsets: Sequence[Sequence[int]],
    generator: Callable[[int], torch.Generator],
) -> torch.Tensor:
    """The place, flattened, that each place of each shifted copy takes its content from."""
    rolled, entered = _rolled_places(sizes, torch.tensor(offsets))
    total = prod(sizes)
    if total > 1:
        other = torch.empty_like(rolled)
        for i, own in enumerate(other):
            torch.randint(1, total, own.shape, generator=generator(i), out=own)
        other += rolled
        rolled = torch.where(entered, other - total * (other >= total), rolled)
    return rolled


def _rolled_places(
    sizes: Sequence[int], offsets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each place, flattened: the place that a roll brings there; whether it is from outside."""
    count = len(offsets)
    flat = torch.zeros((count, *(1 for _ in sizes)), dtype=torch.int64)
    outside = torch.zeros_like(flat, dtype=torch.bool)
    for axis, (size, v) in enumerate(zip(sizes, offsets.unbind(1), strict=True)):
        place = torch.arange(size) - v[:, None]
        place = place.reshape(count, *(-1 if a == axis else 1 for a in range(len(sizes))))
        flat = flat * size + place % size
        outside = outside | (place < 0) | (place >= size)
    return flat.flatten(1), outside.flatten(1)


def _from_places(x: ArrayT, places: torch.Tensor, dims: tuple[int, ...]) -> ArrayT:
    """The signal with each place of ``dims`` (flattened) taken from another one, in many ways."""
    last = tuple(range(-len(dims), 0))
    if isinstance(x, np.ndarray):
        front = np.moveaxis(x, dims, last)
        taken = front.reshape(*front.shape[: -len(dims)], -1)[..., places.numpy()]
        every = np.moveaxis(taken, -2, 0).reshape(len(places), *front.shape)
        back: np.ndarray[Any, Any] = np.moveaxis(every, last, tuple(d + 1 for d in dims))
        return back
    ahead = x.movedim(dims, last)
    chosen = ahead.flatten(-len(dims))[..., places.to(x.device)].movedim(-2, 0)
    return chosen.reshape(len(places), *ahead.shape).movedim(last, tuple(d + 1 for d in dims))


def _move(x: ArrayT, v: int, dim: int, fill: str) -> ArrayT:
    """A shifted copy along one dimension."""
    size = int(x.shape[dim])
    out: ArrayT = x[_at(dim, [_source(p - v, size, fill) for p in range(size)])]
    if fill == "zeros" and v != 0:
        out[_at(dim, slice(0, v) if v > 0 else slice(size + v, size))] = 0
    return out


def _source(place: int, size: int, fill: str) -> int:
    """The stored place whose value stands for ``place``, which may lie outside."""
    if fill == "circular":
        return place % size
    if fill == "reflect":
        inside = abs(place)
        return min(inside, 2 * (size - 1) - inside)
    return min(max(place, 0), size - 1)


def _at(dim: int, index: Any) -> tuple[Any, ...]:
    return (slice(None),) * dim + (index,)


def _laid_out_like(x: ArrayT, out: ArrayT) -> ArrayT:
    """A copy of ``out`` with the memory format of ``x``."""
    if isinstance(x, np.ndarray):
        blank = np.empty_like(x, subok=False)
        blank[...] = out
        return blank
    return torch.empty_like(x, requires_grad=False).copy_(out)


def _check_signal(x: Any) -> None:
    if not isinstance(x, torch.Tensor | np.ndarray):
        raise InputError(
            f"x is a {type(x).__name__}: give a torch.Tensor or a NumPy array, for example"
            " torch.as_tensor(x)"
        )
    if 0 in x.shape:
        raise InputError(
            f"x has shape {tuple(x.shape)}, which holds no values: give at least one sample per"
            " dimension"
        )


def _whole_offset(offset: Any) -> tuple[int, ...]:
    try:
        entries = tuple(offset)
    except TypeError:
        raise InputError(
            f"offset={offset!r} is not a sequence: write ({offset!r},) to move one dimension"
        ) from None
    if not 1 <= len(entries) <= 3:
        raise InputError(
            f"offset={offset!r} has {len(entries)} entries: give one, two or three, one per"
            " spatial dimension"
        )
    return tuple(_whole(entry, offset) for entry in entries)


def _whole(entry: Any, offset: Any) -> int:
    try:
        value = Fraction(entry.item() if hasattr(entry, "item") else entry)
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"offset={offset!r} holds {entry!r}, which is no number of pixels: give whole numbers"
        ) from None
    if value.denominator != 1:
        raise InputError(
            f"offset={offset!r} is fractional, and fractional shifts are not supported by this"
            " version: give whole numbers"
        )
    return int(value)


def _dims(x: Array, moves: tuple[int, ...], spatial_dims: Sequence[int] | None) -> tuple[int, ...]:
    """The dimensions to move, counted from the front."""
    if spatial_dims is None:
        if len(moves) > x.ndim:
            raise InputError(
                f"offset={moves} has {len(moves)} entries, but x of shape {tuple(x.shape)} has"
                f" {x.ndim} dimensions: give at most one entry per dimension"
            )
        return tuple(range(x.ndim - len(moves), x.ndim))
    named = tuple(spatial_dims)
    if len(named) != len(moves):
        raise InputError(
            f"offset={moves} has {len(moves)} entries, but spatial_dims={named} has {len(named)}:"
            " give one offset per dimension"
        )
    if not all(isinstance(dim, int) and -x.ndim <= dim < x.ndim for dim in named):
        raise InputError(
            f"spatial_dims={named} names a dimension that x of shape {tuple(x.shape)} does not"
            f" have: use whole numbers from {-x.ndim} to {x.ndim - 1}"
        )
    dims = tuple(dim % x.ndim for dim in named)
    if len(set(dims)) != len(dims):
        raise InputError(f"spatial_dims={named} repeats a dimension: name each one once")
    return dims


def _check_fill(fill: Any) -> None:
    if fill not in FILLS:
        raise InputError(f"fill={fill!r} is unknown: use one of {', '.join(map(repr, FILLS))}")


def _check_reach(x: Array, moves: tuple[int, ...], dims: tuple[int, ...], fill: str) -> None:
    """Only a circle can be turned by more than its size."""
    if fill == "circular":
        return
    for v, dim in zip(moves, dims, strict=True):
        most = int(x.shape[dim]) - (fill == "reflect")
        if abs(v) > most:
            raise InputError(
                f"offset={moves} moves dimension {dim}, which has {x.shape[dim]} samples, by {v}:"
                f" with fill={fill!r} use at most {most}, or fill='circular'"
            )
