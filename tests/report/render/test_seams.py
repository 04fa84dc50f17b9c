"""A comparison of tiles as text and as a page."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.report import TiledComparison, TilingFault


@pytest.fixture
def found() -> TiledComparison:
    torch.manual_seed(0)
    net = nn.Conv2d(1, 1, 5, padding=2)

    def tiled(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([net(part) for part in x.split(16, -1)], -1)

    return shiftcheck.compare_tiled(net, tiled, torch.randn(1, 1, 24, 96))


def test_text_tells_the_seams_and_keeps_to_its_width(found: TiledComparison) -> None:
    text = str(found)
    assert "axis 1: seams at 16, 32, 48, 64, ... 80, every 16" in text
    assert "wrong samples 14-17, 30-33, 46-49, 62-65, ... 78-81, 4 wide" in text
    assert "too small by at least 2 pixels" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_a_page_and_a_notebook_hold_a_row_for_each_seam(found: TiledComparison) -> None:
    page = found._repr_html_()
    assert page.count("output, axis 1") == 5
    assert "tile begins" in page


def test_json_is_read_back(found: TiledComparison) -> None:
    assert TiledComparison.from_json(found.to_json()) == found


def test_every_fault_has_words() -> None:
    assert all(fault.plain and fault.remedy for fault in TilingFault)


def test_an_overlap_is_told_where_it_may_mend_something(found: TiledComparison) -> None:
    assert "it is enough that each tile reads 2 pixels" in str(found)
    assert "it is enough" not in str(replace(found, faults=(TilingFault.TURNED,)))
    both = (TilingFault.TURNED, TilingFault.OVERLAP)
    assert "it is enough" in str(replace(found, faults=both))
