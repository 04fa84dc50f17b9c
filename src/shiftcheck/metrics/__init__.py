"""Metrics of torchmetrics for a training loop: what shifts do to a model while it learns.

Needs torchmetrics: ``pip install 'torch-shiftcheck[metrics]'``. Each metric is given the model and
a batch of images, runs the model on shifted copies of them, and leaves everything as it was. What
is kept are counts, sums and maxima, so that the figures of several batches, and of several
processes, are those of all their items together.
"""

try:
    import torchmetrics as _torchmetrics  # noqa: F401
except ModuleNotFoundError as _error:
    if _error.name != "torchmetrics":
        raise
    from shiftcheck.errors import MissingExtraError

    raise MissingExtraError(
        "shiftcheck.metrics needs torchmetrics, which is not installed:"
        " pip install 'torch-shiftcheck[metrics]'"
    ) from None

from shiftcheck.metrics.class_stays import ShiftConsistency
from shiftcheck.metrics.edge_reach import EffectiveHalo
from shiftcheck.metrics.gap_squares import EquivarianceError

__all__ = ["EffectiveHalo", "EquivarianceError", "ShiftConsistency"]
