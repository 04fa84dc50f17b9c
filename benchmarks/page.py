"""How long the page of a large report takes in headless Chromium: opening, a search, a fold.

Prints milliseconds beside their bounds, and exits with 1 where one is exceeded. Needs Chromium and
the package playwright.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from playwright.sync_api import Page, sync_playwright

import shiftcheck

LAYERS, SIDE = 1000, 5
OPENING, ANSWERING = 3000.0, 300.0
ANSWER = """([selector, text]) => new Promise((done) => {
  const start = performance.now();
  const target = document.querySelector(selector);
  if (text === null) target.click();
  else { target.value = text; target.dispatchEvent(new Event("input")); }
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
})"""


def large_report() -> shiftcheck.Report:
    """A report of a thousand layers at 121 shifts, from one that was measured."""
    side = range(-SIDE, SIDE + 1)
    report = shiftcheck.check_equivariance(
        torch.nn.Conv2d(1, 1, 3, padding=1),
        torch.randn(1, 1, 32, 40),
        shifts=[(m, n) for m in side for n in side],
    )
    rows = tuple(
        replace(report.layers[0], name=f"stage{i // 100}.block{i // 10 % 10}.conv{i % 10}")
        for i in range(LAYERS)
    )
    return replace(report, layers=rows)


def measured(page: Page, path: Path) -> dict[str, tuple[float, float]]:
    """Milliseconds and their bound, for each thing that a reader does."""
    start = time.perf_counter()
    page.goto(path.as_uri())
    page.wait_for_selector("#region svg")
    found = {"opening": (1000 * (time.perf_counter() - start), OPENING)}
    for name, action in {
        "search": ["#search", "block3"],
        "end of the search": ["#search", ""],
        "fold": ["#fold", None],
        "unfold": ["#unfold", None],
    }.items():
        found[name] = (float(page.evaluate(ANSWER, action)), ANSWERING)
    return found


def main() -> int:
    """Print the figures; 1 where one is above its bound."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        path = Path(folder) / "report.html"
        large_report().to_html(path)
        print(f"{path.stat().st_size / 1e6:.1f} MB (bound 8)")
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        found = measured(browser.new_page(), path)
        browser.close()
    for name, (milliseconds, bound) in found.items():
        print(f"{name:18} {milliseconds:7.0f} ms (bound {bound:.0f})")
    return int(any(value > bound for value, bound in found.values()))


if __name__ == "__main__":
    sys.exit(main())
