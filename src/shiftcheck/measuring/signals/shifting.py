"""The shift operator S_v of signals on a grid: ``(S_v f)(p) = f(p - v)``.

Between pixels, ``f(p - v)`` is interpolated. Every fill but the fresh one moves one axis after the
other, by naming for each place the place it comes from. Fresh content is drawn from all places of
the signal at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import prod
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch

from shiftcheck.errors import InputError
from shiftcheck.measuring.signals.interpolation import (
    INTERPOLATIONS,
    fourier_shift,
    margin_of,
    taps_of,
    weighted,
)

Array: TypeAlias = torch.Tensor | np.ndarray[Any, Any]
ArrayT = TypeVar("ArrayT", torch.Tensor, np.ndarray[Any, Any])

FILLS = ("circular", "zeros", "reflect", "replicate", "fresh")


def shift(
    x: ArrayT,
    offset: Sequence[float | Fraction],
    *,
    fill: str = "circular",
    interpolation: str | None = None,
    spatial_dims: Sequence[int] | None = None,
    seed: int = 0,
) -> ArrayT:
    """Move a signal: the result at place p is the signal at place p - offset.

    Args:
        x: Tensor or NumPy array of any dtype and of any shape that has at least ``len(offset)``
            dimensions; between pixels, a floating or complex one.
        offset: One to three numbers of pixels, one per spatial dimension; a positive one moves
            content towards larger indices (down, or to the right). Whole numbers move values as
            they are; others are between pixels.
        fill: What enters at the border. ``"circular"``: what left on the other side; ``"zeros"``;
            ``"reflect"``: the mirror image, the edge not repeated; ``"replicate"``: the value at
            the edge; ``"fresh"``: values from random places of the same batch element and channel,
            and never what left on the other side.
        interpolation: How a value between pixels is read. ``"fourier"``: the trigonometric
            polynomial through all samples of the dimension, with ``fill="circular"`` only, where
            it is the default; ``"lanczos"``: six neighbours under a Lanczos window, the default of
            the other fills (Duchon, 1979); ``"linear"``: two neighbours, which for two dimensions
            is bilinear. Along a dimension that moves by whole pixels nothing is interpolated.
        spatial_dims: The dimension that each entry of ``offset`` moves; by default the last
            ``len(offset)`` ones.
        seed: Seed of the draw of fresh content; the other fills do not use it.

    Returns:
        A new tensor or array with the shape, dtype and device of ``x``, which stays untouched.

    Raises:
        InputError: ``x`` is neither a tensor nor an array, or is empty; ``offset`` has the wrong
            length, is fractional where ``x`` holds whole numbers, or reaches further than its
            dimension under any fill but circular (``"reflect"`` allows one pixel less than the
            dimension); ``fill`` or ``interpolation`` is unknown, or they do not go together;
            ``spatial_dims`` repeats a dimension or names one that ``x`` does not have.

    Example:
        >>> import numpy as np
        >>> import shiftcheck
        >>> shiftcheck.shift(np.array([[1, 2, 3], [4, 5, 6]]), (0, 1), fill="zeros")
        array([[0, 1, 2],
               [0, 4, 5]])
        >>> shiftcheck.shift(np.array([0.0, 1.0, 2.0, 3.0]), (0.5,), fill="zeros",
        ...     interpolation="linear")
        array([0. , 0.5, 1.5, 2.5])
    """
    _check_signal(x)
    moves = _offset(offset)
    dims = _dims(x, moves, spatial_dims)
    _check_fill(fill)
    how = _interpolation(interpolation, fill)
    if any(isinstance(v, float) for v in moves):
        return _between(x, moves, dims, fill, how, seed)
    _check_reach(x, moves, dims, fill)
    whole = tuple(map(int, moves))
    if fill == "fresh":
        return fresh_shift(x, whole, dims, torch.Generator().manual_seed(seed))
    out = x
    for v, dim in zip(whole, dims, strict=True):
        out = _move(out, v, dim, fill)
    return _laid_out_like(x, out)


def _between(
    x: ArrayT, moves: tuple[float, ...], dims: tuple[int, ...], fill: str, how: str, seed: int
) -> ArrayT:
    """The same where some axis moves by a part of a pixel."""
    if isinstance(x, np.ndarray):
        moved = _between(torch.from_numpy(x.copy()), moves, dims, fill, how, seed)
        return _laid_out_like(x, moved.numpy())
    if not (x.is_floating_point() or x.is_complex()):
        raise InputError(
            f"offset={moves} is fractional, and x has dtype {x.dtype}, which has no values between"
            " whole numbers: convert it with x.float()"
        )
    x = x.detach()
    if how != "fourier":
        reach = tuple(margin_of(v, how) for v in moves)
        _check_reach(x, moves, dims, fill, reach)
    if fill == "fresh":
        return fresh_between(x, moves, dims, how, torch.Generator().manual_seed(seed))
    out = x
    for v, dim in zip(moves, dims, strict=True):
        out = _move_between(out, v, dim, fill, how)
    return _laid_out_like(x, out)


def _move_between(x: torch.Tensor, v: float, dim: int, fill: str, how: str) -> torch.Tensor:
    """A copy shifted along one dimension, between pixels in float64."""
    if v == int(v):
        return _move(x, int(v), dim, fill)
    if how == "fourier":
        return fourier_shift(x, v, dim)
    first, weights = taps_of(v, how)
    wide = x if x.is_complex() else x.double()
    parts = [w * _move(wide, step, dim, fill) for step, w in enumerate(weights, first)]
    return torch.stack(parts).sum(0)


def fresh_between(
    x: torch.Tensor,
    offset: Sequence[float | Fraction],
    spatial_dims: Sequence[int],
    interpolation: str,
    generator: torch.Generator,
) -> torch.Tensor:
    """Shift within the size, between pixels; the signal goes on with its own values around it.

    Each place beyond the signal has the content of a random place of the given dimensions, the
    same one for all others (batch and channels).
    """
    dims = tuple(dim % x.ndim for dim in spatial_dims)
    margins = tuple(margin_of(v, interpolation) for v in offset)
    out = _with_margins(x, dims, margins, generator)
    for v, dim, margin in zip(offset, dims, margins, strict=True):
        out = weighted(out, v, dim, interpolation)
        out = out.narrow(dim, margin, x.shape[dim])
    return _laid_out_like(x, out)


def _with_margins(
    x: torch.Tensor, dims: tuple[int, ...], margins: Sequence[int], generator: torch.Generator
) -> torch.Tensor:
    sizes = tuple(x.shape[dim] for dim in dims)
    outer = tuple(n + 2 * m for n, m in zip(sizes, margins, strict=True))
    places = torch.randint(prod(sizes), outer, generator=generator, device="cpu")
    inner = tuple(slice(m, m + n) for n, m in zip(sizes, margins, strict=True))
    places[inner] = torch.arange(prod(sizes), device="cpu").reshape(sizes)
    last = tuple(range(-len(dims), 0))
    ahead = x.movedim(dims, last)
    taken = ahead.flatten(-len(dims))[..., places.flatten().to(x.device)]
    return taken.reshape(*ahead.shape[: -len(dims)], *outer).movedim(last, dims)


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
    rolled, entered = _rolled_places(sizes, torch.tensor(offsets, device="cpu"))
    total = prod(sizes)
    if total > 1:
        other = torch.empty_like(rolled)
        for i, copy in enumerate(other):
            torch.randint(1, total, copy.shape, generator=generator(i), out=copy, device="cpu")
        other += rolled
        rolled = torch.where(entered, other - total * (other >= total), rolled)
    return rolled


def _rolled_places(
    sizes: Sequence[int], offsets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each place, flattened: the place that a roll brings there; whether it is from outside."""
    count = len(offsets)
    flat = torch.zeros((count, *(1 for _ in sizes)), dtype=torch.int64, device="cpu")
    outside = torch.zeros_like(flat, dtype=torch.bool)
    for axis, (size, v) in enumerate(zip(sizes, offsets.unbind(1), strict=True)):
        place = torch.arange(size, device="cpu") - v[:, None]
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


def _offset(offset: Any) -> tuple[float, ...]:
    """BlackBox entries as int, the others as float."""
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
    return tuple(_number(entry, offset) for entry in entries)


def _number(entry: Any, offset: Any) -> float:
    try:
        value = Fraction(entry.item() if hasattr(entry, "item") else entry)
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"offset={offset!r} holds {entry!r}, which is no number of pixels: give finite numbers"
        ) from None
    return int(value) if value.denominator == 1 else float(value)


def _dims(
    x: Array, moves: tuple[float, ...], spatial_dims: Sequence[int] | None
) -> tuple[int, ...]:
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


def _interpolation(given: Any, fill: str) -> str:
    circle = fill == "circular"
    if given is None:
        return "fourier" if circle else "lanczos"
    if given not in INTERPOLATIONS:
        names = ", ".join(map(repr, INTERPOLATIONS))
        raise InputError(f"interpolation={given!r} is unknown: use one of {names}")
    if given == "fourier" and not circle:
        raise InputError(
            f"interpolation='fourier' reads a signal as a circle, fill={fill!r} does not: use"
            " fill='circular', or interpolation='lanczos'"
        )
    return str(given)


def _check_reach(
    x: Array,
    moves: tuple[float, ...],
    dims: tuple[int, ...],
    fill: str,
    reach: Sequence[float] = (),
) -> None:
    """Only a circle can be turned by more than its size."""
    if fill == "circular":
        return
    for v, dim, far in zip(moves, dims, reach or [abs(v) for v in moves], strict=True):
        most = int(x.shape[dim]) - (fill == "reflect")
        if far > most:
            away = f" and reads values {far} samples away" if reach else ""
            raise InputError(
                f"offset={moves} moves dimension {dim}, which has {x.shape[dim]} samples, by {v}"
                f"{away}: with fill={fill!r} use at most {most}, or fill='circular'"
            )
