"""Long tables in a terminal: consecutive layers of one module as a single row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from shiftcheck.report.equivariance import LayerResult, Report, Verdict

ORDER = (Verdict.BROKEN, Verdict.INCONCLUSIVE, Verdict.EQUIVARIANT, None)
"""From the worst verdict to none."""


@dataclass(frozen=True)
class Group:
    """One or several consecutive rows; ``name`` is that of the row, or of their module."""

    name: str
    rows: tuple[LayerResult, ...]

    @property
    def last(self) -> LayerResult:
        """The row with the output of the module, and so with its geometry."""
        return self.rows[-1]

    @property
    def worst(self) -> LayerResult:
        """The row with the worst verdict, and of those the one with the largest error."""
        return min(self.rows, key=lambda r: (ORDER.index(r.verdict), -(r.relative_error or 0.0)))


def folded(report: Report, most: int) -> list[Group]:
    """The rows, folded by module until there are at most ``most``, or no deeper modules are left.

    The guilty layer, and the first layer that is broken, keep rows of their own.
    """
    rows = report.layers
    kept = _kept(report)
    deepest = max((row.name.count(".") for row in rows), default=0)
    groups = [Group(row.name, (row,)) for row in rows]
    for depth in range(deepest, 0, -1):
        if len(groups) <= most:
            return groups
        groups = _by_module(rows, kept, depth)
    return groups


def _kept(report: Report) -> set[str]:
    guilty = report.guilty.layer if report.guilty is not None else ""
    kept = {r.name for r in report.layers if guilty and r.name.split("[")[0] == guilty}
    first = next((r.name for r in report.layers if r.verdict is Verdict.BROKEN), None)
    return kept if first is None else kept | {first}


def _by_module(rows: Sequence[LayerResult], kept: set[str], depth: int) -> list[Group]:
    def key(row: LayerResult) -> tuple[str, bool]:
        parts = row.name.split(".")
        alone = row.name in kept or len(parts) <= depth
        return (row.name if alone else ".".join(parts[:depth])), alone

    groups = []
    for (name, _), part in groupby(rows, key):
        members = tuple(part)
        groups.append(Group(name if len(members) > 1 else members[0].name, members))
    return groups
