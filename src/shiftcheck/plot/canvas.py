"""Axes to draw into, and what every figure needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shiftcheck.errors import InputError, MissingExtraError
from shiftcheck.report.equivariance import LayerResult, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes


FLOOR = 1e-17
"""Where errors of zero are drawn on a scale that has no zero."""


def row_of(report: Report, layer: str) -> LayerResult:
    """The row of a layer; raises InputError with the names there are."""
    try:
        return report[layer]
    except KeyError as error:
        raise InputError(f"layer={layer!r}: {error.args[0]}") from error


def axes_or_new(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """The given axes, or those of a new figure of a size in inches."""
    if ax is not None:
        return ax
    return _pyplot().subplots(figsize=size, layout="constrained")[1]  # type: ignore[no-any-return]


def four_axes() -> Sequence[Axes]:
    """Four axes in a row."""
    figure = _pyplot().figure(figsize=(13.0, 3.4), layout="constrained")
    return list(figure.subplots(1, 4))


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise MissingExtraError(
            "a figure needs matplotlib: install it with pip install 'torch-shiftcheck[plot]'"
        ) from error
    return plt
