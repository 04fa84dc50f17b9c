"""The questions that are asked of each item and shift, for many items at once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import torch

from shiftcheck.checks.evaluation.accumulators import ExactSum, Pair, Tally, tally_of
from shiftcheck.checks.evaluation.plan import Compared, Seen, SizePlan
from shiftcheck.checks.invariance.distances import Values, distances, values_of
from shiftcheck.checks.invariance.judge import blind, spatial_axes
from shiftcheck.measuring.gaps.arrange import arranged
from shiftcheck.measuring.gaps.compare_items import (
    ItemBase,
    ItemGaps,
    Pairing,
    clearly_moved,
    item_gaps,
    item_nulls,
    item_sums,
    item_variation,
)
from shiftcheck.measuring.gaps.regions import Sums
from shiftcheck.measuring.signals.arguments import Inputs, Leaf, Shift
from shiftcheck.measuring.signals.variation import varies
from shiftcheck.measuring.tolerance import CLEARLY, Tolerance
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.precision import eps_of

Answer = float | Reason
"""What an item gave under a shift, or why it gave nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Items of one size, ``inputs`` ``[items, ...]``, with what is known for that size."""

    items: tuple[int, ...]
    inputs: Inputs
    size: SizePlan

    def varies(self, row: int) -> bool:
        """Whether an item varies over space."""
        moved = (v for v in self.inputs.leaves if isinstance(v, Leaf) and v.role == "shifted")
        return any(varies(replace(leaf, tensor=leaf.tensor[row : row + 1])) for leaf in moved)

    def is_blank(self, row: int) -> bool:
        """Whether an item is the same everywhere, to the last bit."""
        moved = [v for v in self.inputs.leaves if isinstance(v, Leaf) and v.role == "shifted"]
        items = [(leaf.tensor[row : row + 1], leaf.spatial) for leaf in moved]
        return all(bool((x.amax(s) == x.amin(s)).all()) for x, s in items)

    def better(self, answer: Answer, row: int) -> Answer:
        """A better reason for what does not vary where the item itself does not."""
        constant = answer in (Reason.DEAD, Reason.CONSTANT) and not self.varies(row)
        if constant or (answer is Reason.INVISIBLE and self.is_blank(row)):
            return Reason.CONSTANT_INPUT
        return answer


@dataclass(frozen=True, kw_only=True, eq=False)
class Moved:
    """What the model gave for some items of a batch, each under its shift.

    ``rows``: the places of these items in the batch; ``visible``: whether the shift changed each.
    """

    rows: tuple[int, ...]
    shifts: tuple[Shift, ...]
    visible: tuple[bool, ...]


class Answered(Protocol):
    """What was answered of one output, pair by pair of an item and a shift."""

    what: str
    seen: Seen
    pairs: list[Pair]


class Question:
    """One quantity of one output over the items of a batch; answers are gathered pair by pair."""

    what = ""

    def __init__(self, batch: Batch, seen: Seen, base: torch.Tensor) -> None:
        self.batch, self.seen = batch, seen
        self.pairs: list[Pair] = []
        unread = Reason.NONE if base.layout == torch.strided else Reason.UNREAD
        self.reason = unread or self.why_not() or batch.size.reason
        if not self.reason:
            self.begin(base)

    def why_not(self) -> Reason:
        """Why nothing can be told of this output, by its structure."""
        return Reason.NONE

    def begin(self, base: torch.Tensor) -> None:
        """Look at the outputs for the items as they are."""
        raise NotImplementedError

    def look(self, moved: Moved, tensor: torch.Tensor) -> Sequence[Answer]:
        """What each of the moved items gave."""
        raise NotImplementedError

    def more(self) -> dict[str, Any]:
        """Further sums."""
        return {}

    def add(self, moved: Moved, tensor: torch.Tensor) -> None:
        """Look at the outputs for moved items, unless nothing can be told of them."""
        if self.reason:
            return self.leave(moved)
        answers = self.look(moved, tensor)
        for row, shift, answer in zip(moved.rows, moved.shifts, answers, strict=True):
            self.pairs.append((self.batch.items[row], shift, answer))
        return None

    def leave(self, moved: Moved) -> None:
        """Nothing is told of these items."""
        reason = self.reason
        self.pairs += [
            (self.batch.items[row], shift, reason)
            for row, shift in zip(moved.rows, moved.shifts, strict=True)
        ]

    def tally(self, place: int) -> Tally:
        """All that was found; ``place``: of this question among others."""
        seen = self.seen
        return tally_of(self.what, seen.name, seen.op, self.pairs, place=place, **self.more())


class Equivariance(Question):
    """How far ``model(S x)`` is from ``S model(x)``, relative to the channel, as in the check."""

    what = "equivariance"

    def begin(self, base: torch.Tensor) -> None:
        """Keep the base with its magnitudes."""
        self.base = self.seen.base(base, len(self.batch.items))

    def look(self, moved: Moved, tensor: torch.Tensor) -> Sequence[Answer]:
        """The relative gaps, and reasons where there are none."""
        steps = [self.seen.under(shift) for shift in moved.shifts]
        answers: list[Answer] = [s if isinstance(s, Reason) else Reason.NONE for s in steps]
        at = [k for k, step in enumerate(steps) if isinstance(step, Compared)]
        if at:
            found = self._compared(moved, tensor, at, [s for s in steps if isinstance(s, Compared)])
            for k, answer in zip(at, found, strict=True):
                answers[k] = answer
        return answers

    def _compared(
        self, moved: Moved, tensor: torch.Tensor, at: Sequence[int], steps: Sequence[Compared]
    ) -> list[Answer]:
        base, copies = self.sides(moved, tensor, at)
        gaps = self._gaps(base, copies, [step.pairing for step in steps])
        peaks = base.peaks.double().tolist()
        closed = self.seen.planner.scene.circular
        answers: list[Answer] = []
        for k, error, relative, peak in zip(at, gaps.errors, gaps.relative, peaks, strict=True):
            whole = all(ring for ring, v in zip(closed, moved.shifts[k], strict=True) if v)
            answers.append(self._answer(error, relative, peak, closed=whole))
        quiet = [j for j, a in enumerate(answers) if isinstance(a, float) and a <= self.allowance]
        if quiet:
            told = self._agreeing(base, quiet, [steps[j] for j in quiet])
            for j, reason in zip(quiet, told, strict=True):
                answers[j] = reason or answers[j]
        return [self.batch.better(a, moved.rows[k]) for a, k in zip(answers, at, strict=True)]

    def _gaps(self, base: ItemBase, copies: torch.Tensor, pairings: Sequence[Pairing]) -> ItemGaps:
        """How far the copies are from their bases."""
        return item_gaps(base, copies, pairings)

    def sides(
        self, moved: Moved, tensor: torch.Tensor, at: Sequence[int]
    ) -> tuple[ItemBase, torch.Tensor]:
        """The bases and the copies of those of the moved items that are compared."""
        copies = self.seen.of_items(tensor, len(moved.rows)).flatten(2)
        if len(at) < len(moved.rows):
            copies = copies[torch.tensor(at, device=copies.device)]
        rows = [moved.rows[k] for k in at]
        everything = len(rows) == len(self.batch.items)
        return (self.base if everything else self.base.among(rows)), copies

    @cached_property
    def allowance(self) -> float:
        """The relative gap that is rounding."""
        return Tolerance(eps=eps_of(self.batch.inputs.dtype)).relative(None)

    def _answer(self, error: float, relative: float, peak: float, *, closed: bool) -> Answer:
        if not all(map(math.isfinite, (error, relative, peak))):
            return Reason.NOT_FINITE
        if peak == 0.0 and error == 0.0:
            return Reason.DEAD
        if relative > self.allowance and self.seen.measured and not closed:
            return Reason.MEASURED_GAP
        return relative

    def _agreeing(
        self, base: ItemBase, items: Sequence[int], steps: Sequence[Compared]
    ) -> list[Reason]:
        """Why an agreement of some items tells nothing; empty where it does."""
        pairings = [step.pairing for step in steps]
        clearly = CLEARLY * self.allowance
        shown = clearly_moved(base, items, pairings, clearly)
        hidden = [j for j, seen in enumerate(shown) if not seen]
        reasons = [Reason.NONE if step.fair else Reason.TOO_LITTLE for step in steps]
        if hidden:
            why = self._hardly_moving(
                base.among([items[j] for j in hidden]), [pairings[j] for j in hidden], clearly
            )
            for j, reason in zip(hidden, why, strict=True):
                reasons[j] = reason or reasons[j]
        return reasons

    @staticmethod
    def _hardly_moving(base: ItemBase, pairings: Sequence[Pairing], clearly: float) -> list[Reason]:
        """Why an agreement tells nothing of outputs that few places do not show to move."""
        nulls = item_nulls(base, pairings)
        variation = item_variation(base, pairings)
        return [
            Reason.NONE
            if null > clearly
            else Reason.CONSTANT
            if varied <= clearly
            else Reason.INVISIBLE
            for null, varied in zip(nulls, variation, strict=True)
        ]


class EqT(Equivariance):
    """The squares of the same gaps: of each pair ``||e|| / ||S phi(f)||``, and sums for EQ-T."""

    what = "eq_t"

    def begin(self, base: torch.Tensor) -> None:
        """Keep the base, and nothing of the squares yet."""
        super().begin(base)
        self.sums: dict[tuple[int, Shift], Sums] = {}

    def look(self, moved: Moved, tensor: torch.Tensor) -> Sequence[Answer]:
        """The relative errors of squares, where the gaps tell something."""
        answers = list(super().look(moved, tensor))
        at = [k for k, answer in enumerate(answers) if isinstance(answer, float)]
        steps = [self.seen.under(moved.shifts[k]) for k in at]
        pairings = [step.pairing for step in steps if isinstance(step, Compared)]
        if at:
            base, copies = self.sides(moved, tensor, at)
            for k, sums in zip(at, item_sums(base, copies, pairings), strict=True):
                self.sums[self.batch.items[moved.rows[k]], moved.shifts[k]] = sums
                answers[k] = math.sqrt(sums.error / sums.signal) if sums.signal else Reason.DEAD
        return answers

    def more(self) -> dict[str, Any]:
        """The sums that EQ-T is made of."""
        if self.reason or not self.sums:
            return {}
        squares = self.sums.values()
        return {
            "sums": (
                ("error", ExactSum.of((math.fsum(s.error for s in squares),))),
                ("signal", ExactSum.of((math.fsum(s.signal for s in squares),))),
            ),
            "counts": (("samples", sum(s.count for s in squares)),),
            "lows": (("range", min(s.low for s in squares)),),
            "highs": (
                ("largest", max(s.largest for s in squares)),
                ("range", max(s.high for s in squares)),
            ),
        }


MOST_ENTRIES = 4096
"""Of an output with no more entries, the distance between different items is told."""


class Invariance(Question):
    """How far ``model(S x)`` is from ``model(x)``, as a Euclidean distance."""

    what = "invariance"

    def why_not(self) -> Reason:
        """An output that still has an axis moves with the input."""
        layout = self.seen.layout
        return Reason.STILL_SPATIAL if spatial_axes(layout) else blind(layout.causes)

    def begin(self, base: torch.Tensor) -> None:
        """Keep the values of each item."""
        self.values = self.per_item(base, len(self.batch.items))

    def per_item(self, tensor: torch.Tensor, items: int) -> Values:
        """The values ``[items, everything else]``."""
        flat = arranged(tensor, self.seen.in_batch(items), {}).flatten(1)
        values = values_of(flat, items)
        assert values is not None
        return values

    def look(self, moved: Moved, tensor: torch.Tensor) -> Sequence[Answer]:
        """The distances, and reasons where they tell nothing."""
        other = self.per_item(tensor, len(moved.rows))
        rows = list(moved.rows)
        base = Values(self.values.tensor[rows], len(rows))
        apart = self.apart(base, other)
        finite = [bool(f) for f in _finite(base) & _finite(other)]
        zero = [not bool(v) for v in (base.per_signal != 0).any(1) | (other.per_signal != 0).any(1)]
        answers: list[Answer] = []
        for distance, good, dead, seen in zip(apart, finite, zero, moved.visible, strict=True):
            if not good:
                answers.append(Reason.NOT_FINITE)
            elif dead and not base.labels:
                answers.append(Reason.DEAD)
            else:
                answers.append(distance if seen else Reason.INVISIBLE)
        pairs = zip(answers, moved.rows, strict=True)
        return [self.batch.better(answer, row) for answer, row in pairs]

    def apart(self, one: Values, other: Values) -> list[float]:
        """How far each item is from itself."""
        found: list[float] = distances(one, other).tolist()
        return found

    def more(self) -> dict[str, Any]:
        """Sums over the items, of which the distance between different ones is made."""
        if self.reason:
            return {}
        good = self.values.per_signal[_finite(self.values)].double()
        entries = {
            "counts": (("items", len(good)),),
            "highs": (("entries", float(good.shape[1])),),
        }
        if good.shape[1] > MOST_ENTRIES or self.values.labels:
            return entries
        first, second = good.sum(0).tolist(), good.square().sum(0).tolist()
        return {
            **entries,
            "sums": (
                *((f"entry {i:04}", ExactSum.of((v,))) for i, v in enumerate(first)),
                *((f"square {i:04}", ExactSum.of((v,))) for i, v in enumerate(second)),
            ),
        }


def _finite(values: Values) -> torch.Tensor:
    flat = values.per_signal
    if values.labels:
        return torch.ones(len(flat), dtype=torch.bool, device="cpu")
    return torch.isfinite(flat).all(1)


class Classes(Invariance):
    """Whether the largest entry stays the same: 0 where it does, 1 where another class wins."""

    what = "classes"

    def why_not(self) -> Reason:
        """There must be a row of scores for each item."""
        if len(self.seen.layout.dims) != 2 or self.seen.layout.shape[1] < 2:
            return super().why_not() or Reason.NO_SCORES
        return super().why_not()

    def begin(self, base: torch.Tensor) -> None:
        """Keep the scores of each item."""
        super().begin(base)
        if self.values.labels:
            self.reason = Reason.NO_SCORES

    def apart(self, one: Values, other: Values) -> list[float]:
        """Whether the largest entry is another one."""
        other_class: list[float] = (
            (one.per_signal.argmax(1) != other.per_signal.argmax(1)).double().tolist()
        )
        return other_class

    def more(self) -> dict[str, Any]:
        """How often each class wins, without any shift."""
        if self.reason:
            return {}
        won = Counter(c for c in self.winners() if c is not None)
        return {"counts": tuple((f"class {c:05}", n) for c, n in sorted(won.items()))}

    def winners(self) -> list[int | None]:
        """The class of each item without any shift; None where a score is no finite number."""
        scores = self.values.per_signal
        finite = _finite(self.values).tolist()
        pairs = zip(scores.argmax(1).tolist(), finite, strict=True)
        return [best if good else None for best, good in pairs]
