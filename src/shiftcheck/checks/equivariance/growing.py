"""A larger input where the one that was given leaves nothing to compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from _shiftcheck_options import is_whole
from shiftcheck.checks.equivariance.examine import with_shifts
from shiftcheck.errors import InputError
from shiftcheck.measuring.effort import whatever_it_costs
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.required_size import smallest_input
from shiftcheck.measuring.room import bytes_free, bytes_needed
from shiftcheck.measuring.signals.arguments import Inputs, Leaf
from shiftcheck.measuring.signals.resized import resized

GIGABYTE = 2**30


def grown(plan: Plan, notes: tuple[str, ...]) -> tuple[Plan, tuple[str, ...]]:
    """The plan on an input of the size that was asked for or is needed; with notes."""
    if not plan.grow:
        return plan, notes
    with whatever_it_costs():
        sizes = plan.grow if isinstance(plan.grow, tuple) else _sizes_needed(plan)
    if sizes == plan.inputs.pixels:
        return plan, notes
    check_alone(plan.inputs, sizes)
    larger = replace(plan, inputs=resized(plan.inputs, sizes, plan.seed))
    short = _shortage(larger) if plan.grow is True else ""
    if short:
        return plan, (*notes, short)
    if not plan.shifts_given:
        larger, notes = with_shifts(replace(larger, shifts=()))
    given, size = _written(plan.inputs.pixels), _written(sizes)
    drawn = f"the input was grown from {given} to {size}, by values drawn from its own places"
    return larger, (*notes, drawn)


def _written(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes))


def _shortage(plan: Plan) -> str:
    """What to say where the memory may not do for a plan; empty where it does."""
    needed, free = bytes_needed(plan), bytes_free(plan.inputs.main.tensor.device)
    if free is None or needed <= free:
        return ""
    return (
        f"an input of {_written(plan.inputs.pixels)} would leave something to compare, and may need"
        f" {needed / GIGABYTE:.1f} GB where {free / GIGABYTE:.1f} GB are free: it was not grown"
    )


def _sizes_needed(plan: Plan) -> tuple[int, ...]:
    """The smallest that leave something to compare; those that were given where none are known."""
    unmoved = not plan.shifts_given and not any(map(any, plan.shifts))
    smallest = smallest_input(plan, unmoved=unmoved)
    return plan.inputs.pixels if smallest is None else smallest.sizes


def read_grow(grow: Any, inputs: Inputs) -> bool | tuple[int, ...]:
    """The argument ``grow`` of a check; raises InputError where it is none."""
    if isinstance(grow, bool):
        return grow
    sizes = tuple(grow) if isinstance(grow, Sequence) and not isinstance(grow, str) else ()
    if len(sizes) != len(inputs.pixels) or not all(is_whole(n) and n >= 1 for n in sizes):
        raise InputError(
            f"grow={grow!r}: give True, or the size of each of the {len(inputs.pixels)} spatial"
            f" axes, such as grow={tuple(2 * n for n in inputs.pixels)}"
        )
    check_alone(inputs, sizes)
    return sizes


def check_alone(inputs: Inputs, sizes: tuple[int, ...]) -> None:
    """Raise InputError where several inputs move: it is not known how they grow together."""
    moving = [v for v in inputs.leaves if isinstance(v, Leaf) and v.role == "shifted"]
    if len(moving) > 1:
        raise InputError(
            f"grow={sizes}: x holds {len(moving)} signals that move, and one alone can be drawn"
            " anew: give larger ones"
        )
