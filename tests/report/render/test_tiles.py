"""A plan of tiles as text and as a page; what the page of a check says of tiles."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.report.render.tiles import sheet_of_margins

UP = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2), nn.ConvTranspose2d(2, 1, 2, 2))


def cut(x: torch.Tensor) -> torch.Tensor:
    """Two pieces by other laws."""
    return torch.cat([x[..., :40], -x[..., 40:]], -1)


def test_the_page_of_a_check_tells_the_margins_of_tiles(tmp_path: Path) -> None:
    pytest.importorskip("jinja2", reason="needs the extra html")
    report = shiftcheck.geometry(UP, (1, 1, 32, 40))
    report.to_html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    table = page[page.index('<h2 id="tiles">') :].partition("</section>")[0]
    assert re.findall(r"<td>(.*?)</td>", table) == ["0", "2", "2", "2", "1", "2", "2", "2"]


def test_the_margins_are_no_smaller_than_those_of_the_plan() -> None:
    rows = sheet_of_margins(shiftcheck.geometry(UP, (1, 1, 32, 40))).rows
    plan = shiftcheck.tiling(UP, (1, 1, 32, 40))
    for row, axis in zip(rows, plan.axes, strict=True):
        assert int(row[2]) == axis.step
        assert all(int(n) >= h for n, h in zip(row[3:], axis.halo, strict=True))


@pytest.mark.parametrize("model", [lambda x: x - x.mean(3, keepdim=True), cut, nn.GroupNorm(1, 1)])
def test_no_margin_is_told_where_none_is_enough(
    model: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    report = shiftcheck.geometry(model, (1, 1, 64, 80))
    rows = [row for row in sheet_of_margins(report).rows if row[1] == "1"]
    assert all(row[3] == "no margin is enough" for row in rows), rows


def test_an_output_without_axes_has_no_row() -> None:
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert sheet_of_margins(shiftcheck.geometry(head, (1, 3, 32, 40))).rows == ()


def test_a_plan_has_a_row_for_each_axis(tmp_path: Path) -> None:
    pytest.importorskip("jinja2", reason="needs the extra html")
    plan = shiftcheck.tiling(UP, (1, 1, 64, 80), tile=(32, 80))
    plan.to_html(tmp_path / "plan.html")
    page = (tmp_path / "plan.html").read_text("utf-8")
    table = page[page.index("Tiles along each axis") :].partition("</section>")[0]
    assert re.findall(r"<td>(.*?)</td>", table)[:6] == ["64", "32", "2+2", "2", "3", "no"]
    assert "<td>80</td><td>80</td>" in table.replace("\n", "").replace(" ", "")


def test_one_pass_comes_and_a_layer_without_a_kind_has_no_brackets() -> None:
    plan = shiftcheck.tiling(nn.GroupNorm(1, 4), (1, 4, 64, 64), tile=32)
    assert "one pass over all tiles comes before" in str(plan)
    (blocking,) = plan.blocking
    local = replace(blocking, reach=shiftcheck.report.Reach.LOCAL, kind="")
    assert "()" not in str(replace(plan, blocking=(local,)))
