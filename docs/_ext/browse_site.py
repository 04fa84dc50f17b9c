"""Look at every page of the built site in a browser, as a reader with a phone does.

``python docs/_ext/browse_site.py SITE``: no page writes an error to the console, asks another host
for anything, or is wider than a phone; what a reader would search for is found; and axe-core finds
nothing, where ``SHIFTCHECK_AXE`` names its ``axe.min.js``. Needs Chromium and the package
playwright; without them it says so, and nothing is looked at.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

WIDTH, HEIGHT = 375, 812
"""Of a phone, in pixels."""

SEARCHES = {
    "receptive field": "valid-regions.html",
    "assert_equivariant": "api.html",
    "check_invariance": "invariance.html",
    "align_corners": "causes.html",
}
"""What readers search for, and a page that has to be among what is found."""

OVERFLOW = """() => [...document.querySelectorAll("body *")]
  .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
  .map((e) => e.tagName.toLowerCase() + (e.className ? "." + e.className : "")).slice(0, 3)"""


class _Quiet(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        """What is asked for; browsers ask for an icon at the root whatever a page says."""
        if self.path == "/favicon.ico":
            self.send_response(HTTPStatus.NO_CONTENT)
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_: Any) -> None:
        """Nothing: what is missing, the browser says."""


@contextmanager
def served(site: Path) -> Iterator[str]:
    """The site at an address of this machine, as search does not work from files."""
    handler = functools.partial(_Quiet, directory=str(site))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; LookupError, with what is missing, where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise LookupError("needs Chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError as error:
        raise LookupError("needs the package playwright") from error
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Reader:
    """A page of a browser, with what went wrong in it."""

    def __init__(self, browser: Any, address: str) -> None:
        self.address = address
        context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
        self.page = context.new_page()
        self.wrong: list[str] = []
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.wrong.append(f"raises {error}"))
        self.page.on("request", self._asked)

    def _said(self, message: Any) -> None:
        if message.type == "error":
            self.wrong.append(f"says {message.text}")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.wrong.append(f"asks for {request.url}")

    def open(self, name: str) -> None:
        """Go to a page and wait until all of it is there."""
        self.wrong.clear()
        self.page.goto(f"{self.address}/{name}", wait_until="load")

    def faults(self, axe: str | None) -> Iterator[str]:
        """What is wrong with the page that is open."""
        yield from self.wrong
        width = self.page.evaluate("document.documentElement.scrollWidth")
        if width > WIDTH:
            wide = ", ".join(self.page.evaluate(OVERFLOW))
            yield f"is {width} pixels wide on a screen of {WIDTH}: {wide}"
        if axe is not None:
            self.page.evaluate(axe)
            for found in self.page.evaluate("axe.run()")["violations"]:
                places = [node["target"][0] for node in found["nodes"]]
                yield f"{found['id']} ({found['impact']}): {', '.join(map(str, places[:3]))}"

    def found(self, words: str) -> list[str]:
        """The pages that the search of the site finds."""
        self.open(f"search.html?q={words.replace(' ', '+')}")
        self.page.wait_for_selector("#search-results ul.search li a", timeout=20_000)
        self.page.wait_for_function(
            "document.querySelector('#search-results p')?.textContent.includes('found')"
        )
        self.page.wait_for_load_state("networkidle")  # summaries are fetched for what is found
        links = self.page.locator("#search-results ul.search li a").all()
        return [str(link.get_attribute("href")).split("#")[0].split("?")[0] for link in links]


def faults(
    site: Path, browser: Any, searches: Mapping[str, str] = SEARCHES, axe: str | None = None
) -> list[str]:
    """What is wrong with the site, one sentence each."""
    found = []
    with served(site) as address:
        reader = Reader(browser, address)
        for path in sorted(site.rglob("*.html")):
            name = path.relative_to(site).as_posix()
            reader.open(name)
            found += [f"{name}: {fault}" for fault in reader.faults(axe)]
        for words, page in searches.items():
            pages = reader.found(words)
            if page not in pages:
                found.append(f"search.html: {words!r} does not find {page}, but {pages[:5]}")
            found += [f"search.html: {fault}" for fault in reader.wrong]
    return found


def main(site: Path) -> int:
    """Look, and print; 1 where something is wrong."""
    named = os.environ.get("SHIFTCHECK_AXE")
    axe = Path(named).read_text(encoding="utf-8") if named else None
    try:
        with chromium() as browser:
            wrong = faults(site, browser, axe=axe)
    except LookupError as missing:
        print(f"{site}: no page was opened in a browser, which {missing}")
        return 0
    how = "" if axe else "; without axe-core, which SHIFTCHECK_AXE would name"
    print("\n".join(wrong) or f"{site}: every page can be read on a phone, and searched{how}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
