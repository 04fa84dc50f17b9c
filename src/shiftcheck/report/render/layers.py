"""The layers of a report as rows of a page: the verdict and the cause beside the name."""

from __future__ import annotations

from collections.abc import Callable

from shiftcheck.report.equivariance import LayerResult, Report, ShiftResult, Verdict
from shiftcheck.report.render.cells import NOT_COMPARED, cells_of, verdict_word
from shiftcheck.report.render.contents import Sheet
from shiftcheck.report.render.numbers import each, gap, halo, size, spans

GUILTY, LIES_HERE = "guilty", "cause lies here"
"""How the layer of the guilty cause is marked: where it is broken itself, and where not."""


def sheet_of_layers(report: Report) -> Sheet:
    """The rows of a report as a table of texts, the verdict and the cause after the name."""
    accused = accused_row(report)
    marks = {accused.name: mark_of(accused)} if accused is not None else {}

    def cause(row: LayerResult) -> str:
        return ", ".join(filter(None, [cause_of(row), marks.get(row.name, "")]))

    columns = {"layer": name_of, "verdict": verdict_of, "cause": cause} | REST
    if not any(row.shifts for row in report.layers):
        columns = {name: show for name, show in columns.items() if name not in MEASURED}
    return Sheet.of("layers", report.layers, columns)


def name_of(row: LayerResult) -> str:
    """What the row is called."""
    return row.name


def verdict_of(row: LayerResult) -> str:
    """The verdict in the word that the tables of a terminal have for it."""
    return "not measured" if row.verdict is None else verdict_word(row)


def cause_of(row: LayerResult) -> str:
    """What arises in the layer itself, and the reason of its verdict."""
    return cells_of(row)["remarks"]


def accused_row(report: Report) -> LayerResult | None:
    """The row of the guilty cause: of several outputs of its layer the first that has it."""
    guilty = report.guilty
    if guilty is None:
        return None
    rows = [r for r in report.layers if r.name.split("[")[0] == guilty.layer]
    having = [r for r in rows if any(c.kind == guilty.kind for c in r.causes)]
    return next(iter(having or rows), None)


def mark_of(row: LayerResult) -> str:
    """How the row of the guilty cause is marked, so that it does not contradict its own verdict."""
    return GUILTY if row.verdict is Verdict.BROKEN else LIES_HERE


def verdict_of_shift(result: ShiftResult) -> str:
    """The verdict at one shift, as that of a row."""
    unknown = result.verdict is Verdict.INCONCLUSIVE and result.error is None
    return NOT_COMPARED if unknown else str(result.verdict)


REST: dict[str, Callable[[LayerResult], str]] = {
    "error": lambda row: gap(row.relative_error),
    "border error": lambda row: gap(row.relative_border_error),
    "shape": lambda row: size(row.shape),
    "stride": lambda row: each(row.stride),
    "halo": lambda row: halo(row.halo),
    "operation": lambda row: row.op,
    "period": lambda row: each(row.period),
    "field": lambda row: each(row.receptive_field),
    "valid": lambda row: spans(row.valid),
    "alone, interior": lambda row: gap(row.local_interior),
    "alone, border": lambda row: gap(row.local_border),
}
"""The columns after the first three, from those that most readers want to those for few."""
MEASURED = ("verdict", "error", "border error", "alone, interior", "alone, border")
"""Columns that are empty where only the structure is known."""
