"""What a report shows in any format: its headline, sentences, tables, and how it was made."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

COLUMNS = 100


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table of texts with a title; the first column names the rows."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a page or a notebook shows; ``made`` holds names and values."""

    headline: str
    verdict: str
    sentences: tuple[str, ...]
    sheets: tuple[Sheet, ...]
    made: tuple[tuple[str, str], ...] = ()


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
    Console(file=file, width=width, color_system=None, legacy_windows=False).print(table)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def packages(versions: Mapping[str, str]) -> str:
    """What a report was made with."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())
