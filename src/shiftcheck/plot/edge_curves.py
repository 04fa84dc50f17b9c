"""The error against the distance from the edge of a tile."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from shiftcheck.errors import InputError
from shiftcheck.plot.canvas import FLOOR, axes_or_new
from shiftcheck.report.edges import EffectiveHalo

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"left": "#1f77b4", "right": "#d95f02"}


def effective_halo(
    found: EffectiveHalo, layer: str | None = None, axis: int = 0, *, ax: Axes | None = None
) -> Axes:
    """Draw how the error falls with the distance from the edge, on both sides of an axis.

    The largest percentile is a full line, the others are thinner. Dotted: the tolerances, and where
    the theoretical halo ends.

    Args:
        found: of ``effective_halo``.
        layer: the name of an output, or of a layer where those were asked for; the first output
            when left out.
        axis: the spatial axis.
        ax: the axes to draw into; new ones when left out.

    Raises:
        InputError: the layer is unknown, or nothing was measured there.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> import matplotlib, torch, shiftcheck
        >>> matplotlib.use("agg")
        >>> from shiftcheck import plot
        >>> found = shiftcheck.effective_halo(torch.nn.AvgPool1d(5, 1), (1, 1, 64))
        >>> plot.effective_halo(found).get_xlabel()
        'distance from the edge along axis 0 (pixels)'
    """
    try:
        entry = found.outputs[0] if layer is None else found[layer]
    except KeyError as error:
        raise InputError(f"layer={layer!r}: {error.args[0]}") from error
    sides = [side for side in entry.sides if side.axis == axis]
    if not sides:
        why = f", {entry.reason}" if entry.reason else ""
        raise InputError(f"axis={axis!r}: nothing was measured of {entry.name!r} there{why}")
    ax = axes_or_new(ax, (6.0, 4.0))
    last = len(found.percentiles) - 1
    for side in sides:
        for place, errors in enumerate(side.errors):
            ax.plot(
                side.distances,
                [max(e, FLOOR) for e in errors],
                color=COLOURS[side.side],
                linewidth=1.8 if place == last else 0.8,
                alpha=1.0 if place == last else 0.5,
                label=side.side if place == last else None,
            )
        if math.isfinite(side.theoretical):
            ax.axvline(side.theoretical, color=COLOURS[side.side], linestyle=":")
    for tolerance in found.tolerances:
        ax.axhline(tolerance, color="#6b6b6b", linestyle=":", linewidth=0.8)
    ax.set_yscale("log")
    ax.set_xlabel(f"distance from the edge along axis {axis} (pixels)")
    ax.set_ylabel("relative error")
    shares = ", ".join(f"{p:g}" for p in found.percentiles)
    ax.set_title(f"{entry.name}: percentiles {shares}")
    ax.legend(title="unknown beyond the edge on the", fontsize="small")
    return ax
