"""Input sizes at which a check can tell something, found by the structure alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from shiftcheck.errors import ShiftcheckError
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import Layout
from shiftcheck.lattice.sizes import smallest_size
from shiftcheck.measuring.choose_shifts import compares
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.signals.arguments import Inputs, Shift
from shiftcheck.measuring.structure_pass import read_structure
from shiftcheck.report.causes import CauseKind
from shiftcheck.tracing.traced import Row

LARGER = 64
"""How many times larger an input is looked for that leaves a valid region."""


def smallest_input(plan: Plan, shifts: Sequence[Shift]) -> tuple[int, ...] | None:
    """The smallest spatial size at which every shifted axis leaves something to compare.

    None where none was found, the model takes this size only, sees all of an axis, was measured, or
    has several inputs.
    """
    inputs = plan.inputs
    if len(inputs.tensors) > 1:
        return None
    given = _structure(plan, inputs)
    sizes = list(inputs.pixels)
    for axis, size in enumerate(inputs.pixels):
        steps = [abs(s[axis]) for s in shifts if s[axis]]
        if not steps:
            continue
        if any(_endless(row.layout.axes[axis]) or _is_measured(row.layout) for row in given):
            return None

        def works(n: int, axis: int = axis, step: int = int(min(steps))) -> bool:
            resized = _resized(inputs, {**dict(enumerate(inputs.pixels)), axis: n})
            outputs = _outputs_at(plan, resized)
            return outputs is not None and all(
                compares(row.layout.axes[axis], step) for row in outputs
            )

        guess = next((n for n in sizes[:axis] if n > size), None)
        if guess is not None and works(guess) and not works(guess - 1):
            least: int | None = guess
        else:
            least = smallest_size(works, size, LARGER * size)
        if least is None:
            return None
        sizes[axis] = least
    return tuple(sizes)


def _is_measured(layout: Layout) -> bool:
    return any(cause.kind == CauseKind.MEASURED for cause in layout.causes)


def _endless(state: Any) -> bool:
    return isinstance(state, Axis) and math.inf in state.halo


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
    fits = around is not None and all(_fits(row.layout, inputs.circular) for row in around)
    return tuple(sizes) if fits else None


def _fits(layout: Layout, circular: Sequence[bool]) -> bool:
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
