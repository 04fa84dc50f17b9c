"""Reports as one HTML file that needs nothing else: tables, charts, how they were made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from typing import Any, TypeVar

from shiftcheck.errors import MissingExtraError
from shiftcheck.report.equivariance import LayerResult, Report, ShiftResult
from shiftcheck.report.evaluation import EvaluationReport
from shiftcheck.report.invariance import InvarianceReport, InvarianceShift
from shiftcheck.report.render.cells import NOT_COMPARED
from shiftcheck.report.render.contents import Contents, how_made
from shiftcheck.report.render.evaluation import contents_of_evaluation
from shiftcheck.report.render.evaluation_charts import charts_of_evaluation
from shiftcheck.report.render.invariance import contents_of_invariance
from shiftcheck.report.render.layers import (
    LIES_HERE,
    REST,
    accused_row,
    cause_of,
    mark_of,
    sheet_of_layers,
    verdict_of,
    verdict_of_shift,
)
from shiftcheck.report.render.numbers import gap
from shiftcheck.report.render.plain import UNIT
from shiftcheck.report.render.sentences import headline, reproduce, sentences
from shiftcheck.report.render.tiles import sheet_of_margins


def render_page(report: Report) -> str:
    """The page; everything that it shows is in the report.

    Raises MissingExtraError where jinja2 is not installed.
    """
    row = accused_row(report)
    return _filled(
        "report.html.j2",
        contents=contents_of_report(report),
        margins=sheet_of_margins(report),
        lies_here=row.name if row is not None and mark_of(row) == LIES_HERE else "",
        measured=bool(report.shifts),
        borders=any(layer.border_error is not None for layer in report.layers),
        scripts=(_template("charts.js"), _template("report.js")),
        data=as_script(_data(report)),
    )


def render_page_of_invariance(report: InvarianceReport) -> str:
    """The page of a check of invariance: as a plain one, with the error over the shifts drawn."""
    if report.decisive.relative_error is None:
        return render_plain_page(contents_of_invariance(report))
    return _filled(
        "invariance.html.j2",
        contents=contents_of_invariance(report),
        scripts=(_template("charts.js"), _template("invariance.js")),
        data=as_script(_data_of_invariance(report)),
    )


def render_page_of_evaluation(report: EvaluationReport) -> str:
    """The page of a set of data: distributions, maps over the shifts, and the worst cases."""
    return _filled(
        "evaluation.html.j2",
        contents=contents_of_evaluation(report),
        charts=charts_of_evaluation(report),
        pictured=bool(report.pictures),
    )


def render_plain_page(contents: Contents) -> str:
    """A page of sentences and tables, without scripts; raises MissingExtraError without jinja2."""
    return _filled("plain.html.j2", contents=contents)


def render_index(entries: Iterable[tuple[str, str, str, str]]) -> str:
    """A page with a line for each check: its test, verdict and model, and the page of its report.

    Raises MissingExtraError without jinja2.
    """
    listed = tuple(entries)
    verdicts = dict.fromkeys(verdict for _, verdict, _, _ in listed)
    counted = [f"{sum(e[1] == v for e in listed)} {v}" for v in verdicts]
    many = "1 check" if len(listed) == 1 else f"{len(listed)} checks"
    return _filled("index.html.j2", entries=listed, title=f"{many}: {', '.join(counted)}")


def _filled(template: str, **values: Any) -> str:
    page = _environment().get_template(template)
    return str(page.render(style=_template("report.css"), **values))


def _environment() -> Any:
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError(
            f"a page needs {error.name}: install it with pip install 'torch-shiftcheck[html]'"
        ) from error
    return jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(_template),
    )


def _template(name: str) -> str:
    return files("shiftcheck.report.render").joinpath("templates", name).read_text("utf-8")


def contents_of_report(report: Report) -> Contents:
    """What a page shows of a check of equivariance, beside its charts."""
    output = report.outputs[0] if report.outputs else None
    again = "" if output is None or report.verdict is None else reproduce(report, output)
    made = how_made(
        report,
        device=report.device,
        boundary=", ".join(report.boundary),
        shifts=str(len(report.shifts)),
    )
    return Contents(
        headline=headline(report),
        verdict="structure only" if report.verdict is None else str(report.verdict),
        sentences=tuple(sentences(report)[1:]),
        sheets=(sheet_of_layers(report),),
        made=(*made, ("again", again)),
    )


def as_script(data: Any) -> str:
    """JSON that can stand inside a script element whatever its strings hold."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _data(report: Report) -> dict[str, Any]:
    """What the charts and the table show, for the script of the page."""
    accused = accused_row(report)
    return {
        "shifts": [list(shift) for shift in report.shifts],
        "unit": _unit(len(report.spatial_dims)),
        "pixels": [report.input_shape[d] for d in report.spatial_dims],
        "guilty": None if accused is None else report.layers.index(accused),
        "mark": "" if accused is None else mark_of(accused),
        "columns": ["layer", "verdict", "cause", *REST],
        "layers": [_row(row) for row in report.layers],
    }


def _row(row: LayerResult) -> dict[str, Any]:
    allowed = [s.allowance for s in row.shifts if s.allowance is not None]
    return {
        "name": row.name,
        "cells": [verdict_of(row), cause_of(row), *(show(row) for show in REST.values())],
        "error": _number(row.relative_error),
        "border": _number(row.relative_border_error),
        "allowance": _number(max(allowed, default=None)),
        **_over_shifts(row.shifts, verdict_of_shift),
        "steps": [None if s is None else float(s) for s in row.stride],
        "halos": [None if h is None else [_finite(h[0]), _finite(h[1])] for h in row.halo],
        "runs": [None if v is None else [list(run) for run in v] for v in row.valid],
    }


def _data_of_invariance(report: InvarianceReport) -> dict[str, Any]:
    shown = report.decisive.shifts
    return {
        "unit": _unit(len(shown[0].shift)),
        "shifts": [list(s.shift) for s in shown],
        **_over_shifts(shown, _verdict_of_invariance),
    }


def _unit(axes: int) -> str:
    return f"{UNIT.get(axes, 'pixel')}s"


def _verdict_of_invariance(result: InvarianceShift) -> str:
    if result.relative_error is None:
        return NOT_COMPARED
    return "not judged" if result.verdict is None else str(result.verdict)


S = TypeVar("S", ShiftResult, InvarianceShift)


def _over_shifts(results: Sequence[S], verdict: Callable[[S], str]) -> dict[str, Any]:
    """The error at every shift, and the verdict by its place in a list of those that occur."""
    verdicts = [verdict(result) for result in results]
    kinds = list(dict.fromkeys(verdicts))
    return {
        "errors": [_number(result.relative_error) for result in results],
        "kinds": kinds,
        "verdicts": [kinds.index(v) for v in verdicts],
    }


def _number(value: float | None) -> float | None:
    """A number with the digits that the tables and sentences show."""
    return None if value is None else float(gap(value))


def _finite(value: float) -> float | None:
    return value if abs(value) != float("inf") else None
