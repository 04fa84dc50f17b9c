"""What a sample sees of the input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shiftcheck.errors import InputError
from shiftcheck.plot.canvas import axes_or_new, row_of
from shiftcheck.report.equivariance import LayerResult, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def receptive_field(
    geometry: Report, layer: str, position: Sequence[int] | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw what one sample of a layer sees of the input, and which of its samples are valid.

    Args:
        geometry: of ``geometry`` or ``check_equivariance``.
        layer: the name of a row.
        position: the index of the sample along each spatial axis; the middle one when left out.
        ax: the axes to draw into; new ones when left out.

    Raises:
        InputError: the layer is unknown, has no geometry, or more than two axes; the position lies
            outside of it.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> import matplotlib, torch, shiftcheck
        >>> matplotlib.use("agg")
        >>> from shiftcheck import plot
        >>> geometry = shiftcheck.geometry(torch.nn.Conv2d(1, 1, 5), (1, 1, 16, 18))
        >>> plot.receptive_field(geometry, "conv2d", (3, 4)).get_title()
        'conv2d: sample (3, 4) sees 5 x 5 pixels'
    """
    from matplotlib.patches import Rectangle

    row = row_of(geometry, layer)
    ax = axes_or_new(ax, (6.0, 5.0))
    pixels = [geometry.input_shape[d] for d in geometry.spatial_dims]
    sizes = _sizes(row, layer, pixels)
    at = tuple(n // 2 for n in sizes) if position is None else tuple(position)
    if len(at) != len(sizes) or not all(0 <= q < n for q, n in zip(at, sizes, strict=True)):
        raise InputError(f"position={position!r}: layer={layer!r} has samples {sizes}")
    seen = [_seen(row, a, q) for a, q in enumerate(at)]
    boxes = [([(0.0, float(n)) for n in pixels], "#f0f0f0", "input")]
    boxes += [
        ([_valid(row, a) for a in range(len(at))], "#c7e0f4", "where the valid samples stand")
    ]
    boxes += [(seen, "#fdae61", "receptive field")]
    for spans, colour, label in boxes:
        corner, width = _box(spans)
        ax.add_patch(Rectangle(corner, *width, facecolor=colour, edgecolor="black", label=label))
    point = [q * float(row.stride[a] or 1) + 0.5 for a, q in enumerate(at)]
    ax.plot(point[-1], point[0] if len(point) > 1 else 0.5, "k+", label="the sample")
    _frame(ax, [*(s for spans, *_ in boxes for s in [spans])])
    fields = " x ".join(f"{high - low:g}" for low, high in seen)
    ax.set_title(f"{row.name}: sample {at} sees {fields} pixels")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small")
    return ax


Span = tuple[float, float]


def _sizes(row: LayerResult, layer: str, pixels: Sequence[int]) -> tuple[int, ...]:
    if len(pixels) > 2:
        raise InputError(f"geometry has {len(pixels)} spatial axes: one or two can be drawn")
    if None in row.stride or None in row.halo or None in row.valid:
        raise InputError(f"layer={layer!r} has no geometry along every axis: give one before it")
    return tuple(row.shape[-len(pixels) :])


def _seen(row: LayerResult, axis: int, q: int) -> Span:
    """The pixels that a sample sees at most, as places from edge to edge."""
    stride, halo = row.stride[axis] or 1, row.halo[axis] or (0.0, 0.0)
    at = q * float(stride)
    if not math.isfinite(sum(halo)):
        raise InputError(f"layer={row.name!r} sees the whole of axis {axis}: nothing to draw")
    return (at - halo[0], at + halo[1] + 1)


def _valid(row: LayerResult, axis: int) -> Span:
    runs, stride = row.valid[axis] or (), float(row.stride[axis] or 1)
    if not runs:
        return (0.0, 0.0)
    return (runs[0][0] * stride, (runs[-1][1] - 1) * stride + 1)


def _box(spans: Sequence[Span]) -> tuple[tuple[float, float], tuple[float, float]]:
    """The corner and the size of a rectangle; a line is one pixel high."""
    rows, columns = spans if len(spans) > 1 else [(0.0, 1.0), spans[0]]
    return (columns[0], rows[0]), (columns[1] - columns[0], rows[1] - rows[0])


def _frame(ax: Axes, boxes: Sequence[Sequence[Span]]) -> None:
    corners = [_box(spans) for spans in boxes]
    ax.set_xlim(min(x for (x, _), _ in corners) - 1, max(x + w for (x, _), (w, _) in corners) + 1)
    ax.set_ylim(max(y + h for (_, y), (_, h) in corners) + 1, min(y for (_, y), _ in corners) - 1)
    ax.set_aspect("equal")
    ax.set_xlabel(f"axis {len(boxes[0]) - 1} (pixels)")
    ax.set_ylabel("axis 0 (pixels)" if len(boxes[0]) > 1 else "")
