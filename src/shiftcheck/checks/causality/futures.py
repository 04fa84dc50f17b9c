"""The arguments of a model with another future: what comes behind a time is replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.gather import runs
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.signals.arguments import Leaf, seed_of
from shiftcheck.tracing.traced import Row

SPREAD = 6
"""So many times are spread over all of the input."""

EARLY = (0, 1, 2, 3, 5, 8, 13, 21, 34)
"""Near its beginning they are dense: what fills an end is felt by the samples there."""

SEAMS = 8
"""So many times at places where one law ends and another begins."""

LOUDER = 3.0
"""Every second draw is so much larger, for layers that pass large values alone."""


@dataclass(frozen=True, kw_only=True)
class Future:
    """What comes behind the input sample ``time`` is drawn anew, or NaN, or another value at each.

    Where it is ``other``, each value is the next larger one of the input, and NaN where it can be.

    Example:
        >>> Future(time=7, draw=1).fill
        'fresh'
    """

    time: int
    draw: int = 0
    fill: str = "fresh"


def times_of(pixels: int, lookahead: int, outputs: Sequence[Row]) -> tuple[int, ...]:
    """The last input samples that are kept, on and off the grids of the outputs."""
    last = pixels - 2
    spread = [pixels * k // (SPREAD + 1) for k in range(1, SPREAD + 1)]
    wanted = [*EARLY, *spread, *(t + 1 for t in spread[::2]), last]
    for row in outputs:
        state = next((s for s in row.layout.axes if isinstance(s, Axis)), None)
        if state is not None:
            period = state.lattice
            wanted += [spread[SPREAD // 2] // period * period - 1, period - 1, period]
            wanted += _seams(state)
    return tuple(sorted({t + max(0, lookahead) for t in wanted if 0 <= t + lookahead <= last}))


def _seams(state: Axis) -> list[int]:
    """The input samples where the valid samples, or those of another law, begin and end."""
    masks = [state.valid] if state.different is None else [state.valid, state.different]
    ends = [e for mask in masks for run in runs(mask)[:SEAMS] for e in run]
    at = [int(e * state.stride) for e in ends]
    return [t + d for t in at[:SEAMS] for d in (-1, 0)]


def with_future(plan: Plan, future: Future) -> list[Any]:
    """The arguments, in which the samples behind a time are replaced."""
    seed = seed_of(plan.seed, (future.time, future.draw))
    draw = torch.Generator().manual_seed(seed)
    return plan.inputs.dressed([_replaced(leaf, plan, future, draw) for leaf in plan.inputs.leaves])


def _replaced(leaf: Any, plan: Plan, future: Future, draw: torch.Generator) -> Any:
    if not isinstance(leaf, Leaf):
        return leaf
    x = leaf.tensor.detach().clone()
    if leaf.role != "shifted":
        return x
    (dim,) = leaf.spatial
    size, (pixels,) = x.shape[dim], plan.inputs.pixels
    kept = max(0, future.time * size // pixels + 1)  # sample i stands at i * pixels / size
    behind = x.narrow(dim, kept, size - kept)
    if future.fill != "fresh" and x.is_floating_point():
        behind.fill_(torch.nan)
    elif future.fill == "other":
        values, places = x.unique(return_inverse=True)
        places = places.reshape(x.shape).narrow(dim, kept, size - kept)
        behind.copy_(values[(places + 1) % len(values)])
    elif behind.numel():
        behind.copy_(_fresh(x, behind.shape, future.draw, draw))
    return x


def _fresh(
    x: torch.Tensor, shape: Sequence[int], number: int, draw: torch.Generator
) -> torch.Tensor:
    """Values of a tensor from random places of its own, in every second draw louder."""
    count = torch.Size(shape).numel()
    places = torch.randint(x.numel(), (count,), generator=draw, device="cpu")
    fresh = x.flatten()[places.to(x.device)].reshape(shape)
    return fresh * LOUDER if number % 2 and x.is_floating_point() else fresh


def can_be_nan(plan: Plan) -> bool:
    """Whether NaN can stand in every signal that has a future."""
    return all(t.is_floating_point() for t in _signals(plan))


def all_can_be_others(plan: Plan) -> bool:
    """Whether every sample of a signal that has a future can be NaN, or another whole number."""
    return all(t.is_floating_point() or len(t.unique()) > 1 for t in _signals(plan))


def none_can_be_nan(plan: Plan) -> bool:
    """Whether NaN can stand in no signal that has a future."""
    return not any(t.is_floating_point() for t in _signals(plan))


def _signals(plan: Plan) -> list[torch.Tensor]:
    leaves = [v for v in plan.inputs.leaves if isinstance(v, Leaf) and v.role == "shifted"]
    return [leaf.tensor for leaf in leaves]
