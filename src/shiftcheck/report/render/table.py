"""A report as a table for the terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from shiftcheck.report.causes import CauseKind
from shiftcheck.report.equivariance import LayerResult, Report
from shiftcheck.report.reasons import Reason
from shiftcheck.report.render.contents import drawn
from shiftcheck.report.render.folding import Group, folded
from shiftcheck.report.render.numbers import each, gap, halo, size, spans
from shiftcheck.report.render.sentences import explain, headline

WIDTH = 120
LONG = 60
"""A table of more rows is folded in a terminal."""


def render_report(report: Report, *, width: int | None = None, most: int | None = None) -> str:
    """The report as text: the headline, a row for each layer, and what follows from it.

    ``width`` in columns is the terminal's where it is printed to one, at most 120. ``most``: rows
    beyond which layers are folded by module; none anywhere but in a terminal.
    """
    width = _default_width() if width is None else width
    most = LONG if most is None and sys.stdout.isatty() else most
    lines = [headline(report), "", *render_table(report, width=width, most=most).splitlines()]
    rest = explain(report, columns=width).splitlines()[1:]
    lines += ["", *rest] if rest else []
    return "\n".join([*lines, *(f"note: {note}" for note in report.notes)])


def _default_width() -> int:
    if not sys.stdout.isatty():
        return WIDTH
    return min(shutil.get_terminal_size((WIDTH, 24)).columns, WIDTH)


def render_table(report: Report, *, width: int = WIDTH, most: int | None = None) -> str:
    """The rows of a report alone."""
    return "\n".join(drawn(table_of(report, width=width, most=most), width)).strip("\n")


def table_of(report: Report, *, width: int = WIDTH, most: int | None = None) -> Table:
    """The rows of a report as a rich table; below 100 columns only the most telling ones."""
    measured = any(row.shifts for row in report.layers)
    shown = columns(measured, width)
    groups = folded(report, len(report.layers) if most is None else most)
    cells = [_cells_of_group(group) for group in groups]
    room = _room_for_names(shown, cells, width)
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, expand=False, padding=(0, 1), collapse_padding=True
    )
    for column in shown:
        table.add_column(
            column,
            no_wrap=True,
            justify="left" if column in TEXTS else "right",
            min_width={"layer": room, "remarks": REMARKS}.get(column),
        )
    for row in cells:
        row["layer"] = "\n".join(_folded(row["layer"], room))
        row["remarks"] = "\n".join(textwrap.wrap(row["remarks"], REMARKS))
        table.add_row(*(Text(row[column]) for column in shown))
    return table


REMARKS = 15
"""The width of the remarks; in less of it their words would break."""
NAMES = 32
"""Where long names have less room than this, a column is left out for them."""
SHORTEST = 12
"""How wide names are at least, even where the table then is too wide."""
SPARE = ("compared", "field", "border")
"""What is left out first where names are long."""


def _room_for_names(shown: list[str], cells: Sequence[Mapping[str, str]], width: int) -> int:
    """The width of the column of names; leaves columns out of ``shown`` until it is enough."""
    longest = max((len(row["layer"]) for row in cells), default=0)
    for column in (*SPARE, ""):
        rest = [c for c in shown if c != "layer"]
        taken = sum(max(len(c), *(len(row[c]) for row in cells), 0) + GAP for c in rest[:-1])
        room = width - taken - REMARKS - 2 * GAP
        if room >= min(longest, NAMES) or column not in shown:
            break
        shown.remove(column)
    return min(longest, max(SHORTEST, room))


def _folded(name: str, room: int) -> list[str]:
    """A name in lines that fit, broken at a dot where there is one."""
    lines = []
    while len(name) > room:
        dot = name.rfind(".", 1, room + 1)
        cut = dot if dot > 0 else room
        lines.append(name[:cut])
        name = name[cut:]
    return [*lines, name]


GAP = 2
"""The blanks between two columns."""


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


def cells_of(row: LayerResult) -> dict[str, str]:
    """The text of every column of a row."""
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


def _cells_of_group(group: Group) -> dict[str, str]:
    """The cells of a row; of several rows, the geometry of the last and the worst verdict."""
    if len(group.rows) == 1:
        return cells_of(group.last)
    cells, worst = cells_of(group.last), cells_of(group.worst)
    worst_cells = {name: worst[name] for name in ("error", "border", "compared", "verdict")}
    kinds = dict.fromkeys(
        c.kind for r in group.rows for c in r.causes if c.kind != CauseKind.MEASURED
    )
    remarks = [*kinds, *([group.worst.reason] if group.worst.reason else [])]
    name = f"{group.name} ({len(group.rows)} layers)"
    return {**cells, **worst_cells, "layer": name, "remarks": "; ".join(remarks)}


def _compared(row: LayerResult) -> str:
    done = sum(s.error is not None for s in row.shifts)
    return f"{done}/{len(row.shifts)}" if row.shifts else "-"


def _verdict(row: LayerResult) -> str:
    return "not measured" if row.verdict is None else str(row.verdict)


def _remarks(row: LayerResult) -> list[str]:
    skipped = sum(s.reason is Reason.OFF_LATTICE for s in row.shifts)
    kinds = list(dict.fromkeys(c.kind for c in row.causes if c.kind != CauseKind.MEASURED))
    said = row.reason is Reason.UNSUPPORTED and CauseKind.UNSUPPORTED_OP in kinds
    remarks: list[str] = [row.reason] if row.reason and not said else []
    if skipped and row.reason is not Reason.OFF_LATTICE:
        remarks.append(f"{skipped} off the lattice")
    return [*kinds, *remarks, *(["measured"] if row.measured else [])]
