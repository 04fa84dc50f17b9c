"""Whether the outputs of a model go on at another length as they do at that of its input."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shiftcheck.checks.at_other_sizes import AtOtherSizes
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.tiles import begins_alike, ends_alike
from shiftcheck.report.streams import Memory, StreamLayer
from shiftcheck.tracing.traced import Row

STEPS = 192
"""A model that pads to a multiple of some size goes on alike by so many periods."""

DETAIL = "how many samples it gives, or from where, does not follow the length of the whole"


@dataclass(frozen=True, kw_only=True, eq=False)
class Lengths:
    """What another length tells.

    ``steady``: whether the outputs go on alike, None where the model takes no other length that was
    tried. ``fixed``: the layer that keeps them from it.
    """

    steady: bool | None
    fixed: StreamLayer | None = None


def another_length(others: AtOtherSizes, rows: Sequence[Row], outputs: Sequence[Row]) -> Lengths:
    """Read the structure at longer inputs, and compare the outputs that have a time axis."""
    steady, fixed, axis = None, None, others.axis
    for size in dict.fromkeys(_longer(others.pixels, outputs, axis)):
        there = others.at(size)
        if there is None:
            continue
        unlike = _first_unlike(outputs, there[1], axis)
        if unlike is None:
            return Lengths(steady=True)
        steady, fixed = False, fixed or _guilty(rows, there[0], unlike, axis)
    return Lengths(steady=steady, fixed=fixed)


def _longer(pixels: int, outputs: Sequence[Row], axis: int) -> Iterator[int]:
    states = [row.layout.axes[axis] for row in outputs]
    period = math.lcm(*(s.lattice for s in states if isinstance(s, Axis)))
    yield pixels + -(-pixels // period) * period
    yield pixels + STEPS * period


def alike(row: Row, twin: Row, axis: int) -> bool:
    """Whether an output begins and ends alike on inputs of two lengths."""
    here, there = row.layout.axes[axis], twin.layout.axes[axis]
    if not isinstance(here, Axis) or not isinstance(there, Axis):
        return True  # what it is instead is told by its causes
    return begins_alike(here, there) and ends_alike(here, there)


def _first_unlike(rows: Sequence[Row], twins: Sequence[Row], axis: int) -> tuple[Row, Row] | None:
    pairs = zip(rows, twins, strict=False)
    return next(((r, t) for r, t in pairs if r.name == t.name and not alike(r, t, axis)), None)


def _guilty(
    rows: Sequence[Row], there: Sequence[Row], output: tuple[Row, Row], axis: int
) -> StreamLayer:
    """The first layer that grows as the output does; without one, the output."""
    pairs = [(r, t) for r, t in zip(rows, there, strict=False) if r.name == t.name]
    unlike = [pair for pair in pairs if not alike(*pair, axis)]
    alike_grown = [pair for pair in unlike if _growth(pair, axis) == _growth(output, axis)]
    row, twin = next(iter(alike_grown or unlike), output)
    here, far = row.layout.axes[axis], twin.layout.axes[axis]
    ratio = getattr(here, "stride", None) != getattr(far, "stride", None)
    return StreamLayer(
        layer=row.path or row.name,
        op=row.op,
        memory=Memory.RATIO if ratio else Memory.UNKNOWN,
        detail="" if ratio else DETAIL,
    )


def _growth(pair: tuple[Row, Row], axis: int) -> tuple[object, ...]:
    here, there = (row.layout.axes[axis] for row in pair)
    if not isinstance(here, Axis) or not isinstance(there, Axis):
        return ()
    return here.stride, there.stride, there.size - here.size
