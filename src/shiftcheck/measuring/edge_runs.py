"""A model on a signal of which one side becomes unknown: how far inside that is felt."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import Layout
from shiftcheck.measuring.gaps.arrange import arranged, spatial_places
from shiftcheck.measuring.outputs import output_rows
from shiftcheck.measuring.passes import Passes
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.signals.arguments import Leaf
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.modules import modules_of
from shiftcheck.tracing.precision import eps_of
from shiftcheck.tracing.restoring.state import preserved
from shiftcheck.tracing.traced import Row

SIDES = ("left", "right")

AROUND = 8
"""The edges lie around the middle, by up to this part of the size."""

KEPT = 4096
KEPT_OF_LAYERS = 256
"""So many places and channels of each sample along the axis go into the percentiles, of the largest
all."""

NOISE = 64
"""So many eps of the type are rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Kept:
    """What a layer gave in one pass."""

    name: str
    op: str
    layout: Layout
    values: torch.Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Edge:
    """Where the unknown begins: ``pixel`` is the first or the last unknown one of an axis."""

    axis: int
    side: str
    pixel: int

    def distance(self, at: float) -> float:
        """How far a place is from it; negative where it is unknown itself."""
        return self.pixel - at if self.side == "right" else at - self.pixel


@dataclass(frozen=True, kw_only=True, eq=False)
class Felt:
    """What was measured of one layer on one side, by whole pixels of distance.

    ``values``: relative errors of places and channels, ``largest`` the largest of all.
    """

    theoretical: float
    farthest: int
    values: dict[int, torch.Tensor]
    largest: dict[int, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerRuns:
    """What was measured of a layer, by axis and side, or why nothing was."""

    name: str
    op: str
    reason: Reason = Reason.NONE
    felt: dict[tuple[int, str], Felt] = field(default_factory=dict)
    channels: int = 0
    silent: int = 0


def edge_runs(plan: Plan, *, draws: int, layers: bool) -> tuple[list[LayerRuns], list[LayerRuns]]:
    """What was measured of the outputs, and of the layers where they are asked for."""
    inputs = plan.inputs
    with (
        preserved(
            modules_of(plan.model), inputs.tensors, training=plan.training, model=plan.model
        ) as originals,
        inputs.without_gradients(),
    ):
        passes = Passes(plan, originals)
        base = _run(passes, inputs.shifted(plan.zero, 0), layers=layers)
        twice = _run(passes, inputs.shifted(plan.zero, 0), layers=layers)
        outputs, rows = [[_Gathering(kept, plan) for kept in part] for part in base]
        for gathering, kept in zip((*outputs, *rows), (*twice[0], *twice[1]), strict=False):
            gathering.steady(kept)
        for edge, values in with_unknown_sides(plan, draws):
            changed = _run(passes, values, layers=layers)
            for gathered, part in zip((outputs, rows), changed, strict=True):
                named = {kept.name: kept for kept in part}
                for gathering in gathered:
                    gathering.compare(named.get(gathering.name), edge)
    return [g.result() for g in outputs], [g.result() for g in rows]


def _run(passes: Passes, values: list[Any], *, layers: bool) -> tuple[list[Kept], list[Kept]]:
    rows: list[Kept] = []

    def keep(row: Row, tensor: torch.Tensor) -> None:
        if layers:
            rows.append(
                Kept(name=row.name, op=row.op, layout=row.layout, values=tensor.detach().clone())
            )

    traced = passes.run(values, keep)
    pairs = zip(output_rows(traced), traced.outputs, strict=True)
    outputs = [
        Kept(name=row.name, op="output", layout=row.layout, values=tensor.detach().clone())
        for row, (_, tensor, _) in pairs
    ]
    return outputs, rows


def with_unknown_sides(plan: Plan, draws: int) -> Iterator[tuple[Edge, list[Any]]]:
    """The arguments, of which one side of one open axis is fresh, in many draws."""
    draw = torch.Generator().manual_seed(plan.seed)
    for axis, (pixels, ring) in enumerate(
        zip(plan.inputs.pixels, plan.inputs.circular, strict=True)
    ):
        around = pixels // AROUND
        for side in () if ring else SIDES:
            for _ in range(draws):
                near = int(torch.randint(-around, around + 1, (), generator=draw, device="cpu"))
                pixel = min(max(pixels // 2 + near, 0), pixels - 1)
                edge = Edge(axis=axis, side=side, pixel=pixel)
                leaves = [_unknown(leaf, edge, plan, draw) for leaf in plan.inputs.leaves]
                yield edge, plan.inputs.dressed(leaves)


def _unknown(leaf: Any, edge: Edge, plan: Plan, draw: torch.Generator) -> Any:
    """A leaf whose samples beyond an edge are taken from random places of its own."""
    if not isinstance(leaf, Leaf):
        return leaf
    x = leaf.tensor.detach()
    if leaf.role != "shifted":
        return x.clone()
    dim = leaf.spatial[edge.axis]
    at = np.arange(x.shape[dim]) * (plan.inputs.pixels[edge.axis] / x.shape[dim])
    outside = torch.from_numpy(np.array([edge.distance(p) <= 0 for p in at]))
    sizes = [x.shape[d] for d in leaf.spatial]
    shape = [-1 if d == dim else 1 for d in leaf.spatial]
    replaced = outside.reshape(shape).expand(sizes).flatten()
    places = torch.arange(math.prod(sizes), device="cpu")
    drawn = torch.randint(len(places), (int(replaced.sum()),), generator=draw, device="cpu")
    places[replaced] = drawn
    last = tuple(range(-len(sizes), 0))
    ahead = x.movedim(leaf.spatial, last)
    fresh = ahead.flatten(-len(sizes))[..., places.to(x.device)].reshape(ahead.shape)
    return fresh.movedim(last, leaf.spatial).contiguous()


class _Gathering:
    """What the passes tell of one layer."""

    def __init__(self, base: Kept, plan: Plan) -> None:
        self.base, self.plan, self.name = base, plan, base.name
        self.places = spatial_places(base.layout, len(plan.inputs.pixels))
        self.reason = self._unfit()
        self.most = KEPT if base.op == "output" else KEPT_OF_LAYERS
        self._values: dict[tuple[int, str], dict[int, list[torch.Tensor]]] = {}
        self._farthest: dict[tuple[int, str], int] = {}
        self._largest: dict[tuple[int, str], dict[int, float]] = {}
        self._changed: torch.Tensor | None = None
        self._channel: dict[int, torch.Tensor] = {}

    def _unfit(self) -> Reason:
        values = self.base.values
        if not self.places or not any(isinstance(self._state(a), Axis) for a in self.places):
            return Reason.NOT_SPATIAL
        if values.is_complex() or not values.is_floating_point():
            values = values.to(torch.complex128 if values.is_complex() else torch.float64)
        if not bool(torch.isfinite(values).all()):
            return Reason.NOT_FINITE
        return Reason.NONE if bool((values != 0).any()) else Reason.DEAD

    def _state(self, axis: int) -> object:
        return self.base.layout.axes[axis]

    @property
    def noise(self) -> float:
        """What is rounding, relative to the largest value of a channel."""
        return NOISE * max(eps_of(self.plan.inputs.dtype), eps_of(self.base.values.dtype))

    def steady(self, again: Kept) -> None:
        """Note whether the same input gave the same."""
        same = again.values.shape == self.base.values.shape
        if not self.reason and not (same and bool((self._relative(again) <= self.noise).all())):
            self.reason = Reason.UNSTEADY

    def _relative(self, other: Kept) -> torch.Tensor:
        """The error over the largest value of its channel, ``[batch, channels, *spatial]``."""
        one, two = (arranged(kept.values, kept.layout, self.places) for kept in (self.base, other))
        wide = torch.float64 if one.dtype == torch.float64 else torch.float32
        one, two = (v if v.is_complex() else v.to(wide) for v in (one, two))
        over = (0, *range(2, one.ndim))
        scale = torch.maximum(one.abs(), two.abs()).amax(over, keepdim=True)
        return (one - two).abs() / scale.clamp_min(torch.finfo(wide).tiny)

    def compare(self, other: Kept | None, edge: Edge) -> None:
        """Note the errors of one pass, by their distance from the edge."""
        state = self._state(edge.axis)
        if self.reason or edge.axis not in self.places or not isinstance(state, Axis):
            return
        if other is None or other.values.shape != self.base.values.shape:
            self.reason = Reason.UNSTEADY
            return
        errors = self._relative(other)
        channels = errors.amax((0, *range(2, errors.ndim)))  # copies there are none
        self._changed = (
            channels if self._changed is None else torch.maximum(self._changed, channels)
        )
        along = errors.movedim(2 + sorted(self.places).index(edge.axis), 0).flatten(1)
        if len(along) != state.size:  # an axis that is split over several dimensions
            return
        key = (edge.axis, edge.side)
        values = self._values.setdefault(key, defaultdict(list))
        largest = self._largest.setdefault(key, {})
        some = _some(along.shape[1], self.most)
        self._channel[edge.axis] = some // (along.shape[1] // errors.shape[1])
        tops = along.amax(1).tolist()
        farthest = 0
        for q in range(state.size):
            away = math.ceil(edge.distance(standing(state, q)))
            if away > 0:
                values[away].append(along[q, some].to("cpu", torch.float32))
                largest[away] = max(largest.get(away, 0.0), tops[q])
                farthest = max(farthest, away)
        self._farthest[key] = min(farthest, self._farthest.get(key, farthest))

    def result(self) -> LayerRuns:
        """What was gathered."""
        changed = None if self._changed is None else self._changed > self.noise
        reason = self.reason
        if not reason and changed is not None and not bool(changed.any()):
            reason = Reason.CONSTANT
        felt = {}
        if not reason and changed is not None:
            alive = changed.cpu()
            kept = {axis: alive[channel] for axis, channel in self._channel.items()}
            felt = {(a, side): self._felt(a, side, kept[a]) for a, side in self._values}
        return LayerRuns(
            name=self.base.name,
            op=self.base.op,
            reason=reason,
            felt=felt,
            channels=0 if changed is None else changed.numel(),
            silent=0 if changed is None else int((~changed).sum()),
        )

    def _felt(self, axis: int, side: str, kept: torch.Tensor) -> Felt:
        """What was gathered on one side, of the places and channels that are ``kept``."""
        state = self._state(axis)
        assert isinstance(state, Axis)
        key = (axis, side)
        return Felt(
            theoretical=theoretical(state, side),
            farthest=self._farthest[key],
            values={d: torch.stack(v)[:, kept].flatten() for d, v in self._values[key].items()},
            largest=self._largest[key],
        )


def _some(count: int, most: int) -> torch.Tensor:
    """Which of so many values go into the percentiles, the same ones every time."""
    if count <= most:
        return torch.arange(count, device="cpu")
    return torch.randperm(count, generator=torch.Generator().manual_seed(0), device="cpu")[:most]


def standing(state: Axis, sample: int) -> float:
    """Where a sample stands, in pixels; on an axis that was mirrored, from its other end."""
    start = float(state.origins[0]) if state.stride < 0 else 0.0
    return start + sample * float(state.stride)


def theoretical(state: Axis, side: str) -> float:
    """How far a sample sees to one side of where it stands, at most."""
    phases = np.arange(len(state.first))
    at = np.array([standing(state, int(q)) for q in phases])
    seen = state.first <= state.last
    if not seen.any():
        return 0.0
    reach = (at - state.first) if side == "left" else (state.last - at)
    return max(0.0, float(reach[seen].max()))


def quantiles(felt: Felt, percentiles: Sequence[float]) -> dict[int, list[float]]:
    """The percentiles of the error at every distance that all draws reach."""
    out = {}
    for away in sorted(d for d in felt.values if d <= felt.farthest):
        values = felt.values[away].to(torch.float64)
        shares = torch.tensor([p / 100 for p in percentiles], dtype=torch.float64, device="cpu")
        found = torch.quantile(values, shares, interpolation="higher").tolist()
        out[away] = [
            felt.largest[away] if p == 100 else v for p, v in zip(percentiles, found, strict=True)
        ]
    return out
