"""The pages in a browser: they work by click and keyboard, fit a phone, and can be read by all.

Needs Chromium and the package playwright; ``SHIFTCHECK_AXE`` names axe-core's ``axe.min.js``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.networks.sized import UNet
from tests.report.render.test_html import EVIL, many, report_of
from torch import nn

import shiftcheck
from shiftcheck.report.base import AnyReport
from shiftcheck.report.render import render_index

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
    """A page in a browser, with what its console said."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.page.on("console", lambda m: self.said.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", self._asked)
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("main")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.said.append(f"asked for {request.url}")

    def texts(self, selector: str) -> list[str]:
        """The text of every element of a kind."""
        found: list[str] = self.page.locator(selector).all_text_contents()
        return found


def down_and_up(axes: int) -> nn.Module:
    """A stride whose break is seen in the layer after it."""
    names = ("Conv", "MaxPool", "ConvTranspose")
    conv, pool, up = (getattr(nn, f"{name}{axes}d") for name in names)
    torch.manual_seed(0)
    return nn.Sequential(conv(1, 2, 3, padding=1), pool(2), up(2, 1, 2, 2))


def classifier() -> nn.Module:
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 4, 3, padding=1)
    return nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


REPORTS: dict[str, Callable[[], AnyReport]] = {
    "1-D": lambda: shiftcheck.check_equivariance(
        down_and_up(1), draw(1, 1, 64), shifts=[(v,) for v in range(-6, 7)]
    ),
    "2-D": lambda: shiftcheck.check_equivariance(
        down_and_up(2), draw(1, 1, 20, 22), shifts=list(product(range(-5, 6), repeat=2))
    ),
    "3-D": lambda: shiftcheck.check_equivariance(down_and_up(3), draw(1, 1, 12, 14, 16)),
    "U-Net": lambda: shiftcheck.check_equivariance(UNet(2), draw(1, 1, 48, 52)),
    "structure": lambda: shiftcheck.geometry(down_and_up(2), (1, 1, 20, 22)),
    "invariance": lambda: shiftcheck.check_invariance(classifier(), draw(3, 1, 16, 16)),
    "nothing compared": lambda: shiftcheck.check_invariance(nn.ReLU(), draw(2, 1, 12, 13)),
    "linear": lambda: shiftcheck.check_linear(nn.Conv2d(1, 2, 3), draw(1, 1, 12, 13)),
    "theorem": lambda: shiftcheck.check_convolution(nn.AvgPool2d(2), draw(1, 1, 12, 12)),
    "no theorem": lambda: shiftcheck.check_convolution(
        nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2)), draw(1, 1, 24, 24)
    ),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    paths = {name: folder / f"{name}.html" for name in REPORTS}
    for name, path in paths.items():
        REPORTS[name]().to_html(path)
    return paths


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
    return opened.texts("tbody button.name")


WIDTHS = {1280: 900, 390: 844}
TOO_WIDE = """[...document.querySelectorAll('main *')].filter((e) => !e.closest('.wide, svg')
    && e.getBoundingClientRect().right > innerWidth + 0.5).map((e) => e.tagName + e.className)"""
OUT_OF_SIGHT = """[...document.querySelectorAll('table.layers')].flatMap((table) => {
    const frame = table.closest('.wide').getBoundingClientRect();
    return [...table.querySelectorAll('tr > :nth-child(-n+3)')].filter((cell) => cell.textContent
        && (cell.getBoundingClientRect().right > frame.right + 0.5
            || cell.scrollWidth > cell.clientWidth + 1)).map((cell) => cell.textContent);
})"""
"""Cells of the first three columns that are not seen as a whole without scrolling sideways."""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", REPORTS)
def test_a_page_fits_and_shows_name_verdict_and_cause(
    chromium: Any, pages: dict[str, Path], name: str, width: int
) -> None:
    assert pages[name].stat().st_size < 300_000
    opened = Opened(chromium, pages[name], viewport={"width": width, "height": WIDTHS[width]})
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.page.evaluate(TOO_WIDE) == []
    assert opened.page.evaluate(OUT_OF_SIGHT) == []
    assert opened.said == []
    opened.context.close()


@pytest.mark.skipif("SHIFTCHECK_AXE" not in os.environ, reason="needs axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", REPORTS)
def test_a_page_can_be_read_by_all(
    chromium: Any, pages: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    size = {"width": width, "height": WIDTHS[width]}
    opened = Opened(chromium, pages[name], viewport=size, color_scheme=scheme)
    assert violations(opened) == []
    opened.context.close()


def violations(opened: Opened) -> list[Any]:
    opened.page.add_script_tag(path=os.environ["SHIFTCHECK_AXE"])
    found = opened.page.evaluate("axe.run()")["violations"]
    return [(v["id"], [node["target"] for node in v["nodes"]][:3]) for v in found]


def test_it_opens_without_an_error_and_without_a_network(chromium: Any, small: Path) -> None:
    opened = Opened(chromium, small)
    assert opened.page.locator("#bars .bar").count() >= 3
    assert opened.page.locator("#map .cell").count() >= 3
    assert opened.page.locator("#region .seen").count() == 3
    assert opened.said == []


def test_layers_with_numbers_for_names_are_no_numbers(chromium: Any, tmp_path: Path) -> None:
    net = torch.nn.Sequential(*(torch.nn.Conv1d(1, 1, 3) for _ in range(3)))
    shiftcheck.check_equivariance(net, torch.randn(1, 1, 20)).to_html(tmp_path / "page.html")
    opened = Opened(chromium, tmp_path / "page.html")
    assert opened.texts("#bars .xtick") == ["0", "1", "2"]


def test_bars_of_the_border_are_no_failures(chromium: Any, pages: dict[str, Path]) -> None:
    """Another pattern, another name, and no colour of a failure, however large they are."""
    opened = Opened(chromium, pages["2-D"])
    fill = "(e) => getComputedStyle(e).fill"
    failing = opened.page.locator("#bars .bar.broken").first.evaluate(fill)
    border = opened.page.locator("#bars .bar.border")
    assert border.count() >= 1
    assert {border.nth(i).evaluate(fill) for i in range(border.count())} == {'url("#hatch")'}
    assert failing != 'url("#hatch")'
    assert "border, not judged" in opened.texts("#errors ~ .legend li")
    assert all("(reads padding, not judged)" in text for text in opened.texts("#bars title"))


def test_errors_along_one_axis_are_a_line(chromium: Any, pages: dict[str, Path]) -> None:
    opened = Opened(chromium, pages["1-D"])
    assert opened.page.locator("#map .point").count() == 13
    assert opened.page.locator("#map .line").count() == 1
    assert opened.page.locator("#map .cell").count() == 0
    assert "shift, samples" in opened.texts("#map text")


def test_every_shift_of_a_volume_is_drawn_at_its_depth(
    chromium: Any, pages: dict[str, Path]
) -> None:
    report = REPORTS["3-D"]()
    assert isinstance(report, shiftcheck.Report)
    opened = Opened(chromium, pages["3-D"])
    titles = opened.texts("#map title")
    assert sorted(t.split(":")[0] for t in titles) == sorted(
        f"shift ({', '.join(map(str, shift))})" for shift in report.shifts
    )
    depths = sorted({shift[0] for shift in report.shifts})
    assert opened.texts("#map .panel p") == [f"depth: {depth}" for depth in depths]
    for i, depth in enumerate(depths):
        drawn = opened.page.locator("#map .panel").nth(i).locator("title").count()
        assert drawn == sum(shift[0] == depth for shift in report.shifts)
    assert {"down, voxels", "right, voxels"} <= set(opened.texts("#map text"))
    assert [t for t in opened.texts("#region text") if t.isalpha()] == [
        *("depth", "down", "right"),
        "voxels",
    ]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["1-D", "2-D", "3-D", "invariance"])
def test_legends_stand_off_the_figures(
    chromium: Any, pages: dict[str, Path], name: str, width: int
) -> None:
    opened = Opened(chromium, pages[name], viewport={"width": width, "height": WIDTHS[width]})
    gaps = opened.page.evaluate(
        """[...document.querySelectorAll('.chart')].map((chart) => chart.nextElementSibling
        .getBoundingClientRect().top - chart.getBoundingClientRect().bottom)"""
    )
    assert gaps
    assert min(gaps) >= 0


def test_numbers_have_the_same_digits_everywhere(chromium: Any, pages: dict[str, Path]) -> None:
    opened = Opened(chromium, pages["2-D"])
    listed = opened.texts("td.number")
    drawn = [t.split(": ")[1].split(",")[0] for t in opened.texts("#map title")]
    for number in (*listed, *drawn):
        assert number in ("-", "\u2013", "0") or len(number.split("e")[0]) == 3, number
    chosen = dict(zip(opened.texts("#structure dt"), opened.texts("#structure dd"), strict=True))
    assert chosen["error"] in listed


def test_a_figure_is_drawn_anew_at_another_width(chromium: Any, pages: dict[str, Path]) -> None:
    opened = Opened(chromium, pages["2-D"], viewport={"width": 1280, "height": 900})
    wide = int(opened.page.locator("#bars svg").get_attribute("width"))
    opened.page.set_viewport_size({"width": 390, "height": 844})
    opened.page.wait_for_function(
        f"document.querySelector('#bars svg').getAttribute('width') < {wide / 2}", timeout=5000
    )
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert opened.said == []


def test_no_row_is_called_guilty_that_says_equivariant(
    chromium: Any, pages: dict[str, Path]
) -> None:
    opened = Opened(chromium, pages["2-D"])
    assert opened.texts("tr:has(.mark) td:nth-child(2)") == ["equivariant"]
    assert opened.texts(".mark") == ["cause lies here"]
    assert opened.page.locator("tr.guilty").count() == 0


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
    page.locator("#bars .hit").first.click(position={"x": 5, "y": 100})
    assert page.locator("#structure dd").first.text_content() == "0"
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
    assert set(opened.texts("tr.group td:nth-child(2)")) == {"equivariant"}
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


def test_the_other_columns_come_on_request(chromium: Any, pages: dict[str, Path]) -> None:
    opened = Opened(chromium, pages["U-Net"], viewport={"width": 1280, "height": 900})
    period = opened.page.locator("thead th", has_text="period")
    assert not period.is_visible()
    opened.page.click("#all")
    assert period.is_visible()
    opened.page.evaluate("document.querySelector('.wide').scrollLeft = 1000")
    assert opened.page.evaluate(OUT_OF_SIGHT) == []
    assert opened.page.locator("tbody button.name").first.evaluate(
        "(e) => e.getBoundingClientRect().left >= e.closest('.wide').getBoundingClientRect().left"
    )
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_without_scripts_the_table_is_there(chromium: Any, pages: dict[str, Path]) -> None:
    opened = Opened(chromium, pages["2-D"], java_script_enabled=False)
    margins = ["output", "output"]  # of each axis, in the table of tiles
    assert opened.texts("tbody th") == ["0", "1", "2", *margins]
    assert not opened.page.locator("#search").is_visible()


def test_names_are_shown_as_text(chromium: Any, tmp_path: Path) -> None:
    report = report_of()
    named = tuple(replace(row, name=f"{EVIL}{i}") for i, row in enumerate(report.layers))
    path = tmp_path / "evil.html"
    replace(report, layers=named, model=EVIL).to_html(path)
    opened = Opened(chromium, path)
    assert rows(opened)[0] == f"{EVIL}0"
    assert EVIL in opened.page.locator("h1").text_content()
    assert opened.said == []


CHECKS = 33


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of a folder of pages, as a run of pytest leaves it."""
    folder = tmp_path_factory.mktemp("reports")
    report = report_of()
    test = "tests/models/test_restoration.py::TestShifts::test_moves[a case {} of many]"
    verdicts = ["broken", "inconclusive", "equivariant"] * CHECKS
    entries = [
        (test.format(i), verdicts[i], report.model, f"a case-{i}.html") for i in range(CHECKS)
    ]
    for *_, name in entries:
        report.to_html(folder / name)
    (folder / "index.html").write_text(render_index(entries), encoding="utf-8")
    return folder / "index.html"


@pytest.mark.parametrize("width", WIDTHS)
def test_an_index_opens_and_its_links_work(chromium: Any, index: Path, width: int) -> None:
    sizes = [file.stat().st_size for file in index.parent.iterdir()]
    assert len(sizes) == CHECKS + 1
    assert max(sizes) < 300_000
    opened = Opened(chromium, index, viewport={"width": width, "height": WIDTHS[width]})
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    broken_words = """[...document.querySelectorAll('.checks td:nth-child(2)')].filter((cell) => {
        const text = document.createRange();
        text.selectNodeContents(cell);
        return text.getClientRects().length > 1;
    }).length"""
    assert opened.page.evaluate(broken_words) == 0
    links = opened.page.locator("a")
    assert links.count() == CHECKS
    for i in range(CHECKS):
        links.nth(i).click()
        assert opened.page.locator("#table tbody tr").count() >= 3
        opened.page.go_back()
    assert opened.said == []


@pytest.mark.skipif("SHIFTCHECK_AXE" not in os.environ, reason="needs axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_index_can_be_read_by_all(chromium: Any, index: Path, scheme: str) -> None:
    assert violations(Opened(chromium, index, color_scheme=scheme)) == []
