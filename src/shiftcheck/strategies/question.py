"""A model that is asked what it makes of inputs of some size: its structure, not its values."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from shiftcheck.checks.prepare import planned_with_gradients_if_needed
from shiftcheck.checks.read_geometry import structure_plan
from shiftcheck.errors import ModelError
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import Layout
from shiftcheck.lattice.outlook import compares
from shiftcheck.measuring.choose_shifts import unit_steps
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.signals.samples import sample_signal
from shiftcheck.measuring.structure_pass import read_structure
from shiftcheck.report.causes import CauseKind

Sizes = tuple[int, ...]
Arguments = Callable[[torch.Tensor], Any]

ON_REAL, REAL_TRIES = 2**20, 12
"""Up to so many values, and so many times in vain, a model that fails on shapes is really run."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What the structure tells at some size: the outputs, and one step of their lattice."""

    outputs: tuple[Layout, ...]
    steps: Sizes
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """A model, and how it is to be called: what is needed to ask for its geometry at a size.

    ``known`` are the answers so far, ``warned`` the shapes at which there was a warning, and
    ``real`` says whether runs on real values helped where shapes alone did not do.
    """

    model: Callable[..., Any]
    ndim: int
    boundary: tuple[str, ...]
    batch: int = 1
    layer: str | None = None
    spatial_dims: tuple[int, ...] | None = None
    training: bool = False
    fixed: Sequence[str | int] = ()
    outputs: Sequence[str | int] | None = None
    dtype: torch.dtype = torch.float32
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    arguments: Arguments | None = None
    known: dict[tuple[int, ...], Seen | ModelError] = field(default_factory=dict)
    warned: set[tuple[int, ...]] = field(default_factory=set)
    real: list[bool] = field(default_factory=list)

    def ask(self, channels: int, sizes: Sizes) -> Seen | ModelError:
        """The geometry at a size, or the model's error; asked once."""
        shape = (self.batch, channels, *sizes)
        if shape not in self.known:
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                self.known[shape] = self._asked(shape)
            if heard:
                self.warned.add(shape)
        return self.known[shape]

    def _asked(self, shape: tuple[int, ...]) -> Seen | ModelError:
        error = self._structure(shape) if self.arguments is None else None
        if isinstance(error, Seen):
            return error
        if math.prod(shape) > ON_REAL:
            return error or ModelError(f"an input of shape {shape} is too large to be tried")
        if error is not None and len(self.real) >= REAL_TRIES and not any(self.real):
            return error  # it is not for the lack of values that the model fails
        answer = self._structure(self.inputs(sample_signal(shape, dtype=self.dtype)))
        self.real.append(isinstance(answer, Seen))
        return answer

    def _structure(self, x: Any) -> Seen | ModelError:
        try:
            plan = structure_plan(
                self.model,
                x,
                layer=self.layer,
                boundary=self.boundary,
                spatial_dims=self.spatial_dims,
                training=self.training,
                fixed=self.fixed,
                outputs=self.outputs,
            )
            return planned_with_gradients_if_needed(plan, _read)
        except ModelError as error:
            return error

    def inputs(self, signal: torch.Tensor) -> Any:
        """What the model is called with for a signal."""
        moved = signal.to(self.device)
        return moved if self.arguments is None else self.arguments(moved)

    def accepts(self, channels: int, sizes: Sizes) -> bool:
        """Whether the model takes an input of this size."""
        return isinstance(self.ask(channels, sizes), Seen)

    def welcomes(self, channels: int, sizes: Sizes) -> bool:
        """Whether the model takes an input of this size without a warning."""
        return self.accepts(channels, sizes) and (self.batch, channels, *sizes) not in self.warned

    def leaves(self, channels: int, sizes: Sizes, axis: int, pixels: int) -> bool:
        """Whether every output has enough to compare after a shift by ``pixels`` along an axis."""
        seen = self.ask(channels, sizes)
        return isinstance(seen, Seen) and all(
            _leaves(layout.axes[axis], pixels) for layout in seen.outputs
        )

    def loses(self, channels: int, sizes: Sizes) -> bool:
        """Whether the geometry ends, at this size, at an operation that no rule covers."""
        seen = self.ask(channels, sizes)
        return isinstance(seen, Seen) and any(
            cause.kind == CauseKind.UNSUPPORTED_OP
            for layout in seen.outputs
            for cause in layout.causes
        )


def _read(plan: Plan) -> Seen:
    _, outputs, _ = read_structure(
        plan.model, plan.inputs, layer=plan.layer, training=plan.training
    )
    layouts = tuple(row.layout for row in outputs)
    steps = unit_steps(layouts, plan.inputs) or (1,) * len(plan.inputs.pixels)
    return Seen(outputs=layouts, steps=tuple(map(int, steps)))


def _leaves(state: object, pixels: int) -> bool:
    if isinstance(state, Axis) and (pixels / state.stride).denominator != 1:
        return bool(state.readable.any())  # off the lattice, as the check then says
    return compares(state, pixels)
