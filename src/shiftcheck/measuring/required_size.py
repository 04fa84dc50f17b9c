"""Input sizes at which a check can tell something, found by the structure alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from shiftcheck.errors import ShiftcheckError
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import Layout
from shiftcheck.lattice.outlook import Outlook, outlook, stretch_of
from shiftcheck.lattice.sizes import Sizes, Smallest, smallest_sizes
from shiftcheck.measuring.choose_shifts import unit_steps
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.signals.arguments import Inputs
from shiftcheck.measuring.structure_pass import read_structure
from shiftcheck.report.causes import CauseKind
from shiftcheck.tracing.traced import Row

LARGER = 64
"""How many times larger an input is looked for that leaves a valid region."""

SMALL = 16
"""A smaller input is as if it had so many pixels."""


def smallest_input(plan: Plan, *, unmoved: bool = False) -> Smallest | None:
    """The smallest spatial sizes at which every moved axis leaves something to compare.

    ``unmoved``: no shift moves anything; then all axes are to move, by steps of their lattice. None
    where there is none, the model takes this size only, sees all of an axis, was measured, or has
    several inputs.
    """
    inputs = plan.inputs
    if len(inputs.tensors) > 1:
        return None
    given = _structure(plan, inputs)
    if any(_is_measured(row.layout) for row in given):
        return None
    shifts = {a: [abs(int(s[a])) for s in plan.shifts if s[a]] for a in range(len(inputs.pixels))}
    moved = [a for a, steps in shifts.items() if steps or unmoved]

    def look(sizes: Sizes) -> list[Outlook | None] | None:
        resized = _resized(inputs, dict(enumerate(sizes)))
        outputs = given if sizes == inputs.pixels else _outputs_at(plan, resized)
        if outputs is None:
            return None
        layouts = [row.layout for row in outputs]
        chosen = unmoved or not plan.shifts_given
        units = unit_steps(layouts, resized) if chosen else None
        steps = units or [min(shifts[a], default=0) for a in range(len(sizes))]
        return [
            outlook([stretch_of(layout.axes[a], int(step)) for layout in layouts]) if step else None
            for a, step in enumerate(steps)
        ]

    return smallest_sizes(look, inputs.pixels, moved, LARGER * max(SMALL, *inputs.pixels))


def free_of_padding(plan: Plan, sizes: Sizes) -> float | None:
    """The share of the samples of an output that see no padding at other sizes, the least of all.

    None where the model does not take them, or where no output has all axes.
    """
    outputs = _outputs_at(plan, _resized(plan.inputs, dict(enumerate(sizes))))
    shares = [
        math.prod(float(s.valid.mean()) for s in row.layout.axes if isinstance(s, Axis))
        for row in outputs or ()
        if all(isinstance(s, Axis) for s in row.layout.axes)
    ]
    return min(shares, default=None)


def _is_measured(layout: Layout) -> bool:
    return any(cause.kind == CauseKind.MEASURED for cause in layout.causes)


def _resized(inputs: Inputs, sizes: Mapping[int, int]) -> Inputs:
    x = inputs.main.tensor
    shape = list(x.shape)
    for axis, dim in enumerate(inputs.main.spatial):
        shape[dim] = sizes[axis]
    return inputs.with_main(torch.empty(shape, dtype=x.dtype, device="meta"))


def _structure(plan: Plan, inputs: Inputs) -> list[Row]:
    _, outputs, _ = read_structure(
        plan.model, inputs, layer=plan.layer, training=plan.training, computed=True
    )
    return outputs


def _outputs_at(plan: Plan, inputs: Inputs) -> list[Row] | None:
    """The outputs for other inputs; None where the model does not take them."""
    try:
        return _structure(plan, inputs)
    except ShiftcheckError:
        return None


def next_on_the_circle(plan: Plan) -> tuple[int, ...] | None:
    """The next spatial size that is a whole number of samples of every layer around each circle.

    None where none was found.
    """
    inputs = plan.inputs
    outputs = _structure(plan, inputs)
    sizes = list(inputs.pixels)
    for axis, ring in enumerate(inputs.circular):
        states = [row.layout.axes[axis] for row in outputs]
        step = math.lcm(*(s.lattice for s in states if isinstance(s, Axis)))
        if ring:
            sizes[axis] = -(-sizes[axis] // step) * step
    around = _outputs_at(plan, _resized(inputs, dict(enumerate(sizes))))
    fits = around is not None and all(
        fits_the_circle(row.layout, inputs.circular) for row in around
    )
    return tuple(sizes) if fits else None


def fits_the_circle(layout: Layout, circular: Sequence[bool]) -> bool:
    """Whether every layer on the way holds a whole number of samples around each circle."""
    open_ends = [
        c
        for c in layout.causes
        if c.kind in (CauseKind.STRIDE, CauseKind.RESIZE) and c.period is None
    ]
    return not any(circular[c.axis or 0] for c in open_ends)


def next_that_fits(
    plan: Plan, steps: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The next spatial size, a multiple of one of ``steps``, at which all that is joined fits.

    With it comes the period of the outputs there. None where no output keeps a period.
    """
    inputs = plan.inputs
    sizes = [tuple(-(-n // step) * step for n in inputs.pixels) for step in steps]
    for size in dict.fromkeys(sizes):
        outputs = _outputs_at(plan, _resized(inputs, dict(enumerate(size))))
        if outputs is None:
            continue
        periods = [_periods(row.layout) for row in outputs]
        known = [p for p in periods if p is not None]
        if size != inputs.pixels and len(known) == len(periods):
            return size, tuple(math.lcm(*along) for along in zip(*known, strict=True))
    return None


def _periods(layout: Layout) -> tuple[int, ...] | None:
    periods = [s.period if isinstance(s, Axis) else None for s in layout.axes]
    known = tuple(p for p in periods if p is not None)
    return known if len(known) == len(periods) else None
