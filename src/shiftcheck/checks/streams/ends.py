"""Whether the beginning of a stream needs its end, where the structure leaves that open.

A model that joins parts of its input by hand may fill in the last samples at the beginning. What
stands at an end is then no part of a plane, and nothing else is known of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from shiftcheck.checks.streams.lengths import alike
from shiftcheck.checks.tiles.borders import Wraps, open_causes, wraps
from shiftcheck.checks.tiles.structure import Structures
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.tiles import NOWHERE, dims_of, longest_run, period_of, reach_of
from shiftcheck.measuring.call import has_values
from shiftcheck.measuring.plan import Model
from shiftcheck.measuring.signals.arguments import Inputs
from shiftcheck.report.causes import CauseKind
from shiftcheck.report.streams import Memory, StreamLayer
from shiftcheck.tracing.traced import Row

FAR = "at an end, the outputs change with more than what is near"
UNSEEN = "whether an end is filled from the other could not be seen"
"""What is told of such a layer. A state may well do: the first samples can be kept for the end."""

GROWN = 8
"""A short input is at most so many times as long as what a sample sees."""


def filled_ends(
    model: Model, inputs: Inputs, axis: int, outputs: Sequence[Row]
) -> list[StreamLayer]:
    """The layer that keeps a model from being run on a stream by what it fills in at an end.

    Where the structure does not tell, short inputs are tried.
    """
    causes = open_causes([row.layout for row in outputs], axis)
    suspects = [c for c in causes if c.kind == CauseKind.PADDING]
    if not suspects:
        return []
    seen = _tried(model, inputs, axis, outputs)
    if seen is Wraps.NO:
        return []
    cause = suspects[0]
    told = FAR if seen is Wraps.YES else UNSEEN
    return [
        StreamLayer(
            layer=cause.layer,
            op=cause.op,
            memory=Memory.UNKNOWN,
            detail=f"{cause.detail}: {told}",
        )
    ]


def _tried(model: Model, inputs: Inputs, axis: int, outputs: Sequence[Row]) -> Wraps:
    """What runs on a short input tell, on which the outputs are what they are on this one."""
    states = [row.layout.axes[axis] for row in outputs]
    placed = all(dims_of(row.layout)[axis] != NOWHERE for row in outputs)
    known = all(isinstance(s, Axis) and longest_run(s) is not None for s in states)
    if not placed or not known or not has_values(model):
        return Wraps.UNSEEN
    structures = Structures(model, inputs)
    for size in _shorter(inputs.pixels[axis], outputs, axis):
        sizes = tuple(size if a == axis else n for a, n in enumerate(inputs.pixels))
        window = structures.at(sizes)
        if window is None:
            continue
        twins = {row.name: row for row in window.outputs}
        pairs = [(row, twins.get(row.name)) for row in outputs]
        if all(twin is not None and alike(row, twin, axis) for row, twin in pairs):
            return wraps(structures, window, sizes, axis)
    return Wraps.UNSEEN


def _shorter(pixels: int, outputs: Sequence[Row], axis: int) -> Iterator[int]:
    """Lengths that stand to the grid as that of the input does, the input's own at last."""
    layouts = [row.layout for row in outputs]
    step, factor = period_of(layouts, axis), 1
    seen = reach_of(layouts, axis)
    while factor <= GROWN:
        least = factor * (2 * math.ceil(seen) + 4 * step)
        size = least + (pixels - least) % step
        if size < pixels:
            yield size
        factor *= 2
    yield pixels
