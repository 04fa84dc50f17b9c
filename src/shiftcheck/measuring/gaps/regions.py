"""Which samples of a layer to compare under a shift, and the numbers that come of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import torch

from shiftcheck.lattice.axis import Axis, Indices
from shiftcheck.lattice.gather import runs
from shiftcheck.lattice.layout import Layout
from shiftcheck.lattice.pairing import Pairing, pair, pair_between, pair_lost, whole_axis
from shiftcheck.lattice.shares import is_fair, leaves_room
from shiftcheck.measuring.gaps.arrange import (
    all_factors,
    is_flattened,
    size_at,
    spatial_places,
    valid_spans,
)
from shiftcheck.measuring.signals.interpolation import REACH, is_whole


@dataclass(frozen=True, kw_only=True)
class Gap:
    """One layer under one shift; None where nothing was compared.

    ``predicted``: the structure promises agreement; ``off_period``: it promises none, but for the
    period alone. ``between``: the shift is between samples, and both sides were interpolated.
    ``onto_lattice``: the shift is a whole number
    of samples. ``spatial``: the layer has every axis that the shift moves. ``variation``: how much
    the base varies over space, relative; only where the shift hardly makes a difference. ``fair``:
    enough was compared along every axis that moves; ``room``: a smaller shift would leave enough.
    """

    spatial: bool = True
    onto_lattice: bool = True
    predicted: bool = True
    off_period: bool = False
    between: bool = False
    fair: bool = True
    room: bool = False
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
    samples. ``fair``: enough of the valid samples are in pairs that count; ``room``: there are
    enough of them for a smaller shift.
    """

    dim: int
    moved: bool
    predicted: bool
    off_period: bool
    share: float
    valid: Pairs
    edges: tuple[Pairs, ...]
    all: Pairs
    fair: bool
    room: bool
    step: Step | None = None


def _placed(dim: int, size: int, moved: bool, pairing: Pairing, valid: int) -> Placed:
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
        fair=not moved or is_fair(int(ok.sum()), valid),
        room=not moved or leaves_room(valid),
    )


def _span(index: Indices) -> Span:
    if len(index) == 0:
        return (0, 0)
    if index[-1] - index[0] + 1 == len(index) and bool((index[1:] - index[:-1] == 1).all()):
        return (int(index[0]), len(index))
    return torch.from_numpy(index)


def index_at(span: Span, place: int) -> int:
    """The sample at a place of a span."""
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
    def fair(self) -> bool:
        """Whether enough is compared along every axis that moves."""
        return all(p.fair for p in self.along)

    @cached_property
    def room(self) -> bool:
        """Whether a smaller shift would leave enough along every axis that moves."""
        return all(p.room for p in self.along)

    @cached_property
    def inside(self) -> tuple[Any, ...]:
        """The valid places of the shifted run, as an index of a map."""
        return index_of([p.valid[0] for p in self.along])

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
            fair=self.fair,
            error=0.0,
            relative=0.0,
        )


class Planner:
    """The regions of one layout under many shifts, which have most of their steps in common.

    ``with_input``: an axis that moves against its input is compared as if it moved with it, as an
    output should.
    """

    def __init__(self, layout: Layout, scene: Scene, *, with_input: bool = False) -> None:
        self.layout, self.scene, self.with_input = layout, scene, with_input
        self.places = spatial_places(layout, len(scene.pixels))
        related = any(f.kind in ("key", "frequency") for f in all_factors(layout))
        self.flat = related or is_flattened(layout)
        self.steps: dict[tuple[int, float, bool], Placed | None] = {}
        self.regions: dict[tuple[float, ...], Region | Gap] = {}
        self.valid = valid_spans(layout, len(scene.pixels))

    def region(self, shift: Sequence[float]) -> Region | Gap:
        """Which samples to compare under a shift, or why none can be."""
        key = tuple(shift)
        if key not in self.regions:
            self.regions[key] = self._region(key)
        return self.regions[key]

    def _region(self, shift: tuple[float, ...]) -> Region | Gap:
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
        size = size_at(self.layout, place)
        state = self.layout.axes[axis]
        against = self.with_input and isinstance(state, Axis) and state.stride < 0 and v != 0
        by = -v if against else v  # samples that move against the input move with its negative
        pairing = None
        if v == int(v):
            pairing = _pairing(self.layout, axis, int(by), self.scene, place)
        if pairing is None:
            return self._between(dim, axis, Fraction(by), size) if between else None
        if against:
            pairing = replace(pairing, predicted=False, off_period=False)
        return _placed(dim, size, v != 0, pairing, self._valid_ones(axis, size))

    def _valid_ones(self, axis: int, size: int) -> int:
        """How many samples of an axis count; all of them on a circle."""
        state = self.layout.axes[axis]
        if not isinstance(state, Axis) or self.scene.circular[axis]:
            return size
        return int(state.readable.sum())

    def _between(self, dim: int, axis: int, v: Fraction, size: int) -> Placed | None:
        """The samples to compare where the shift is no whole number of them."""
        state = self.layout.axes[axis]
        circle = self.scene.circular[axis]
        how = "fourier" if circle else self.scene.interpolation
        if not isinstance(state, Axis):
            return None
        pairing = pair_between(state, v, REACH.get(how, 0))
        if pairing is None:
            return None
        step = Step(by=v / state.stride, interpolation=how)
        placed = _placed(dim, size, True, pairing, self._valid_ones(axis, size))
        return replace(placed, edges=(), step=step)


def _pairing(layout: Layout, axis: int, v: int, scene: Scene, place: int) -> Pairing | None:
    state = layout.axes[axis]
    if isinstance(state, Axis):
        pairing = pair(state, v)
        inner = scene.interior and v != 0 and pairing is not None
        return replace(pairing, ok=pairing.inner) if inner and pairing is not None else pairing
    size = size_at(layout, place)
    if v == 0:
        return whole_axis(size)
    return pair_lost(scene.pixels[axis], size, v, circular=scene.circular[axis])


def index_of(spans: Sequence[Span]) -> tuple[Any, ...]:
    """The places that are in every one of the spans, as an index of a map."""
    if any(isinstance(span, torch.Tensor) for span in spans):
        return np.ix_(*map(indices_of, spans))
    return tuple(slice(span[0], span[0] + span[1]) for span in spans)


def whole_index(region: Region) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Every pair of places that overlap, as an index of the shifted and one of the base tensor."""
    here, there = (_index_of_tensor([p.all[side] for p in region.along]) for side in (0, 1))
    return here, there


def _index_of_tensor(spans: Sequence[Span]) -> tuple[Any, ...]:
    index = index_of(spans)
    places = (torch.from_numpy(i) if isinstance(i, np.ndarray) else i for i in index)
    return (slice(None), *places)


def indices_of(span: Span) -> Indices:
    """The samples of a span, one by one."""
    if isinstance(span, torch.Tensor):
        index: Indices = span.numpy()
        return index
    return np.arange(span[0], span[0] + span[1])
