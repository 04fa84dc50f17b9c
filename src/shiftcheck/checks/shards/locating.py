"""The first layer that differs on a shard, and the halo that it was given there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from shiftcheck.checks.shards.cutting import Cut, Placed, with_shards
from shiftcheck.checks.shards.matching import Match, Whole
from shiftcheck.checks.shards.module_calls import Call
from shiftcheck.report.shards import BorderMode, LayerShard, ShardedLayer
from shiftcheck.report.shards_compared import GuiltyLayer

Paired = tuple[str, Call, tuple[Call, ...]]
"""The name of a layer, its call on the whole, and that on each shard."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Located:
    """The first layer that differs, with what the plan says of it.

    ``fed_wrong``: what it was given differs already, in samples that it owns.
    """

    guilty: GuiltyLayer
    layer: ShardedLayer
    fed_wrong: bool


def first_wrong(paired: Sequence[Paired], layers: Sequence[Placed], cut: Cut) -> Iterator[Located]:
    """The first layer that differs, on every shard on which it does; nothing where none does."""
    known: Mapping[str, Placed] = {one.layer.name: one for one in layers}
    for name, whole, shards in paired:
        one = known.get(name)
        if one is None or one.dim is None or whole.gave is None:
            continue
        layer = with_shards(one, cut)
        found = [
            located
            for number, call in enumerate(shards)
            if number < len(layer.shards)
            for located in [_looked_at(whole, call, layer, number, one.dim)]
            if located is not None
        ]
        if found:
            yield from found
            return


def _looked_at(
    whole: Call, call: Call, layer: ShardedLayer, number: int, dim: int
) -> Located | None:
    """The layer on one shard; None where all samples that the shard gives are right."""
    shard = layer.shards[number]
    if whole.gave is None or call.gave is None:
        return None
    match = Whole.of(whole.gave, dim).match(call.gave, shard.gives[0])
    wrong = _wrong(match, shard.gives)
    if not wrong:
        return None
    given, fed_wrong = _given(whole.given, call.given, layer, shard, dim)
    middle = (shard.gives[0] + shard.gives[1]) / 2
    left = max((q + 1 - shard.gives[0] for q in wrong if q < middle), default=0)
    right = max((shard.gives[1] - q for q in wrong if q >= middle), default=0)
    reach = reach_of(layer, shard)
    everywhere = reach is None or left > reach[0] or right > reach[1]
    by_halo = layer.is_local and not everywhere
    guilty = GuiltyLayer(
        name=layer.name,
        op=layer.op,
        shard=number,
        left=left,
        right=right,
        given=given if by_halo else None,
        needed=shard.halo if by_halo else None,
        everywhere=everywhere,
    )
    return Located(guilty=guilty, layer=layer, fed_wrong=fed_wrong)


def _wrong(match: Match | None, gives: tuple[int, int]) -> list[int]:
    """The samples of the whole that a shard has to give, and does not."""
    every = range(*gives)
    if match is None:
        return list(every)
    return [q for q in every if not match.is_right(q)]


def reach_of(layer: ShardedLayer, shard: LayerShard) -> tuple[int, int] | None:
    """So many samples that a shard gives see beyond its seams, at the left and at the right.

    None for a layer that sees everything.
    """
    start, stop = shard.gives
    if not layer.reads or not layer.is_local:
        return None
    left = right = 0
    while start + left < stop and layer.halo_of(shard.owns, (start + left, start + left + 1))[0]:
        left += 1
    while stop - right > start and layer.halo_of(shard.owns, (stop - right - 1, stop - right))[1]:
        right += 1
    return left, right


def _given(
    whole: torch.Tensor | None,
    given: torch.Tensor | None,
    layer: ShardedLayer,
    shard: LayerShard,
    dim: int,
) -> tuple[tuple[int, int] | None, bool]:
    """The samples of the neighbours that a layer was given, and whether its own ones are wrong."""
    if whole is None or given is None or whole.ndim <= dim or whole.shape[dim] != layer.inputs:
        return None, False
    around = layer.border is BorderMode.CIRCULAR
    before = layer.inputs if around else 0
    endless = torch.cat([whole] * 3, dim) if around else whole
    start, stop = shard.owns[0] + before, shard.owns[1] + before
    match = Whole.of(endless, dim).match(given, start - shard.halo[0])
    if match is None:
        return None, True
    if not all(match.is_right(q) for q in range(start, stop)):
        return None, True
    left = right = 0
    while left < layer.inputs and match.is_right(start - left - 1):
        left += 1
    while right < layer.inputs and match.is_right(stop + right):
        right += 1
    return (left, right), False
