"""An evaluation over a set of data as text, and what a page shows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from rich.table import Table

from shiftcheck.report.evaluation import EvaluationReport, Quantity, Unmeasured
from shiftcheck.report.render.contents import COLUMNS, Contents, Sheet, drawn, wrapped
from shiftcheck.report.render.evaluation_charts import charts_of_evaluation
from shiftcheck.report.render.numbers import count, figure, percent

SHOWN = 3
"""So many worst cases and items are named one by one."""


def render_evaluation(report: EvaluationReport) -> str:
    """The headline, the table of quantities, the worst cases, and what could not be measured."""
    contents = contents_of_evaluation(report)
    table = [line for sheet in contents.sheets[:1] for line in _table(sheet)]
    return "\n".join([contents.headline, *table, *wrapped(contents.sentences)])


def _table(sheet: Sheet) -> list[str]:
    table = Table(box=None, pad_edge=False)
    for title in sheet.head:
        table.add_column(title, justify="right" if title else "left", no_wrap=bool(title))
    for row in sheet.rows:
        table.add_row(*row)
    return [line for line in drawn(table, COLUMNS) if line]


def headline_of_evaluation(report: EvaluationReport) -> str:
    """One line: the model, what was measured, and over how many items."""
    shapes = ", ".join("x".join(map(str, shape)) for shape in report.input_shapes[:SHOWN])
    more = ", ..." if len(report.input_shapes) > SHOWN else ""
    size = f" of {shapes}{more}" if shapes else ""
    told = f"{report.model} over {count(report.items, 'item')}{size}"
    told += f", {_copies(report.pairs)}" if report.pairs else ""
    return told + (f": {report.reason}" if report.reason else "")


def contents_of_evaluation(report: EvaluationReport) -> Contents:
    """What a page or a notebook shows."""
    told = [q for q in report.quantities if q.pairs.count]
    sheets = [
        Sheet.of(
            "Quantities",
            told,
            {
                "": lambda q: f"{q.what} of {q.output}",
                "pairs": lambda q: str(q.pairs.count),
                "mean": lambda q: figure(q.pairs.mean),
                "median": lambda q: figure(q.pairs.quantile(0.5)),
                "99 %": lambda q: figure(q.pairs.quantile(0.99)),
                "largest": lambda q: figure(q.pairs.largest),
            },
        ),
        *(sheet for q in told for sheet in _sheets(q)),
    ]
    return Contents(
        headline=headline_of_evaluation(report),
        verdict="",
        sentences=tuple(_sentences(report)),
        sheets=tuple(sheet for sheet in sheets if sheet.rows),
        figure="".join(chart.over_shifts for chart in charts_of_evaluation(report)[:1]),
        made=(
            ("seed", str(report.seed)),
            ("batch size", str(report.batch_size)),
            ("fingerprint", report.fingerprint[:16]),
            *(("note", note) for note in report.notes),
        ),
    )


def _sheets(q: Quantity) -> Iterator[Sheet]:
    """The worst cases, and the figures of each shift."""
    name = f"{q.what} of {q.output}"
    yield Sheet.of(
        f"Worst cases: {name}",
        q.worst,
        {
            "item": lambda w: str(w.item),
            "shift": lambda w: str(w.shift),
            "value": lambda w: figure(w.value),
            "replay": lambda w: w.replay,
        },
    )
    yield Sheet.of(
        f"Shifts: {name}",
        q.shifts,
        {
            "shift": lambda s: str(s.shift),
            "items": lambda s: str(s.count),
            "mean": lambda s: figure(s.mean),
            "largest": lambda s: figure(s.largest),
        },
    )


def _sentences(report: EvaluationReport) -> Iterator[str]:
    if report.reason:
        yield f"reason: {report.reason.plain}"
    for q in report.quantities:
        yield from _of_quantity(q)
    if report.corrupt:
        are = "is" if report.corrupt == 1 else "are"
        yield f"{count(report.corrupt, 'item')} could not be measured, and {are} in no figure:"
        for bad in report.corrupt_items[:SHOWN]:
            yield f"    item {bad.item} ({bad.where}): {bad.error}; replay: {bad.replay}"
    if report.repeated:
        yield f"{count(report.repeated, 'item')} came again from the sampler: counted once"
    if report.length is None:
        yield "the data has an unknown length"
    yield from (f"note: {note}" for note in report.notes)


def _of_quantity(q: Quantity) -> Iterator[str]:
    name = f"{q.what} of {q.output}"
    if q.reason:
        hint = q.reason.hints.evaluation
        yield f"{name}: {q.reason}: {q.reason.plain}{f'; {hint}' if hint else ''}"
    if q.figures and not q.reason:
        yield f"{name}: {SENTENCES.get(q.what, _listed)(q.figures)}"
    if q.worst and not q.reason:
        yield f"{name}: {_worst(q)}"
        yield f"    {q.worst[0].replay}"
    for left in q.unmeasured:
        yield f"{name}: {_left_out(left)}"


Figures = Mapping[str, float | None]


def _listed(figures: Figures) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {figure(v)}" for key, v in figures.items())


def _of_classes(figures: Figures) -> str:
    return (
        f"the class stays in {percent(figures.get('consistency'))} of the shifted copies, and under"
        f" every shift for {percent(figures.get('always_the_same'))} of the items;"
        f" {figures.get('classes') or 0:g} classes, the largest with"
        f" {percent(figures.get('largest_class'))} of the items"
    )


def _of_class_maps(figures: Figures) -> str:
    return (
        f"{percent(figures.get('consistency'))} of the compared places keep their class on average,"
        f" {percent(figures.get('least_consistency'))} in the worst case;"
        f" {figures.get('classes') or 0:g} classes, the largest with"
        f" {percent(figures.get('largest_class'))} of the places"
    )


def _of_invariance(figures: Figures) -> str:
    between = figures.get("between_items")
    if figures.get("relative_mean") is None:
        return f"distance between two items: {figure(between)}"
    return (
        f"a shift moves the output by {percent(figures.get('relative_mean'))} of the distance"
        f" between two items, which is {figure(between)}; by"
        f" {percent(figures.get('relative_largest'))} at most"
    )


def _of_eq_t(figures: Figures) -> str:
    return (
        f"PSNR {figure(figures.get('psnr'))} dB for a range of {figure(figures.get('peak'))},"
        f" relative L2 error {figure(figures.get('relative_l2'))}, largest gap"
        f" {figure(figures.get('max_gap'))}, over {figures.get('samples') or 0:.0f} samples"
    )


SENTENCES: dict[str, Callable[[Figures], str]] = {
    "classes": _of_classes,
    "class_maps": _of_class_maps,
    "invariance": _of_invariance,
    "eq_t": _of_eq_t,
}


WORST = {"classes": "another class for item {item} under {shift}, for example:"}
"""How the worst case of a quantity is told, where its value says nothing."""


def _worst(q: Quantity) -> str:
    w = q.worst[0]
    told = WORST.get(q.what, "worst {value}, for item {item} under {shift}:")
    return told.format(value=figure(w.value), item=w.item, shift=w.shift)


def _left_out(left: Unmeasured) -> str:
    which = ", ".join(map(str, left.first[:SHOWN]))
    more = ", ..." if left.items > len(left.first[:SHOWN]) else ""
    items = f"{count(left.items, 'item')} ({which}{more})"
    return f"{count(left.pairs, 'pair')} of {items} in no figure: {left.reason}"


def _copies(number: int) -> str:
    return "1 shifted copy" if number == 1 else f"{number} shifted copies"
