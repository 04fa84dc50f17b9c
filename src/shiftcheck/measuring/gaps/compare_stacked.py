"""How far every copy of a layer is from its base, place by place, many copies in one go.

A shift moves a tensor that is stored row by row by one fixed number of values, so that copy and
base can be subtracted as they lie in memory. What meets across the end of a row means nothing; the
caller only reads the places that overlap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from shiftcheck.measuring.gaps.regions import Region

BLOCK = 2**16
ROOM = 2**18
"""Values of one copy, and of several together, whose differences are taken at once: they stay in
the cache, and so does the part of the base that they are taken from."""

LARGER = 2**6
"""On another device than a CPU, so many times more: there each step costs more than its values."""


def maps(
    copies: torch.Tensor, base: torch.Tensor, plans: Sequence[Region | None]
) -> Iterator[torch.Tensor | None]:
    """The map of each of the copies ``[copies, channels, *spatial]`` from the base without copies.

    Only the places of ``Placed.all`` have a meaning. A map is where the values are. None where
    there is no plan, the places that overlap are no run, or the tensor is not stored in a way that
    allows it.
    """
    flat = _flat(copies)
    if flat is None or flat.numel() == 0:
        yield from (None for _ in plans)
        return
    sizes, values = copies.shape[2:], flat[0].numel()
    steps = [_step(plan, sizes) for plan in plans]
    larger = 1 if flat.device.type == "cpu" else LARGER
    most = larger * ROOM
    together = max(1, most // min(values, max(larger * BLOCK, flat.shape[2])))
    room = flat.new_empty(max(min(most, len(plans) * values), flat.shape[2]))
    parts, origin = flat.unbind(0), base.reshape(flat.shape[1:])
    for start in range(0, len(plans), together):
        group = range(start, min(start + together, len(plans)))
        met = {i: step for i in group if (step := steps[i]) is not None}
        at: dict[int, torch.Tensor] = {}
        if met:
            differences = _differences([parts[i] for i in met], origin, list(met.values()), room)
            at = dict(zip(met, differences.reshape(len(met), *sizes), strict=True))
        yield from (at.get(i) for i in group)


def _flat(copies: torch.Tensor) -> torch.Tensor | None:
    """The copies as ``[copies, channels, places]`` without moving a value, if that can be done."""
    if copies.dtype not in (torch.float32, torch.float64) or copies.ndim < 3:
        return None
    try:
        return copies.view(*copies.shape[:2], -1)
    except RuntimeError:
        return None


Step = tuple[int, int, int]
"""The first place of a copy that overlaps with the base, the end of them, how far they moved."""


def _step(plan: Region | None, sizes: Sequence[int]) -> Step | None:
    if plan is None:
        return None
    first = last = moved = 0
    for p, size in zip(plan.along, sizes, strict=True):
        here, there = p.all
        if isinstance(here, torch.Tensor) or isinstance(there, torch.Tensor) or not here[1]:
            return None
        first = first * size + here[0]
        last = last * size + here[0] + here[1] - 1
        moved = moved * size + here[0] - there[0]
    return first, last + 1, moved


def _differences(
    parts: Sequence[torch.Tensor], base: torch.Tensor, steps: Sequence[Step], room: torch.Tensor
) -> torch.Tensor:
    """The largest difference over all channels, ``[copies, places]``."""
    channels, places = base.shape
    most = max(1, min(channels, room.numel() // (len(parts) * places)))
    tops = []
    for start in range(0, channels, most):
        stop = min(start + most, channels)
        apart = _like(base[start:stop], len(parts), room)
        for part, (first, end, moved), out in zip(parts, steps, apart.unbind(0), strict=True):
            one = part[start:stop, first:end]
            two = base[start:stop, first - moved : end - moved]
            torch.sub(one, two, out=out[:, first:end])
        tops.append(apart.abs_().amax(1))
    return tops[0] if len(tops) == 1 else torch.stack(tops).amax(0)


def _like(base: torch.Tensor, count: int, room: torch.Tensor) -> torch.Tensor:
    """Room for ``count`` differences from the base ``[channels, places]``, stored in its order."""
    channels, places = base.shape
    here = room[: count * channels * places]
    if base.stride(0) < base.stride(1):
        return here.view(count, places, channels).transpose(1, 2)
    return here.view(count, channels, places)
