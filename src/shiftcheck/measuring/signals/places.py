"""A shift of whole pixels as the places that values are taken from, for many items at once.

A shift moves values without a look at them. So it is read off once, from a signal that holds the
numbers of its places, and then applied to any number of items, each with a shift of its own.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from shiftcheck.measuring.signals.arguments import Inputs, Leaf, Shift

Move = Callable[[Inputs, Shift], list[Any]]
"""The arguments as a shift leaves them."""

ROOM = 2**22
"""So many places are kept from one batch to the next."""


class Places:
    """The shifts of one kind, and the places that they take values from."""

    def __init__(self, inputs: Inputs, move: Move) -> None:
        self.move = move
        self.moving = [
            i for i, v in enumerate(inputs.leaves) if isinstance(v, Leaf) and v.role == "shifted"
        ]
        self.numbered = inputs.mapped(_numbered)
        self.sources: OrderedDict[Shift, list[torch.Tensor]] = OrderedDict()
        self.kept = 0

    def moved(self, inputs: Inputs, shifts: Sequence[Shift]) -> list[Any]:
        """The arguments of several items ``[items, ...]``, each shifted by its own shift."""
        values = [leaf.tensor if isinstance(leaf, Leaf) else leaf for leaf in inputs.leaves]
        sources = [self._source(shift) for shift in shifts]
        for k, i in enumerate(self.moving):
            each = [source[k] for source in sources]
            values[i] = _taken(values[i], inputs.leaves[i].spatial, each)
        return inputs.dressed(values)

    def _source(self, shift: Shift) -> list[torch.Tensor]:
        """For each signal the places, flattened and counted from 1; 0 is a zero that enters."""
        known = self.sources.get(shift)
        if known is not None:
            self.sources.move_to_end(shift)
            return known
        moved = self.move(self.numbered, shift)
        source = [_in_order(moved[i], self.numbered.leaves[i].spatial) for i in self.moving]
        self.sources[shift] = source
        self.kept += sum(s.numel() for s in source)
        while self.kept > ROOM and len(self.sources) > 1:
            _, oldest = self.sources.popitem(last=False)
            self.kept -= sum(s.numel() for s in oldest)
        return source


def _numbered(leaf: Leaf) -> Leaf:
    """A signal of one channel whose values are the numbers of its places, from 1."""
    if leaf.role != "shifted":
        return leaf
    sizes = [n if d in leaf.spatial else 1 for d, n in enumerate(leaf.tensor.shape)]
    numbers = torch.arange(1, math.prod(sizes) + 1, device="cpu")
    order = sorted(range(len(leaf.spatial)), key=lambda a: leaf.spatial[a])
    laid_out = [sizes[d] for d in leaf.spatial]
    numbers = numbers.reshape(laid_out).permute(order).reshape(sizes)
    return replace(leaf, tensor=numbers, given=None)


def _in_order(numbers: torch.Tensor, spatial: Sequence[int]) -> torch.Tensor:
    return numbers.movedim(tuple(spatial), tuple(range(-len(spatial), 0))).flatten()


def _taken(
    x: torch.Tensor, spatial: Sequence[int], sources: Sequence[torch.Tensor]
) -> torch.Tensor:
    """The values ``[items, ...]`` from other places, those of each item from its own ones."""
    x = x.detach()
    last = tuple(range(-len(spatial), 0))
    ahead = x.movedim(tuple(spatial), last)
    flat = ahead.flatten(-len(spatial))
    if all(source is sources[0] for source in sources):
        one = sources[0].to(x.device)
        out = flat.index_select(-1, (one - 1).clamp_min(0))
        entered = one == 0
    else:
        each = torch.stack(list(sources)).to(x.device)
        each = each.reshape(len(sources), *(1,) * (flat.ndim - 2), -1)
        out = flat.gather(-1, (each - 1).clamp_min(0).expand_as(flat))
        entered = each == 0
    if bool(entered.any()):
        out = out.masked_fill(entered, 0)
    moved = out.reshape(ahead.shape).movedim(last, tuple(spatial))
    return torch.empty_like(x).copy_(moved)
