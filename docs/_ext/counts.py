"""The page of trust: how many cases stand behind a pass, from ``benchmarks/results/trust.json``."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

PAGE = "trust"
MARK = "{{ counts }}"
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
STORED = BENCHMARKS / "results" / "trust.json"


def families() -> ModuleType:
    """The script that counts: it says what each family is, and what it is held against."""
    spec = importlib.util.spec_from_file_location("benchmarks_trust", BENCHMARKS / "trust.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{BENCHMARKS / 'trust.py'} cannot be read")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def as_markdown(stored: dict[str, Any]) -> str:
    """A table of what was counted, and on what."""
    lines = ["| what | held against | cases |", "|---|---|--:|"]
    for family in families().FAMILIES:
        count = stored.get(family.key)
        if count is None:
            lines.append(f"| {family.name} | {family.against} | not counted yet |")
            continue
        untold = f", {count['untold']} of them not told" if count["untold"] else ""
        lines.append(f"| {family.name} | {family.against} | {count['cases']:,}{untold} |")
    total = sum(count["cases"] for count in stored.values())
    made = (
        f"{total:,} cases in all, of which none failed: counted {_span(stored, 'date')}, with torch"
        f" {_span(stored, 'torch')} and Python {_span(stored, 'python')}, on"
        f" {_span(stored, 'processor')}."
    )
    if not stored.get("faults", {"sweep": True})["sweep"]:
        made += " Of the fault injection this is the part that the slow tests run."
    return "\n".join([*lines, "", made])


def _span(stored: dict[str, Any], key: str) -> str:
    """The values of all counts, each once."""
    return ", ".join(sorted({count[key] for count in stored.values()}))


def filled(text: str) -> str:
    """The page with the table in the place of its mark; ValueError where the mark is missing."""
    if text.count(MARK) != 1:
        raise ValueError(f"docs/{PAGE}.md must hold {MARK} once")
    return text.replace(MARK, as_markdown(json.loads(STORED.read_text(encoding="utf-8"))))


def _on_read(app: Any, docname: str, source: list[str]) -> None:
    if docname == PAGE:
        source[0] = filled(source[0])


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx to fill the page when it reads it."""
    app.connect("source-read", _on_read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
