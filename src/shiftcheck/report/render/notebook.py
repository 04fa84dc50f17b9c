"""A report as it shows in a notebook: a table of HTML, nothing that has to be installed."""

from __future__ import annotations

from html import escape

from shiftcheck.report.equivariance import Report
from shiftcheck.report.render.sentences import explain, headline
from shiftcheck.report.render.table import cells_of, columns

WIDE = 120


def render_notebook(report: Report) -> str:
    """The headline, a table with a row for each layer, and what explains the verdict."""
    shown = columns(any(row.shifts for row in report.layers), WIDE)
    head = "".join(f"<th>{escape(column)}</th>" for column in shown)
    rows = [cells_of(row) for row in report.layers]
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(row[column])}</td>" for column in shown) + "</tr>"
        for row in rows
    )
    rest = "".join(f"{escape(line)}<br>" for line in explain(report).splitlines()[1:])
    return (
        f"<p><strong>{escape(headline(report))}</strong></p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{rest}</p>"
    )
