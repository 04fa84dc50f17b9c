"""Dotted names as a tree: each under its module, in the order in which they are given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile

DOT = re.compile(r"\.(?![^\[]*\])")
"""A dot between two names; one inside of brackets belongs to a key."""


@dataclass(frozen=True)
class TreeLine:
    """A name as it stands below its modules; ``row``: the place of what it names, None of a module.

    The full name is that of every module line above that stands less deep, and its own, joined by
    dots.
    """

    depth: int
    name: str
    row: int | None


def tree(names: Sequence[str]) -> list[TreeLine]:
    """The names with their modules; modules without a name of their own share one line."""
    return list(_lines([(row, tuple(DOT.split(name))) for row, name in enumerate(names)], 0))


def _lines(rows: Sequence[tuple[int, tuple[str, ...]]], depth: int) -> Iterator[TreeLine]:
    for module, part in groupby(rows, lambda entry: entry[1][:-1][:1]):
        members = list(part)
        if not module:
            yield from (TreeLine(depth, parts[0], row) for row, parts in members)
            continue
        steps = zip(*(parts[:-1] for _, parts in members), strict=False)
        shared = [names[0] for names in takewhile(lambda names: len(set(names)) == 1, steps)]
        yield TreeLine(depth, ".".join(shared), None)
        yield from _lines([(row, parts[len(shared) :]) for row, parts in members], depth + 1)
