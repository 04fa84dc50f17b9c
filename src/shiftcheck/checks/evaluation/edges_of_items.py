"""How far the unknown outside is felt inside of each item of a batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from shiftcheck.checks.evaluation.accumulators import Pair, Tally, at_shifts, tally_of
from shiftcheck.checks.evaluation.comparing import Answered, Batch
from shiftcheck.checks.evaluation.plan import Seen
from shiftcheck.checks.figures.edges import edge_side
from shiftcheck.lattice.axis import Axis
from shiftcheck.measuring.edge_runs import (
    NOISE,
    Edge,
    Felt,
    standing,
    theoretical,
    with_unknown_sides,
)
from shiftcheck.measuring.gaps.compare import wide
from shiftcheck.measuring.plan import Plan
from shiftcheck.report.evaluation import Shift
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.precision import eps_of

WHAT = "effective_halo"

Outputs = Callable[[list[Any]], dict[str, torch.Tensor]]
"""From values of the arguments to the outputs by name."""


def halo_tallies(
    plan: Plan,
    batch: Batch,
    base: dict[str, torch.Tensor],
    outputs: Outputs,
    tolerance: float,
    noted: Callable[[Sequence[Answered]], None] = lambda answered: None,
) -> list[Tally]:
    """Of each output, the pixels from the edge within which the error is larger than allowed.

    ``plan``: of the batch; as many draws of each side as it has ``max_batch``. ``noted``: is
    told what was answered of each item.
    """
    felt = [_Feeling(batch, seen, base[seen.name], plan) for seen in batch.size.outputs]
    if not all(feeling.reason for feeling in felt):
        for edge, values in with_unknown_sides(plan, plan.max_batch or 1):
            given = outputs(values)
            for feeling in felt:
                feeling.compare(given[feeling.seen.name], edge)
    tallies = [feeling.tally(place, tolerance) for place, feeling in enumerate(felt)]
    noted(felt)
    return tallies


class _Feeling:
    """What the passes tell of one output, for each item."""

    what = WHAT

    def __init__(self, batch: Batch, seen: Seen, base: torch.Tensor, plan: Plan) -> None:
        self.batch, self.seen = batch, seen
        self.circular = plan.inputs.circular
        self.reason = batch.size.reason or seen.reason or self._unfit(base)
        self.pairs: list[Pair] = []
        self.curves: list[dict[tuple[int, str], dict[int, float]]] = [{} for _ in batch.items]
        self.farthest: dict[tuple[int, str], int] = {}
        self.changed = [0.0] * len(batch.items)
        if self.reason:
            return
        self.base = seen.of_items(base, len(batch.items))
        self.noise = NOISE * max(eps_of(plan.inputs.dtype), eps_of(self.base.dtype))
        self.finite = [bool(torch.isfinite(wide(one)).all()) for one in self.base]
        self.dead = [not bool((one != 0).any()) for one in self.base]

    def _unfit(self, base: torch.Tensor) -> Reason:
        if base.layout != torch.strided:
            return Reason.UNREAD
        axes = [self.seen.layout.axes[axis] for axis in self.seen.planner.places]
        spatial = any(isinstance(state, Axis) for state in axes) and not self.seen.planner.flat
        return Reason.NONE if spatial else Reason.NOT_SPATIAL

    def compare(self, tensor: torch.Tensor, edge: Edge) -> None:
        """Note the errors of one pass by their distance from the edge, for each item."""
        places = self.seen.planner.places
        state = self.seen.layout.axes[edge.axis]
        if self.reason or edge.axis not in places or not isinstance(state, Axis):
            return
        errors = self._relative(self.seen.of_items(tensor, len(self.batch.items)))
        dim = 2 + sorted(places).index(edge.axis)
        along = errors.movedim(dim, 1).flatten(2).amax(2)
        if along.shape[1] != state.size:  # an axis that is split over several dimensions
            return
        tops = along.double().tolist()
        away = [math.ceil(edge.distance(standing(state, q))) for q in range(state.size)]
        key = edge.axis, edge.side
        farthest = max(0, *away)
        self.farthest[key] = min(farthest, self.farthest.get(key, farthest))
        for i, row in enumerate(tops):
            curve = self.curves[i].setdefault(key, {})
            for distance, top in zip(away, row, strict=True):
                if distance > 0:
                    curve[distance] = max(curve.get(distance, 0.0), top)
            self.changed[i] = max(self.changed[i], *row)

    def _relative(self, other: torch.Tensor) -> torch.Tensor:
        """The error over the largest value of its channel, ``[items, channels, *spatial]``."""
        one, two = wide(self.base), wide(other)
        over = tuple(range(2, one.ndim))
        scale = torch.maximum(one.abs(), two.abs()).amax(over, keepdim=True)
        return (one - two).abs() / scale.clamp_min(torch.finfo(scale.dtype).tiny)

    def tally(self, place: int, tolerance: float) -> Tally:
        """What each item needs on each side, and the errors of all at each distance."""
        pairs = self.pairs
        errors: list[tuple[int, Shift, float]] = []
        for i, item in enumerate(self.batch.items):
            reason = self.reason or self._better(i)
            for axis, side in self._sides():
                inward = self._inward(axis, side)
                if reason:
                    pairs.append((item, inward(1), reason))
                    continue
                needed, curve = self._needed(i, axis, side, tolerance)
                pairs.append((item, inward(1), Reason.NO_REGION if needed is None else needed))
                errors += [(item, inward(d), error) for d, error in curve]
        told = tally_of(WHAT, self.seen.name, self.seen.op, pairs, place=place)
        return replace(told, shifts=at_shifts(errors, every=True))

    def _sides(self) -> Sequence[tuple[int, str]]:
        open_axes = [axis for axis, ring in enumerate(self.circular) if not ring]
        return [(axis, side) for axis in open_axes for side in ("left", "right")]

    def _inward(self, axis: int, side: str) -> Callable[[int], Shift]:
        sign = 1 if side == "left" else -1
        axes = range(len(self.circular))
        return lambda distance: tuple(sign * distance if a == axis else 0 for a in axes)

    def _why_not(self, i: int) -> Reason:
        if not self.finite[i] or not math.isfinite(self.changed[i]):
            return Reason.NOT_FINITE
        if self.dead[i]:
            return Reason.DEAD
        return Reason.NONE if self.changed[i] > self.noise else Reason.CONSTANT

    def _better(self, i: int) -> Reason:
        answer = self.batch.better(self._why_not(i), i)
        return answer if isinstance(answer, Reason) else Reason.NONE

    def _needed(
        self, i: int, axis: int, side: str, tolerance: float
    ) -> tuple[float | None, list[tuple[int, float]]]:
        """The last distance at which the error is too large, and the errors at all distances."""
        state = self.seen.layout.axes[axis]
        curve = self.curves[i].get((axis, side))
        if curve is None or not isinstance(state, Axis):
            return None, []
        felt = Felt(
            theoretical=theoretical(state, side),
            farthest=self.farthest[axis, side],
            values={d: torch.tensor([top], device="cpu") for d, top in curve.items()},
            largest=curve,
        )
        found = edge_side(axis, side, felt, (tolerance,), (100.0,))
        needed = found.needed[0][0]
        errors = list(zip(found.distances, found.errors[0], strict=True))
        return None if needed is None else float(needed), errors
