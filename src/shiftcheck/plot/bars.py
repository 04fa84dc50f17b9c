"""The errors of the layers as bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shiftcheck.errors import InputError
from shiftcheck.plot.canvas import FLOOR, axes_or_new
from shiftcheck.report.equivariance import Report, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes


COLOURS = {
    Verdict.EQUIVARIANT: "#1b7837",
    Verdict.BROKEN: "#c51b3a",
    Verdict.INCONCLUSIVE: "#6b6b6b",
}
"""Dark enough on white to be told from it, and each with a word beside it."""


def layers(report: Report, *, ax: Axes | None = None) -> Axes:
    """Draw the largest relative error of every layer as a bar, its border apart, on a log scale.

    The line is what was allowed; an error of zero ends at the left edge.

    Args:
        report: of ``check_equivariance``.
        ax: the axes to draw into; new ones when left out.

    Raises:
        InputError: no layer was compared.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> import matplotlib, torch, shiftcheck
        >>> matplotlib.use("agg")
        >>> from shiftcheck import plot
        >>> report = shiftcheck.check_equivariance(
        ...     torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3), torch.nn.ReLU()),
        ...     torch.randn(1, 1, 16, 18),
        ... )
        >>> ax = plot.layers(report)
        >>> [label.get_text() for label in ax.get_yticklabels()]
        ['0', '1']
    """
    rows = [row for row in report if row.relative_error is not None]
    if not rows:
        raise InputError("report: no layer of it was compared, so there are no errors to draw")
    ax = axes_or_new(ax, (7.0, 1.2 + 0.3 * len(rows)))
    places = range(len(rows))
    inner = [max(row.relative_error or 0.0, FLOOR) for row in rows]
    outer = [row.relative_border_error or 0.0 for row in rows]
    verdicts = [row.verdict or Verdict.INCONCLUSIVE for row in rows]
    if any(outer):
        ax.barh(places, outer, 0.7, left=FLOOR, color="#d9d9d9", label="on the border")
    for verdict in dict.fromkeys(verdicts):
        chosen = [i for i in places if verdicts[i] is verdict]
        ax.barh(
            chosen,
            [inner[i] for i in chosen],
            0.4,
            left=FLOOR,
            color=COLOURS[verdict],
            label=verdict,
        )
    allowed = [s.allowance for row in rows for s in row.shifts if s.allowance is not None]
    if allowed:
        ax.axvline(max(allowed), color="black", linewidth=1, linestyle="--", label="allowed")
    ax.set_xscale("log")
    ax.set_xlim(FLOOR, 10 * max(*inner, *outer, 1.0))
    ax.set_yticks(list(places), [row.name for row in rows])
    ax.invert_yaxis()
    ax.set_xlabel("largest relative error over all shifts")
    ax.set_title(_headline(report))
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small")
    return ax


def _headline(report: Report) -> str:
    verdict = "structure" if report.verdict is None else str(report.verdict)
    return f"{report.model}: {verdict}" + (f" ({report.reason})" if report.reason else "")
