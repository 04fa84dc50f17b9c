"""The pictures of a page of an evaluation: distributions, maps over shifts, and worst cases."""

from __future__ import annotations

from dataclasses import dataclass

from shiftcheck.report.evaluation import (
    EvaluationReport,
    OverShift,
    Picture,
    Quantity,
    Shift,
    WorstCase,
)
from shiftcheck.report.render.histogram import drawn_bars, drawn_histogram
from shiftcheck.report.render.map_of_shifts import drawn_map
from shiftcheck.report.render.numbers import describe, figure

HALO, CLASSES = "effective_halo", "classes"
"""The quantities whose values are no errors of an item under a shift."""

MAPS = {
    CLASSES: "share of items whose class changes",
    "class_maps": "mean share of places whose class changes",
}
"""What a map over shifts shows of some quantities."""

LARGEST_MAP = 1500
"""So many squares a map has at most."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A worst case; ``png`` is empty where there is no picture of its item."""

    png: str
    name: str
    told: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What is drawn of one quantity, as markup; a picture is empty where there is none."""

    title: str
    measures: str
    over_items: str
    over_shifts: str
    cases: tuple[Case, ...]


def charts_of_evaluation(report: EvaluationReport) -> tuple[Chart, ...]:
    """The pictures of every quantity that has values."""
    pictures = {p.item: p for p in report.pictures}
    return tuple(
        Chart(
            title=f"{q.what} of {q.output}",
            measures=q.measures,
            over_items=_over_items(q),
            over_shifts=_over_shifts(q),
            cases=tuple(
                _case(w, pictures.get(w.item), of_classes=q.what == CLASSES) for w in q.worst
            ),
        )
        for q in report.quantities
        if q.pairs.count and not q.reason
    )


def _over_items(q: Quantity) -> str:
    called = f"{q.what} of {q.output}: the largest value of each item"
    if q.what != CLASSES:
        return drawn_histogram(q.items.histogram, called, "items")
    changed = sum(b.count for b in q.items.histogram if b.high > 0)
    named = [("the class stays", q.items.count - changed), ("it changes at some shift", changed)]
    return drawn_bars(named, called, "items")


def _over_shifts(q: Quantity) -> str:
    """A map of the mean over all items; of an effective halo, a line for each axis."""
    means = {s.shift: s.mean for s in q.shifts}
    if not means:
        return ""
    if q.what == HALO:
        return "".join(_along(axis, q.shifts) for axis in range(len(q.shifts[0].shift)))
    along = [_offsets([shift[a] for shift in means]) for a in range(len(q.shifts[0].shift))]
    squares = 1
    for offsets in along:
        squares *= len(offsets)
    if squares > LARGEST_MAP:
        return ""
    called = MAPS.get(q.what, f"mean {q.what}")
    return drawn_map(along, means, called=called)


def _offsets(values: list[float]) -> list[float]:
    """Every whole offset between the outermost, and 0; those alone that are there, if far apart."""
    low, high = min(0, *values), max(0, *values)
    whole = [float(v) for v in range(int(low), int(high) + 1)]
    return whole if len(whole) <= 2 * len(set(values)) + 3 else sorted({0.0, *values})


def _along(axis: int, found: tuple[OverShift, ...]) -> str:
    """The error at each distance from the first and from the last edge of an axis."""
    there = {s.shift[axis]: s.mean for s in found if s.shift[axis]}
    if not there:
        return ""
    called = f"mean error by the distance from the edges of axis {axis}"
    return drawn_map([sorted(there)], {(v,): e for v, e in there.items()}, called=called)


def _case(worst: WorstCase, picture: Picture | None, *, of_classes: bool) -> Case:
    name = f"item {worst.item}"
    if picture is not None and picture.shown:
        name += f", {picture.shown}"
    return Case(
        png="" if picture is None else picture.png,
        name=name,
        told=f"{'another class' if of_classes else figure(worst.value)} under"
        f" {_written(worst.shift)}",
    )


def _written(shift: Shift) -> str:
    return f"({', '.join(map(describe, shift))}{',' if len(shift) == 1 else ''})"
