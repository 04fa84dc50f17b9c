"""The page of rules: every operation of the registry with its law, written at build time."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import torch

from shiftcheck.rules import FAMILIES, table

PAGE = "rules"
TABLE, COUNT = "{{ table of rules }}", "{{ pointwise operations }}"


def as_markdown(rules: Mapping[str, Any]) -> str:
    """One section for each family, with a table of its operations, laws and sources."""
    sections: dict[str, dict[Any, list[str]]] = {family.__name__: {} for family in FAMILIES}
    for operation, entry in rules.items():
        rows = sections.setdefault(entry.rule.__module__, {})
        rows.setdefault((entry.law, entry.source), []).append(operation)
    return "\n".join(_section(module, rows) for module, rows in sections.items() if rows)


def _section(module: str, rows: Mapping[tuple[str, str], list[str]]) -> str:
    lines = [f"## {_heading(module)}", "", "| operations | law | source |", "|---|---|---|"]
    for (law, source), operations in rows.items():
        names = " ".join(f"`{name}`" for name in operations)
        lines.append(f"| {names} | {_cell(law)} | {_cell(source) or '-'} |")
    return "\n".join([*lines, ""])


def _heading(module: str) -> str:
    doc = getattr(sys.modules.get(module), "__doc__", None) or module
    return doc.strip().splitlines()[0].removesuffix(".")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("_", "\\_").replace("->", "→")


def pointwise_operations() -> tuple[int, int]:
    """How many overloads of torch's own operations carry its tag, and of how many operations."""
    tagged = []
    for name in torch._C._dispatch_get_all_op_names():
        namespace, _, rest = name.partition("::")
        stem, _, overload = rest.partition(".")
        if namespace == "aten":
            operation = getattr(getattr(torch.ops.aten, stem), overload or "default")
            random = torch.Tag.nondeterministic_seeded in operation.tags
            if torch.Tag.pointwise in operation.tags and not random:
                tagged.append(stem.rstrip("_"))
    return len(tagged), len(set(tagged))


def filled(text: str, rules: Mapping[str, Any]) -> str:
    """The page with what is generated in the place of its two marks.

    Raises ValueError where a mark is missing, so that no page is built without its table.
    """
    for mark in (TABLE, COUNT):
        if text.count(mark) != 1:
            raise ValueError(f"docs/{PAGE}.md must hold {mark} once")
    overloads, operations = pointwise_operations()
    release = torch.__version__.partition("+")[0]
    count = f"{overloads} overloads of {operations} operations in torch {release}"
    return text.replace(COUNT, count).replace(TABLE, as_markdown(rules))


def _on_read(app: Any, docname: str, source: list[str]) -> None:
    if docname == PAGE:
        source[0] = filled(source[0], table)


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx to fill the page when it reads it."""
    app.connect("source-read", _on_read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
