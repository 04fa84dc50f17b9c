"""The caller's arguments, read and checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import torch

from shiftcheck.errors import InputError
from shiftcheck.measuring.signals.arguments import Inputs, Leaf, Shift
from shiftcheck.measuring.signals.interpolation import is_whole
from shiftcheck.tracing.choosing import Place, chosen, input_places, read_entries
from shiftcheck.tracing.containers import leaves_of
from shiftcheck.tracing.subclasses import is_plain, plain_of, require_values


def read_inputs(
    x: Any,
    *,
    boundary: Any,
    spatial_dims: Sequence[int] | None,
    fixed: Any = (),
    parameters: Sequence[str] = (),
    whole_numbers: bool = False,
) -> Inputs:
    """Check the arguments; raises InputError for what cannot be shifted.

    ``fixed``: the names or positions of those that stand still; ``parameters``: what the model
    calls those that are given by position. ``whole_numbers``: they may be signals, too, and truth
    values as well.
    """
    parts = _parts_of(x, fixed, parameters)
    main = parts.main
    _check_main(main, whole_numbers, least_rank=3 if spatial_dims is None else 2)
    spatial = _spatial_dims(main, spatial_dims)
    circular = _circular(boundary, len(spatial))
    moves = partial(_is_signal, main=main, spatial=spatial, whole_numbers=whole_numbers)
    leaves = [_leaf(v, main, spatial, stays, moves) for v, stays in parts.pairs]
    leaves = [
        _as_given(leaf, value, place)
        for leaf, value, place in zip(leaves, parts.given, parts.places, strict=True)
    ]
    _check_values([leaf for leaf in leaves if isinstance(leaf, Leaf)])
    first = next(v for v in leaves if isinstance(v, Leaf) and v.tensor is main and v.spatial)
    return Inputs(tuple(leaves), parts.whole, parts.kind, circular, first, fixed=parts.entries)


def shape_of_signal(x: Any, fixed: Any = (), parameters: Sequence[str] = ()) -> tuple[int, ...]:
    """The shape of that argument of which an axis is meant; raises InputError if there is none."""
    return tuple(_parts_of(x, fixed, parameters).main.shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Parts:
    """The arguments one by one: as ``given``, as plain ``values``, and which are ``still``."""

    kind: str
    whole: Any
    given: list[Any]
    values: list[Any]
    places: list[Place]
    still: Sequence[bool]
    entries: tuple[Any, ...]

    @property
    def pairs(self) -> list[tuple[Any, bool]]:
        """Each value, and whether it is still."""
        return list(zip(self.values, self.still, strict=True))

    @property
    def main(self) -> torch.Tensor:
        """The signal that the others follow; raises InputError where all are still."""
        moving = [v for v, stays in self.pairs if isinstance(v, torch.Tensor) and not stays]
        if not moving:
            raise InputError(
                f"fixed={self.entries!r}: no tensor of x is left that could be shifted"
            )
        return _main_of(moving)


def _parts_of(x: Any, fixed: Any, parameters: Sequence[str]) -> _Parts:
    kind = "dict" if isinstance(x, Mapping) else "tuple" if isinstance(x, tuple) else "single"
    whole = dict(x) if isinstance(x, Mapping) else x
    parts = leaves_of(whole)
    given = [_from_numpy(v) if isinstance(v, np.ndarray) else v for _, v in parts]
    values = [plain_of(v) if isinstance(v, torch.Tensor) else v for v in given]
    if not any(isinstance(v, torch.Tensor) for v in values):
        raise InputError(
            f"x={type(x).__name__} holds no tensor: give a tensor or a NumPy array of shape"
            " [batch, channels, *spatial], or a tuple or dict of arguments"
        )
    entries = read_entries("fixed", fixed)
    places = input_places([steps for steps, _ in parts], whole, kind, parameters)
    return _Parts(
        kind=kind,
        whole=whole,
        given=given,
        values=values,
        places=places,
        still=chosen("fixed", entries, places),
        entries=entries,
    )


def _check_values(leaves: Iterable[Leaf]) -> None:
    """Raise InputError for a tensor without values, and for a signal of which some are not finite.

    What is no signal may hold infinities, as a mask does.
    """
    for leaf in leaves:
        require_values(leaf.tensor)
        if leaf.role == "shifted":
            _check_finite(leaf.tensor)


def _as_given(leaf: Any, value: Any, place: Place) -> Any:
    """A leaf that knows the user's own tensor, where that has a class of its own."""
    if not isinstance(leaf, Leaf):
        return leaf
    return replace(leaf, given=None if is_plain(value) else value, entry=place.entry)


def _from_numpy(array: np.ndarray[Any, Any]) -> torch.Tensor:
    try:
        return torch.from_numpy(array.copy())
    except (TypeError, ValueError) as error:
        raise InputError(f"x is an array of dtype {array.dtype}: {error}") from error


def _main_of(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """The first signal of floating numbers, unless one with more dimensions comes before it."""
    ranked = [t for t in tensors if t.ndim >= 3 and not t.is_complex()]
    first = (*ranked, *tensors)[0]
    floating = next((t for t in ranked if t.is_floating_point()), first)
    return first if first.ndim > floating.ndim else floating


def _leaf(
    value: Any,
    main: torch.Tensor,
    spatial: tuple[int, ...],
    stays: bool,
    moves: Callable[[torch.Tensor], bool],
) -> Any:
    """A tensor of the arguments with what happens to it; anything else as it is."""
    if not isinstance(value, torch.Tensor):
        return value
    if stays:
        return Leaf(value, "still")
    same_batch = value.ndim > 0 and value.shape[0] == main.shape[0]
    if value is main or (same_batch and moves(value)):
        return Leaf(value, "shifted", spatial)
    return Leaf(value, "repeated" if same_batch else "fixed")


def _is_signal(
    tensor: torch.Tensor, *, main: torch.Tensor, spatial: tuple[int, ...], whole_numbers: bool
) -> bool:
    """Whether a tensor has spatial axes as the main one has; of size 1, it holds one value."""
    real = not tensor.is_complex() if whole_numbers else tensor.is_floating_point()
    if tensor.ndim != main.ndim or not real:
        return False
    return any(tensor.shape[d] > 1 or main.shape[d] == 1 for d in spatial)


FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _check_main(x: torch.Tensor, whole_numbers: bool, *, least_rank: int) -> None:
    shape = tuple(x.shape)
    if x.layout != torch.strided:
        raise InputError(f"x has layout {x.layout}: give a dense tensor, x.to_dense()")
    if x.dtype not in FLOATING and x.is_floating_point():
        raise InputError(f"x has dtype {x.dtype}, which torch only stores; use x.float()")
    if x.is_complex() or not (whole_numbers or x.is_floating_point()):
        kind = "real" if whole_numbers else "real and floating"
        raise InputError(f"x has dtype {x.dtype}: a signal is {kind}; convert it with x.float()")
    if x.ndim < least_rank:
        raise InputError(
            f"x has shape {shape}: give [batch, channels, *spatial], with a batch dimension"
            " (x[None]) and a channel dimension (x[:, None]), or [batch, time] and"
            " spatial_dims=(1,) where the model takes no channels"
        )
    if x.numel() == 0:
        raise InputError(f"x has shape {shape} and no values: every dimension must be at least 1")


def _check_finite(x: torch.Tensor) -> None:
    if x.is_floating_point() and x.device.type != "meta" and not torch.isfinite(x).all():
        count = int((~torch.isfinite(x)).sum())
        raise InputError(
            f"x has {count} values that are NaN or infinite: nothing can be compared with them;"
            " replace them, for example with torch.nan_to_num"
        )


def _spatial_dims(x: torch.Tensor, given: Sequence[int] | None) -> tuple[int, ...]:
    if given is None:
        if x.ndim > 5:
            raise InputError(
                f"x has rank {x.ndim}: up to three spatial axes are supported; name them with"
                " spatial_dims=(...)"
            )
        return tuple(range(2, x.ndim))
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise InputError(f"spatial_dims={given!r}: give a tuple of dimensions, such as (1, 2)")
    dims = []
    for d in given:
        if isinstance(d, bool) or not isinstance(d, int) or not -x.ndim <= d < x.ndim:
            raise InputError(f"spatial_dims={tuple(given)}: {d!r} is no dimension of rank {x.ndim}")
        dims.append(d % x.ndim)
    if len(set(dims)) != len(dims) or not 1 <= len(dims) <= 3 or 0 in dims:
        raise InputError(
            f"spatial_dims={tuple(given)}: give one to three different dimensions, not the batch"
            " (dimension 0)"
        )
    return tuple(dims)


def _circular(boundary: Any, axes: int) -> tuple[bool, ...]:
    several = isinstance(boundary, list | tuple)
    entries = tuple(boundary) if several else (boundary,) * axes
    bad = [b for b in entries if b not in ("valid", "circular")]
    if bad or len(entries) != axes:
        raise InputError(
            f"boundary={boundary!r}: give 'valid' or 'circular', or one of them for each of the"
            f" {axes} spatial axes"
        )
    return tuple(b == "circular" for b in entries)


def check_shifts(shifts: Any, inputs: Inputs, *, between: bool = False) -> tuple[Shift, ...]:
    """The shifts as tuples of pixels; raises InputError for what does not fit the signal.

    ``between``: they may be fractions of pixels.
    """
    axes = len(inputs.pixels)
    listed = _plain(shifts)
    if isinstance(listed, str | bytes | Mapping) or not isinstance(listed, Iterable):
        raise InputError(f"shifts={listed!r}: give a list of shifts, such as {_examples(axes)}")
    entries = [_plain(shift) for shift in listed]
    if axes > 1 and entries and all(map(_is_number, entries)):
        meant = [tuple(entries)] if len(entries) == axes else _examples(axes)
        raise InputError(f"shifts={_shown(shifts, entries)}: give a list: {meant}")
    checked = tuple(_one_shift(shift, inputs, between) for shift in entries)
    if not all(map(is_whole, checked)):
        _check_values_between(checked, inputs)
    if not checked:
        raise InputError("shifts=[] is empty: give at least one shift, or None to have them chosen")
    return checked


def _plain(value: Any) -> Any:
    """Numbers, and lists of them, in the place of arrays and tensors of numbers."""
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        return value.tolist()
    return value


def _is_number(value: Any) -> bool:
    numbers = int | float | Fraction
    return isinstance(value, numbers) and not isinstance(value, bool)


def _shown(given: Any, entries: Sequence[Any]) -> str:
    return repr(given) if isinstance(given, tuple | list) else repr(list(entries))


def _examples(axes: int) -> str:
    steps = [tuple(int(a == b) for b in range(axes)) for a in range(axes)]
    return repr(steps[:2])


def _check_values_between(shifts: Sequence[Shift], inputs: Inputs) -> None:
    for leaf in inputs.leaves:
        moves = isinstance(leaf, Leaf) and leaf.role == "shifted"
        if moves and not leaf.tensor.is_floating_point():
            raise InputError(
                f"shifts={list(shifts)} are fractional, and an input has dtype"
                f" {leaf.tensor.dtype}, which has no values between whole numbers: convert it with"
                " x.float(), or give whole pixels"
            )


def _one_shift(shift: Any, inputs: Inputs, between: bool) -> Shift:
    several = isinstance(shift, Sequence) and not isinstance(shift, str)
    entries = tuple(_plain(v) for v in shift) if several else (shift,)
    pixels = inputs.pixels
    example = _examples(len(pixels))
    if not all(_is_number(v) and math.isfinite(v) for v in entries):
        kind = "pixels" if between else "whole pixels"
        raise InputError(f"shifts: {shift!r} is no tuple of {kind}: give a list such as {example}")
    if len(entries) != len(pixels):
        raise InputError(
            f"shifts: {shift!r} has {len(entries)} entr{'y' if len(entries) == 1 else 'ies'}, the"
            f" signal has {len(pixels)} spatial axes of size {pixels}: give one number for each,"
            f" such as {example}"
        )
    for v, n in zip(entries, pixels, strict=True):
        if not between and float(v) != math.floor(float(v)):
            raise InputError(f"shifts: {shift!r} is fractional; give whole pixels")
        if abs(v) >= n:
            raise InputError(
                f"shifts: {shift!r} is larger than the signal, which has {pixels} pixels; nothing"
                " of it would be left"
            )
    return tuple(int(v) if v == int(v) else float(v) for v in entries)
