"""The rows of a page: what stands beside a name, and which row the guilty cause is marked in."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import Report, Verdict
from shiftcheck.report.render.layers import (
    accused_row,
    cause_of,
    mark_of,
    sheet_of_layers,
    verdict_of,
)


@pytest.fixture(scope="module")
def off_the_lattice() -> Report:
    """Inconclusive because of a stride, in a layer that is equivariant where it was compared."""
    net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.MaxPool2d(2))
    return shiftcheck.check_equivariance(net, torch.randn(1, 1, 16, 18), shifts=[(1, 0), (2, 2)])


def test_a_row_that_is_equivariant_is_not_called_guilty(off_the_lattice: Report) -> None:
    row = accused_row(off_the_lattice)
    assert row is not None
    assert (row.name, row.verdict) == ("1", Verdict.EQUIVARIANT)
    assert mark_of(row) == "cause lies here"
    (marked,) = [r for r in sheet_of_layers(off_the_lattice).rows if "cause lies here" in r[2]]
    assert marked[:3] == (
        "1",
        "equivariant",
        "STRIDE; 1 off the lattice, cause lies here",
    )
    assert mark_of(replace(row, verdict=Verdict.BROKEN)) == "guilty"


def test_of_several_rows_the_one_with_the_cause_is_accused(off_the_lattice: Report) -> None:
    first, pool = off_the_lattice.layers
    halves = (replace(pool, name="1[0]", causes=()), replace(pool, name="1[1]"))
    other = replace(pool, name="1#2")  # another call of the same layer has a name of its own
    report = replace(off_the_lattice, layers=(first, *halves, other))
    assert accused_row(report) == halves[1]
    assert sum("cause lies here" in row[2] for row in sheet_of_layers(report).rows) == 1
    assert accused_row(replace(report, layers=(first, halves[0]))) == halves[0]
    assert accused_row(replace(report, layers=(first,))) is None
    assert accused_row(replace(report, guilty=None)) is None


def test_what_was_not_compared_has_no_verdict_of_its_own() -> None:
    report = shiftcheck.check_equivariance(
        nn.Sequential(nn.MaxPool2d(2)), torch.randn(1, 1, 16, 18), shifts=[(1, 0)]
    )
    (row,) = report.layers
    assert row.verdict is Verdict.INCONCLUSIVE
    assert verdict_of(row) == "not compared"
    assert "off the lattice" in cause_of(row)


def test_where_only_the_structure_is_known_no_column_is_empty() -> None:
    sheet = sheet_of_layers(shiftcheck.geometry(nn.Conv2d(1, 1, 3), (1, 1, 8, 9)))
    assert sheet.head[:3] == ("layer", "cause", "shape")
    assert "error" not in sheet.head
    assert {len(row) for row in sheet.rows} == {len(sheet.head)}
