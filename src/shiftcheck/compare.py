"""The gap between a layer under shifted input and its shifted base, inside the compared region.

Only scalars leave this module.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import torch

from shiftcheck.arrangement import (
    all_factors,
    is_flattened,
    size_at,
    spatial_places,
    valid_spans,
)
from shiftcheck.axis import (
    Axis,
    Indices,
    Pairing,
    pair,
    pair_between,
    pair_lost,
    runs,
    whole_axis,
)
from shiftcheck.layout import Signal
from shiftcheck.resampling import REACH, is_whole


@dataclass(frozen=True, kw_only=True)
class Gap:
    """One layer under one shift; None where nothing was compared.

    ``predicted``: the structure promises agreement; ``off_period``: it promises none, but for the
    period alone. ``between``: the shift is between samples, and both sides were interpolated.
    ``onto_lattice``: the shift is a whole number
    of samples. ``spatial``: the layer has every axis that the shift moves. ``variation``: how much
    the base varies over space, relative; only where the shift hardly makes a difference.
    """

    spatial: bool = True
    onto_lattice: bool = True
    predicted: bool = True
    off_period: bool = False
    between: bool = False
    error: float | None = None
    relative: float | None = None
    border: float | None = None
    scale: float | None = None
    null: float | None = None
    excess: float | None = None
    null_excess: float | None = None
    share: float | None = None
    worst: tuple[int, ...] | None = None
    differing: float | None = None
    variation: float | None = None
    sums: Sums | None = None


@dataclass(frozen=True, kw_only=True)
class Sums:
    """The squares of one layer under one shift, over the compared samples.

    ``low``, ``high``: the smallest and the largest value of the whole unshifted layer.
    """

    count: int
    error: float
    signal: float
    largest: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The input's spatial sizes, in pixels, which axes are circles, and the user's tolerances.

    ``allowed``: the relative gap that is noise. ``interior``: only valid samples count on a circle,
    too; else every sample of it does. ``interpolation``: how an axis of the plane is read between
    its samples. ``between``: interpolate wherever a shift is no whole number of samples, not only
    where it is one between pixels. ``sums``: of which samples squares are summed: the ``"valid"``
    ones, ``"all"`` that overlap, or none.
    """

    pixels: tuple[int, ...]
    circular: tuple[bool, ...]
    tolerance: tuple[float, float] | None = None
    allowed: float = 0.0
    interior: bool = False
    interpolation: str = "lanczos"
    between: bool = False
    sums: str = ""


Span = tuple[int, int] | torch.Tensor
"""Samples along one dimension: start and length of a run, or a list of indices."""

Map = np.ndarray[Any, Any]
"""A number for each place ``[*spatial]`` of a layer."""

Pairs = tuple[Span, Span]
"""Samples of the shifted run, and those of the base run that they are compared with."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A move by a real number of samples, and how the values between samples are read."""

    by: Fraction
    interpolation: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """The samples to compare along one axis, and the dimension of the arranged tensor they are in.

    ``valid``: the pairs that count; ``edges``: those that overlap but are not valid, as runs;
    ``all``: every pair that overlaps. ``step``: how far the base is to be moved first, between its
    samples.
    """

    dim: int
    moved: bool
    predicted: bool
    off_period: bool
    share: float
    valid: Pairs
    edges: tuple[Pairs, ...]
    all: Pairs
    step: Step | None = None


def _placed(dim: int, size: int, moved: bool, pairing: Pairing) -> Placed:
    here, there, ok = pairing.here, pairing.there, pairing.ok
    edges = [(here[a:b], there[a:b]) for a, b in runs(~ok)]
    return Placed(
        dim=dim,
        moved=moved,
        predicted=pairing.predicted,
        off_period=pairing.off_period,
        share=int(ok.sum()) / max(size, 1),
        valid=(_span(here[ok]), _span(there[ok])),
        edges=tuple((_span(h), _span(t)) for h, t in edges),
        all=(_span(here), _span(there)),
    )


def _span(index: Indices) -> Span:
    if len(index) == 0:
        return (0, 0)
    if index[-1] - index[0] + 1 == len(index) and bool((index[1:] - index[:-1] == 1).all()):
        return (int(index[0]), len(index))
    return torch.from_numpy(index)


def _index_at(span: Span, place: int) -> int:
    return int(span[place]) if isinstance(span, torch.Tensor) else span[0] + place


@dataclass(frozen=True, kw_only=True, eq=False)
class Region:
    """The samples to compare under a shift, along each axis; which share of a layer they are."""

    along: tuple[Placed, ...]

    @cached_property
    def predicted(self) -> bool:
        """Whether the structure promises agreement."""
        return all(p.predicted for p in self.along)

    @cached_property
    def off_period(self) -> bool:
        """Whether it promises none, but for the period alone."""
        return not self.predicted and all(p.predicted or p.off_period for p in self.along)

    @cached_property
    def between(self) -> bool:
        """Whether the base has to be moved between its samples first."""
        return any(p.step is not None for p in self.along)

    @cached_property
    def share(self) -> float:
        """The share of the samples that is valid."""
        return math.prod(p.share for p in self.along)

    @cached_property
    def inside(self) -> tuple[Any, ...]:
        """The valid places of the shifted run, as an index of a map."""
        return _index([p.valid[0] for p in self.along])

    @cached_property
    def bordered(self) -> bool:
        """Whether some samples overlap but are not valid."""
        return any(p.edges for p in self.along)

    @cached_property
    def agreed(self) -> Gap:
        """What is known of a layer that agrees exactly, when nothing else was asked."""
        return Gap(
            predicted=self.predicted,
            off_period=self.off_period,
            share=self.share,
            error=0.0,
            relative=0.0,
        )


Plan = Region | Gap
"""Which samples to compare under a shift, or why none can be."""


def plan(signal: Signal, shift: Sequence[float], scene: Scene) -> Plan:
    """The plan of one shift."""
    return Planner(signal, scene).plan(shift)


class Planner:
    """The plans of one signal under many shifts, which have most of their steps in common."""

    def __init__(self, signal: Signal, scene: Scene) -> None:
        self.signal, self.scene = signal, scene
        self.places = spatial_places(signal, len(scene.pixels))
        related = any(f.kind in ("key", "frequency") for f in all_factors(signal))
        self.flat = related or is_flattened(signal)
        self.steps: dict[tuple[int, float, bool], Placed | None] = {}
        self.plans: dict[tuple[float, ...], Plan] = {}
        self.valid = valid_spans(signal, len(scene.pixels))

    def plan(self, shift: Sequence[float]) -> Plan:
        """The plan of one shift."""
        key = tuple(shift)
        if key not in self.plans:
            self.plans[key] = self._plan(key)
        return self.plans[key]

    def _plan(self, shift: tuple[float, ...]) -> Plan:
        if self.flat or any(v and a not in self.places for a, v in enumerate(shift)):
            return Gap(spatial=False, predicted=False)
        placed = []
        between = self.scene.between or not is_whole(shift)
        for dim, axis in enumerate(sorted(self.places)):
            key = axis, shift[axis], between
            if key not in self.steps:
                self.steps[key] = self._step(dim + 1, *key)
            step = self.steps[key]
            if step is None:
                return Gap(onto_lattice=False, predicted=False)
            placed.append(step)
        return Region(along=tuple(placed))

    def _step(self, dim: int, axis: int, v: float, between: bool) -> Placed | None:
        place = self.places[axis]
        size = size_at(self.signal, place)
        pairing = None
        if v == int(v):
            pairing = _pairing(self.signal, axis, int(v), self.scene, place)
        if pairing is not None:
            return _placed(dim, size, v != 0, pairing)
        return self._between(dim, axis, Fraction(v), size) if between else None

    def _between(self, dim: int, axis: int, v: Fraction, size: int) -> Placed | None:
        """The samples to compare where the shift is no whole number of them."""
        state = self.signal.axes[axis]
        circle = self.scene.circular[axis]
        how = "fourier" if circle else self.scene.interpolation
        if not isinstance(state, Axis):
            return None
        pairing = pair_between(state, v, REACH.get(how, 0))
        if pairing is None:
            return None
        step = Step(by=v / state.stride, interpolation=how)
        return replace(_placed(dim, size, True, pairing), edges=(), step=step)


def _pairing(signal: Signal, axis: int, v: int, scene: Scene, place: int) -> Pairing | None:
    state = signal.axes[axis]
    if isinstance(state, Axis):
        pairing = pair(state, v)
        inner = scene.interior and v != 0 and pairing is not None
        return replace(pairing, ok=pairing.inner) if inner and pairing is not None else pairing
    size = size_at(signal, place)
    if v == 0:
        return whole_axis(size)
    return pair_lost(scene.pixels[axis], size, v, circular=scene.circular[axis])


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
        return Gap(predicted=region.predicted, border=edge, share=0.0)
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


def _index(spans: Sequence[Span]) -> tuple[Any, ...]:
    """The places that are in every one of the spans, as an index of a map."""
    if any(isinstance(span, torch.Tensor) for span in spans):
        return np.ix_(*map(_indices, spans))
    return tuple(slice(span[0], span[0] + span[1]) for span in spans)


def whole_index(region: Region) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Every pair of places that overlap, as an index of the shifted and one of the base tensor."""
    here, there = (
        np.ix_(*(_indices(p.all[side]) for p in region.along)) if region.along else ()
        for side in (0, 1)
    )
    return (slice(None), *map(torch.from_numpy, here)), (slice(None), *map(torch.from_numpy, there))


def _indices(span: Span) -> Indices:
    if isinstance(span, torch.Tensor):
        index: Indices = span.numpy()
        return index
    return np.arange(span[0], span[0] + span[1])


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
    if relative > WORTH_A_PLACE:
        apart = (_wide(shifted[channel]) - _wide(expected[channel])).abs()
        place = np.unravel_index(int(apart.argmax()), tuple(apart.shape))
        spans = zip(placed, place, strict=True)
        worst = (channel, *(_index_at(p.valid[0], int(i)) for p, i in spans))
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
    step = max(1, BLOCK * shifted.shape[0] // shifted.numel())
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
    small = errors <= 4 * eps * base.peak
    return torch.where(small, ratios.clamp(max=eps), ratios)


def _for_each(of_channel: torch.Tensor, errors: torch.Tensor) -> torch.Tensor:
    return of_channel.reshape(-1, *(1,) * (errors.ndim - 1))


WORTH_A_PLACE = 1e-9
BLOCK = 2**16
"""Values that are compared at once, so that what is computed on the way stays in the cache."""


def largest(values: torch.Tensor, other: torch.Tensor | None) -> torch.Tensor:
    """The largest magnitude of each channel of ``values``, or of its difference from ``other``."""
    channels = values.shape[0]
    if channels == 0 or values.numel() == 0:
        return torch.zeros(channels, dtype=torch.float64)
    step = max(1, BLOCK * channels // values.numel())
    found = []
    for start in range(0, channels, step):
        part = _wide(values[start : start + step])
        if other is not None:
            part = part - _wide(other[start : start + step])
        found.append(part.abs().reshape(part.shape[0], -1).amax(1))
    return torch.cat(found)


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
        outside = apart[_index([p.all[0] for p in placed])].copy()
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
            others = _index([span for j, span in enumerate(here) if j != i])
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
    return relative_to((flat.amax(1) - flat.amin(1)).double(), base)[0]


def _stay(base: Base, i: int, p: Placed) -> tuple[Map, Map | None]:
    """How far the base is from itself along one moved axis, at each place of the other axes.

    NaN where it has no difference from itself in some channel.
    """
    if (i, p) not in base.stays:
        one, two = (take(base.values, [p], [span]) for span in p.valid)
        errors = _largest_along(one, two, p.dim)
        over = None if base.tolerance is None else _excesses(errors, base).amax(0).cpu().numpy()
        top = _ratios(errors, base).amax(0)
        top[errors.isnan().any(0)] = math.nan
        base.stays[i, p] = top.cpu().numpy(), over
    return base.stays[i, p]


def _largest_along(one: torch.Tensor, other: torch.Tensor, dim: int) -> torch.Tensor:
    """The largest difference of each channel along one dimension."""
    step = max(1, BLOCK * one.shape[0] // one.numel())
    parts = zip(one.split(step), other.split(step), strict=True)
    return torch.cat([(_wide(a) - _wide(b)).abs().amax(dim) for a, b in parts])
