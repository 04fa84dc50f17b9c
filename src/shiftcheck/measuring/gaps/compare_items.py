"""Many items of a batch, each under a shift of its own, compared in one go.

What is found for an item is what ``compare.measure`` finds for it alone, as far as it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from shiftcheck.measuring.gaps.compare import ROUNDING, largest, take, wide
from shiftcheck.measuring.gaps.regions import Region, Span, Sums, indices_of

Places = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

FEW = 64
"""So many of the compared places are looked at first, where that may be enough."""


@dataclass(frozen=True, eq=False)
class Pairing:
    """Which places of a shifted output, of these ``sizes``, are compared with which of the base."""

    region: Region
    sizes: tuple[int, ...]

    @cached_property
    def spans(self) -> tuple[list[Span], list[Span]]:
        """The compared samples along each axis: of the shifted output, and of the base."""
        along = self.region.along
        return [p.valid[0] for p in along], [p.valid[1] for p in along]

    @cached_property
    def source(self) -> torch.Tensor:
        """For each place, flattened, that of the base."""
        return self._source(self.spans[1])

    @cached_property
    def here(self) -> torch.Tensor:
        """Whether each place is compared."""
        compared = np.zeros(math.prod(self.sizes), dtype=bool)
        compared[self._places] = True
        return torch.from_numpy(compared)

    @cached_property
    def stays(self) -> tuple[torch.Tensor, ...]:
        """For each moved axis ``source`` where the shift is left out along that axis alone.

        With it the base is compared with itself.
        """
        return tuple(self._source(spans) for spans in self._left_out)

    @cached_property
    def few(self) -> torch.Tensor:
        """Some of the compared places, then what they stay at, for each axis: ``[1 + axes, FEW]``.

        An axis that does not move has the places of one that does.
        """
        some = np.linspace(0, len(self._places) - 1, FEW).astype(np.int64)
        stays = [_flat(spans, self.sizes)[some] for spans in self._left_out]
        stays += stays[:1] * (len(self.region.along) - len(stays))
        return torch.from_numpy(np.stack([self._places[some], *stays]))

    @cached_property
    def _places(self) -> Places:
        return _flat(self.spans[0], self.sizes)

    @property
    def _left_out(self) -> list[list[Span]]:
        here, there = self.spans
        moved = [i for i, p in enumerate(self.region.along) if p.moved]
        return [[there[j] if j == i else span for j, span in enumerate(here)] for i in moved]

    def _source(self, spans: Sequence[Span]) -> torch.Tensor:
        places = np.zeros(math.prod(self.sizes), dtype=np.int64)
        places[self._places] = _flat(spans, self.sizes)
        return torch.from_numpy(places)


def _flat(spans: Sequence[Span], sizes: Sequence[int]) -> Places:
    """The numbers of the places at which spans along each axis meet."""
    numbers = np.zeros((), dtype=np.int64)
    for span, size in zip(spans, sizes, strict=True):
        numbers = np.add.outer(numbers * size, indices_of(span))
    return numbers.ravel()


@dataclass(frozen=True, eq=False)
class ItemBase:
    """The unshifted outputs of several items ``[items, channels, places]``, with magnitudes.

    ``scales``: the largest magnitude of each channel among the valid samples, ``[items,
    channels]``, and ``peaks`` the largest of each item, NaN where a value is no finite number.
    """

    values: torch.Tensor
    scales: torch.Tensor
    peaks: torch.Tensor

    @classmethod
    def of(cls, values: torch.Tensor, valid: Sequence[tuple[int, int]]) -> ItemBase:
        """From outputs ``[items, channels, *spatial]``, with the valid span of each axis."""
        values = values if values.ndim > 2 else values.unsqueeze(2)
        inner = values
        for dim, (start, stop) in enumerate(valid):
            inner = inner.narrow(dim + 2, start, stop - start)
        items, channels = inner.shape[:2]
        scales = largest(inner.flatten(0, 1), None).unflatten(0, (items, channels))
        peaks = scales.amax(1) if scales.shape[1] else scales.new_zeros(len(scales))
        peaks = torch.where(torch.isfinite(peaks), peaks, math.nan)
        return cls(values=values.flatten(2), scales=scales, peaks=peaks)

    def among(self, items: Sequence[int]) -> ItemBase:
        """Those of some of the items."""
        at = torch.tensor(items, device=self.values.device)
        return ItemBase(values=self.values[at], scales=self.scales[at], peaks=self.peaks[at])


@dataclass(frozen=True, kw_only=True)
class ItemGaps:
    """Of each item: the largest gap, and the largest one relative to its channel."""

    errors: list[float]
    relative: list[float]


BLOCK = 2**20
"""Values that are compared at once: what is computed on the way takes as much room again."""


def item_gaps(base: ItemBase, copies: torch.Tensor, pairings: Sequence[Pairing]) -> ItemGaps:
    """The gaps of shifted outputs ``[items, channels, places]`` from their bases."""
    values = base.values
    if values[0].numel() >= LARGE and values.device.type == "cpu":
        errors = torch.stack(
            [_one(v, c, p) for v, c, p in zip(values, copies, pairings, strict=True)]
        )
    else:
        sources, here = [p.source for p in pairings], [p.here for p in pairings]
        errors = _in_blocks(values, lambda some: _largest(values, copies, sources, here, some))
    relative = _ratios(errors, base).amax(1)
    return ItemGaps(errors=errors.amax(1).double().tolist(), relative=relative.double().tolist())


LARGE = 2**14
"""On a CPU, items of so many values are compared one by one, as they lie in memory."""


def _one(base: torch.Tensor, copy: torch.Tensor, pairing: Pairing) -> torch.Tensor:
    """The largest gap of each channel of one item, ``[channels]``."""
    along, (here, there) = pairing.region.along, pairing.spans
    one, two = (v.unflatten(1, pairing.sizes) for v in (copy, base))
    return largest(take(one, along, here), take(two, along, there))


def clearly_moved(
    base: ItemBase, items: Sequence[int], pairings: Sequence[Pairing], clearly: float
) -> list[bool]:
    """Whether some places show that each of ``items`` is not itself with the shift left out.

    Those of which few places do not show it may do so all the same: ``item_nulls`` tells. Nothing
    else of the base is read, so that it needs not be copied for some of its items.
    """
    few = torch.stack([p.few for p in pairings]).to(base.values.device)
    rows = torch.tensor(items, device=base.values.device)
    channels = torch.arange(base.values.shape[1], device=base.values.device)
    places = few.flatten(1)[:, None]
    some = wide(base.values[rows[:, None, None], channels[None, :, None], places])
    some = some.unflatten(2, few.shape[1:])
    tops = (some[:, :, 1:] - some[:, :, :1]).abs().amax(3)
    scaled = ItemBase(values=base.values[:0], scales=base.scales[rows], peaks=base.peaks[rows])
    least = torch.stack([_ratios(top, scaled).amax(1) for top in tops.unbind(2)]).amin(0)
    return [top > clearly for top in least.double().tolist()]


def item_nulls(base: ItemBase, pairings: Sequence[Pairing]) -> list[float]:
    """How far each base is from itself with the shift left out: the smallest over the axes.

    Of each axis the largest gap, relative to its channel.
    """
    here = [p.here for p in pairings]

    def along(k: int) -> torch.Tensor:
        there = [p.stays[k if k < len(p.stays) else 0] for p in pairings]
        values = base.values
        errors = _in_blocks(values, lambda some: _largest(values, values, there, here, some))
        return _ratios(errors, base).amax(1)

    axes = range(max(len(p.stays) for p in pairings))
    nulls: list[float] = torch.stack([along(k) for k in axes]).amin(0).double().tolist()
    return nulls


def item_variation(base: ItemBase, pairings: Sequence[Pairing]) -> list[float]:
    """How much each base varies over the compared places, relative to its channel."""
    here = torch.stack([p.here for p in pairings]).to(base.values.device)[:, None]
    values = wide(base.values)
    if values.is_complex():
        return [math.inf] * len(values)
    high = values.masked_fill(~here, -math.inf).amax(2)
    low = values.masked_fill(~here, math.inf).amin(2)
    spread: list[float] = _ratios(high - low, base).amax(1).double().tolist()
    return spread


def item_sums(base: ItemBase, copies: torch.Tensor, pairings: Sequence[Pairing]) -> list[Sums]:
    """The squares of each item over the compared samples, as ``compare_between.asked_sums``."""
    there = _stacked([p.source for p in pairings], base.values)
    here = torch.stack([p.here for p in pairings]).to(base.values.device)[:, None]
    expected = base.values.double().gather(2, there).masked_fill(~here, 0.0)
    apart = (copies.double() - expected).masked_fill(~here, 0.0)
    counts = here.sum((1, 2)) * base.values.shape[1]
    figures = zip(
        counts.tolist(),
        apart.square().sum((1, 2)).tolist(),
        expected.square().sum((1, 2)).tolist(),
        apart.abs().amax((1, 2)).tolist(),
        base.values.double().amin((1, 2)).tolist(),
        base.values.double().amax((1, 2)).tolist(),
        strict=True,
    )
    return [
        Sums(count=n, error=error, signal=signal, largest=largest, low=low, high=high)
        for n, error, signal, largest, low, high in figures
    ]


def item_shares(base: ItemBase, copies: torch.Tensor, pairings: Sequence[Pairing]) -> list[float]:
    """The share of the compared values of each item that are not those of its base."""
    there = [p.source for p in pairings]
    here = torch.stack([p.here for p in pairings]).to(base.values.device)[:, None]

    def differing(some: slice) -> torch.Tensor:
        expected = base.values[some].gather(2, _stacked(there[some], base.values[some]))
        return ((copies[some] != expected) & here[some]).sum((1, 2))

    compared = here.sum((1, 2)) * base.values.shape[1]
    shares: list[float] = (_in_blocks(base.values, differing) / compared.double()).tolist()
    return shares


def _in_blocks(values: torch.Tensor, do: Callable[[slice], torch.Tensor]) -> torch.Tensor:
    """What is found for a few items at a time."""
    step = max(1, BLOCK // max(1, values[0].numel()))
    return torch.cat([do(slice(i, i + step)) for i in range(0, len(values), step)])


def _largest(
    base: torch.Tensor,
    copies: torch.Tensor,
    sources: Sequence[torch.Tensor],
    here: Sequence[torch.Tensor],
    some: slice,
) -> torch.Tensor:
    """The largest gap of each channel of some items, ``[items, channels]``."""
    if all(s is sources[0] for s in sources):
        kept = here[0].nonzero().flatten().to(base.device)
        there = sources[0].to(base.device)[kept]
        one, two = copies[some].index_select(2, kept), base[some].index_select(2, there)
        return (wide(one) - wide(two)).abs().amax(2)
    there = _stacked(sources[some], base[some])
    apart = (wide(copies[some]) - wide(base[some].gather(2, there))).abs()
    outside = ~torch.stack(list(here[some])).to(base.device)[:, None]
    return apart.masked_fill(outside, 0.0).amax(2)


def _stacked(sources: Sequence[torch.Tensor], values: torch.Tensor) -> torch.Tensor:
    return torch.stack(list(sources)).to(values.device)[:, None].expand_as(values)


def _ratios(errors: torch.Tensor, base: ItemBase) -> torch.Tensor:
    """Gaps ``[items, channels]`` over the magnitude of each channel, as ``compare`` has them."""
    dtype = base.values.dtype
    eps = torch.finfo(dtype).eps if dtype.is_floating_point or dtype.is_complex else 0.0
    ratios = (errors / base.scales).nan_to_num(0.0, posinf=1.0)
    small = errors <= ROUNDING * eps * base.peaks[:, None]
    rounded = torch.where(small, ratios.clamp(max=eps), ratios)
    return torch.where(torch.isfinite(base.peaks)[:, None], rounded, math.nan)
