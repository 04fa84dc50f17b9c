"""What a notebook shows: tables of HTML, nothing that has to be installed."""

from __future__ import annotations

from html import escape

from shiftcheck.report.render.contents import Contents, Sheet


def render_notebook(contents: Contents) -> str:
    """The headline, the figure, the tables, and what explains the verdict."""
    tables = "".join(map(_table, contents.sheets))
    rest = "".join(f"{_line(text)}<br>" for text in contents.sentences)
    return (
        f"<p><strong>{escape(contents.headline)}</strong></p>{contents.figure}{tables}<p>{rest}</p>"
    )


def _line(text: str) -> str:
    """A sentence, or what is to be pasted."""
    return f"<code>{escape(text.strip())}</code>" if text.startswith(" ") else escape(text)


def _table(sheet: Sheet) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in sheet.head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in sheet.rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
