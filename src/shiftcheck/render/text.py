"""A report as a table for the terminal."""

from __future__ import annotations

import io

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shiftcheck.render.message import explain, headline
from shiftcheck.render.numbers import each, gap, halo, size, spans
from shiftcheck.report import LayerResult, Report

WIDTH = 120


def render_report(report: Report, *, width: int = WIDTH) -> str:
    """The report as text: the headline, a row for each layer, and what follows from it."""
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    console.print(Text(headline(report)))
    console.print(table_of(report))
    for line in explain(report).splitlines()[1:]:
        console.print(Text(line))
    for note in report.notes:
        console.print(Text(f"note: {note}"))
    file = console.file
    assert isinstance(file, io.StringIO)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def table_of(report: Report) -> Table:
    """The rows of a report as a rich table."""
    measured = report.verdict is not None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False, padding=(0, 1))
    table.add_column("layer", overflow="fold", min_width=10)
    table.add_column("shape", no_wrap=True)
    for name in ("stride", "period", "field", "halo", "valid"):
        table.add_column(name, justify="right", overflow="fold")
    if measured:
        for name in ("error", "border", "compared"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("verdict", no_wrap=True)
    table.add_column("remarks", overflow="fold", min_width=8)
    for row in report.layers:
        table.add_row(*_cells(row, measured))
    return table


def _cells(row: LayerResult, measured: bool) -> list[Text]:
    cells = [
        row.name,
        size(row.shape),
        each(row.stride),
        each(row.period),
        each(row.receptive_field),
        halo(row.halo),
        spans(row.valid),
    ]
    if measured:
        cells += [gap(row.relative_error), gap(row.border_error), _compared(row), _verdict(row)]
    cells.append("; ".join(_remarks(row)))
    return [Text(cell) for cell in cells]


def _compared(row: LayerResult) -> str:
    done = sum(s.error is not None for s in row.shifts)
    return f"{done}/{len(row.shifts)}" if row.shifts else "-"


def _verdict(row: LayerResult) -> str:
    return "not measured" if row.verdict is None else str(row.verdict)


def _remarks(row: LayerResult) -> list[str]:
    skipped = sum(s.reason == "off the lattice" for s in row.shifts)
    remarks = [row.reason] if row.reason else []
    if skipped and row.reason != "off the lattice":
        remarks.append(f"{skipped} off the lattice")
    return [*remarks, *dict.fromkeys(c.kind for c in row.causes)]
