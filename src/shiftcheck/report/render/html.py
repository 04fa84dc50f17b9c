"""Reports as one HTML file that needs nothing else: tables, charts, how they were made."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from shiftcheck.errors import MissingExtraError
from shiftcheck.report.equivariance import LayerResult, Report
from shiftcheck.report.render.contents import Contents, how_made
from shiftcheck.report.render.numbers import each, halo, size, spans
from shiftcheck.report.render.sentences import headline, reproduce, sentences
from shiftcheck.report.render.table import layers_of

DIGITS = 3
"""Of the numbers behind the charts; the JSON of a report has them all."""


def render_page(report: Report) -> str:
    """The page; everything that it shows is in the report.

    Raises MissingExtraError where jinja2 or plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise _missing(error) from error
    return _filled(
        "report.html.j2",
        contents_of_report(report),
        script=_template("report.js"),
        plotly=get_plotlyjs(),
        data=as_script(_data(report)),
    )


def render_plain_page(contents: Contents) -> str:
    """A page of sentences and tables, without scripts; raises MissingExtraError without jinja2."""
    return _filled("plain.html.j2", contents)


def _filled(template: str, contents: Contents, **more: str) -> str:
    try:
        import jinja2
    except ImportError as error:
        raise _missing(error) from error
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(_template),
    )
    style = _template("report.css")
    return environment.get_template(template).render(contents=contents, style=style, **more)


def _template(name: str) -> str:
    return files("shiftcheck.report.render").joinpath("templates", name).read_text("utf-8")


def _missing(error: ImportError) -> MissingExtraError:
    return MissingExtraError(
        f"a page needs {error.name}: install it with pip install 'torch-shiftcheck[html]'"
    )


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
        sheets=(layers_of(report),),
        made=(*made, ("again", again)),
    )


def as_script(data: Any) -> str:
    """JSON that can stand inside a script element whatever its strings hold."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _data(report: Report) -> dict[str, Any]:
    """What the charts and the table show, for the script of the page."""
    rows = [_row(row) for row in report.layers]
    return {
        "shifts": [list(shift) for shift in report.shifts],
        "pixels": [report.input_shape[d] for d in report.spatial_dims],
        "sensitivity": _number(report.sensitivity),
        "guilty": report.guilty.layer if report.guilty is not None else None,
        "layers": rows,
        "outputs": [_row(row) for row in report.outputs],
    }


def _row(row: LayerResult) -> dict[str, Any]:
    allowed = [s.allowance for s in row.shifts if s.allowance is not None]
    return {
        "name": row.name,
        "op": row.op,
        "shape": size(row.shape),
        "stride": each(row.stride),
        "period": each(row.period),
        "field": each(row.receptive_field),
        "halo": halo(row.halo),
        "valid": spans(row.valid),
        "verdict": "not measured" if row.verdict is None else str(row.verdict),
        "reason": row.reason,
        "causes": list(dict.fromkeys(cause.kind for cause in row.causes)),
        "error": _number(row.relative_error),
        "border": _number(row.relative_border_error),
        "inside": _number(row.local_interior),
        "edge": _number(row.local_border),
        "allowance": _number(max(allowed, default=None)),
        "errors": [_number(s.relative_error) for s in row.shifts],
        "steps": [None if s is None else float(s) for s in row.stride],
        "halos": [None if h is None else [_finite(h[0]), _finite(h[1])] for h in row.halo],
        "runs": [None if v is None else [list(run) for run in v] for v in row.valid],
        "sizes": list(row.shape[2:]),
    }


def _number(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")


def _finite(value: float) -> float | None:
    return value if abs(value) != float("inf") else None
