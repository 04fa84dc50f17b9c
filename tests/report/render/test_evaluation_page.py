"""The page of an evaluation counts every item, and shows what the report holds."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.report import Bin, EvaluationReport
from shiftcheck.report.render.histogram import drawn_histogram

pytest.importorskip("jinja2")


@pytest.fixture(scope="module")
def report() -> EvaluationReport:
    data = torch.rand(30, 1, 12, 14, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(168, 4))
    shifts = [(m, n) for m in (-1, 0, 1) for n in (-1, 0, 1) if m or n]
    return shiftcheck.evaluate(
        net, data, ["invariance", "classes"], shifts=shifts, pictures=True, progress=False
    )


def page_of(report: EvaluationReport, folder: Path) -> str:
    report.to_html(folder / "page.html")
    return (folder / "page.html").read_text("utf-8")


def test_every_item_is_in_a_bar_and_every_shift_in_a_square(
    report: EvaluationReport, tmp_path: Path
) -> None:
    page = page_of(report, tmp_path)
    counts = [int(n) for n in re.findall(r": (\d+) items</title>", page)]
    assert sum(counts) == 2 * report.items
    for shift in report.shifts:
        assert page.count(f"shift ({shift[0]}, {shift[1]}):") == 2
    assert page.count("data:image/png;base64,") >= len(report.pictures)
    assert "<script" not in page
    assert 'class="verdict' not in page


def test_without_pictures_the_page_says_how_to_get_them(
    report: EvaluationReport, tmp_path: Path
) -> None:
    page = page_of(replace(report, pictures=()), tmp_path)
    assert "image/png" not in page
    assert "<code>pictures=True</code>" in page


def test_names_cannot_put_markup_into_the_page(report: EvaluationReport, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    quantities = tuple(replace(q, output=evil) for q in report.quantities)
    page = page_of(replace(report, model=evil, quantities=quantities), tmp_path)
    assert "<script" not in page


def test_a_report_without_anything_has_a_page(tmp_path: Path) -> None:
    assert "How it was made" in page_of(EvaluationReport(what=("classes",)), tmp_path)


def test_zeros_stand_apart_and_each_bar_says_how_many() -> None:
    bins = (Bin(low=0, high=0, count=5), Bin(low=1e-7, high=1.2e-7, count=2))
    drawn = drawn_histogram(bins, "error", "items")
    told = re.findall(r'rect x="([\d.]+)".*?<title>(.*?)</title>', drawn)
    assert [text for _, text in told] == ["1.0e-07 to 1.2e-07: 2 items", "0: 5 items"]
    assert float(told[1][0]) < float(told[0][0])
    assert drawn_histogram((), "error", "items") == ""


def test_the_text_speaks_in_shares(report: EvaluationReport) -> None:
    kept = report["classes"].figures["consistency"]
    assert f"the class stays in {100 * (kept or 0):.1f} % of the shifted" in " ".join(
        str(report).split()
    )
