"""The gap between a layer under shifted input and its shifted base, inside the compared region.

Only scalars leave this module.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch

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
        self.stays: dict[tuple[int, Placed], tuple[Map, Map | None]] = {}

    @cached_property
    def scales(self) -> torch.Tensor:
        """The largest magnitude of each channel among the valid samples."""
        inner = self.values
        for dim, (start, stop) in enumerate(self.valid):
            inner = inner.narrow(dim + 1, start, stop - start)
        return largest(inner, None)

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


def measure(
    base: Base,
    copy: torch.Tensor,
    region: Region,
    *,
    border: bool,
    null: str,
    apart: Map | None = None,
) -> Gap:
    """Compare a layer of the base and of one shifted copy, both ``[everything else, *spatial]``.

    ``border``: measure the samples that overlap but are not valid, too. ``null``: compare
    the base with itself, the shift left out, axis by axis: ``"measure"``, ``"same"`` (only whether
    they are the same) or ``""``. ``apart``: the largest difference at each place that overlaps,
    where it is known. A gap of at most 4 eps of the largest channel is rounding.
    """
    edge = _border(base.values, copy, region, apart) if border and region.bordered else None
    if region.share == 0.0 or base.values.numel() == 0:
        room = region.room and base.values.numel() > 0
        return Gap(predicted=region.predicted, border=edge, share=0.0, fair=False, room=room)
    agrees = apart is not None and not apart[region.inside].any()
    if agrees and edge is None and not null and base.tolerance is None:
        return region.agreed
    relative_null, null_excess = _nulls(base, region.along, null) if null else (None, None)
    gap = replace(
        region.agreed,
        border=edge,
        null=relative_null,
        null_excess=null_excess,
        variation=_variation(base, region, relative_null),
        excess=None if base.tolerance is None else 0.0,
        scale=base.peak if null == "measure" else None,
    )
    if agrees:
        return gap
    shifted = take(copy, region.along, [p.valid[0] for p in region.along])
    expected = take(base.values, region.along, [p.valid[1] for p in region.along])
    if torch.equal(shifted, expected):
        return gap
    return with_gap(gap, base, shifted, expected, region.along)


HARDLY = 0.25
"""A null comparison below this may be one of a base that does not vary at all."""


def with_gap(
    gap: Gap,
    base: Base,
    shifted: torch.Tensor,
    expected: torch.Tensor,
    placed: Sequence[Placed],
) -> Gap:
    """The gap with what sets the compared samples apart: how far, where, and how many of them."""
    errors = largest(shifted, expected)
    relative, channel = relative_to(errors, base)
    worst = None
    if relative > max(WORTH_A_PLACE, min(base.allowed, FAINT)):
        apart = (_wide(shifted[channel]) - _wide(expected[channel])).abs()
        place = np.unravel_index(int(apart.argmax()), tuple(apart.shape))
        spans = zip(placed, place, strict=True)
        worst = (channel, *(index_at(p.valid[0], int(i)) for p, i in spans))
    return replace(
        gap,
        error=float(errors.max()),
        relative=relative,
        excess=excess_of(errors, base),
        scale=float(base.scales[channel]),
        worst=worst,
        differing=_differing(shifted, expected, base) if relative > base.allowed else None,
    )


def _differing(shifted: torch.Tensor, expected: torch.Tensor, base: Base) -> float:
    """The share of the compared values whose gap is larger than allowed for their channel."""
    rtol, atol = base.tolerance or (base.allowed, 0.0)
    allowed = (rtol * base.scales + atol).to(shifted.device).reshape(-1, *[1] * (shifted.ndim - 1))
    step = max(1, block_of(shifted) * shifted.shape[0] // shifted.numel())
    parts = zip(shifted.split(step), expected.split(step), allowed.split(step), strict=True)
    count = sum(int(((_wide(a) - _wide(b)).abs() > c).sum()) for a, b, c in parts)
    return count / shifted.numel()


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
    """The largest magnitude of each channel of ``values``, or of its difference from ``other``.

    On the CPU, wherever the values are: so few are read at once rather than one by one.
    """
    channels = values.shape[0]
    if channels == 0 or values.numel() == 0:
        return torch.zeros(channels, dtype=torch.float64, device="cpu")
    step = max(1, block_of(values) * channels // values.numel())
    largest_of = []
    for start in range(0, channels, step):
        part = _wide(values[start : start + step])
        if other is not None:
            part = part - _wide(other[start : start + step])
        largest_of.append(part.abs().reshape(part.shape[0], -1).amax(1))
    return torch.cat(largest_of).cpu()


def _wide(tensor: torch.Tensor) -> torch.Tensor:
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


def _border(
    base: torch.Tensor, copy: torch.Tensor, region: Region, apart: Map | None
) -> float | None:
    """The largest gap on samples that overlap but are not valid along at least one axis."""
    placed = region.along
    if apart is not None and (inner := _inner(placed)) is not None:
        outside = apart[index_of([p.all[0] for p in placed])].copy()
        outside[inner] = 0.0
        top = float(outside.max())
        return top if math.isfinite(top) else None
    tops = []
    for i, p in enumerate(placed):
        head, tail = [q.valid for q in placed[:i]], [q.all for q in placed[i + 1 :]]
        for edge in p.edges:
            here, there = zip(*head, edge, *tail, strict=True)
            one, two = take(copy, placed, here), take(base, placed, there)
            if one.numel():
                tops.append(float(largest(one, two).max()))
    if not tops or not all(map(math.isfinite, tops)):
        return None
    return max(tops)


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


def _nulls(base: Base, placed: Sequence[Placed], how: str) -> tuple[float | None, float | None]:
    """How far the base is from itself with the shift left out: relative, and over the tolerances.

    The smallest, over the moved axes, of the largest gap.
    """
    here = [p.valid[0] for p in placed]
    relative, excess = [], []
    for i, p in enumerate(placed):
        if not p.moved:
            continue
        if how == "measure" and base.finite:
            stay, over = _stay(base, i, p)
            others = index_of([span for j, span in enumerate(here) if j != i])
            top = float(stay[others].max())
            if math.isfinite(top):
                relative.append(top)
                excess.append(0.0 if over is None else float(over[others].max()))
                continue
        there = [q.valid[1] if j == i else q.valid[0] for j, q in enumerate(placed)]
        one, two = take(base.values, placed, here), take(base.values, placed, there)
        if torch.equal(one, two):
            relative.append(0.0)
            excess.append(0.0)
        elif how == "measure":
            errors = largest(one, two)
            relative.append(relative_to(errors, base)[0])
            excess.append(excess_of(errors, base) or 0.0)
    if not relative:
        return None, None
    return min(relative), None if base.tolerance is None else min(excess)


def _variation(base: Base, region: Region, null: float | None) -> float | None:
    """How much the base varies over space; None where the shift makes a difference."""
    if null is None or null > HARDLY or not base.finite:
        return None
    inside = take(base.values, region.along, [p.valid[0] for p in region.along])
    flat = _wide(inside.flatten(1))
    if flat.is_complex():
        return None
    return relative_to((flat.amax(1) - flat.amin(1)).double().cpu(), base)[0]


def _stay(base: Base, i: int, p: Placed) -> tuple[Map, Map | None]:
    """How far the base is from itself along one moved axis, at each place of the other axes.

    NaN where it has no difference from itself in some channel.
    """
    if (i, p) not in base.stays:
        one, two = (take(base.values, [p], [span]) for span in p.valid)
        errors = _largest_along(one, two, p.dim)
        over = None if base.tolerance is None else _excesses(errors, base).amax(0).numpy()
        top = _ratios(errors, base).amax(0)
        top[errors.isnan().any(0)] = math.nan
        base.stays[i, p] = top.numpy(), over
    return base.stays[i, p]


def _largest_along(one: torch.Tensor, other: torch.Tensor, dim: int) -> torch.Tensor:
    """The largest difference of each channel along one dimension."""
    step = max(1, block_of(one) * one.shape[0] // one.numel())
    parts = zip(one.split(step), other.split(step), strict=True)
    return torch.cat([(_wide(a) - _wide(b)).abs().amax(dim) for a, b in parts]).cpu()
