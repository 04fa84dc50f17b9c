"""A comparison of tiles with the whole as text, and what a page shows of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shiftcheck.report.render.contents import Contents, Sheet, wrapped
from shiftcheck.report.render.numbers import count, describe, gap
from shiftcheck.report.seams import (
    ComparedOutput,
    SeamAxis,
    TiledComparison,
    TilesVerdict,
    TilingFault,
    WrongPart,
)

SHOWN = 4
"""So many seams or parts are named one by one."""


def render_seams(found: TiledComparison) -> str:
    """What differs and why, where the seams are, and the overlap that would do."""
    return "\n".join([headline_of_seams(found), *wrapped(_sentences(found))])


def contents_of_seams(found: TiledComparison) -> Contents:
    """What a page or a notebook shows."""
    rows = tuple(
        (
            f"{output.name}, axis {along.axis}",
            f"{seam.start} to {seam.stop - 1}",
            "-" if seam.line is None else str(seam.line),
            "-" if seam.missing is None else f"{seam.missing[0]}, {seam.missing[1]}",
            gap(seam.error),
        )
        for output in found.outputs
        for along in output.axes
        for seam in along.seams
    )
    head = ("", "samples", "tile begins", "pixels missing", "error")
    return Contents(
        headline=headline_of_seams(found),
        verdict=str(found.verdict),
        sentences=tuple(_sentences(found)),
        sheets=(Sheet(title="Seams", head=head, rows=rows),) if rows else (),
        made=tuple(("note", note) for note in found.notes),
    )


def headline_of_seams(found: TiledComparison) -> str:
    """One line: the model, the tiled callable, the verdict and the faults."""
    shape = "x".join(map(str, found.input_shape))
    why = ", ".join(found.faults) or found.reason
    verdict = found.verdict.upper() + (f", {why}" if why else "")
    return f"{found.model} on {shape}, in tiles by {found.tiled}: {verdict}"


def _sentences(found: TiledComparison) -> Iterator[str]:
    if found.reason:
        yield f"reason: {found.reason.plain}"
    for output in found.outputs:
        yield from _of_output(output, several=len(found.outputs) > 1)
    for fault in found.faults:
        yield f"{fault}: {fault.plain}; {fault.remedy}"
    if found.verdict is not TilesVerdict.DIFFERENT:
        yield from (f"note: {note}" for note in found.notes)
        return
    missing = [m for m in found.missing if m is not None and any(m)]
    if missing and TilingFault.OVERLAP in found.faults:
        yield f"too small by at least {count(max(map(max, missing)), 'pixel')}"
    for axis in _closing(found):
        yield (
            f"axis {axis} closes on itself, and there is a seam where it does: the first and the"
            " last tile have to read pixels of the other end"
        )
    if not NOT_OF_OVERLAP.issuperset(found.faults):
        yield from _that_would_do(found)
    yield from (f"note: {note}" for note in found.notes)


NOT_OF_OVERLAP = frozenset(
    {
        TilingFault.SHAPE,
        TilingFault.DISPLACED,
        TilingFault.DROPPED,
        TilingFault.TURNED,
        TilingFault.EXCHANGED,
        TilingFault.BORDER,
        TilingFault.PRECISION,
    }
)
"""Faults that no overlap mends."""


def _closing(found: TiledComparison) -> list[int]:
    """The axes that have a seam where they close on themselves."""
    lines = [(along.axis, along.lines) for o in found.outputs for along in o.axes]
    return sorted({axis for axis, places in lines if 0 in places})


def _that_would_do(found: TiledComparison) -> Iterator[str]:
    if found.layers:
        yield f"no overlap is enough: {', '.join(found.layers)} depends on the whole axis"
        return
    for axis, overlap in enumerate(found.overlap):
        if overlap is None:
            yield f"axis {axis}: which overlap would do is not known"
            continue
        halo, period = found.halo[axis], found.period[axis]
        sides = "" if halo is None else f" (halo {describe(halo[0])} and {describe(halo[1])})"
        grid = f", and begins at a multiple of {period}" if period and period > 1 else ""
        yield (
            f"axis {axis}: it is enough that each tile reads {overlap[0]} pixels more to the left"
            f" and {overlap[1]} to the right than it writes{sides}{grid}"
        )


def _of_output(output: ComparedOutput, *, several: bool) -> Iterator[str]:
    name = f"{output.name}: " if several else ""
    if TilingFault.SHAPE in output.faults:
        yield f"{name}shape {output.tiled_shape} from tiles, {output.shape} on the whole"
        return
    if output.error is None:
        if several and output.reason:
            yield f"{name}{output.reason}"
        return
    if TilingFault.CHOICES in output.faults:
        yield (
            f"{name}{output.share:.1%} of the places have another number, such as at"
            f" {output.index}: {_value(output.tiled)} from tiles, {_value(output.whole)} on the"
            " whole"
        )
    else:
        yield _largest(name, output)
    for along in output.axes:
        yield from _of_axis(name, along)
    if output.near_seams is not None:
        near, reached = output.near_seams
        yield (
            f"{name}{near:.1%} of the places that differ lie so near to these seams that a cut can"
            f" have changed them, as {reached:.1%} of all places do"
        )
    yield from _of_parts(name, output.parts)


def _largest(name: str, output: ComparedOutput) -> str:
    return (
        f"{name}largest difference {gap(output.error)} of its channel, allowed"
        f" {gap(output.allowance)}, at {output.index}: {_value(output.tiled)} from tiles,"
        f" {_value(output.whole)} on the whole; {output.share:.1%} of the places differ"
    )


def _value(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def _of_axis(name: str, along: SeamAxis) -> Iterator[str]:
    inner = [seam for seam in along.seams if seam.line is not None]
    if along.lines:
        step = f", every {along.step}" if along.step else ""
        yield f"{name}axis {along.axis}: seams at {_some(along.lines)}{step}"
    if along.seams:
        widths = sorted({seam.stop - seam.start for seam in along.seams})
        wide = f"{widths[0]}" if len(widths) == 1 else f"{widths[0]} to {widths[-1]}"
        places = _some([f"{seam.start}-{seam.stop - 1}" for seam in along.seams])
        what = "wrong samples" if inner else "wrong bands at"
        yield f"{name}axis {along.axis}: {what} {places}, {wide} wide"


def _some(values: Sequence[object]) -> str:
    shown = ", ".join(map(str, values[:SHOWN]))
    return shown if len(values) <= SHOWN else f"{shown}, ... {values[-1]}"


def _of_parts(name: str, parts: Sequence[WrongPart]) -> Iterator[str]:
    for part in parts[:SHOWN]:
        box = " x ".join(f"{start}-{stop - 1}" for start, stop in part.box)
        by = "" if part.shift is None else f", by {part.shift} samples"
        yield f"{name}samples {box}: {part.fault}{by}"
    if len(parts) > SHOWN:
        yield f"{name}and {count(len(parts) - SHOWN, 'more part')}"
