"""A report as a table for the terminal."""

from __future__ import annotations

import io
import shutil
import sys

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shiftcheck.render.message import explain, headline
from shiftcheck.render.numbers import each, gap, halo, size, spans
from shiftcheck.report import LayerResult, Report

WIDTH = 120


def render_report(report: Report, *, width: int | None = None) -> str:
    """The report as text: the headline, a row for each layer, and what follows from it.

    ``width`` in columns is the terminal's where it is printed to one, at most 120.
    """
    width = _default_width() if width is None else width
    lines = [headline(report), "", *render_table(report, width=width).splitlines()]
    rest = explain(report, columns=width).splitlines()[1:]
    lines += ["", *rest] if rest else []
    return "\n".join([*lines, *(f"note: {note}" for note in report.notes)])


def _default_width() -> int:
    if not sys.stdout.isatty():
        return WIDTH
    return min(shutil.get_terminal_size((WIDTH, 24)).columns, WIDTH)


def render_table(report: Report, *, width: int = WIDTH) -> str:
    """The rows of a report alone."""
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    console.print(table_of(report, width=width))
    file = console.file
    assert isinstance(file, io.StringIO)
    lines = [line.rstrip() for line in file.getvalue().splitlines()]
    return "\n".join(lines).strip("\n")


def table_of(report: Report, *, width: int = WIDTH) -> Table:
    """The rows of a report as a rich table; below 100 columns only the most telling ones."""
    measured = any(row.shifts for row in report.layers)
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, expand=False, padding=(0, 1), collapse_padding=True
    )
    for column in columns(measured, width):
        table.add_column(
            column,
            no_wrap=column not in ("layer", "remarks"),
            overflow="fold",
            justify="left" if column in TEXTS else "right",
            min_width=15 if column == "remarks" else None,
        )
    for row in report.layers:
        cells = _cells(row)
        table.add_row(*(Text(cells[column]) for column in columns(measured, width)))
    return table


TEXTS = ("layer", "shape", "verdict", "remarks")


def columns(measured: bool, width: int) -> list[str]:
    """The columns that fit."""
    structure = ["stride", "period", "field", "halo", "valid"]
    if width < 100:
        structure = ["stride", "valid"] if measured else ["stride", "period", "halo", "valid"]
    measures = ["error", "border", "compared", "verdict"]
    if width < 100:
        measures = ["error", "verdict"]
    return ["layer", "shape", *structure, *(measures if measured else []), "remarks"]


def _cells(row: LayerResult) -> dict[str, str]:
    return {
        "layer": row.name,
        "shape": size(row.shape),
        "stride": each(row.stride),
        "period": each(row.period),
        "field": each(row.receptive_field),
        "halo": halo(row.halo),
        "valid": spans(row.valid),
        "error": gap(row.relative_error),
        "border": gap(row.border_error),
        "compared": _compared(row),
        "verdict": _verdict(row),
        "remarks": "; ".join(_remarks(row)),
    }


def _compared(row: LayerResult) -> str:
    done = sum(s.error is not None for s in row.shifts)
    return f"{done}/{len(row.shifts)}" if row.shifts else "-"


def _verdict(row: LayerResult) -> str:
    return "not measured" if row.verdict is None else str(row.verdict)


def _remarks(row: LayerResult) -> list[str]:
    skipped = sum(s.reason == "off the lattice" for s in row.shifts)
    kinds = list(dict.fromkeys(c.kind for c in row.causes if c.kind != "MEASURED"))
    said = row.reason == "unsupported operation" and "UNSUPPORTED_OP" in kinds
    remarks = [row.reason] if row.reason and not said else []
    if skipped and row.reason != "off the lattice":
        remarks.append(f"{skipped} off the lattice")
    return [*kinds, *remarks, *(["measured"] if row.measured else [])]
