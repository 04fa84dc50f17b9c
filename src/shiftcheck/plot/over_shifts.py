"""The errors of one layer over the shifts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shiftcheck.errors import InputError
from shiftcheck.plot.canvas import FLOOR, axes_or_new, row_of
from shiftcheck.report.equivariance import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def shifts(
    report: Report, layer: str, *, axes: Sequence[int] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the relative error of one layer at every shift, where the lattice shows as a pattern.

    Along one axis as stems, along two as a map. Shifts at which the layer was not compared are
    crosses.

    Args:
        report: of ``check_equivariance``.
        layer: the name of a row.
        axes: the spatial axes to draw, one or two of them; the last two when left out. Over the
            others the largest error counts.
        ax: the axes to draw into; new ones when left out.

    Raises:
        InputError: the layer or an axis is unknown.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> import matplotlib, torch, shiftcheck
        >>> matplotlib.use("agg")
        >>> from shiftcheck import plot
        >>> report = shiftcheck.check_equivariance(
        ...     torch.nn.MaxPool2d(2), torch.randn(1, 1, 16, 18), shifts=[(0, 1), (0, 2), (2, 0)]
        ... )
        >>> plot.shifts(report, "max_pool2d").get_xlabel()
        'shift along axis 1 (pixels)'
    """
    row = row_of(report, layer)
    drawn = _chosen(axes, len(row.stride))
    errors: dict[tuple[float, ...], float | None] = {}
    for s in row.shifts:
        at = tuple(s.shift[a] for a in drawn)
        both = [e for e in (errors.get(at), s.relative_error) if e is not None]
        errors[at] = max(both, default=None)
    known = {at: e for at, e in errors.items() if e is not None}
    unknown = [at for at in errors if errors[at] is None]
    ax = axes_or_new(ax, (6.0, 4.0) if len(drawn) == 1 else (6.0, 5.0))
    draw = _stems if len(drawn) == 1 else _map
    draw(ax, known, unknown)
    ax.set_xlabel(f"shift along axis {drawn[-1]} (pixels)")
    ax.set_ylabel("relative error" if len(drawn) == 1 else f"shift along axis {drawn[0]} (pixels)")
    period = " x ".join("-" if p is None else str(p) for p in row.period)
    ax.set_title(f"{row.name}: relative error, period {period} pixels")
    return ax


Errors = dict[tuple[float, ...], float]


def _stems(ax: Axes, known: Errors, unknown: Sequence[tuple[float, ...]]) -> None:
    if known:
        ax.stem([at[0] for at in known], list(known.values()))
    if unknown:
        ax.plot([at[0] for at in unknown], [0.0] * len(unknown), "x", color="#6b6b6b")


def _map(ax: Axes, known: Errors, unknown: Sequence[tuple[float, ...]]) -> None:
    from matplotlib.colors import LogNorm

    values = [max(e, FLOOR) for e in known.values()]
    if known:
        dots = ax.scatter(
            [at[1] for at in known],
            [at[0] for at in known],
            c=values,
            marker="s",
            s=_side(ax, [*known, *unknown]),
            cmap="viridis",
            norm=LogNorm(vmin=FLOOR, vmax=max(1.0, *values)),
        )
        ax.figure.colorbar(dots, ax=ax, label="relative error (zero at the lower end)")
    if unknown:
        ax.scatter([at[1] for at in unknown], [at[0] for at in unknown], marker="x", c="#6b6b6b")
    ax.set_aspect("equal")
    ax.invert_yaxis()


def _side(ax: Axes, at: Sequence[tuple[float, ...]]) -> float:
    """The area of a marker, in square points, so that neighbours nearly touch."""
    spans = [max(v[a] for v in at) - min(v[a] for v in at) for a in (0, 1)]
    inches = min(ax.figure.bbox.size) / ax.figure.dpi * 0.6
    return float((72 * inches / (max(*spans, 1.0) + 2)) ** 2 * 0.7)


def _chosen(axes: Sequence[int] | None, count: int) -> tuple[int, ...]:
    drawn = tuple(range(count))[-2:] if axes is None else tuple(axes)
    if not 1 <= len(drawn) <= 2 or not all(0 <= a < count for a in drawn):
        raise InputError(f"axes={axes!r}: give one or two of the {count} spatial axes")
    return drawn
