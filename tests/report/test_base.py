"""Every report there and back through JSON, and shown in every format."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.report import (
    ConvolutionReport,
    InvarianceReport,
    InvarianceShift,
    InvariantOutput,
    LinearityReport,
    LinearOutput,
    Reason,
)
from shiftcheck.report.base import AnyReport, renderers
from shiftcheck.report.render import CONTENTS


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def pooled(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def infinite() -> AnyReport:
    """A report of invariance in which numbers are infinite, or none."""
    shift = InvarianceShift(
        shift=(1, -2.5), verdict=None, distance=math.inf, gap=-math.inf, mean_distance=None
    )
    output = InvariantOutput(name="0", shape=(2, 3), period=(None, 2), shifts=(shift,))
    return InvarianceReport(verdict=None, reason=Reason.NO_BOUND, outputs=(output,))


REPORTS: dict[str, Callable[[], AnyReport]] = {
    "upsampled": lambda: shiftcheck.check_equivariance(
        nn.Sequential(nn.Upsample(scale_factor=1.5), nn.GroupNorm(1, 1)), draw(1, 1, 16, 18)
    ),
    "not finite": lambda: shiftcheck.check_equivariance(lambda x: x * math.inf, draw(1, 1, 12, 13)),
    "structure": lambda: shiftcheck.geometry(nn.InstanceNorm2d(1), (1, 1, 8, 9)),
    "invariant": lambda: shiftcheck.check_invariance(pooled(nn.ReLU()), draw(3, 1, 12, 8)),
    "not invariant": lambda: shiftcheck.check_invariance(
        pooled(nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2)), draw(2, 1, 12, 8)
    ),
    "line": lambda: shiftcheck.check_invariance(
        lambda x: x[..., :5].sum(-1), draw(3, 1, 12), max_relative_error=0.1
    ),
    "three axes": lambda: shiftcheck.check_invariance(
        lambda x: x[..., :2].sum((2, 3, 4)), draw(2, 1, 5, 4, 6)
    ),
    "infinite": infinite,
    "linear": lambda: shiftcheck.check_linear(nn.AvgPool2d(2), draw(1, 1, 8, 8)),
    "not linear": lambda: shiftcheck.check_linear(nn.ReLU(), draw(1, 1, 8, 8)),
    "undecided": lambda: shiftcheck.check_linear(lambda x: x / 0, draw(1, 1, 8, 8)),
    "convolution": lambda: shiftcheck.check_convolution(
        nn.ConvTranspose2d(1, 1, 2, stride=2), draw(1, 1, 8, 8)
    ),
    "no convolution": lambda: shiftcheck.check_convolution(
        nn.Linear(8, 8), draw(1, 1, 8, 8), boundary="circular"
    ),
}
MADE: dict[str, AnyReport] = {}


@pytest.fixture(params=REPORTS)
def report(request: pytest.FixtureRequest) -> AnyReport:
    if request.param not in MADE:
        torch.manual_seed(0)
        MADE[request.param] = REPORTS[request.param]()
    return MADE[request.param]


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no strict JSON")


def test_json_there_and_back(report: AnyReport) -> None:
    text = report.to_json()
    assert json.loads(text, parse_constant=refuse)["schema_version"] == 1
    again = type(report).from_json(text)
    assert again == report
    assert repr(again) == repr(report)
    assert str(again) == str(report)


def values(record: Any) -> Any:
    """All that stands in a record and the records in it."""
    if dataclasses.is_dataclass(record):
        record = [getattr(record, f.name) for f in dataclasses.fields(record)]
    if isinstance(record, list | tuple):
        for entry in record:
            yield from values(entry)
    else:
        yield record


def test_the_reports_hold_what_is_not_plain_in_json() -> None:
    held = [v for make in REPORTS.values() for v in values(make())]
    for value in (math.inf, None, Fraction(1, 2), Reason.NOT_FINITE):
        assert value in held


def test_what_is_beside_is_passed_over(report: AnyReport) -> None:
    data = json.loads(report.to_json()) | {"comment": "mine"}
    data["outputs"] = [o | {"colour": 1} for o in data.get("outputs", ())]
    assert type(report).from_json(json.dumps(data)) == report


def required(record: Any) -> set[str]:
    return {f.name for f in dataclasses.fields(record) if f.default is dataclasses.MISSING}


def test_fields_that_an_older_report_lacks_have_their_defaults() -> None:
    report = REPORTS["convolution"]()
    data = {k: v for k, v in json.loads(report.to_json()).items() if k in required(report)}
    for output in data["linearity"]["outputs"]:
        for name in output.keys() - required(LinearOutput):
            del output[name]
    again = ConvolutionReport.from_json(json.dumps(data | {"schema_version": 1}))
    assert again.taps == ()
    assert again.linearity.outputs[0].superpositions == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("verdict", "green"),
        ("reason", 3),
        ("outputs", "all"),
        ("outputs", [1]),
        ("amplitudes", [1.0]),
        ("seed", "one"),
        ("notes", [None]),
        ("unit", "much"),
        ("versions", []),
    ],
)
def test_a_value_of_another_type_is_refused(name: str, value: object) -> None:
    data = json.loads(REPORTS["linear"]().to_json()) | {name: value}
    with pytest.raises(shiftcheck.InputError, match="text is no complete report of linearity"):
        LinearityReport.from_json(json.dumps(data))


SHARED = ("inconclusive", "not linear")
"""Verdicts of several checks."""


def test_a_report_with_another_verdict_is_refused(report: AnyReport) -> None:
    for cls in (LinearityReport, ConvolutionReport, InvarianceReport):
        if not isinstance(report, cls) and report.verdict not in (None, *SHARED):
            with pytest.raises(shiftcheck.InputError, match=cls._called):
                cls.from_json(report.to_json())


def test_every_report_is_shown_in_every_format() -> None:
    forms = {form for form, _ in renderers}
    for name in CONTENTS:
        assert {form for form, shown in renderers if shown == name} == forms


EVIL = "<script>alert(1)</script>"


def test_a_notebook_shows_the_sentences_and_the_tables(report: AnyReport) -> None:
    shown = report._repr_html_()
    assert "<table><thead><tr><th>" in shown
    evil = report
    if not isinstance(report, ConvolutionReport):
        evil = dataclasses.replace(report, model=EVIL)
        assert EVIL not in evil._repr_html_()
        assert "&lt;script&gt;" in evil._repr_html_()


def page_of(report: AnyReport, folder: Path) -> str:
    pytest.importorskip("jinja2", reason="needs the extra html")
    path = folder / "report.html"
    report.to_html(path)
    return path.read_text(encoding="utf-8")


def test_a_page_shows_the_verdict_and_every_sentence(report: AnyReport, tmp_path: Path) -> None:
    page = page_of(report, tmp_path)
    assert page.count("<h1>") == page.count("<main>") == 1
    assert '<html lang="en">' in page
    contents = CONTENTS[type(report).__name__](report)
    assert f'">{contents.verdict.upper()}</p>' in page
    assert page.count("<li>") >= len(contents.sentences)


def test_a_page_without_charts_needs_no_script(report: AnyReport, tmp_path: Path) -> None:
    if isinstance(report, shiftcheck.Report):
        return
    page = page_of(report, tmp_path)
    drawn = isinstance(report, InvarianceReport) and report.relative_error is not None
    assert ("<script" in page) is drawn
    assert page.count('scope="row"') >= 1
    if not isinstance(report, ConvolutionReport):
        assert EVIL not in page_of(dataclasses.replace(report, model=EVIL), tmp_path)


def test_the_map_over_the_shifts_is_a_table(tmp_path: Path) -> None:
    line = page_of(REPORTS["line"](), tmp_path)
    assert '<th scope="col">shift</th><th scope="col">' in line
    assert '<th scope="row"></th>' not in line
    page = page_of(REPORTS["not invariant"](), tmp_path)
    assert 'm \\ n</th><th scope="col">-' in page
    assert "Relative error over the shifts" in page


def test_the_page_of_a_pass_and_of_a_break_are_coloured(tmp_path: Path) -> None:
    assert '<p class="verdict invariant">' in page_of(REPORTS["invariant"](), tmp_path)
    assert '<p class="verdict not-linear">' in page_of(REPORTS["not linear"](), tmp_path)


def test_a_file_that_cannot_be_written(report: AnyReport, tmp_path: Path) -> None:
    page_of(report, tmp_path)
    with pytest.raises(shiftcheck.InputError, match=r"report\.html' cannot be written: No such"):
        report.to_html(tmp_path / "missing" / "report.html")


def test_the_json_of_another_report_is_refused_by_name() -> None:
    text = shiftcheck.check_equivariance(torch.nn.ReLU(), torch.zeros(1, 1, 8, 8)).to_json()
    with pytest.raises(
        shiftcheck.InputError, match=r"but a Report: read it with shiftcheck\.report\.Report"
    ):
        shiftcheck.report.InvarianceReport.from_json(text)
    with pytest.raises(shiftcheck.InputError, match="of linearity but a Report"):
        shiftcheck.report.LinearityReport.from_json(text)
    older = {k: v for k, v in json.loads(text).items() if k != "kind"}
    assert shiftcheck.Report.from_json(json.dumps(older)).reason == "constant input"
