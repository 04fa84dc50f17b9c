"""Where shards begin, at the input and at every layer, and how narrow they may be."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from shiftcheck.checks.shards.laws import Law
from shiftcheck.errors import InputError
from shiftcheck.lattice.alone import relates_pairs
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import AxisState
from shiftcheck.report.shards import BorderMode, Exchange, LayerShard, ShardedLayer

Cut = tuple[int, ...]
"""Where each shard begins, and where the last one ends."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """A layer with its law, and the stride of its output over the pixels of the input.

    ``scale``: that stride, None where its samples keep no step with the pixels, or it has none.
    ``slice_bytes``: of one sample of all that it is given, with all other dimensions. ``dim``: the
    dimension of its output that holds the axis, None where it holds something else, too.
    """

    law: Law
    layer: ShardedLayer
    scale: Fraction | None
    slice_bytes: int
    dim: int | None = None

    @property
    def own_scale(self) -> Fraction | None:
        """The stride of its own input."""
        if self.scale is None or not self.layer.stride:
            return None
        return self.scale / self.layer.stride


def placed(law: Law, whole: AxisState, slice_bytes: int, dim: int | None = None) -> Placed:
    """A layer, ``whole``: the state of its output in a pass over the whole model."""
    state = law.state
    layer = ShardedLayer(
        name=law.row.name,
        op=law.row.op,
        exchange=law.exchange,
        border=law.border,
        offset=law.offset,
        statistic=law.statistic,
        detail=law.detail,
    )
    scale = abs(whole.stride) if isinstance(whole, Axis) else None
    if isinstance(state, Axis) and not relates_pairs(law.row.layout):
        layer = replace(
            layer,
            inputs=state.pixels,
            outputs=state.size,
            stride=state.stride,
            period=state.lattice,
            reads=tuple(zip(state.first.tolist(), state.last.tolist(), strict=True)),
        )
        if scale is None and not law.exchange.blocks:
            detail = "its samples keep no step with those of the input"
            layer = replace(layer, exchange=Exchange.UNKNOWN, detail=detail)
    return Placed(law=law, layer=layer, scale=scale, slice_bytes=slice_bytes, dim=dim)


def cut_of(bounds: Cut, scale: Fraction, size: int) -> Cut:
    """The same cut of a tensor of another stride; its first sample in each shard, and its size."""
    inner = (min(size, math.ceil(Fraction(b) / scale)) for b in bounds[1:-1])
    return (0, *inner, size)


def with_shards(one: Placed, bounds: Cut) -> ShardedLayer:
    """The layer with its shards, and the halo that they need."""
    layer, scale, own = one.layer, one.scale, one.own_scale
    if scale is None or own is None or own < 0 or not layer.outputs:
        return layer
    owns = _pairs(cut_of(bounds, own, layer.inputs))
    gives = _pairs(cut_of(bounds, scale, layer.outputs))
    if layer.exchange is Exchange.STATISTIC or layer.exchange.blocks:
        shards = tuple(
            LayerShard(owns=o, gives=g, halo=(0, 0)) for o, g in zip(owns, gives, strict=True)
        )
        return replace(layer, shards=shards)
    shards = tuple(
        LayerShard(owns=o, gives=g, halo=layer.halo_of(o, g) if g[0] < g[1] else (0, 0))
        for o, g in zip(owns, gives, strict=True)
    )
    halo = (max(s.halo[0] for s in shards), max(s.halo[1] for s in shards))
    if len(shards) == 1:
        halo, shards = _inner_halo(layer), (replace(shards[0], halo=(0, 0)),)
    exchanged = sum(sum(shard.halo) for shard in shards)
    needed = Exchange.HALO if any(halo) else Exchange.NOTHING
    return replace(
        layer,
        exchange=needed,
        halo=halo,
        shards=shards,
        bytes=exchanged * one.slice_bytes,
    )


def _inner_halo(layer: ShardedLayer) -> tuple[int, int]:
    """What a shard would need that begins on the grid of the layer, far from both ends."""
    seen = [span for span in layer.reads if span[0] <= span[1]]
    left = max((-int(span[0]) for span in seen), default=0)
    right = max((int(span[1]) + 1 - (layer.period or 1) for span in seen), default=0)
    return max(0, left), max(0, right)


def _pairs(cut: Cut) -> list[tuple[int, int]]:
    return list(itertools.pairwise(cut))


def even_cut(pixels: int, parts: int, period: int) -> Cut:
    """Shards of about one width that begin at multiples of the period."""
    inner = [round(Fraction(i * pixels, parts * period)) * period for i in range(1, parts)]
    return (0, *inner, pixels)


@dataclass(frozen=True, kw_only=True)
class Narrow:
    """A layer at which a shard is too narrow: it has ``width`` samples, and needs ``halo``."""

    layer: str
    shard: int
    width: int
    halo: int
    gives: bool = True

    def told(self, verb: str) -> str:
        """What is wrong with the shard; without ``gives``, no sample of the layer is its own."""
        if not self.gives:
            return f"shard {self.shard} {verb} no sample of what {self.layer!r} gives"
        return (
            f"shard {self.shard} {verb} {self.width} samples at {self.layer!r}, of which a"
            f" neighbour needs {self.halo}"
        )


def too_narrow(layers: Sequence[Placed], bounds: Cut) -> Narrow | None:
    """The first layer at which a neighbour's halo reaches through a shard, or one is empty."""
    return next(_narrow(layers, bounds), None)


def _narrow(layers: Sequence[Placed], bounds: Cut) -> Iterator[Narrow]:
    for one in layers:
        shards = with_shards(one, bounds).shards
        last = shards[-1] if shards else None
        for i, shard in enumerate(shards):
            around = one.layer.border is BorderMode.CIRCULAR and len(shards) > 1
            behind = shards[(i + 1) % len(shards)].halo[0] if around or shard is not last else 0
            before = shards[i - 1].halo[1] if around or i else 0
            width = shard.owns[1] - shard.owns[0]
            empty = shard.gives[0] >= shard.gives[1]
            if width < max(1, before, behind) or empty:
                halo = max(1, before, behind)
                yield Narrow(
                    layer=one.layer.name,
                    shard=i,
                    width=width,
                    halo=halo,
                    gives=width < halo or not empty,
                )


def least_width(layers: Sequence[Placed], period: int) -> int:
    """The least width of a shard in pixels, a multiple of the period."""
    least = Fraction(period)
    for one in layers:
        if one.own_scale is None or one.layer.exchange is not Exchange.HALO:
            continue
        least = max(least, max(_inner_halo(one.layer)) * one.own_scale)
    return math.ceil(least / period) * period


def most_parts(layers: Sequence[Placed], pixels: int, period: int, least: int) -> int:
    """So many shards there are at most."""
    high = max(1, pixels // least)
    for parts in range(high, 1, -1):
        cut = even_cut(pixels, parts, period)
        if _increasing(cut) and too_narrow(layers, cut) is None:
            return parts
    return 1


def _increasing(cut: Cut) -> bool:
    return all(a < b for a, b in itertools.pairwise(cut))


def read_cut(given: Sequence[int], pixels: int, parts: int) -> Cut:
    """The cut that was given by the starts of the shards, or by their starts and the end."""
    try:
        starts = [int(b) for b in given]
        whole = all(int(b) == b for b in given)
    except (TypeError, ValueError, OverflowError):
        starts, whole = [], False
    if starts and starts[-1] == pixels and len(starts) == parts + 1:
        starts = starts[:-1]
    cut = (*starts, pixels)
    if not whole or not starts or starts[0] != 0 or not _increasing(cut):
        raise InputError(
            f"bounds={given!r}: give where each shard begins, in pixels, such as"
            f" {even_cut(pixels, parts, 1)[:-1]}: the first at 0, each behind the one before, and"
            f" within {pixels}"
        )
    if len(starts) != parts:
        raise InputError(
            f"bounds={given!r}, parts={parts}: these are the starts of {len(starts)} shards; give"
            f" as many as parts"
        )
    return cut


def off_grid(cut: Cut, period: int) -> list[int]:
    """The starts that are no multiples of the period."""
    return [b for b in cut[:-1] if b % period]


def nearest(start: int, period: int, pixels: int) -> tuple[int, ...]:
    """The legal starts around a place."""
    down = start // period * period
    return tuple(b for b in (down, down + period) if 0 < b < pixels)
