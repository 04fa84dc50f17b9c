"""A report of causality as text, and what a page shows of it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich import box
from rich.table import Table

from shiftcheck.report.causality import (
    CausalityReport,
    CausalityVerdict,
    CausalOutput,
    LayerAhead,
    Leak,
    LookAhead,
)
from shiftcheck.report.reasons import Reason
from shiftcheck.report.render.contents import APART, COLUMNS, Contents, Sheet, drawn, wrapped
from shiftcheck.report.render.numbers import count, gap

SHOWN = 12
"""So many layers that see ahead are listed in a text."""


def render_causality(found: CausalityReport) -> str:
    """Which layer sees ahead and why, where the future leaks, and what mends it."""
    lines = [headline_of_causality(found), *wrapped(_sentences(found))]
    rows = tuple(layer for layer in found.layers if layer.kind)
    if found.verdict is not CausalityVerdict.CAUSAL and rows:
        sheet = _sheet(rows[:SHOWN])
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=APART)
        for name in sheet.head:
            table.add_column(name)
        for row in sheet.rows:
            table.add_row(*row)
        lines += ["", sheet.title, *(line for line in drawn(table, COLUMNS) if line)]
        if len(rows) > SHOWN:
            lines.append(f"and {count(len(rows) - SHOWN, 'more layer')}")
    return "\n".join(lines)


def contents_of_causality(found: CausalityReport) -> Contents:
    """What a page or a notebook shows."""
    outputs = Sheet.of(
        "Outputs, in samples of the input",
        found.outputs,
        {
            "output": lambda o: o.name,
            "verdict": lambda o: str(o.verdict) + (f", {o.reason}" if o.reason else ""),
            "samples for each": lambda o: "-" if o.stride is None else str(o.stride),
            "block": lambda o: "-" if o.block is None else str(o.block),
            "beyond its block": lambda o: _samples(o.lookahead),
            "beyond its place": lambda o: _samples(o.ahead),
            "measured": lambda o: "-" if o.measured is None else str(o.measured),
        },
    )
    sheets = (outputs, _sheet(found.layers)) if found.layers else (outputs,)
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    return Contents(
        headline=headline_of_causality(found),
        verdict=str(found.verdict),
        sentences=tuple(_sentences(found)),
        sheets=sheets,
        made=(
            ("input", " x ".join(map(str, found.input_shape))),
            ("type", found.dtype),
            ("seed", str(found.seed)),
            ("versions", versions),
        ),
    )


def headline_of_causality(found: CausalityReport) -> str:
    """One line: the model, what was declared, and the verdict."""
    shape = "x".join(map(str, found.input_shape))
    declared = f", look-ahead {found.lookahead}" if found.lookahead else ""
    blocks = f", blocks of {found.block}" if found.block else ""
    guilty = found.guilty
    why = found.reason or ("" if guilty is None else guilty.kind)
    verdict = found.verdict.upper() + (f", {why}" if why else "")
    return f"{found.model} on {shape}, time along axis {found.axis}{declared}{blocks}: {verdict}"


def _sheet(layers: tuple[LayerAhead, ...]) -> Sheet:
    return Sheet.of(
        "Layers that see ahead, in samples of the input",
        layers,
        {
            "layer": lambda row: row.name,
            "operation": lambda row: row.op + (f" ({row.settings})" if row.settings else ""),
            "samples for each": lambda row: "-" if row.stride is None else str(row.stride),
            "ahead": lambda row: _samples(row.ahead),
            "by": lambda row: str(row.kind) or "-",
        },
    )


def _samples(value: float | None) -> str:
    if value is None:
        return "not known"
    return "all" if value == math.inf else f"{max(value, 0.0):g}"


def _sentences(found: CausalityReport) -> Iterator[str]:
    if found.reason:
        yield f"reason: {found.reason.plain}"
    several = len(found.outputs) > 1
    for output in found.outputs:
        name = f"{output.name}: " if several else ""
        if output.reason is Reason.NOT_SPATIAL:
            yield f"{name}it has no time axis" + (", and is left out" if several else "")
            continue
        if several and output.reason and output.reason is not found.reason:
            yield f"{name}{output.verdict}: {output.reason.plain}"
        yield from (f"{name}{line}" for line in _of_output(found, output))
    if hint := found.reason.hints.causality:
        yield f"what may help: {hint}"
    yield from (f"note: {note}" for note in found.notes)


def _of_output(found: CausalityReport, output: CausalOutput) -> Iterator[str]:
    yield _structure(output)
    if output.guilty is not None:
        yield from _guilt(output.guilty, output)
    if output.leak is not None:
        yield _leak(output.leak, output)
    elif found.times:
        yield (
            f"measured: nothing changed that was due, in {count(found.draws, 'draw')} at each of"
            f" {count(len(found.times), 'time')}"
            + ("" if output.measured is None else f" (look-ahead used: {output.measured})")
        )
    if output.block_that_would_do is not None:
        yield (
            f"in blocks of {count(output.block_that_would_do, 'sample')} it is causal: give"
            f" block={output.block_that_would_do} where that many come together"
        )
    elif found.verdict is CausalityVerdict.NOT_CAUSAL and _would_do(output):
        would_do = f"{output.lookahead:g}"
        yield f"a declared look-ahead of {would_do} would do: lookahead={would_do}"
    if output.nan and output.reason is Reason.IN_NOISE:
        yield "note: NaN in the future reaches samples that are due, and so may other values"
    elif output.nan and output.leak is None:
        yield (
            "note: NaN or infinity in the future would reach samples that are due, as it is"
            " multiplied by zero there, by a mask; finite values do not"
        )


def _structure(output: CausalOutput) -> str:
    if output.proven_by_nan:
        return (
            "structure: how far it sees ahead is not known; NaN behind each single input sample"
            " reached nothing that was due, and no operation on its way gives a number for NaN"
        )
    if output.lookahead is None or output.ahead is None:
        return "structure: how far it sees ahead is not known"
    if output.lookahead == math.inf:
        return "structure: it sees all of the time"
    each = "" if output.stride is None or output.stride <= 1 else f" of {output.stride}"
    sees = (
        f"structure: it sees {_number(output.lookahead)} beyond the end of its block{each}, and"
        f" {_number(output.ahead)} beyond where it stands"
    )
    if output.lookahead <= 0 and output.ahead <= 0:
        alone = output.leak is not None or output.reason is Reason.IN_NOISE
        but = ", but for those that are made otherwise than the rest" if alone else ""
        return f"structure: no sample sees beyond where it stands{but}"
    return sees


def _number(value: float) -> str:
    return count(int(max(value, 0.0)), "sample")


def _guilt(layer: LayerAhead, output: CausalOutput) -> Iterator[str]:
    op = f"{layer.op}, {layer.settings}" if layer.settings else layer.op
    if not layer.kind:
        yield f"layer: {layer.name} ({op}): from there on it is not known"
        return
    yield f"layer: {layer.name} ({op}): {layer.kind.plain or LookAhead.OTHER.plain}"
    far = layer.ahead is not None and 0 < layer.ahead < math.inf
    if far and layer.stride is not None and layer.stride > 1 and layer.ahead is not None:
        yield (
            f"behind a stride, one sample of that layer stands for {layer.stride} of the input: it"
            f" sees {_number(layer.ahead)} of the input ahead"
        )
    if layer.kind.remedy and output.verdict is CausalityVerdict.NOT_CAUSAL:
        yield f"remedy: {layer.kind.remedy}"


def _leak(leak: Leak, output: CausalOutput) -> str:
    behind = "at least " if output.lookahead == math.inf else ""
    return (
        f"measured: with all behind input sample {leak.time} replaced, output sample"
        f" {leak.sample} changes, which was due at input sample {leak.due}: it sees {behind}"
        f"{_number(leak.ahead)} ahead; the largest change is {gap(leak.error)} of its channel"
    )


def _would_do(output: CausalOutput) -> bool:
    """Whether declaring what the structure sees ahead would do; no, where more was seen."""
    far = output.lookahead
    return far is not None and 0 < far < math.inf and (output.measured or 0) <= far
