"""The arguments of single items, and those of several as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from shiftcheck.measuring.signals.arguments import Inputs, Leaf


def signature(item: Inputs | Like) -> Any:
    """What items have in common that can travel in one batch."""
    inputs = item.template if isinstance(item, Like) else item

    def told(leaf: Any) -> Any:
        if not isinstance(leaf, Leaf):
            return repr(leaf)
        return tuple(leaf.tensor.shape), leaf.tensor.dtype, leaf.role

    return inputs.kind, tuple(map(told, inputs.leaves))


def alike(x: Any, known: torch.Tensor) -> bool:
    """Whether an argument is a plain tensor of a shape and type that is known."""
    return type(x) is torch.Tensor and x.shape == known.shape and x.dtype == known.dtype


class NotFiniteError(ValueError):
    """An item holds NaN or infinity, with which nothing can be compared."""


def require_finite(x: torch.Tensor) -> None:
    """Raise NotFiniteError for NaN and infinity."""
    if x.is_floating_point() and not bool(torch.isfinite(x).all()):
        count = int((~torch.isfinite(x)).sum())
        raise NotFiniteError(f"{count} values are NaN or infinite: nothing can be compared")


def on_device(x: Any, home: torch.device) -> Any:
    """The arguments on the device of the model."""
    if isinstance(x, torch.Tensor):
        return x.to(home)
    if isinstance(x, dict):
        return {key: on_device(value, home) for key, value in x.items()}
    if type(x) in (tuple, list):
        return type(x)(on_device(value, home) for value in x)
    return x


@dataclass(frozen=True, eq=False)
class Like:
    """An item that is a single tensor, of the shape and type of another one's."""

    template: Inputs
    tensor: torch.Tensor


def joined(items: Sequence[Inputs | Like], home: torch.device) -> Inputs:
    """Several items as one batch, where the model is."""
    first = items[0]
    whole = first.template if isinstance(first, Like) else first
    if whole.kind == "single":
        mains = [i.tensor if isinstance(i, Like) else i.main.tensor for i in items]
        return whole.with_main(_in_one(mains, home))
    several = [item for item in items if isinstance(item, Inputs)]
    places = {id(leaf): i for i, leaf in enumerate(whole.leaves)}

    def together(leaf: Leaf) -> Leaf:
        parts = [item.leaves[places[id(leaf)]].tensor for item in several]
        return replace(leaf, tensor=_in_one(parts, home))

    return whole.mapped(together)


def _in_one(parts: Sequence[torch.Tensor], home: torch.device) -> torch.Tensor:
    near = [part.to(parts[-1].device) for part in parts]
    return (torch.cat(near) if len(near) > 1 else near[0]).to(home)


def among(inputs: Inputs, rows: Sequence[int]) -> Inputs:
    """Some of the items of a batch."""

    def some(leaf: Leaf) -> Leaf:
        return replace(leaf, tensor=leaf.tensor[list(rows)])

    return inputs.mapped(some)
