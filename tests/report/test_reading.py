"""A report of any kind is read by what its JSON says that it is."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.report import read_report
from shiftcheck.report.base import Shown

X = torch.randn(2, 1, 8, 8)
REPORTS = {
    "Report": lambda: shiftcheck.geometry(nn.Conv2d(1, 1, 3), X.shape),
    "InvarianceReport": lambda: shiftcheck.check_invariance(nn.ReLU(), X),
    "LinearityReport": lambda: shiftcheck.check_linear(nn.AvgPool2d(2), X),
    "ConvolutionReport": lambda: shiftcheck.check_convolution(nn.AvgPool2d(2), X),
    "EffectiveHalo": lambda: shiftcheck.effective_halo(nn.AvgPool1d(3, 1), (1, 1, 32)),
    "InputSizes": lambda: shiftcheck.input_sizes(nn.MaxPool2d(2), X),
    "TilingPlan": lambda: shiftcheck.tiling(nn.MaxPool2d(2), X),
    "TiledComparison": lambda: shiftcheck.compare_tiled(nn.MaxPool2d(2), nn.MaxPool2d(2), X),
}


@pytest.fixture(params=list(REPORTS))
def report(request: pytest.FixtureRequest) -> Shown:
    made: Shown = REPORTS[request.param]()
    assert type(made).__name__ == request.param
    return made


def test_it_is_the_report_that_was_written(report: Shown) -> None:
    again = read_report(report.to_json())
    assert type(again) is type(report)
    assert again == report


def test_what_names_no_kind_is_a_report_of_equivariance() -> None:
    report = REPORTS["Report"]()
    data = json.loads(report.to_json())
    del data["kind"]
    assert read_report(json.dumps(data)) == report


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "text is no JSON"),
        ("[]", "no schema_version"),
        ('{"kind": "Cause", "schema_version": 1}', "text is a Cause, which is none of Report, Inv"),
        ('{"kind": [], "schema_version": 1}', "text is a"),
    ],
)
def test_what_is_no_report_is_refused(text: str, says: str) -> None:
    with pytest.raises(shiftcheck.InputError, match=says):
        read_report(text)
