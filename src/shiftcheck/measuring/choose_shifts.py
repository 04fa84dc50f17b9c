"""The shifts of a check, chosen from the geometry of what is shifted."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from fractions import Fraction

from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import Layout, Lost
from shiftcheck.lattice.outlook import compares
from shiftcheck.measuring.gaps.arrange import is_flattened, size_at, spatial_places
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.signals.arguments import Inputs, Leaf, Shift
from shiftcheck.measuring.structure_pass import read_structure
from shiftcheck.tracing.restoring.state import LEFT


def choose_shifts(plan: Plan) -> tuple[tuple[Shift, ...], list[str]]:
    """Unit steps of the outputs' lattice along each axis, a diagonal, and seeded larger ones.

    With notes about what could not be put back.
    """
    spatial, notes = _moving(plan)
    inputs = plan.inputs
    axes = len(inputs.pixels)
    steps_of = [_unit(spatial, inputs, a) for a in range(axes)]
    room = [_room(spatial, inputs, a, steps_of[a]) for a in range(axes)]
    draw = random.Random(plan.seed)
    steps_along: list[Shift] = []
    for axis in range(axes):
        steps = [1, -1, *(s * draw.randint(2, room[axis]) for s in (1, -1) if room[axis] >= 2)]
        for step in steps:
            steps_along.append(tuple(step * steps_of[a] if a == axis else 0 for a in range(axes)))
    if axes > 1:
        steps_along.append(tuple(steps_of))
    fitting = [
        s for s in steps_along if all(abs(v) < n for v, n in zip(s, inputs.pixels, strict=True))
    ]
    chosen = tuple(dict.fromkeys(fitting)) or ((0,) * axes,)
    return chosen, [note for note in notes if LEFT in note]


def unit_steps(outputs: Sequence[Layout], inputs: Inputs) -> Shift | None:
    """One step of the outputs' and inputs' lattice along each axis; None where none is spatial."""
    axes = len(inputs.pixels)
    spatial = [layout for layout in outputs if _is_spatial(layout, axes)]
    return tuple(_unit(spatial, inputs, a) for a in range(axes)) if spatial else None


def input_steps(inputs: Inputs) -> Shift:
    """The smallest shift along each axis that moves every input by a whole number of samples."""
    return tuple(_unit([], inputs, a) for a in range(len(inputs.pixels)))


def _moving(plan: Plan) -> tuple[list[Layout], list[str]]:
    """What the shifts are chosen for: the outputs, or where none has an axis, the last layer.

    With the notes of the pass that found them.
    """
    inputs = plan.inputs
    rows, outputs, notes = read_structure(
        plan.model, inputs, layer=plan.layer, training=plan.training, computed=True
    )
    axes = len(inputs.pixels)
    spatial = [r.layout for r in outputs if _is_spatial(r.layout, axes)]
    if spatial:
        return spatial, notes
    last = [r.layout for r in rows if _is_spatial(r.layout, axes)][-1:]
    fits = [_unit(last, inputs, a) < n for a, n in enumerate(inputs.pixels)]
    return (last if all(fits) else []), notes  # one pixel tells of the outputs


def _is_spatial(layout: Layout, axes: int) -> bool:
    return len(spatial_places(layout, axes)) == axes and not is_flattened(layout)


def _unit(layouts: Sequence[Layout], inputs: Inputs, axis: int) -> int:
    """The smallest shift that is a whole number of samples of every output and every input."""
    strides = [
        inputs.signal(leaf, 1).axes[axis] for leaf in inputs.leaves if isinstance(leaf, Leaf)
    ]
    numbers = [s.stride.numerator for s in strides if isinstance(s, Axis)]
    for layout in layouts:
        state = layout.axes[axis]
        if isinstance(state, Axis):
            numbers.append(abs(state.stride.numerator))
        elif isinstance(state, Lost):
            place = spatial_places(layout, len(inputs.pixels))[axis]
            size = size_at(layout, place)
            numbers += [Fraction(inputs.pixels[axis], size).numerator] if size else []
    return math.lcm(*numbers) if numbers else 1


def _room(layouts: Sequence[Layout], inputs: Inputs, axis: int, unit: int) -> int:
    """The largest number of unit steps, up to a quarter of the signal, that leave something."""
    most = max(1, inputs.pixels[axis] // (4 * unit))
    for steps in range(most, 1, -1):
        if all(compares(s.axes[axis], steps * unit) for s in layouts):
            return steps
    return 1
