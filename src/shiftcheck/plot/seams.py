"""Where tiles differ from the whole, with the seams that were found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shiftcheck.errors import InputError
from shiftcheck.plot.canvas import FLOOR, axes_or_new
from shiftcheck.report.seams import ComparedOutput, TiledComparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def tiled_difference(
    found: TiledComparison, output: str | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw the difference of tiles and whole over the last two axes, or the one there is.

    Each cell shows its largest error, on a logarithmic scale. Dashed: where tiles begin.

    Args:
        found: of ``compare_tiled``.
        output: the name of an output; the first that was compared when left out.
        ax: the axes to draw into; new ones when left out.

    Raises:
        InputError: the output is unknown, or nothing was compared there.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> import matplotlib, torch, shiftcheck
        >>> matplotlib.use("agg")
        >>> from shiftcheck import plot
        >>> net = torch.nn.Conv2d(1, 1, 5, padding=2)
        >>> halves = lambda x: torch.cat([net(x[..., :32]), net(x[..., 32:])], -1)
        >>> found = shiftcheck.compare_tiled(net, halves, torch.randn(1, 1, 32, 64))
        >>> plot.tiled_difference(found).get_title()
        'output: overlap too small'
    """
    chosen = _chosen(found, output)
    ax = axes_or_new(ax, (6.0, 4.0))
    lines = [axis.lines for axis in chosen.axes[-2:]]
    rank = min(2, len(found.spatial_dims))
    sizes = chosen.shape[-rank:]
    if rank == 1:
        errors = [max(e, FLOOR) for e in chosen.picture[0]]
        width = sizes[0] / len(errors)
        ax.plot([(i + 0.5) * width for i in range(len(errors))], errors)
        ax.set_yscale("log")
        ax.set_ylabel("relative error")
    else:
        image = ax.imshow(
            [[max(e, FLOOR) for e in row] for row in chosen.picture],
            norm="log",
            extent=(0, sizes[1], sizes[0], 0),
            aspect="equal",
        )
        ax.figure.colorbar(image, ax=ax, label="relative error")
        for place in lines[0] if lines else ():
            ax.axhline(place, color="#d95f02", linestyle="--", linewidth=0.8)
    for place in lines[-1] if lines else ():
        ax.axvline(place, color="#d95f02", linestyle="--", linewidth=0.8)
    ax.set_xlabel("sample")
    ax.set_title(f"{chosen.name}: {', '.join(chosen.faults) or chosen.verdict}")
    return ax


def _chosen(found: TiledComparison, name: str | None) -> ComparedOutput:
    for output in found.outputs:
        if output.picture and name in (None, output.name):
            return output
    known = ", ".join(output.name for output in found.outputs if output.picture) or "none"
    raise InputError(f"output={name!r}: of the outputs, {known} can be drawn")
