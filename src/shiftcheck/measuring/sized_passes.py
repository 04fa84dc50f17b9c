"""Passes of a model at other sizes than those given: what each axis looks like there, if taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import torch

from shiftcheck.lattice.accepted import Seen, Standing
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import Layout, Lost
from shiftcheck.lattice.outlook import stretch_of
from shiftcheck.measuring.call import call, faked, home_of
from shiftcheck.measuring.choose_shifts import unit_steps
from shiftcheck.measuring.effort import charge
from shiftcheck.measuring.model_errors import check_layer
from shiftcheck.measuring.outputs import output_rows
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.required_size import fits_the_circle
from shiftcheck.measuring.signals.arguments import Inputs, Leaf
from shiftcheck.tracing.black_box import BlackBox
from shiftcheck.tracing.modules import modules_of
from shiftcheck.tracing.restoring.state import preserved
from shiftcheck.tracing.torch_internals import fake_mode
from shiftcheck.tracing.traced import Row, Traced
from shiftcheck.tracing.without_values import quiet

Sizes = tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pass:
    """What was seen of each axis, and what the model raised, if it did."""

    seen: tuple[Seen, ...]
    error: Exception | None = None

    @property
    def taken(self) -> bool:
        """Whether the model took the sizes."""
        return self.error is None


class SizedPasses:
    """A model at any sizes, each of them asked once; ``real``: on values, else without them."""

    def __init__(self, plan: Plan, *, before: SizedPasses | None = None) -> None:
        self.plan, self.before = plan, before
        self.real = before is not None or isinstance(plan.model, BlackBox)
        self._known: dict[Sizes, Pass] = {}

    @cached_property
    def on_values(self) -> SizedPasses:
        """The same model, run on values."""
        return self if self.real else SizedPasses(self.plan, before=self)

    @property
    def count(self) -> int:
        """How often the model was run, with values or without them."""
        first = self.before or self
        return len(first._known) + (0 if first.real else len(first.on_values._known))

    def at(self, sizes: Sizes) -> Pass:
        """The pass at some sizes."""
        if sizes not in self._known:
            self._known[sizes] = self.run(sizes)
        return self._known[sizes]

    def run(self, sizes: Sizes) -> Pass:
        """One pass; what the model raises is what it tells."""
        rows: list[Row] = []
        try:
            inputs = resized(self.plan.inputs, sizes)
            traced = self._traced(replace(self.plan, inputs=inputs), rows.append)
            check_layer(traced, self.plan.layer, rows)
            outputs = output_rows(traced)
        except Exception as error:
            axes = range(len(sizes))
            return Pass(seen=tuple(_refused(rows, a) for a in axes), error=error)
        return Pass(seen=_taken(rows, outputs, inputs))

    def _traced(self, plan: Plan, keep: Any) -> Traced:
        charge()
        inputs, home = plan.inputs, home_of(plan.model)
        with preserved(
            modules_of(plan.model), inputs.tensors, training=plan.training, model=plan.model
        ) as originals:

            def traced(values: list[Any]) -> Traced:
                return call(
                    plan, values, copies=1, originals=originals, on_row=lambda row, _: keep(row)
                )

            if self.real:
                with inputs.without_gradients():
                    return traced([_noise(leaf, home) for leaf in inputs.leaves])
            fake = fake_mode()
            with inputs.without_gradients(), fake, quiet():
                return traced([faked(leaf, fake, home) for leaf in inputs.leaves])


def resized(inputs: Inputs, sizes: Sizes) -> Inputs:
    """The same arguments of other spatial sizes; what moves together keeps its share of them.

    Raises ValueError where that is no whole number of samples.
    """
    if sizes == inputs.pixels:
        return inputs

    def changed(leaf: Leaf) -> Leaf:
        if leaf.role != "shifted":
            return leaf
        shape = list(leaf.tensor.shape)
        for new, old, dim in zip(sizes, inputs.pixels, leaf.spatial, strict=True):
            share = Fraction(shape[dim] * new, old)
            if share.denominator != 1:
                raise ValueError(f"the second signal would have {share} samples")
            shape[dim] = int(share)
        return replace(leaf, tensor=torch.empty(shape, dtype=leaf.tensor.dtype, device="meta"))

    return inputs.mapped(changed)


def _noise(leaf: Any, home: torch.device) -> Any:
    """A tensor to run on: the caller's, or noise for a shape, the same every time."""
    if not isinstance(leaf, Leaf):
        return leaf
    if leaf.tensor.device.type != "meta":
        return leaf.dressed(leaf.tensor.detach().clone())
    shape, dtype = leaf.tensor.shape, leaf.tensor.dtype
    draw = torch.Generator().manual_seed(0)
    if not dtype.is_floating_point:
        return torch.randint(0, 2, shape, generator=draw, device="cpu").to(home, dtype)
    return torch.randn(shape, generator=draw, device="cpu").to(home, dtype)


def _refused(rows: Sequence[Row], axis: int) -> Seen:
    return Seen(taken=False, layers=_layers(rows, axis))


def _taken(rows: Sequence[Row], outputs: Sequence[Row], inputs: Inputs) -> tuple[Seen, ...]:
    layouts = [row.layout for row in outputs]
    steps = unit_steps(layouts, inputs)
    closed = all(fits_the_circle(layout, inputs.circular) for layout in layouts)
    every = []
    for axis in range(len(inputs.pixels)):
        found = [
            stretch_of(layout.axes[axis], int(steps[axis])) if steps else None for layout in layouts
        ]
        every.append(
            Seen(
                taken=True,
                layers=_layers(rows, axis),
                stretches=tuple(s for s in found if s is not None),
                lost=bool(steps) and any(isinstance(s.axes[axis], Lost) for s in layouts),
                closed=closed,
            )
        )
    return tuple(every)


def _layers(rows: Sequence[Row], axis: int) -> dict[str, Standing]:
    """How the layers stand over an axis, by name, those that have it."""
    standing = ((row.name, _standing(row.layout, axis)) for row in rows)
    return {name: layer for name, layer in standing if layer is not None}


def _standing(layout: Layout, axis: int) -> Standing | None:
    state = layout.axes[axis]
    if not isinstance(state, Axis):
        return None
    edges = None
    if len(state.first) == 1 and state.size and state.stride > 0:
        first = float(state.first[0])
        last = float(state.last[0]) + (state.size - 1) * float(state.stride)
        if math.isfinite(first) and math.isfinite(last):
            edges = (-first, last - (state.pixels - 1))
    return Standing(stride=state.stride, lattice=state.lattice, samples=state.size, edges=edges)
