"""The page in a browser: it works by click and keyboard, fits a phone, and can be read by all.

Needs Chromium and the package playwright; ``SHIFTCHECK_AXE`` names axe-core's ``axe.min.js``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.report.render.test_html import EVIL, many, report_of

import shiftcheck

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Opened:
    """A page in a browser, with what its console said; ``ready``: what it shows in the end."""

    ready = "#region .plot-container"

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.page.on("console", lambda m: self.said.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", self._asked)
        self.page.goto(path.as_uri())
        self.page.wait_for_selector(self.ready)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.said.append(f"asked for {request.url}")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "small.html"
    report_of().to_html(path)
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "large.html"
    many(1000, 5).to_html(path)
    return path


def rows(opened: Opened) -> list[str]:
    found: list[str] = opened.page.locator("tbody button.name").all_text_contents()
    return found


def test_it_opens_without_an_error_and_without_a_network(chromium: Any, small: Path) -> None:
    opened = Opened(chromium, small)
    assert opened.page.locator("#bars .bars path").count() >= 3
    assert opened.page.locator("#map .heatmaplayer image").count() == 1
    assert opened.said == []


def test_layers_with_numbers_for_names_are_no_numbers(chromium: Any, tmp_path: Path) -> None:
    net = torch.nn.Sequential(*(torch.nn.Conv1d(1, 1, 3) for _ in range(3)))
    shiftcheck.check_equivariance(net, torch.randn(1, 1, 20)).to_html(tmp_path / "page.html")
    opened = Opened(chromium, tmp_path / "page.html")
    assert opened.page.locator("#bars .xtick text").all_text_contents() == ["0", "1", "2"]


def test_a_layer_is_chosen_by_click_and_by_keyboard(chromium: Any, small: Path) -> None:
    opened = Opened(chromium, small)
    page = opened.page
    assert page.locator("#structure dd").first.text_content() == "2"
    page.locator("tbody button.name", has_text="0").click()
    assert page.locator("#structure dd").first.text_content() == "0"
    page.locator("#layer").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator("#structure dd").first.text_content() == "1"
    page.locator("tbody button.name").nth(2).focus()
    page.keyboard.press("Enter")
    assert page.locator("#structure dd").first.text_content() == "2"
    assert opened.said == []


def test_the_table_sorts_searches_and_folds(chromium: Any, large: Path) -> None:
    opened = Opened(chromium, large)
    page = opened.page
    assert len(rows(opened)) == 1000
    page.fill("#search", "stage3.block7")
    assert rows(opened) == [f"stage3.block7.conv{i}" for i in range(10)]
    page.fill("#search", "")
    page.click("#fold")
    assert rows(opened) == []
    page.locator("button.fold", has_text="stage4").click()
    page.locator("button.fold", has_text="stage4.block2").click()
    assert rows(opened) == [f"stage4.block2.conv{i}" for i in range(10)]
    page.keyboard.press("Enter")  # the focus stays on the button
    assert rows(opened) == []
    page.click("#unfold")
    page.locator("thead button", has_text="layer").click()
    page.locator("thead button", has_text="layer").click()
    assert rows(opened)[0] == "stage9.block9.conv9"
    assert page.locator("th[aria-sort=descending]").count() == 1
    assert opened.said == []


def test_names_are_shown_as_text(chromium: Any, tmp_path: Path) -> None:
    from dataclasses import replace

    report = report_of()
    named = tuple(replace(row, name=f"{EVIL}{i}") for i, row in enumerate(report.layers))
    path = tmp_path / "evil.html"
    replace(report, layers=named, model=EVIL).to_html(path)
    opened = Opened(chromium, path)
    assert rows(opened)[0] == f"{EVIL}0"
    assert EVIL in opened.page.locator("h1").text_content()
    assert opened.said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(chromium: Any, small: Path, scheme: str) -> None:
    size = {"width": 375, "height": 812}
    opened = Opened(chromium, small, viewport=size, color_scheme=scheme)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 375
    wide = opened.page.evaluate(
        """[...document.querySelectorAll('main *')].filter((e) => !e.closest('.wide, .chart')
        && e.getBoundingClientRect().right > 375.5).map((e) => e.tagName + e.className)"""
    )
    assert wide == []


@pytest.mark.skipif("SHIFTCHECK_AXE" not in os.environ, reason="needs axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_by_all(chromium: Any, small: Path, scheme: str) -> None:
    opened = Opened(chromium, small, color_scheme=scheme)
    opened.page.add_script_tag(path=os.environ["SHIFTCHECK_AXE"])
    found = opened.page.evaluate("axe.run()")
    assert [
        (v["id"], [node["target"] for node in v["nodes"]][:3]) for v in found["violations"]
    ] == []


class Plain(Opened):
    ready = "#made"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a report that has no charts."""
    path = tmp_path_factory.mktemp("page") / "plain.html"
    shiftcheck.check_invariance(torch.nn.ReLU(), torch.randn(2, 1, 12, 13)).to_html(path)
    return path


def test_a_page_without_charts_fits_a_phone(chromium: Any, plain: Path) -> None:
    opened = Plain(chromium, plain, viewport={"width": 375, "height": 812})
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 375
    assert opened.said == []


@pytest.mark.skipif("SHIFTCHECK_AXE" not in os.environ, reason="needs axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_without_charts_can_be_read_by_all(chromium: Any, plain: Path, scheme: str) -> None:
    opened = Plain(chromium, plain, color_scheme=scheme)
    opened.page.add_script_tag(path=os.environ["SHIFTCHECK_AXE"])
    assert [v["id"] for v in opened.page.evaluate("axe.run()")["violations"]] == []
