"""How far an output is from moving with its input, as a ratio of squares."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

import torch

from shiftcheck.checks.evaluation.check import read_shifts
from shiftcheck.checks.evaluation.comparing import Answered, EqT
from shiftcheck.checks.prepare import check_options
from shiftcheck.errors import InputError
from shiftcheck.metrics.pooling import ShiftMetric

FIGURES = ("relative_l2", "largest_gap")


class EquivarianceError(ShiftMetric):
    """How far ``model(S x)`` is from ``S model(x)``, over all compared samples together.

    ``relative_l2`` is the root of the sum of all squared gaps over the sum of all squared values,
    as ``evaluate(what="eq_t")`` has it, and ``largest_gap`` the largest gap of a channel over its
    largest magnitude, as ``evaluate(what="equivariance")`` has it. Only samples that see no padding
    are compared.

    Args:
        figure: which of the two ``compute`` gives. Two metrics that differ in nothing else run the
            model once in a ``MetricCollection``.
        boundary: ``"valid"`` or ``"circular"``, once or for each axis.
        shifts, draws, max_shift, seed: as in ``ShiftConsistency``; whole samples of the output are
            drawn.
        spatial_dims, fixed, outputs: as in ``check_equivariance``.
        kwargs: what every ``torchmetrics.Metric`` takes.

    Raises:
        InputError: for arguments that cannot be used.

    Example:
        >>> import torch
        >>> from shiftcheck.metrics import EquivarianceError
        >>> metric = EquivarianceError(shifts=[(0, 2), (2, 0)])
        >>> model = torch.nn.Conv2d(1, 4, 3, stride=2, padding=1)
        >>> metric.update(model, torch.rand(8, 1, 16, 18), index=range(8))
        >>> metric.compute().item() < 1e-6, metric.told
        (True, 16)
    """

    higher_is_better: bool = False
    plot_lower_bound: float = 0.0
    what: ClassVar[tuple[str, ...]] = ("eq_t", "equivariance")
    sum_names: ClassVar[tuple[str, ...]] = ("error", "signal")
    top_names: ClassVar[tuple[str, ...]] = ("largest gap",)

    def __init__(
        self,
        *,
        shifts: Sequence[Any] | None = None,
        figure: Literal["relative_l2", "largest_gap"] = "relative_l2",
        draws: int = 4,
        max_shift: int | Sequence[int] | None = None,
        boundary: str | Sequence[str] = "valid",
        spatial_dims: Sequence[int] | None = None,
        fixed: Sequence[str | int] = (),
        outputs: Sequence[str | int] | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        check_options(seed=seed, draws=draws, boundary=boundary)
        if figure not in FIGURES:
            raise InputError(f"figure={figure!r}: give one of {', '.join(map(repr, FIGURES))}")
        options = {
            "boundary": boundary,
            "spatial_dims": spatial_dims,
            "fixed": fixed,
            "outputs": outputs,
            "seed": seed,
        }
        super().__init__(options, read_shifts(shifts, draws, max_shift, seed), **kwargs)
        self.figure = figure

    def _noted(self, answered: Answered) -> Iterator[tuple[int, str, float]]:
        if isinstance(answered, EqT):
            for (n, _), squares in answered.sums.items():
                yield n, "error", squares.error
                yield n, "signal", squares.signal
            return
        for n, _, gap in answered.pairs:
            if isinstance(gap, float):
                yield n, "largest gap", gap

    def compute(self) -> torch.Tensor:
        """The error, at least 0; NaN, with a warning, where nothing was compared."""
        pooled = self._pooled()
        signal = pooled.sums["signal"]
        if not pooled.counts["told"] or not signal > 0:
            return self._nothing(pooled)
        if self.figure == "largest_gap":
            return self._value(pooled.tops["largest gap"])
        return self._value(math.sqrt(pooled.sums["error"] / signal))
