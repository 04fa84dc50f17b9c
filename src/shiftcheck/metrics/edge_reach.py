"""How far from its edges an output feels what is beyond them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch

from _shiftcheck_options import is_number
from shiftcheck.checks.evaluation.asked import HALO
from shiftcheck.checks.evaluation.check import read_share, read_shifts
from shiftcheck.checks.evaluation.comparing import Answered
from shiftcheck.checks.figures.edges import check_edges
from shiftcheck.checks.prepare import check_options
from shiftcheck.errors import InputError
from shiftcheck.metrics.pooling import ShiftMetric
from shiftcheck.report.reasons import Reason


class EffectiveHalo(ShiftMetric):
    """The pixels from the edge of an item within which the error is larger than allowed.

    An item needs the most that any of its sides needs, as ``evaluate(what="effective_halo")`` has
    it. It is infinite where the error is too large as far from the edge as the item reaches.

    Args:
        tolerance: the relative error, above 0 and below 1, that is allowed.
        percentile: so many percent of the items need no more than the figure; 100 is the largest.
        draws: so often each side is exchanged.
        boundary: ``"valid"``, or for each axis one of ``"valid"`` and ``"circular"``; what is
            closed has no edge.
        spatial_dims, fixed, outputs: as in ``check_equivariance``.
        seed: of what stands beyond the edges.
        kwargs: what every ``torchmetrics.Metric`` takes.

    Raises:
        InputError: for arguments that cannot be used.

    Example:
        >>> import torch
        >>> from shiftcheck.metrics import EffectiveHalo
        >>> model = torch.nn.Conv2d(1, 4, 5, padding=2)
        >>> _ = torch.nn.init.constant_(model.weight, 0.04)
        >>> metric = EffectiveHalo(tolerance=0.01)
        >>> metric.update(model, torch.rand(4, 1, 16, 18))
        >>> metric.compute().item()
        2.0
    """

    higher_is_better: bool = False
    plot_lower_bound: float = 0.0
    what: ClassVar[tuple[str, ...]] = (HALO,)
    top_names: ClassVar[tuple[str, ...]] = ("pixels",)
    keeps_rows: ClassVar[bool] = True

    def __init__(
        self,
        *,
        tolerance: float = 0.01,
        percentile: float = 100.0,
        draws: int = 4,
        boundary: str | Sequence[str] = "valid",
        spatial_dims: Sequence[int] | None = None,
        fixed: Sequence[str | int] = (),
        outputs: Sequence[str | int] | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        check_options(seed=seed, draws=draws, boundary=boundary)
        if not is_number(percentile) or not 0 < percentile <= 100:
            raise InputError(f"percentile={percentile!r}: give a number above 0, and at most 100")
        check_edges(boundary)
        options = {
            "tolerance": read_share("tolerance", tolerance),
            "boundary": boundary,
            "spatial_dims": spatial_dims,
            "fixed": fixed,
            "outputs": outputs,
            "seed": seed,
        }
        super().__init__(options, read_shifts(None, draws, None, seed), **kwargs)
        self.percentile = float(percentile)

    def _noted(self, answered: Answered) -> Iterator[tuple[int, str, float]]:
        for n, _, needed in answered.pairs:
            pixels = math.inf if needed == Reason.NO_REGION else needed
            if isinstance(pixels, float):
                yield n, "pixels", pixels

    def compute(self) -> torch.Tensor:
        """The pixels; NaN, with a warning, where nothing was told."""
        pooled = self._pooled()
        needed = sorted(n for n in pooled.rows[:, 0].tolist() if n >= 0)
        if not needed:
            return self._nothing(pooled)
        return self._value(needed[max(1, math.ceil(self.percentile / 100 * len(needed))) - 1])
