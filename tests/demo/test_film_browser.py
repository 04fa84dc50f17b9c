"""The page of the moving digit in a browser: sliders, player, phone, and what axe-core says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.report.render.test_browser import CHROMIUM, Opened, chromium  # noqa: F401

pytest.importorskip("sklearn")
pytest.importorskip("safetensors")

from shiftcheck.demo.film import write_page
from shiftcheck.demo.moving_digit import moving_digit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.html"
    write_page(moving_digit(3), path)
    return path


class Film(Opened):
    ready = "#said-2"


def said(opened: Film) -> list[str]:
    return [opened.page.text_content(f"#said-{i}") for i in range(3)]


def places(opened: Film) -> list[str]:
    return opened.page.eval_on_selector_all(  # type: ignore[no-any-return]
        ".panel", "panels => panels.map(p => p.style.backgroundPosition)"
    )


def test_the_arrow_keys_move_the_digit(chromium: Any, page: Path) -> None:  # noqa: F811
    opened = Film(chromium, page)
    assert said(opened) == ["exact", "exact", "exact"]
    assert set(places(opened)) == {"50% 50%"}
    opened.page.focus("#n")
    opened.page.keyboard.press("ArrowRight")
    assert set(places(opened)) == {"60% 50%"}  # the sixth of ten steps
    first, second, third = said(opened)
    assert first == "exact"
    assert second.startswith("off by")
    assert third.startswith("off by")
    opened.page.keyboard.press("ArrowRight")
    assert said(opened)[:2] == ["exact", "exact"]
    opened.page.focus("#m")
    opened.page.keyboard.press("ArrowLeft")
    assert opened.page.text_content("#told-m") == "-1"
    assert set(places(opened)) == {"70% 40%"}
    assert opened.said == []


def test_the_player_plays_and_pauses(chromium: Any, page: Path) -> None:  # noqa: F811
    opened = Film(chromium, page)
    button = opened.page.locator("#play")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    opened.page.wait_for_function("document.getElementById('n').value === '2'")
    opened.page.keyboard.press("Enter")  # the button still has the focus
    assert (button.text_content(), button.get_attribute("aria-pressed")) == ("Play", "false")
    before = places(opened)
    opened.page.wait_for_timeout(500)
    assert places(opened) == before
    assert opened.said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(chromium: Any, page: Path, scheme: str) -> None:  # noqa: F811
    size = {"width": 375, "height": 812}
    opened = Film(chromium, page, viewport=size, color_scheme=scheme)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 375


@pytest.mark.skipif("SHIFTCHECK_AXE" not in os.environ, reason="needs axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_by_all(chromium: Any, page: Path, scheme: str) -> None:  # noqa: F811
    opened = Film(chromium, page, color_scheme=scheme)
    opened.page.add_script_tag(path=os.environ["SHIFTCHECK_AXE"])
    found = opened.page.evaluate("axe.run()")
    assert [
        (v["id"], [node["target"] for node in v["nodes"]][:3]) for v in found["violations"]
    ] == []
