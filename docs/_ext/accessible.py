"""What the theme leaves out for those who read with a keyboard or a screen reader.

Sphinx gives captions no level and writes long signatures as lists of definitions without terms;
furo names neither of its side bars. What is too wide scrolls, and has to be reached to scroll.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

SIGNATURE = re.compile(r'(<dt class="sig .*?</dt>)', re.DOTALL)
INSTEAD = (
    (' role="heading">', ' role="heading" aria-level="2">'),
    ('<aside class="sidebar-drawer">', '<aside class="sidebar-drawer" aria-label="all pages">'),
    ('<aside class="toc-drawer', '<aside aria-label="this page" class="toc-drawer'),
    ('<div class="highlight"><pre>', '<div class="highlight"><pre tabindex="0">'),
    ('<div class="table-wrapper', '<div tabindex="0" class="table-wrapper'),
    ('<div id="search-results"></div>', '<h1>Search</h1>\n<div id="search-results"></div>'),
)


def mended(html: str) -> str:
    """A page as all can read it; the same where it is so already."""
    for left_out, instead in INSTEAD:
        if instead not in html:
            html = html.replace(left_out, instead)
    return SIGNATURE.sub(_without_list, html)


def _without_list(found: re.Match[str]) -> str:
    """A signature of several lines, each in a box instead of in a definition without a term."""
    text = found[0].replace("<dl>", '<div class="sig-lines">').replace("</dl>", "</div>")
    return text.replace("<dd>", "<div>").replace("</dd>", "</div>")


def _on_finished(app: Any, exception: Exception | None) -> None:
    if exception is None and app.builder.name == "html":
        for path in Path(app.outdir).rglob("*.html"):
            text = path.read_text(encoding="utf-8")
            path.write_text(mended(text), encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx to mend the pages when all are written."""
    app.connect("build-finished", _on_finished)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
