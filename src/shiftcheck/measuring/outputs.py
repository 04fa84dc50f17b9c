"""The outputs of a model as rows."""

from __future__ import annotations

from collections.abc import Sequence

from shiftcheck.lattice.causes import lose
from shiftcheck.lattice.layout import Layout
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.tracing.traced import Row, Traced


def output_rows(traced: Traced) -> list[Row]:
    """The outputs as rows, named by their place in what the model returned."""
    rows = []
    for path, _, layout in traced.outputs:
        name = _output_name(path, len(traced.outputs))
        layout = _in_order(layout, name, traced.order)
        rows.append(Row(name=name, op="output", layout=layout))
    return rows


def _in_order(layout: Layout, name: str, order: Sequence[int]) -> Layout:
    """The layout of an output; axes that have changed places move along others than the input's."""
    placed = layout.axes_in(range(len(layout.dims)))
    if list(placed) == [axis for axis in order if axis in placed]:
        return layout
    detail = "the axes have changed places, as after a transpose"
    return lose(layout, placed, Cause(kind=CauseKind.INDEX, layer=name, op="output", detail=detail))


def _output_name(path: str, count: int) -> str:
    return "output" if count == 1 and not path else f"output{path}"
