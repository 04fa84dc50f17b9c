"""The page of a report: complete by itself, escaped, and made from the JSON alone."""

from __future__ import annotations

import builtins
import json
import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from html import escape
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import Report, Verdict
from shiftcheck.report import LayerResult, ShiftResult
from shiftcheck.report.render import render_index
from shiftcheck.report.render.layers import verdict_of_shift
from shiftcheck.report.render.numbers import gap
from shiftcheck.report.render.sentences import sentences

pytest.importorskip("jinja2", reason="needs the extra html")


def report_of() -> Report:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2), nn.ConvTranspose2d(2, 1, 2, 2)
    )
    return shiftcheck.check_equivariance(model, torch.randn(1, 1, 16, 18))


def page_of(report: Report, tmp_path: Path) -> str:
    path = tmp_path / "report.html"
    report.to_html(path)
    return path.read_text(encoding="utf-8")


def data_of(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_everything_is_in_the_file(tmp_path: Path) -> None:
    own = page_of(report_of(), tmp_path)
    assert len(own.encode()) < 100_000
    assert not re.findall(r'(?:src|href)="(?!data:,)', own)
    others = own.replace("http://www.w3.org/2000/svg", "").replace("url(#hatch)", "")
    assert not re.findall(r"https?://|@import|url\(", others)


def test_the_verdict_and_what_explains_it_are_on_it(tmp_path: Path) -> None:
    report = report_of()
    page = page_of(report, tmp_path)
    assert '<p class="verdict broken">BROKEN</p>' in page
    assert "cause STRIDE" in page
    assert "remedy: shift by multiples of 2 pixels" in page
    assert "<code>shiftcheck.assert_equivariant(model, x, " in page
    for name, version in report.versions.items():
        assert f"{name} {version}" in page


def test_the_numbers_are_those_of_the_report_with_the_digits_of_its_text(tmp_path: Path) -> None:
    report = report_of()
    data = data_of(page_of(report, tmp_path))
    assert data["shifts"] == [list(shift) for shift in report.shifts]
    assert report.guilty is not None
    assert data["layers"][data["guilty"]]["name"] == report.guilty.layer
    for shown, row in zip(data["layers"], report.layers, strict=True):
        cells = dict(zip(data["columns"], [shown["name"], *shown["cells"]], strict=True))
        assert cells["layer"] == row.name
        for name, value in {
            "error": row.relative_error,
            "border error": row.relative_border_error,
            "alone, interior": row.local_interior,
            "alone, border": row.local_border,
        }.items():
            assert cells[name] == gap(value)
        for key, name in {"error": "error", "border": "border error"}.items():
            assert ("-" if shown[key] is None else gap(shown[key])) == cells[name]
        assert [e is None for e in shown["errors"]] == [s.error is None for s in row.shifts]
        verdicts = [shown["kinds"][i] for i in shown["verdicts"]]
        assert verdicts == [verdict_of_shift(s) for s in row.shifts]


def test_what_is_to_be_pasted_is_code(tmp_path: Path) -> None:
    report = report_of()
    lines = [s.strip() for s in sentences(report) if s.startswith(" ")]
    assert lines
    page, shown = page_of(report, tmp_path), report._repr_html_()
    for line in map(escape, lines):
        assert f'<li class="line"><code>{line}</code></li>' in page
        assert f"<code>{line}</code><br>" in shown


def test_name_verdict_and_cause_are_the_first_columns(tmp_path: Path) -> None:
    page = page_of(report_of(), tmp_path)
    assert data_of(page)["columns"][:3] == ["layer", "verdict", "cause"]
    heads = re.findall(r'<th scope="col">(.*?)</th>', page)  # of the table that needs no script
    assert heads[:3] == ["layer", "verdict", "cause"]


def test_the_layer_of_the_cause_is_called_guilty_only_where_it_is_broken(tmp_path: Path) -> None:
    page = page_of(report_of(), tmp_path)  # the stride is seen in the layer after it
    assert data_of(page)["mark"] == "cause lies here"
    assert "<strong>1</strong> is marked" in page
    torch.manual_seed(0)
    zeros = nn.Conv2d(1, 1, 3, padding=1)
    broken = shiftcheck.check_equivariance(zeros, torch.randn(1, 1, 12, 14), boundary="circular")
    page = page_of(broken, tmp_path)
    assert data_of(page)["mark"] == "guilty"
    assert "is marked" not in page
    whole = shiftcheck.check_equivariance(nn.Conv2d(1, 1, 3), torch.randn(1, 1, 12, 14))
    assert data_of(page_of(whole, tmp_path))["guilty"] is None


def test_a_page_can_be_made_later_from_json(tmp_path: Path) -> None:
    report = report_of()
    again = Report.from_json(report.to_json())
    assert page_of(again, tmp_path) == page_of(report, tmp_path)


EVIL = "<script>alert(1)</script>"


def test_what_comes_from_the_model_is_text(tmp_path: Path) -> None:
    report = report_of()
    rows = tuple(replace(row, name=f"{EVIL}&{i}") for i, row in enumerate(report.layers))
    assert report.guilty is not None
    evil = replace(
        report,
        layers=rows,
        model=EVIL,
        guilty=replace(report.guilty, layer=EVIL, detail=EVIL),
        notes=(EVIL, "</script><b>"),
    )
    page = page_of(evil, tmp_path)
    assert EVIL not in page
    assert "</script><b>" not in page
    assert data_of(page)["layers"][0]["name"] == f"{EVIL}&0"
    assert EVIL not in evil._repr_html_()
    assert "&lt;script&gt;" in evil._repr_html_()


def many(layers: int, side: int) -> Report:
    """A report of so many layers, at all shifts up to ``side`` pixels along two axes."""
    shifts = tuple((m, n) for m in range(-side, side + 1) for n in range(-side, side + 1))
    results = tuple(
        ShiftResult(
            shift=shift,
            verdict=Verdict.EQUIVARIANT,
            error=1.23456789e-7 * (i + 1),
            relative_error=1.23456789e-7 * (i + 1),
            border_error=0.123456789,
            relative_border_error=0.123456789,
            allowance=7.6e-6,
            share=0.5,
        )
        for i, shift in enumerate(shifts)
    )
    rows = tuple(
        LayerResult(
            name=f"stage{i // 100}.block{i // 10 % 10}.conv{i % 10}",
            op="Conv2d",
            shape=(1, 64, 56, 56),
            stride=(Fraction(4), Fraction(4)),
            period=(4, 4),
            receptive_field=(99.0, 99.0),
            halo=((49.0, 49.0), (49.0, 49.0)),
            valid=(((13, 43),), ((13, 43),)),
            verdict=Verdict.EQUIVARIANT,
            shifts=results,
        )
        for i in range(layers)
    )
    return replace(report_of(), layers=rows, outputs=rows[-1:], shifts=shifts, guilty=None)


def test_every_shift_of_a_volume_is_there_to_be_drawn(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv3d(1, 1, 3), nn.MaxPool3d(2))
    report = shiftcheck.check_equivariance(net, torch.randn(1, 1, 12, 13, 14))
    data = data_of(page_of(report, tmp_path))
    assert {len(shift) for shift in data["shifts"]} == {3}
    assert all(len(row["errors"]) == len(report.shifts) for row in data["layers"])


def test_an_index_lists_every_check_and_escapes_what_it_lists() -> None:
    entries = [("tests/a.py::test_b", "broken", EVIL, "a b-1.html"), ("c", "equivariant", "M", "")]
    page = render_index(entries)
    assert "<h1>2 checks: 1 broken, 1 equivariant</h1>" in page
    assert '<a href="a%20b-1.html">tests/a.py::test_b</a>' in page
    assert '<th scope="row">c</th>' in page  # its page could not be written
    assert EVIL not in page
    assert "<script" not in page


def test_a_thousand_layers_fit(tmp_path: Path) -> None:
    report = many(1000, 5)
    assert (len(report.layers), len(report.shifts)) == (1000, 121)
    assert len(page_of(report, tmp_path).encode()) < 3_000_000
    assert len(page_of(many(40, 5), tmp_path).encode()) < 300_000


def test_one_and_three_dimensions_and_structure_alone(tmp_path: Path) -> None:
    line = shiftcheck.check_equivariance(nn.Conv1d(1, 1, 3, padding=1), torch.randn(1, 1, 30))
    assert len(data_of(page_of(line, tmp_path))["pixels"]) == 1
    volume = shiftcheck.check_equivariance(nn.Conv3d(1, 1, 3), torch.randn(1, 1, 8, 9, 10))
    assert len(data_of(page_of(volume, tmp_path))["pixels"]) == 3
    alone = shiftcheck.geometry(nn.InstanceNorm2d(1), (1, 1, 8, 9))
    data = data_of(page_of(alone, tmp_path))
    assert data["layers"][0]["cells"][0] == "not measured"
    assert data["layers"][0]["halos"] == [[None, None], [None, None]]


def test_a_report_without_layers(tmp_path: Path) -> None:
    empty = replace(report_of(), layers=(), outputs=(), guilty=None, trials=())
    assert data_of(page_of(empty, tmp_path))["layers"] == []
    assert "<table>" in empty._repr_html_()


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "report.html"
    with pytest.raises(shiftcheck.InputError, match=r"report\.html' cannot be written: No such"):
        report_of().to_html(path)


def test_without_the_extra_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real: Callable[..., Any] = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "jinja2":
            raise ImportError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"pip install 'torch-shiftcheck\[html\]'"):
        report_of().to_html(tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
