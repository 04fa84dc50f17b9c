"""A signal moved within what is declared to lie outside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from shiftcheck.errors import InputError
from shiftcheck.measuring.signals.arguments import Inputs, Leaf, Shift, seed_of
from shiftcheck.measuring.signals.shifting import FILLS, shift

CANVAS = "canvas"
"""What enters where the signal is the middle of a larger one."""


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The arguments of a model, and what enters along each axis when they are shifted.

    ``canvas``: the larger signal whose middle the arguments are, where there is one.
    """

    inputs: Inputs
    fills: tuple[str, ...]
    canvas: Inputs | None = None

    def mapped(self, change: Callable[[Inputs], Inputs]) -> Surroundings:
        """The same with all arguments changed."""
        larger = None if self.canvas is None else change(self.canvas)
        return replace(self, inputs=change(self.inputs), canvas=larger)

    @property
    def room(self) -> tuple[int, ...]:
        """How many pixels the signal can be moved along each axis, at most."""
        if self.canvas is None:
            return tuple(n - 1 for n in self.inputs.pixels)
        sizes = zip(self.canvas.pixels, self.inputs.pixels, strict=True)
        return tuple(min((larger - n) // 2, n - 1) for larger, n in sizes)

    def shifted(self, offset: Shift, seed: int) -> list[Any]:
        """The arguments as the shift leaves them."""
        leaves = enumerate(self.inputs.leaves)
        return self.inputs.dressed(
            [self._shifted_leaf(i, leaf, offset, seed) for i, leaf in leaves]
        )

    def _shifted_leaf(self, i: int, leaf: Any, offset: Shift, seed: int) -> Any:
        if not isinstance(leaf, Leaf):
            return leaf
        if leaf.role != "shifted" or not any(offset):
            return leaf.tensor.detach().clone()
        by = self.inputs.offset_of(leaf, offset)
        if self.canvas is not None:
            larger = self.canvas.leaves[i]
            middle = _starts(larger, self.canvas.pixels, self.inputs.pixels)
            starts = [m - v for m, v in zip(middle, by, strict=True)]
            return _window(larger, leaf.tensor.shape, starts)
        out = leaf.tensor.detach()
        for v, dim, fill in zip(by, leaf.spatial, self.fills, strict=True):
            if v:
                entering = seed_of(seed, (*offset, dim))
                out = shift(out, (v,), fill=fill, spatial_dims=(dim,), seed=entering)
        return out


def _window(larger: Leaf, shape: Sequence[int], starts: Sequence[int]) -> torch.Tensor:
    """A copy of the part of a signal that begins at ``starts``, in its own samples."""
    out = larger.tensor.detach()
    for start, dim in zip(starts, larger.spatial, strict=True):
        out = out.narrow(dim, start, shape[dim])
    return out.clone(memory_format=torch.contiguous_format)


def _starts(larger: Leaf, pixels: Sequence[int], window: Sequence[int]) -> list[int]:
    """Where the middle window begins, in the samples of this tensor."""
    return [
        _samples((n - w) // 2, larger.tensor.shape[dim], n, window)
        for n, w, dim in zip(pixels, window, larger.spatial, strict=True)
    ]


def _samples(count: int, size: int, pixels: int, window: Sequence[int]) -> int:
    """So many pixels, in samples of a tensor of another size."""
    if count * size % pixels:
        raise InputError(
            f"crop={tuple(window)}: {count} of {pixels} pixels are no whole number of samples of an"
            f" input of size {size}: use a size that every input can be cropped to"
        )
    return count * size // pixels


def surrounded(inputs: Inputs, fills: tuple[str, ...], crop: Any) -> Surroundings:
    """The arguments with what lies outside; of a ``crop``, they are the larger signal."""
    if crop is None:
        return Surroundings(inputs, fills)
    sizes = _crop_sizes(crop, inputs.pixels)

    def middle(leaf: Leaf) -> Leaf:
        if leaf.role != "shifted":
            return leaf
        shape = list(leaf.tensor.shape)
        for dim, size, whole in zip(leaf.spatial, sizes, inputs.pixels, strict=True):
            shape[dim] = _samples(size, shape[dim], whole, sizes)
        starts = _starts(leaf, inputs.pixels, sizes)
        return replace(leaf, tensor=_window(leaf, shape, starts))

    return Surroundings(inputs.mapped(middle), fills, inputs)


def _crop_sizes(crop: Any, pixels: tuple[int, ...]) -> tuple[int, ...]:
    entries = tuple(crop) if isinstance(crop, Sequence) and not isinstance(crop, str) else (crop,)
    whole = all(isinstance(n, int) and not isinstance(n, bool) for n in entries)
    if len(entries) != len(pixels) or not whole:
        raise InputError(
            f"crop={crop!r}: give the size of the model's input along each of the {len(pixels)}"
            " spatial axes"
        )
    if not all(1 <= n <= whole for n, whole in zip(entries, pixels, strict=True)):
        raise InputError(f"crop={crop!r} is no part of x, whose spatial size is {pixels}")
    if any(whole - n < 2 for n, whole in zip(entries, pixels, strict=True)):
        raise InputError(
            f"crop={crop!r} leaves no room to move in x, whose spatial size is {pixels}: give an x"
            " that is larger by at least 2 pixels along each axis, or declare what enters, fill="
        )
    return entries


def read_fill(fill: Any, crop: Any) -> Any:
    """What enters, once or for each axis; raises InputError for what has no meaning."""
    if crop is not None:
        if fill is not None:
            raise InputError(
                f"fill={fill!r}, crop={crop!r}: give one of them; with crop= the content of x"
                " itself enters"
            )
        return CANVAS
    if fill is None:
        return "circular"
    entries = fill if isinstance(fill, list | tuple) else (fill,)
    if not entries or any(f not in FILLS for f in entries):
        raise InputError(
            f"fill={fill!r}: give one of {', '.join(map(repr, FILLS))}, once or for each axis"
        )
    return fill


def fill_of_each_axis(fill: Any, axes: int) -> tuple[str, ...]:
    """The fill of each axis; raises InputError where there are more or fewer."""
    entries = tuple(fill) if isinstance(fill, list | tuple) else (fill,) * axes
    if len(entries) != axes:
        raise InputError(
            f"fill={fill!r} has {len(entries)} entries, the signal has {axes} spatial axes"
        )
    return entries


def boundary_of(fill: Any) -> Any:
    """The kind of boundary that a fill means, once or for each axis."""
    if isinstance(fill, list | tuple):
        return tuple(boundary_of(f) for f in fill)
    return "circular" if fill == "circular" else "valid"


def check_room(shifts: Sequence[Shift], surroundings: Surroundings) -> None:
    """Raise InputError for a shift that leaves the canvas."""
    for offset in shifts:
        for a, v in enumerate(offset):
            if abs(v) > surroundings.room[a]:
                raise InputError(
                    f"shifts: {offset} leaves the canvas: x allows at most"
                    f" {surroundings.room} pixels for crop={surroundings.inputs.pixels}"
                )
