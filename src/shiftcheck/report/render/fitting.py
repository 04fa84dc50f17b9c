"""Columns of text that fit a width: what is long is shortened, what has no room is left out."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

GAP = 2
"""The blanks between two columns; one stands before the first."""
NO_TERMINAL = 100
"""The width where there is no terminal and ``COLUMNS`` is not set."""
NARROWEST = 20
"""No table is narrower."""
NAME = 8
"""What a name needs, at least, to be told from others."""
MORE = "…"


def console_width() -> int:
    """``COLUMNS``, or the width of the terminal that is printed to; 100 where there is neither."""
    given = os.environ.get("COLUMNS", "")
    if not (sys.stdout.isatty() or (given.isdecimal() and int(given))):
        return NO_TERMINAL
    return max(NARROWEST, shutil.get_terminal_size((NO_TERMINAL, 24)).columns)


def shorter_name(text: str, room: int) -> str:
    """A name without its middle, moved in as before where there is room for that."""
    name = text.lstrip(" ")
    indent = min(len(text) - len(name), max(0, room - NAME))
    room -= indent
    if cell_len(name) > room:
        head = (room - 1) // 2
        tail = set_cell_size(name[::-1], room - 1 - head)[::-1]
        name = f"{set_cell_size(name, head).rstrip()}{MORE}{tail.lstrip()}"
    return " " * indent + name


def shorter_shape(text: str, room: int) -> str:
    """A shape without sizes in its middle, such as ``8x…x64``; the first and the last one stay."""
    first, *rest = text.split("x")
    while len(rest) > 1 and len(text) > room:
        rest = rest[1:]
        text = "x".join([first, MORE, *rest])
    return text


def shorter_end(text: str, room: int) -> str:
    """A text without its end, where it does not fit."""
    return text if cell_len(text) <= room else f"{set_cell_size(text, room - 1).rstrip()}{MORE}"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table; ``elastic``: to which width its texts may be shortened, and how."""

    title: str
    cells: tuple[str, ...]
    right: bool = False
    elastic: tuple[int, Callable[[str, int], str]] | None = None

    @property
    def width(self) -> int:
        """The width that it takes in full."""
        return max(map(cell_len, (self.title, *self.cells)))

    @property
    def spare(self) -> int:
        """What it can give of its width."""
        return 0 if self.elastic is None else max(0, self.width - self.elastic[0])

    def lines(self, room: int) -> list[str]:
        """The title and the cells, each as wide as there is room."""
        shorten = set_cell_size if self.elastic is None else self.elastic[1]
        texts = [t if cell_len(t) <= room else shorten(t, room) for t in (self.title, *self.cells)]
        blanks = [" " * (room - cell_len(t)) for t in texts]
        pairs = zip(blanks, texts, strict=True)
        return [b + t if self.right else t + b for b, t in pairs]


def fitted(columns: Sequence[Column], width: int, dispensable: Sequence[str]) -> list[list[str]]:
    """The columns as lines of texts that fit, the titles first.

    Long texts are shortened; where that is not enough, columns are left out in the order of
    ``dispensable``.
    """
    shown = list(columns)
    for title in dispensable:
        if _excess(shown, width) <= sum(c.spare for c in shown):
            break
        shown = [c for c in shown if c.title != title]
    rooms = _rooms(shown, _excess(shown, width))
    texts = [c.lines(room) for c, room in zip(shown, rooms, strict=True)]
    return [list(line) for line in zip(*texts, strict=True)]


def _excess(columns: Sequence[Column], width: int) -> int:
    return 1 + sum(c.width for c in columns) + GAP * (len(columns) - 1) - width


def _rooms(columns: Sequence[Column], excess: int) -> list[int]:
    """The width of each column, where those that have most to spare give first."""
    rooms = [c.width for c in columns]
    for _ in range(excess):
        left = [c.spare - c.width + room for c, room in zip(columns, rooms, strict=True)]
        if max(left) <= 0:
            left = [room if c.elastic else 0 for c, room in zip(columns, rooms, strict=True)]
        rooms[left.index(max(left))] -= 1
    return rooms
