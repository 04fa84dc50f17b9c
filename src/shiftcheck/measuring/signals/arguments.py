"""The caller's arguments, stacked with their shifted copies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import torch

from shiftcheck.errors import InputError
from shiftcheck.lattice.axis import Axis, scaled_axis
from shiftcheck.lattice.factors import Dim, Factor, plain
from shiftcheck.lattice.layout import Layout
from shiftcheck.measuring.signals.interpolation import fourier_shift, is_whole
from shiftcheck.measuring.signals.shifting import fresh_between, fresh_shift, fresh_shifts
from shiftcheck.rules import BatchCoupledError
from shiftcheck.tracing.choosing import Entry
from shiftcheck.tracing.containers import with_leaves
from shiftcheck.tracing.subclasses import dressed

Shift = tuple[float, ...]
"""Pixels along each axis: int where they are whole, float between them."""


@dataclass(frozen=True, eq=False)
class Leaf:
    """One tensor of the arguments and what happens to it.

    ``role``: it is "shifted"; "repeated" for each copy in the batch; "fixed", given to all of them
    as it is, having another batch; or "still", as the caller asked for it. ``given``: the tensor
    itself where it is of a class of its own. ``entry``: what means it in ``fixed``.
    """

    tensor: torch.Tensor
    role: str
    spatial: tuple[int, ...] = ()
    given: torch.Tensor | None = None
    entry: Entry = 0

    def dressed(self, values: torch.Tensor) -> torch.Tensor:
        """Values in the class of the tensor that was given."""
        return values if self.given is None else dressed(values, self.given)


@dataclass(frozen=True, eq=False)
class Inputs:
    """The arguments of a model as a flat list, with what is needed to put them together again.

    ``measured``: what was found out, with these arguments, of operations without a rule.
    ``gradients``: whether the model computes gradients inside its forward. ``interpolation``: how
    the plane is read between pixels. ``fixed``, ``outputs``: the names or positions of arguments
    that stand still, and of the outputs that count (all where there are none), as they were given.
    ``computed_in``: the type of the model, where the main signal is of whole numbers.
    """

    leaves: tuple[Any, ...]
    structure: Any
    kind: str
    circular: tuple[bool, ...]
    main: Leaf
    measured: dict[Any, Any] = field(default_factory=dict)
    gradients: bool = False
    interpolation: str = "lanczos"
    fixed: tuple[Entry, ...] = ()
    outputs: tuple[Entry, ...] = ()
    computed_in: torch.dtype = torch.float32

    def without_gradients(self) -> AbstractContextManager[Any]:
        """Inference mode, or only no_grad, which a model may leave inside its forward."""
        return torch.no_grad() if self.gradients else torch.inference_mode()

    @property
    def pixels(self) -> tuple[int, ...]:
        """The spatial sizes of the first shifted tensor."""
        return tuple(self.main.tensor.shape[d] for d in self.main.spatial)

    @property
    def dtype(self) -> torch.dtype:
        """The floating type in which results are compared."""
        given = self.main.tensor.dtype
        return given if given.is_floating_point else self.computed_in

    def mapped(self, change: Callable[[Leaf], Leaf]) -> Inputs:
        """The same arguments with every tensor changed, of which nothing was measured yet."""
        changed = {id(leaf): change(leaf) for leaf in self.leaves if isinstance(leaf, Leaf)}
        leaves = tuple(changed.get(id(leaf), leaf) for leaf in self.leaves)
        return replace(self, leaves=leaves, main=changed[id(self.main)], measured={})

    @property
    def followers(self) -> tuple[Entry, ...]:
        """What means, in ``fixed``, the signals that move together with the main one."""
        moving = [v for v in self.leaves if isinstance(v, Leaf) and v.role == "shifted"]
        return tuple(leaf.entry for leaf in moving if leaf is not self.main)

    def keeping(self, entries: Sequence[Entry]) -> Inputs:
        """The same arguments, of which these signals stand still, too."""

        def still(leaf: Leaf) -> Leaf:
            stays = leaf.entry in entries and leaf is not self.main
            return replace(leaf, role="still", spatial=()) if stays else leaf

        return replace(self.mapped(still), fixed=(*self.fixed, *entries))

    def with_main(self, tensor: torch.Tensor) -> Inputs:
        """The same arguments with another main tensor."""
        new = replace(self.main, tensor=tensor)
        return self.mapped(lambda leaf: new if leaf is self.main else leaf)

    def in_dtype(self, dtype: torch.dtype) -> Inputs:
        """The same arguments with every floating tensor in another type, for a model in that."""

        def cast(leaf: Leaf) -> Leaf:
            floating = leaf.tensor.is_floating_point()
            return replace(leaf, tensor=leaf.tensor.to(dtype)) if floating else leaf

        return replace(self.mapped(cast), computed_in=dtype)

    @property
    def tensors(self) -> list[torch.Tensor]:
        """Every tensor of the caller."""
        return [leaf.tensor for leaf in self.leaves if isinstance(leaf, Leaf)]

    def call(self, values: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments from a flat list of values."""
        whole = with_leaves(self.structure, values)
        if self.kind == "dict":
            return (), dict(whole)
        return (tuple(whole), {}) if self.kind == "tuple" else ((whole,), {})

    def signal(self, leaf: Leaf, copies: int) -> Layout:
        """What is known of a stacked leaf before anything was done to it."""
        dims: list[Dim] = [plain(n) for n in leaf.tensor.shape]
        if copies > 1:
            dims[0] = (Factor("copies", copies), *dims[0])
        states: list[Axis | None] = [None] * len(self.pixels)
        for axis, dim in enumerate(leaf.spatial):
            size, ring = leaf.tensor.shape[dim], self.circular[axis]
            states[axis] = scaled_axis(self.pixels[axis], size, circular=ring)
            dims[dim] = (Factor("axis", leaf.tensor.shape[dim], axis),)
        return Layout(tuple(dims), tuple(states))

    def shifted(self, shift: Shift, seed: int) -> list[Any]:
        """The arguments as the shift leaves them."""
        return self.dressed([self._shifted_leaf(leaf, shift, seed) for leaf in self.leaves])

    def dressed(self, values: Sequence[Any]) -> list[Any]:
        """The values of all leaves, each in the class that was given."""
        pairs = zip(self.leaves, values, strict=True)
        return [leaf.dressed(v) if isinstance(leaf, Leaf) else v for leaf, v in pairs]

    def _shifted_leaf(self, leaf: Any, shift: Shift, seed: int) -> Any:
        if not isinstance(leaf, Leaf):
            return leaf
        if leaf.role != "shifted" or not any(shift):
            return leaf.tensor.detach().clone()
        if not is_whole(shift):
            return self._between(leaf, shift, seed)
        offset = self.offset_of(leaf, shift)
        open_axes = [v if not ring else 0 for v, ring in zip(offset, self.circular, strict=True)]
        turns = [v if ring else 0 for v, ring in zip(offset, self.circular, strict=True)]
        out = torch.roll(leaf.tensor.detach(), turns, leaf.spatial)
        if any(open_axes):
            generator = torch.Generator().manual_seed(seed_of(seed, shift))
            out = fresh_shift(out, open_axes, leaf.spatial, generator)
        return out

    def _between(self, leaf: Leaf, shift: Shift, seed: int) -> torch.Tensor:
        """A leaf shifted between its pixels: turned along circles, then moved over the plane."""
        out = leaf.tensor.detach()
        on_plane = []
        for v, n, dim, ring in zip(shift, self.pixels, leaf.spatial, self.circular, strict=True):
            samples = Fraction(v) * leaf.tensor.shape[dim] / n
            on_plane.append(Fraction(0) if ring else samples)
            if ring:
                whole = samples.denominator == 1
                turned = (
                    out.roll(int(samples), dim)
                    if whole
                    else fourier_shift(out, float(samples), dim)
                )
                out = turned.to(out.dtype)
        if any(on_plane):
            generator = torch.Generator().manual_seed(seed_of(seed, shift))
            out = fresh_between(out, on_plane, leaf.spatial, self.interpolation, generator)
        return out

    def offset_of(self, leaf: Leaf, shift: Shift) -> tuple[int, ...]:
        """The shift of one leaf, in its own samples; raises InputError where it is not whole."""
        offset = []
        for v, n, dim in zip(shift, self.pixels, leaf.spatial, strict=True):
            samples = Fraction(v) * leaf.tensor.shape[dim] / n
            if samples.denominator != 1:
                raise InputError(
                    f"shifts={shift} would move the input of shape {tuple(leaf.tensor.shape)} by"
                    f" {samples} samples: use shifts that move every input by whole samples, or"
                    f" keep this one still, fixed=({leaf.entry!r},)"
                )
            offset.append(int(samples))
        return tuple(offset)

    def stacked(self, shifts: Sequence[Shift], seed: int, *, base: bool = True) -> list[Any]:
        """The arguments with the base, if asked for, and its shifted copies along the batch.

        Raises BatchCoupledError where an argument stands still: what a model makes of it need not
        have a batch.
        """
        if any(isinstance(leaf, Leaf) and leaf.role == "still" for leaf in self.leaves):
            raise BatchCoupledError(f"an input stands still, fixed={self.fixed!r}")
        stacks = [self._stacked_leaf(leaf, shifts, seed, int(base)) for leaf in self.leaves]
        return self.dressed(stacks)

    def _stacked_leaf(self, leaf: Any, shifts: Sequence[Shift], seed: int, bases: int) -> Any:
        zero = (0,) * len(self.pixels)
        if not isinstance(leaf, Leaf) or leaf.role == "fixed":
            return self._shifted_leaf(leaf, zero, seed)
        if leaf.role != "shifted" or any(self.circular) or not all(map(is_whole, shifts)):
            every = (*[zero] * bases, *shifts)
            return torch.cat([self._shifted_leaf(leaf, v, seed) for v in every])
        x = leaf.tensor.detach()
        out = torch.cat([x] * (len(shifts) + bases))
        copies = out.unflatten(0, (len(shifts) + bases, -1))[bases:]
        together = max(1, PLACES // math.prod(x.shape[d] for d in leaf.spatial))
        for start in range(0, len(shifts), together):
            some = shifts[start : start + together]
            offsets = [self.offset_of(leaf, shift) for shift in some]
            seeds = [seed_of(seed, shift) for shift in some]
            copies[start : start + together] = fresh_shifts(x, offsets, leaf.spatial, seeds)
        return out


PLACES = 2**20
"""Places of shifted copies that are filled at once."""


def seed_of(seed: int, shift: Shift) -> int:
    """A seed of its own for each shift."""
    value = seed
    for entry in shift:
        part = entry if isinstance(entry, int) else hash(entry)
        value = (value * 1_000_003 + part + 4_096) % (2**62)
    return value
