"""A report as a table for the terminal: a line each layer, under its module."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from shiftcheck.errors import InputError
from shiftcheck.report.equivariance import Report
from shiftcheck.report.render.cells import cells_of_group
from shiftcheck.report.render.contents import wrapped
from shiftcheck.report.render.fitting import (
    GAP,
    NARROWEST,
    Column,
    console_width,
    fitted,
    shorter_end,
    shorter_name,
    shorter_shape,
)
from shiftcheck.report.render.folding import Group, folded
from shiftcheck.report.render.sentences import headline, sentences
from shiftcheck.report.render.tree import TreeLine, tree
from shiftcheck.report.render.wide import render_wide

LONG = 60
"""A table of more rows is folded in a terminal."""
DISPENSABLE = ("period", "valid", "halo", "stride", "shape", "cause")
"""What is left out, in this order, where there is no room for it."""
SHORTEST_NAME, SHORTEST_CAUSE = 16, 14
"""The widths to which texts are shortened before a column is left out."""
INDENT = "  "


def render_report(
    report: Report,
    *,
    width: int | None = None,
    most: int | None = None,
    wide: bool = False,
    rows_only: bool = False,
) -> str:
    """The report as text: the headline, a row for each layer, and what follows from it.

    ``width``, ``most``, ``wide``: as in ``render_table``, which is all with ``rows_only``.
    """
    rows = render_table(report, width=width, most=most, wide=wide)
    if rows_only:
        return rows
    lines = [headline(report), "", *rows.splitlines()]
    rest = wrapped(sentences(report)[1:], console_width() if width is None else width)
    lines += ["", *rest] if rest else []
    return "\n".join([*lines, *(f"note: {note}" for note in report.notes)])


def render_table(
    report: Report, *, width: int | None = None, most: int | None = None, wide: bool = False
) -> str:
    """The rows of a report alone.

    ``width`` in columns: where it is left out, ``COLUMNS``, or the terminal's where it is printed
    to one, else 100. ``most``: rows beyond which layers are folded by module; none anywhere but in
    a terminal. ``wide``: every column and every row, as wide as that takes.
    """
    if width is not None and width < NARROWEST:
        raise InputError(f"width={width!r} is too narrow for a table: give at least {NARROWEST}")
    if wide:
        return "\n".join(render_wide(report, width)).strip("\n")
    most = LONG if most is None and sys.stdout.isatty() else most
    groups = folded(report, len(report.layers) if most is None else most)
    width = console_width() if width is None else width
    return "\n".join(_render_tree(groups, width, any(row.shifts for row in report.layers)))


def _render_tree(groups: Sequence[Group], width: int, measured: bool) -> list[str]:
    """The rows below their modules; a module has a line of its own, without figures."""
    branches = tree([group.name for group in groups])
    cells = [
        {**cells_of_group(groups[b.row]), "layer": _entry(b, groups[b.row])}
        for b in branches
        if b.row is not None
    ]
    head, *rows = fitted(_columns(cells, measured), width, DISPENSABLE)
    title, *lines = (" " + (" " * GAP).join(row) for row in (head, *rows))
    waiting = iter(lines)
    body = [
        shorter_name(f" {INDENT * b.depth}{b.name}", width) if b.row is None else next(waiting)
        for b in branches
    ]
    return [line.rstrip() for line in (title, " " + "─" * (len(title) - 1), *body)]


def _entry(branch: TreeLine, group: Group) -> str:
    many = f" ({len(group.rows)} layers)" if len(group.rows) > 1 else ""
    return f"{INDENT * branch.depth}{branch.name}{many}"


def _columns(cells: Sequence[Mapping[str, str]], measured: bool) -> list[Column]:
    texts = {title: tuple(row[title] for row in cells) for title in cells[0]} if cells else {}
    shortest_shape = max(
        (len(shorter_shape(text, 0)) for text in texts.get("shape", ())), default=0
    )
    elastic = {
        "layer": (SHORTEST_NAME, shorter_name),
        "shape": (shortest_shape, shorter_shape),
        "cause": (SHORTEST_CAUSE, shorter_end),
    }
    numbers = ("stride", "halo") if measured else ("stride", "period", "halo", "valid")
    shown = ("layer", "shape", *numbers, *(["verdict"] if measured else []), "cause")
    return [
        Column(
            title=title,
            cells=texts.get(title, ()),
            right=title in numbers,
            elastic=elastic.get(title),
        )
        for title in shown
    ]
