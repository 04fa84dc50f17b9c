"""The page of reasons: every reason with its plain words and hints, written at build time."""

from __future__ import annotations

from typing import Any

from shiftcheck.report import Reason

PAGE = "reasons"
CHECKS = ("equivariance", "invariance", "linearity", "tiles", "streams", "causality", "evaluation")


def mark(check: str) -> str:
    """What the page holds in the place of the table of a check."""
    return f"{{{{ reasons of {check} }}}}"


def reasons_of(check: str) -> list[Reason]:
    """The reasons that occur in a check."""
    return [reason for reason in Reason if getattr(reason.hints, check) is not None]


def as_markdown(check: str) -> str:
    """A table of the reasons of a check: the text, plain words, and what may help."""
    lines = ["| reason | in plain words | what may help |", "|---|---|---|"]
    for reason in reasons_of(check):
        hint = getattr(reason.hints, check)
        lines.append(f"| `{reason}` | {_cell(reason.plain)} | {_cell(hint) or '-'} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    for special in ("\\", "|", "_", "*", "<", "["):
        text = text.replace(special, f"\\{special}")
    return text


def filled(text: str) -> str:
    """The page with the tables in the place of their marks.

    Raises ValueError where a mark is missing, so that no page is built without its tables.
    """
    for check in CHECKS:
        if text.count(mark(check)) != 1:
            raise ValueError(f"docs/{PAGE}.md must hold {mark(check)} once")
        text = text.replace(mark(check), as_markdown(check))
    return text


def _on_read(app: Any, docname: str, source: list[str]) -> None:
    if docname == PAGE:
        source[0] = filled(source[0])


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx to fill the page when it reads it."""
    app.connect("source-read", _on_read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
