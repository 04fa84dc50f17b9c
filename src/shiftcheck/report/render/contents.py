"""What a report shows in any format: its headline, sentences, tables, and how it was made."""

from __future__ import annotations

import functools
import io
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from shiftcheck.report.equivariance import Report
from shiftcheck.report.invariance import InvarianceReport
from shiftcheck.report.linearity import LinearityReport

COLUMNS = 100
APART = (0, 1, 0, 0)
"""The padding of a table's cells, on the right alone: rich counts it alike in all its versions."""

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table of texts with a title; the first column names the rows."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(
        cls, title: str, records: Iterable[R], columns: Mapping[str, Callable[[R], str]]
    ) -> Sheet:
        """A row for each record, by what each column shows of it."""
        rows = tuple(tuple(show(record) for show in columns.values()) for record in records)
        return cls(title=title, head=tuple(columns), rows=rows)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a page or a notebook shows; ``made`` holds names and values.

    ``figure``: a picture as markup for a notebook, which runs no script; or empty.
    """

    headline: str
    verdict: str
    sentences: tuple[str, ...]
    sheets: tuple[Sheet, ...]
    made: tuple[tuple[str, str], ...] = ()
    figure: str = ""


def wrapped(lines: Iterable[str], columns: int = COLUMNS) -> list[str]:
    """Lines that fit, what is continued moved in."""
    return [
        part
        for line in lines
        for part in textwrap.wrap(
            line,
            min(columns, COLUMNS),
            subsequent_indent="    ",
            break_on_hyphens=False,
            break_long_words=False,
        )
    ]


def drawn(table: Table, width: int) -> list[str]:
    """The lines of a table in so many columns, without colours."""
    file = io.StringIO()
    room = width + _counted_in_vain(table.padding)
    Console(file=file, width=room, color_system=None, legacy_windows=False).print(table)
    return [line[:width].rstrip() for line in file.getvalue().splitlines()]


@functools.cache
def _counted_in_vain(padding: tuple[int, int, int, int]) -> int:
    """What older versions of rich add to the least width of the last column, and leave blank."""
    table = Table(box=None, pad_edge=False, padding=padding, show_header=False)
    table.add_column(min_width=1)
    table.add_row("x")
    console = Console(width=COLUMNS)
    return Measurement.get(console, console.options, table).maximum - 1


def how_made(
    report: Report | InvarianceReport | LinearityReport, **more: str
) -> tuple[tuple[str, str], ...]:
    """How a report was made; ``more``: what its check was asked beside."""
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return (
        ("input", " x ".join(map(str, report.input_shape))),
        ("type", report.dtype),
        *more.items(),
        ("seed", str(report.seed)),
        ("versions", versions),
        *(("note", note) for note in report.notes),
    )
