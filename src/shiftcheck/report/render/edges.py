"""The effective halo as text, and what a page shows of it."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.table import Table

from shiftcheck.report.edges import EdgeLayer, EdgeSide, EffectiveHalo
from shiftcheck.report.render.contents import APART, COLUMNS, Contents, Sheet, drawn, wrapped
from shiftcheck.report.render.numbers import count, describe, gap


def render_edges(found: EffectiveHalo) -> str:
    """A table of the overlaps, and what there is to say of them."""
    lines = [headline_of_edges(found), *wrapped(_sentences(found))]
    for sheet in _sheets(found):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=APART)
        for place, name in enumerate(sheet.head):
            table.add_column(name, justify="right" if place else "left")
        for row in sheet.rows:
            table.add_row(*row)
        lines += ["", sheet.title, *(line for line in drawn(table, COLUMNS) if line)]
    return "\n".join(lines)


def contents_of_edges(found: EffectiveHalo) -> Contents:
    """What a page or a notebook shows."""
    return Contents(
        headline=headline_of_edges(found),
        verdict="",
        sentences=tuple(_sentences(found)),
        sheets=tuple(_sheets(found)),
        made=tuple(("note", note) for note in found.notes),
    )


def headline_of_edges(found: EffectiveHalo) -> str:
    """One line: the model, and what it was asked."""
    shape = "x".join(map(str, found.input_shape))
    return f"effective halo of {found.model} on {shape}, {count(found.draws, 'draw')} for each side"


def _sheets(found: EffectiveHalo) -> Iterator[Sheet]:
    """Pixels from the edge in which the error is larger than each tolerance."""
    shares = [p for p in found.percentiles if p >= 99] or list(found.percentiles[-1:])
    for percentile in shares:
        place = found.percentiles.index(percentile)
        what = "largest error" if percentile == 100 else f"{percentile:g} % of places and channels"
        rows = [
            (_where(found, layer, side), describe(side.theoretical), *_cells(side, place))
            for layer in (*found.outputs, *found.layers)
            for side in layer.sides
        ]
        if rows:
            head = ("", "theory", *(f"> {t:g}" for t in found.tolerances))
            yield Sheet(title=f"pixels from the edge, {what}", head=head, rows=tuple(rows))


def _where(found: EffectiveHalo, layer: EdgeLayer, side: EdgeSide) -> str:
    axis = f"axis {side.axis}, {side.side}"
    many = len(found.outputs) > 1 or found.layers
    return f"{layer.name}: {axis}" if many else axis


def _cells(side: EdgeSide, percentile: int) -> Iterator[str]:
    for need in side.needed[percentile]:
        if need is not None:
            yield str(need)
        else:
            yield "never" if side.levels_off else f"> {side.distances[-1] if side.distances else 0}"


def _sentences(found: EffectiveHalo) -> Iterator[str]:
    for layer in found.outputs:
        if layer.reason:
            yield f"{layer.name}: nothing can be told, {layer.reason}"
        if layer.silent and not layer.reason:
            yield (
                f"{layer.name}: {layer.silent} of {count(layer.channels, 'channel')} change with"
                " nothing in the input, and are left out"
            )
        for side in layer.sides:
            yield from _told(layer, side, found.percentiles)


def _told(layer: EdgeLayer, side: EdgeSide, percentiles: tuple[float, ...]) -> Iterator[str]:
    where = f"{layer.name}, axis {side.axis}, {side.side}"
    if side.levels_off:
        levels = ", ".join(
            f"{gap(level)} (largest)" if p == 100 else f"{gap(level)} ({p:g} %)"
            for p, level in zip(percentiles, side.level, strict=True)
        )
        yield (
            f"{where}: the error levels off at {levels}: every sample sees all of the axis, and no"
            " overlap brings it lower"
        )
    elif any(need is None for row in side.needed for need in row):
        yield f"{where}: the input is too small to see the end of it; give a larger one"
