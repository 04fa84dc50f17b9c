"""Classes at places: how much of a map of classes is another one where its input was shifted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

from shiftcheck.checks.evaluation.comparing import Equivariance
from shiftcheck.checks.evaluation.plan import Compared
from shiftcheck.checks.invariance.judge import spatial_axes
from shiftcheck.measuring.gaps.arrange import all_factors
from shiftcheck.measuring.gaps.compare_items import ItemBase, ItemGaps, Pairing, item_shares
from shiftcheck.report.reasons import Reason


class ClassMaps(Equivariance):
    """The share of the compared places that have another class than ``S model(x)`` has there.

    The class of a place is its largest score, or what the model itself gives as whole numbers.
    """

    what = "class_maps"
    allowance = 0.0

    def why_not(self) -> Reason:
        """There must be places, and a row of scores at each."""
        layout = self.seen.layout
        if not spatial_axes(layout):
            return Reason.NOT_SPATIAL
        places = set(self.seen.planner.places.values())
        beside = [f.size for i, f in enumerate(all_factors(layout)) if i not in places]
        rows = [size for size in beside if size > 1]
        return Reason.NONE if len(rows) <= 1 else Reason.NO_SCORES

    def begin(self, base: torch.Tensor) -> None:
        """Keep the class of each place."""
        arranged = self.seen.of_items(base, len(self.batch.items))
        classes = _classes(arranged)
        if classes is None:
            self.reason = Reason.NO_SCORES
            return
        items = len(classes)
        peaks = torch.where(_finite(arranged), 1.0, math.nan)
        self.base = ItemBase(
            values=classes.flatten(2), scales=peaks.new_ones(items, classes.shape[1]), peaks=peaks
        )

    def _gaps(self, base: ItemBase, copies: torch.Tensor, pairings: Sequence[Pairing]) -> ItemGaps:
        """The shares, which are no numbers where a score is none."""
        classes = _classes(copies)
        assert classes is not None
        shares = item_shares(base, classes, pairings)
        pairs = zip(shares, _finite(copies).tolist(), strict=True)
        told = [share if finite else math.nan for share, finite in pairs]
        return ItemGaps(errors=told, relative=told)

    def _agreeing(
        self, base: ItemBase, items: Sequence[int], steps: Sequence[Compared]
    ) -> list[Reason]:
        """Why an agreement tells nothing: an image of one class counts as any other does.

        Whether there is more than one class is asked of all items together.
        """
        return [Reason.NONE if step.fair else Reason.TOO_LITTLE for step in steps]

    def more(self) -> dict[str, Any]:
        """How many places each class has, without any shift."""
        if self.reason:
            return {}
        good = self.base.values[torch.isfinite(self.base.peaks)]
        found = Counter(good.flatten().tolist())
        return {"counts": tuple((f"class {int(c):05}", n) for c, n in sorted(found.items()))}


def _classes(scores: torch.Tensor) -> torch.Tensor | None:
    """The class of each place ``[items, 1 or more, *places]``; None where there is no choice."""
    if not (scores.is_floating_point() or scores.is_complex()):
        return scores.double()
    if scores.is_complex() or scores.shape[1] < 2:
        return None
    return scores.argmax(1, keepdim=True).double()


def _finite(scores: torch.Tensor) -> torch.Tensor:
    """Which items have finite scores only."""
    return torch.isfinite(scores).flatten(1).all(1)
