"""The rows of a report as a table of all columns."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from shiftcheck.report.equivariance import Report
from shiftcheck.report.render.cells import cells_of
from shiftcheck.report.render.contents import APART, drawn
from shiftcheck.report.render.fitting import GAP

ROOMY = 100
"""Below this width only the most telling columns are shown."""
UNLIMITED = 10_000
REMARKS = 15
"""The width of the remarks; in less of it their words would break."""
NAMES = 32
"""Where long names have less room than this, a column is left out for them."""
SHORTEST = 12
"""How wide names are at least, even where the table then is too wide."""
SPARE = ("compared", "field", "border")
"""What is left out first where names are long."""
TEXTS = ("layer", "shape", "verdict", "remarks")


def render_wide(report: Report, width: int | None = None) -> list[str]:
    """All columns, a line each row; in a ``width``, those for which there is room, names folded."""
    measured = any(row.shifts for row in report.layers)
    shown = columns(measured, UNLIMITED if width is None else width)
    cells = [cells_of(row) for row in report.layers]
    room, remarks = UNLIMITED, UNLIMITED
    if width is not None:
        room, remarks = _room_for_names(shown, cells, width), REMARKS
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False, padding=APART)
    least = {} if width is None else {"layer": room, "remarks": REMARKS}
    for column in shown:
        table.add_column(
            column,
            no_wrap=True,
            justify="left" if column in TEXTS else "right",
            min_width=least.get(column),
        )
    for row in cells:
        lines = {
            "layer": _folded(row["layer"], room),
            "remarks": textwrap.wrap(row["remarks"], remarks),
        }
        folded = {**row, **{name: "\n".join(entry) for name, entry in lines.items()}}
        table.add_row(*(Text(folded[column]) for column in shown))
    return drawn(table, UNLIMITED if width is None else width)


def columns(measured: bool, width: int = UNLIMITED) -> list[str]:
    """The columns that fit."""
    structure = ["stride", "period", "field", "halo", "valid"]
    if width < ROOMY:
        structure = ["stride", "valid"] if measured else ["stride", "period", "halo", "valid"]
    measures = ["error", "border", "compared", "verdict"]
    if width < ROOMY:
        measures = ["error", "verdict"]
    return ["layer", "shape", *structure, *(measures if measured else []), "remarks"]


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
