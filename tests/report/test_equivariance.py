"""Records of plain numbers: strict JSON there and back, and clear refusals."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import InputError, Report


def reports() -> list[Report]:
    torch.manual_seed(0)
    x = torch.randn(1, 2, 16, 18)
    down_up = nn.Sequential(
        nn.MaxPool2d(2), nn.ConvTranspose2d(2, 2, 2, stride=2), nn.GroupNorm(1, 2)
    )
    return [
        shiftcheck.check_equivariance(nn.Conv2d(2, 1, 3, padding=1), x),
        shiftcheck.check_equivariance(down_up, x, shifts=[(1, 0), (0, 0), (3, 3)]),
        shiftcheck.check_equivariance(lambda x: x * float("nan"), x),
        shiftcheck.geometry(down_up, (1, 2, 16, 18), boundary=("valid", "circular")),
        shiftcheck.geometry(nn.Upsample(scale_factor=2), (1, 2, 16, 18)),
    ]


@pytest.mark.parametrize("index", range(5))
def test_json_there_and_back(index: int) -> None:
    report = reports()[index]

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no strict JSON")

    json.loads(report.to_json(), parse_constant=refuse)
    again = Report.from_json(report.to_json())
    assert again == report
    assert str(again) == str(report)


def test_a_newer_schema_is_refused() -> None:
    data = json.loads(reports()[0].to_json())
    data["schema_version"] += 1
    with pytest.raises(InputError, match="upgrade"):
        Report.from_json(json.dumps(data))


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"schema_version": 1}', "no json"])
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="text is no"):
        Report.from_json(text)


def test_unknown_fields_of_the_same_schema_are_ignored() -> None:
    report = reports()[0]
    data = json.loads(report.to_json()) | {"comment": "mine"}
    assert Report.from_json(json.dumps(data)) == report


def test_rows_by_name_and_in_order() -> None:
    report = reports()[1]
    assert [row.name for row in report] == ["0", "1", "2"]
    assert report["1"] is report.layers[1]
    with pytest.raises(KeyError, match="no layer '7'; there are 0, 1, 2"):
        report["7"]


def test_the_largest_figures_of_a_row() -> None:
    row = reports()[1]["1"]
    compared = [s for s in row.shifts if s.relative_error is not None]
    assert row.relative_error == max(s.relative_error or 0 for s in compared)
    assert row.worst is not None
    assert row.worst.relative_error == row.relative_error
    assert shiftcheck.geometry(nn.ReLU(), (1, 1, 8)).layers[0].error is None


def test_a_report_holds_plain_values_only() -> None:
    def walk(value: object) -> None:
        if isinstance(value, dict):
            walk(tuple(value.values()))
        elif isinstance(value, tuple):
            for child in value:
                walk(child)
        else:
            assert value is None or isinstance(value, str | int | float | Fraction)

    for report in reports():
        walk(dataclasses.asdict(report))
