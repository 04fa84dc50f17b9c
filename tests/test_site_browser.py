"""The look at the built site in a browser, which `make docs` takes, finds what is wrong with one.

Needs Chromium and the package playwright; ``SHIFTCHECK_AXE`` names axe-core's ``axe.min.js``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.test_site import DOCS, load

accessible, browse_site = load("accessible"), load("browse_site")

PAGE = """<!doctype html><html lang="en"><head><title>A page</title>
<meta name="viewport" content="width=device-width"></head>
<body><main><h1>A page</h1>BODY</main></body></html>"""
FAULTS = {
    "<script>console.error('lost')</script>": "says lost",
    "<script>undefined.field</script>": "raises ",
    "<img src='http://127.0.0.1:9/no.png' alt=''>": "asks for http://127.0.0.1:9/no.png",
    "<img src='no.png' alt='nothing'>": "says Failed to load resource",
    "<p style='width: 500px'>wide</p>": "is 50",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(browse_site.chromium())
        except LookupError as missing:
            pytest.skip(str(missing))
        yield opened


browsing = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


def written(folder: Path, **bodies: str) -> Path:
    for name, body in bodies.items():
        (folder / f"{name}.html").write_text(PAGE.replace("BODY", body), encoding="utf-8")
    return folder


class TestBrowsing:
    pytestmark = browsing

    def test_a_page_that_is_right(self, browser: Any, tmp_path: Path) -> None:
        assert browse_site.faults(written(tmp_path, index="<p>Right.</p>"), browser, {}) == []

    @pytest.mark.parametrize("body", FAULTS)
    def test_a_page_with_a_fault(self, browser: Any, tmp_path: Path, body: str) -> None:
        site = written(tmp_path, index="<p>Right.</p>", other=body)
        found = browse_site.faults(site, browser, {})
        assert found
        assert all(fault.startswith("other.html: ") for fault in found)
        assert f"other.html: {FAULTS[body]}" in found[0]

    @pytest.mark.skipif("SHIFTCHECK_AXE" not in os.environ, reason="needs axe-core")
    def test_what_axe_finds_is_told(self, browser: Any, tmp_path: Path) -> None:
        axe = Path(os.environ["SHIFTCHECK_AXE"]).read_text(encoding="utf-8")
        site = written(tmp_path, index="<p>Right.</p>", other="<img src='data:,'>")
        (found,) = [f for f in browse_site.faults(site, browser, {}, axe) if "image-alt" in f]
        assert found.startswith("other.html: image-alt (critical)")

    def test_what_is_searched_for_is_found_or_told(self, browser: Any, tmp_path: Path) -> None:
        pytest.importorskip("furo")
        sources = tmp_path / "docs"
        sources.mkdir()
        (sources / "conf.py").write_text("project = 'p'\nhtml_theme = 'furo'\n", encoding="utf-8")
        for name, words in {"index": "Nothing.", "fields": "A receptive field."}.items():
            other = "" if name == "fields" else "\n.. toctree::\n\n   fields\n"
            text = f"{name}\n======\n\n{words}\n{other}"
            (sources / f"{name}.rst").write_text(text, encoding="utf-8")
        site = tmp_path / "site"
        subprocess.run([sys.executable, "-m", "sphinx", "-q", str(sources), str(site)], check=True)
        right = {"receptive field": "fields.html"}
        assert browse_site.faults(site, browser, right) == []
        told, *more = browse_site.faults(site, browser, {"receptive field": "index.html"})
        assert more == []
        assert told.startswith("search.html: 'receptive field' does not find index.html, but [")


def test_without_a_browser_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert browse_site.main(tmp_path) == 0
    assert "no page was opened in a browser, which needs Chromium" in capsys.readouterr().out


def test_what_is_searched_for_is_in_the_pages() -> None:
    for words, page in browse_site.SEARCHES.items():
        sources = [p for p in DOCS.iterdir() if p.stem == page.removesuffix(".html")]
        assert words.lower() in sources[0].read_text(encoding="utf-8").lower()


LEFT_OUT = """<aside class="sidebar-drawer"><p class="caption" role="heading">One</p></aside>
<aside class="toc-drawer no-toc"></aside><div class="table-wrapper docutils"></div>
<div class="highlight"><pre>code</pre></div><div id="search-results"></div>
<dl><dt class="sig sig-object"><span>f</span>(<dl><dd>x</dd><dd>y</dd></dl>)</dt><dd>A.</dd></dl>"""


def test_what_the_theme_leaves_out_is_added_once() -> None:
    page = accessible.mended(LEFT_OUT)
    assert '<aside class="sidebar-drawer" aria-label="all pages">' in page
    assert 'role="heading" aria-level="2">' in page
    assert '<aside aria-label="this page" class="toc-drawer no-toc">' in page
    assert page.count('tabindex="0"') == 2
    assert "<h1>Search</h1>" in page
    assert '(<div class="sig-lines"><div>x</div><div>y</div></div>)</dt><dd>A.</dd></dl>' in page
    assert accessible.mended(page) == page
