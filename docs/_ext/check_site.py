"""Look at the built site: every rule and public name is in it, and every link leads somewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import shiftcheck
from shiftcheck import metrics, plot, report, rules, strategies

UNLISTED = {"shiftcheck.metrics.EffectiveHalo"}
"""Has an entry that nothing links to, as a report bears the same name."""


def public_names() -> set[str]:
    """Where the reference has to have an entry; what several modules offer is listed once."""
    top = set(shiftcheck.__all__)
    names = {f"shiftcheck.{name}" for name in top}
    for module in (report, rules):
        names |= {f"{module.__name__}.{name}" for name in set(module.__all__) - top}
    for module in (strategies, plot, metrics):
        names |= {f"{module.__name__}.{name}" for name in module.__all__}
    return names


@dataclass
class Page:
    """What a page holds: the places that can be linked to, its links, and its pieces of code."""

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    code: set[str] = field(default_factory=set)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self.inside: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.page.ids.add(value)
            if name in ("href", "src") and value:
                self.page.links.append(value)
        if tag == "code":
            self.inside = []

    def handle_data(self, data: str) -> None:
        if self.inside is not None:
            self.inside.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "code" and self.inside is not None:
            self.page.code.add("".join(self.inside))
            self.inside = None


def read(path: Path) -> Page:
    """The page in a file."""
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.page


def faults(site: Path, operations: Iterable[str], names: Iterable[str]) -> list[str]:
    """What is wrong with the site, one sentence each."""
    pages = {path.relative_to(site).as_posix(): read(path) for path in sorted(site.rglob("*.html"))}
    found = [f"rules.html: {o} is missing" for o in operations if o not in pages["rules.html"].code]
    found += [f"api.html: {n} is missing" for n in names if not _described(pages["api.html"], n)]
    for name, page in pages.items():
        for link in page.links:
            if not _leads_somewhere(site, pages, name, link):
                found.append(f"{name}: nothing at {link}")
    return found


def _described(page: Page, name: str) -> bool:
    return bool({name, f"module-{name}"} & page.ids)


def _leads_somewhere(site: Path, pages: dict[str, Page], name: str, link: str) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (site / name).parent / unquote(parts.path) if parts.path else site / name
    if not target.is_file():
        return False
    place = target.resolve().relative_to(site.resolve()).as_posix()
    return not parts.fragment or place not in pages or unquote(parts.fragment) in pages[place].ids


if __name__ == "__main__":
    wrong = faults(Path(sys.argv[1]), rules.table, public_names() - UNLISTED)
    print("\n".join(wrong) or f"{sys.argv[1]}: every rule, name and link is there")
    sys.exit(bool(wrong))
