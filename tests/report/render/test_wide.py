"""The table of all columns."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from rich.table import Table
from tests.report.render.test_table import Deep
from torch import nn

import shiftcheck
from shiftcheck.report.render import contents
from shiftcheck.report.render.wide import render_wide

COLUMNS = "layer shape stride period field halo valid error border compared verdict remarks"


def test_all_columns_are_there_with_full_names_in_one_line_a_layer() -> None:
    report = shiftcheck.check_equivariance(Deep(), torch.randn(1, 2, 16, 16))
    head, _, *rows = report.table(wide=True).splitlines()
    assert head.split() == COLUMNS.split()
    assert [line.split()[0] for line in rows] == [row.name for row in report]
    assert rows[2].endswith("GLOBAL; not spatial")


@pytest.mark.parametrize("width", ["40", "80", "200"])
def test_it_is_as_wide_as_it_takes_in_any_terminal(
    monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    report = shiftcheck.check_equivariance(Deep(), torch.randn(1, 2, 16, 16))
    text = report.table(wide=True)
    monkeypatch.setenv("COLUMNS", width)
    assert report.table(wide=True) == text


def test_the_structure_alone_has_no_errors() -> None:
    head = shiftcheck.geometry(nn.Conv2d(1, 1, 3), (1, 1, 8, 9)).table(wide=True).splitlines()[0]
    assert " ".join(head.split()) == "layer shape stride period field halo valid remarks"


def test_figures_of_a_measured_report() -> None:
    report = shiftcheck.check_equivariance(nn.Conv1d(1, 2, 3, padding=1), torch.randn(1, 1, 20))
    assert report.layers[0].border_error is not None
    assert f"{report.layers[0].border_error:.1e}" in report.table(wide=True)


def test_in_a_width_long_names_break_at_dots_and_no_word_is_lost() -> None:
    report = shiftcheck.check_equivariance(Deep(), torch.randn(1, 2, 16, 16))
    table = report.table(wide=True, width=120).splitlines()
    assert max(map(len, table)) <= 120
    cells = [line.split("  ")[0].strip() for line in table]
    name = report.layers[0].name
    start = next(i for i, cell in enumerate(cells) if cell and name.startswith(cell))
    assert "".join(cells[start : start + 2]) == name
    assert cells[start + 1].startswith(".")
    assert any(line.endswith("GLOBAL; not") for line in table)
    assert any(line.strip() == "spatial" for line in table)


@pytest.fixture
def older_rich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Counts padding at the end of a table whose edges have none, as rich did up to 14."""

    def counted(table: Table, place: int) -> int:
        _, right, _, left = table.padding
        return max(0, left - right) + right if table.collapse_padding and place else left + right

    def forget(*_: Any) -> None:
        contents._counted_in_vain.cache_clear()

    forget()
    monkeypatch.setattr(Table, "_get_padding_width", counted)
    yield
    forget()


@pytest.mark.parametrize("width", [70, 77, 80, 100])
def test_older_versions_of_rich_cut_nothing(width: int, request: pytest.FixtureRequest) -> None:
    block = nn.Sequential(OrderedDict({"block_of_the_stage": Deep()}))
    model = nn.Sequential(OrderedDict({"stage_with_a_long_name": block}))
    report = shiftcheck.check_equivariance(model, torch.randn(1, 2, 16, 16))
    now = render_wide(report, width)
    request.getfixturevalue("older_rich")
    older = render_wide(report, width)
    assert [line for line in older if "─" not in line] == [line for line in now if "─" not in line]
    assert max(map(len, older)) <= max(width, *map(len, now))
