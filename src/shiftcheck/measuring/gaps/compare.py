"""The gap between a layer under shifted input and its shifted base, inside the compared region.

Only scalars leave this module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import islice

import numpy as np
import torch

from shiftcheck.measuring.gaps.read import Asked, Asking, alike, answered, held
from shiftcheck.measuring.gaps.regions import Gap, Map, Placed, Region, Span, index_at, index_of


class Base:
    """The unshifted layer ``[everything else, *spatial]``, with its magnitudes when asked for.

    ``valid``: the span of valid samples along each spatial dimension, where magnitudes are taken.
    """

    def __init__(
        self,
        values: torch.Tensor,
        tolerance: tuple[float, float] | None,
        valid: Sequence[tuple[int, int]],
        allowed: float = 0.0,
    ) -> None:
        self.values, self.tolerance, self.valid = values, tolerance, valid
        self.allowed = allowed
        self._asked_stays: dict[tuple[int, Placed], torch.Tensor] = {}
        self._stays: dict[tuple[int, Placed], tuple[Map, Map | None]] = {}

    @cached_property
    def scales(self) -> torch.Tensor:
        """The largest magnitude of each channel among the valid samples, on the CPU."""
        return answered(self._asked_scales())

    def asked(self) -> Asking[None]:
        """Find the magnitudes together with what others ask for."""
        if "scales" not in vars(self):
            self.scales = yield from self._asked_scales()

    def _asked_scales(self) -> Asking[torch.Tensor]:
        inner = self.values
        for dim, (start, stop) in enumerate(self.valid):
            inner = inner.narrow(dim + 1, start, stop - start)
        (scales,) = yield (largest(inner, None),)
        return scales

    @cached_property
    def peak(self) -> float:
        """The largest magnitude; NaN if any value is NaN or infinite."""
        top = float(self.scales.max()) if self.scales.numel() else 0.0
        return top if math.isfinite(top) else math.nan

    @cached_property
    def faint(self) -> int:
        """How many channels are zero, or no more than noise of the largest."""
        return int((self.scales <= self.allowed * self.peak).sum())

    @cached_property
    def faintest(self) -> float | None:
        """The magnitude of the channel that has least of the others; None if there is none."""
        if not self.finite or self.faint == self.scales.numel():
            return None
        return float(self.scales[self.scales > self.allowed * self.peak].min())

    @property
    def finite(self) -> bool:
        """Whether every value is finite."""
        return math.isfinite(self.peak)

    def stay(self, i: int, p: Placed) -> torch.Tensor:
        """How far each channel is from itself along one moved axis, where the others stay.

        ``[channels, *the other axes]``, where the values are.
        """
        if (i, p) not in self._asked_stays:
            one, two = (take(self.values, [p], [span]) for span in p.valid)
            self._asked_stays[i, p] = _largest_along(one, two, p.dim)
        return self._asked_stays[i, p]

    def stays(self, i: int, p: Placed, errors: torch.Tensor) -> tuple[Map, Map | None]:
        """The largest over the channels of what ``stay`` asked for: relative, and over tolerances.

        NaN where the base has no difference from itself in some channel.
        """
        if (i, p) not in self._stays:
            over = None if self.tolerance is None else _excesses(errors, self).amax(0).numpy()
            top = _ratios(errors, self).amax(0)
            top[errors.isnan().any(0)] = math.nan
            self._stays[i, p] = top.numpy(), over
        return self._stays[i, p]


def measure(
    base: Base,
    copy: torch.Tensor,
    region: Region,
    *,
    border: bool,
    null: str,
    apart: Map | None = None,
) -> Gap:
    """The gap of one copy by itself, as ``asked_gap`` finds it for many."""
    places = None if apart is None else torch.from_numpy(apart)
    return answered(asked_gap(base, copy, region, border=border, null=null, apart=places))


def asked_gap(
    base: Base,
    copy: torch.Tensor,
    region: Region,
    *,
    border: bool,
    null: str,
    apart: torch.Tensor | None = None,
) -> Asking[Gap]:
    """Compare a layer of the base and of one shifted copy, both ``[everything else, *spatial]``.

    ``border``: measure the samples that overlap but are not valid, too. ``null``: compare
    the base with itself, the shift left out, axis by axis: ``"measure"``, ``"same"`` (only whether
    they are the same) or ``""``. ``apart``: the largest difference at each place that overlaps,
    where it is known. A gap of at most 4 eps of the largest channel is rounding.
    """
    placed = region.along
    bordered = border and region.bordered
    empty = region.share == 0.0 or base.values.numel() == 0
    sides = held(partial(_sides, base, copy, placed), base.values)
    by_map = bordered and apart is not None and _inner(placed) is not None
    known = yield from asked_by_name(
        apart=() if apart is None or (empty and not by_map) else (apart,),
        edges=_edges(base.values, copy, placed) if bordered and not by_map else (),
        alike=() if empty or apart is not None else (_alike(*sides()),),
        null=() if empty else tuple(_asked_of_nulls(base, placed, null)),
    )
    there = known["apart"][0].numpy() if known["apart"] else None
    edge = _border(placed, there if by_map else None, known["edges"]) if bordered else None
    if empty:
        room = region.room and base.values.numel() > 0
        return Gap(predicted=region.predicted, border=edge, share=0.0, fair=False, room=room)
    agrees = bool(known["alike"][0]) if there is None else not there[region.inside].any()
    if agrees and edge is None and not null and base.tolerance is None:
        return region.agreed
    gap = replace(region.agreed, border=edge, excess=None if base.tolerance is None else 0.0)
    if null:
        gap = yield from _with_null(gap, base, region, null, known["null"])
    if agrees:
        return gap
    if there is not None and not np.isfinite(there[region.inside]).all():
        (agreed,) = yield (_alike(*sides()),)  # infinities that agree have no difference
        if agreed:
            return gap
    return (yield from asked_differences(gap, base, sides, placed))


def asked_by_name(**asked: Asked) -> Asking[dict[str, Asked]]:
    """Several groups of tensors at once, and what was answered to each."""
    everything = tuple(t for group in asked.values() for t in group)
    answers = iter((yield everything) if everything else ())
    return {name: tuple(islice(answers, len(group))) for name, group in asked.items()}


def _sides(
    base: Base, copy: torch.Tensor, placed: Sequence[Placed]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The samples that are compared: of the copy, and those of the base."""
    here, there = zip(*(p.valid for p in placed), strict=True) if placed else ((), ())
    return take(copy, placed, here), take(base.values, placed, there)


def _alike(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return alike(one, other, block_of(one))


HARDLY = 0.25
"""A null comparison below this may be one of a base that does not vary at all."""


def asked_differences(
    gap: Gap,
    base: Base,
    sides: Callable[[], tuple[torch.Tensor, torch.Tensor]],
    placed: Sequence[Placed],
    *,
    errors: torch.Tensor | None = None,
) -> Asking[Gap]:
    """The gap with what sets the compared samples apart: how far, where, and how many of them.

    ``sides``: gives the samples. ``errors``: the largest gap of each channel, if it is known.
    """
    if errors is None:
        (errors,) = yield (largest(*sides()),)
    relative, channel = relative_to(errors, base)
    far = relative > max(WORTH_A_PLACE, min(base.allowed, FAINT))
    off = relative > base.allowed
    known = yield from asked_by_name(
        place=(_farthest(*sides(), channel),) if far else (),
        count=(_differing(*sides(), base),) if off else (),
    )
    worst = None
    if far:
        sizes = sides()[0].shape[1:]
        place = np.unravel_index(int(known["place"][0]), tuple(sizes))
        spans = zip(placed, place, strict=True)
        worst = (channel, *(index_at(p.valid[0], int(i)) for p, i in spans))
    return replace(
        gap,
        error=float(errors.max()),
        relative=relative,
        excess=excess_of(errors, base),
        scale=float(base.scales[channel]),
        worst=worst,
        differing=int(known["count"][0]) / sides()[0].numel() if off else None,
    )


def _farthest(shifted: torch.Tensor, expected: torch.Tensor, channel: int) -> torch.Tensor:
    """The place of the largest gap of a channel, ``[]``, counted through its dimensions."""
    return (wide(shifted[channel]) - wide(expected[channel])).abs().argmax()


def _differing(shifted: torch.Tensor, expected: torch.Tensor, base: Base) -> torch.Tensor:
    """How many of the compared values have a gap larger than allowed for their channel, ``[]``."""
    rtol, atol = base.tolerance or (base.allowed, 0.0)
    allowed = (rtol * base.scales + atol).to(shifted.device).reshape(-1, *[1] * (shifted.ndim - 1))
    step = max(1, block_of(shifted) * shifted.shape[0] // shifted.numel())
    parts = zip(shifted.split(step), expected.split(step), allowed.split(step), strict=True)
    return torch.stack([((wide(a) - wide(b)).abs() > c).sum() for a, b, c in parts]).sum()


def excess_of(errors: torch.Tensor, base: Base) -> float | None:
    """The largest gap over what the user's tolerances allow for its channel."""
    return None if base.tolerance is None else float(_excesses(errors, base).max())


def _excesses(errors: torch.Tensor, base: Base) -> torch.Tensor:
    """Gaps ``[channels, ...]`` over what the user's tolerances allow for each channel."""
    rtol, atol = base.tolerance or (0.0, 0.0)
    allowed = _for_each(rtol * base.scales + atol, errors)
    return (errors / allowed).nan_to_num(0.0, posinf=math.inf)


def relative_to(errors: torch.Tensor, base: Base) -> tuple[float, int]:
    """The largest gap over the channel's own magnitude, and its channel."""
    top, channel = _ratios(errors, base).max(0)
    return float(top), int(channel)


def _ratios(errors: torch.Tensor, base: Base) -> torch.Tensor:
    """Gaps ``[channels, ...]`` over the channel's own magnitude."""
    dtype = base.values.dtype
    eps = torch.finfo(dtype).eps if dtype.is_floating_point or dtype.is_complex else 0.0
    scales = _for_each(base.scales, errors)
    ratios = (errors / scales).nan_to_num(0.0, posinf=1.0) if base.finite else errors
    small = errors <= ROUNDING * eps * base.peak
    return torch.where(small, ratios.clamp(max=eps), ratios)


def _for_each(of_channel: torch.Tensor, errors: torch.Tensor) -> torch.Tensor:
    return of_channel.reshape(-1, *(1,) * (errors.ndim - 1))


ROUNDING = 4.0
"""A gap of so many eps of the largest channel is rounding, whatever its own channel has."""

WORTH_A_PLACE = 1e-9
FAINT = 1e-6
"""A gap has a place where it is larger than rounding in its type, or than this."""

BLOCK = 2**16
LARGE_BLOCK = 2**24
"""Values that are compared at once: on a CPU, what is computed on the way stays in its cache."""


def block_of(tensor: torch.Tensor) -> int:
    """How many values of a tensor are compared at once."""
    return BLOCK if tensor.device.type == "cpu" else LARGE_BLOCK


def largest(values: torch.Tensor, other: torch.Tensor | None) -> torch.Tensor:
    """The largest magnitude of each channel of ``values``, or of its difference from ``other``."""
    channels = values.shape[0]
    if channels == 0 or values.numel() == 0:
        return torch.zeros(channels, dtype=torch.float64, device=values.device)
    step = max(1, block_of(values) * channels // values.numel())
    largest_of = []
    for start in range(0, channels, step):
        part = wide(values[start : start + step])
        if other is not None:
            part = part - wide(other[start : start + step])
        largest_of.append(part.abs().reshape(part.shape[0], -1).amax(1))
    return torch.cat(largest_of)


def wide(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of which differences can be taken."""
    if tensor.dtype in (torch.float16, torch.bfloat16):
        return tensor.float()
    if tensor.is_floating_point() or tensor.is_complex():
        return tensor
    return tensor.double()


def take(tensor: torch.Tensor, placed: Sequence[Placed], spans: Sequence[Span]) -> torch.Tensor:
    """The samples of some spans, one along each of the placed dimensions."""
    out = tensor
    for p, span in zip(placed, spans, strict=True):
        if isinstance(span, torch.Tensor):
            out = out.index_select(p.dim, span.to(tensor.device))
        elif span[1] != out.shape[p.dim]:
            out = out.narrow(p.dim, *span)
    return out


def _border(placed: Sequence[Placed], apart: Map | None, edges: Asked) -> float | None:
    """The largest gap on samples that overlap but are not valid along at least one axis.

    From the map, where one is given, and else from what was asked of the edges.
    """
    tops = [float(top) for top in edges]
    if apart is not None:
        outside = apart[index_of([p.all[0] for p in placed])].copy()
        outside[_inner(placed)] = 0.0
        tops = [float(outside.max())]
    if not tops or not all(map(math.isfinite, tops)):
        return None
    return max(tops)


def _edges(base: torch.Tensor, copy: torch.Tensor, placed: Sequence[Placed]) -> Asked:
    """The largest gap of each run of samples that overlap but are not valid, ``[]`` each."""
    tops = []
    for i, p in enumerate(placed):
        head, tail = [q.valid for q in placed[:i]], [q.all for q in placed[i + 1 :]]
        for edge in p.edges:
            here, there = zip(*head, edge, *tail, strict=True)
            one, two = take(copy, placed, here), take(base, placed, there)
            if one.numel():
                tops.append(largest(one, two).max())
    return tuple(tops)


def _inner(placed: Sequence[Placed]) -> tuple[slice, ...] | None:
    """Where the valid samples are among those that overlap; None where they are no run."""
    inner = []
    for p in placed:
        here, valid = p.all[0], p.valid[0]
        if isinstance(here, torch.Tensor) or isinstance(valid, torch.Tensor):
            return None
        start = valid[0] - here[0] if valid[1] else 0
        inner.append(slice(start, start + valid[1]))
    return tuple(inner)


def _asked_of_nulls(base: Base, placed: Sequence[Placed], how: str) -> Iterator[torch.Tensor]:
    """What tells how far the base is from itself with the shift left out, for each moved axis.

    Whether it is the same, ``[]``, or how far each channel is at each place of the other axes.
    """
    for i, p in enumerate(placed):
        if p.moved and how == "same":
            yield _alike(*_left_out(base, placed, i))
        if p.moved and how == "measure":
            yield base.stay(i, p)


def _left_out(base: Base, placed: Sequence[Placed], i: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The compared samples of the base, and those with one axis left where it was."""
    here = [p.valid[0] for p in placed]
    there = [q.valid[1] if j == i else q.valid[0] for j, q in enumerate(placed)]
    return take(base.values, placed, here), take(base.values, placed, there)


def _with_null(gap: Gap, base: Base, region: Region, how: str, answers: Asked) -> Asking[Gap]:
    """The gap with how far the base is from itself with the shift left out.

    The smallest, over the moved axes, of the largest gap: relative, and over the tolerances.
    """
    placed = region.along
    here = [p.valid[0] for p in placed]
    relative, excess = [], []
    moved = [(i, p) for i, p in enumerate(placed) if p.moved]
    for (i, p), answer in zip(moved, answers, strict=True):
        if how == "same":
            relative += [0.0] if answer else []
            excess += [0.0] if answer else []
            continue
        stay, over = base.stays(i, p, answer)
        others = index_of([span for j, span in enumerate(here) if j != i])
        top = float(stay[others].max()) if base.finite else math.nan
        if math.isfinite(top):
            relative.append(top)
            excess.append(0.0 if over is None else float(over[others].max()))
            continue
        one, two = _left_out(base, placed, i)
        agreed, errors = yield _alike(one, two), largest(one, two)
        relative.append(0.0 if agreed else relative_to(errors, base)[0])
        excess.append(0.0 if agreed else excess_of(errors, base) or 0.0)
    null = min(relative, default=None)
    return replace(
        gap,
        null=null,
        null_excess=None if base.tolerance is None else min(excess, default=None),
        variation=(yield from _variation(base, region, null)),
        scale=base.peak if how == "measure" else None,
    )


def _variation(base: Base, region: Region, null: float | None) -> Asking[float | None]:
    """How much the base varies over space; None where the shift makes a difference."""
    if null is None or null > HARDLY or not base.finite:
        return None
    inside = take(base.values, region.along, [p.valid[0] for p in region.along])
    flat = wide(inside.flatten(1))
    if flat.is_complex():
        return None
    (varied,) = yield ((flat.amax(1) - flat.amin(1)).double(),)
    return relative_to(varied, base)[0]


def _largest_along(one: torch.Tensor, other: torch.Tensor, dim: int) -> torch.Tensor:
    """The largest difference of each channel along one dimension."""
    step = max(1, block_of(one) * one.shape[0] // one.numel())
    parts = zip(one.split(step), other.split(step), strict=True)
    return torch.cat([(wide(a) - wide(b)).abs().amax(dim) for a, b in parts])
