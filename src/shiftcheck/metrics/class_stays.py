"""How often the predicted class stays when the input moves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch

from shiftcheck.checks.evaluation.check import read_shifts
from shiftcheck.checks.evaluation.comparing import Answered, Classes
from shiftcheck.checks.prepare import check_options
from shiftcheck.measuring.signals.canvas import read_fill
from shiftcheck.metrics.pooling import ShiftMetric


class ShiftConsistency(ShiftMetric):
    """The share of pairs of an item and a shift under which the predicted class stays the same.

    It is ``consistency`` of ``evaluate(what="classes")``. Where one class wins everywhere it tells
    nothing, and is NaN.

    Args:
        shifts: whole pixels, one tuple for each shift, which every item gets; when left out, each
            gets ``draws`` shifts of its own, which depend on the seed and its number alone; without
            numbers, all get the same.
        draws: how many shifts each item gets.
        max_shift: the largest drawn shift in pixels, once or for each axis; an eighth of the size
            when left out.
        fill: what enters, as in ``check_invariance``; ``"circular"`` when left out.
        spatial_dims, fixed, outputs: as in ``check_equivariance``.
        seed: of the drawn shifts.
        kwargs: what every ``torchmetrics.Metric`` takes.

    Raises:
        InputError: for arguments that cannot be used.

    Example:
        >>> import torch
        >>> from shiftcheck.metrics import ShiftConsistency
        >>> from shiftcheck.models import lenet
        >>> from shiftcheck.datasets import digits, standardise
        >>> metric = ShiftConsistency(shifts=[(0, 1), (3, 0)], fill="zeros")
        >>> metric.update(lenet(pretrained=True), standardise(digits()[0][:8]))
        >>> metric.compute().item(), metric.told
        (0.875, 16)
    """

    higher_is_better: bool = True
    plot_lower_bound: float = 0.0
    plot_upper_bound: float = 1.0
    what: ClassVar[tuple[str, ...]] = ("classes",)
    count_names: ClassVar[tuple[str, ...]] = ("stayed",)
    top_names: ClassVar[tuple[str, ...]] = ("highest class", "negative of the lowest class")

    def __init__(
        self,
        *,
        shifts: Sequence[Any] | None = None,
        draws: int = 4,
        max_shift: int | Sequence[int] | None = None,
        fill: str | Sequence[str] | None = None,
        spatial_dims: Sequence[int] | None = None,
        fixed: Sequence[str | int] = (),
        outputs: Sequence[str | int] | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        check_options(seed=seed, draws=draws)
        options = {
            "fill": read_fill(fill, None),
            "spatial_dims": spatial_dims,
            "fixed": fixed,
            "outputs": outputs,
            "seed": seed,
        }
        super().__init__(options, read_shifts(shifts, draws, max_shift, seed), **kwargs)

    def _noted(self, answered: Answered) -> Iterator[tuple[int, str, float]]:
        for n, _, changed in answered.pairs:
            yield n, "stayed", float(changed == 0.0)
        assert isinstance(answered, Classes)
        for n, best in zip(answered.batch.items, answered.winners(), strict=True):
            if best is not None:
                yield n, self.top_names[0], float(best)
                yield n, self.top_names[1], -float(best)

    def compute(self) -> torch.Tensor:
        """The share, from 0 to 1; NaN, with a warning, where nothing was told."""
        pooled = self._pooled()
        told, stayed = pooled.counts["told"], pooled.counts["stayed"]
        if not told:
            return self._nothing(pooled)
        highest, negative = pooled.tops.values()
        if highest == -negative and stayed == told:
            why = f"class {int(highest)} wins for every item and shift, as it would for any input"
            return self._nothing(pooled, why)
        return self._value(stayed / told)
