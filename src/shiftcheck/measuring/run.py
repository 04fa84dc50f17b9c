"""What one check is about, what it found so far, and one traced pass of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

from shiftcheck.errors import ModelError, ShiftcheckError
from shiftcheck.lattice.layout import Layout
from shiftcheck.measuring.gaps.compare import Base
from shiftcheck.measuring.gaps.plan import Gap, Planner, Scene
from shiftcheck.measuring.signals.arguments import Inputs, Shift
from shiftcheck.measuring.signals.interpolation import is_whole
from shiftcheck.measuring.structure_pass import Model, call, check_traced, raised
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.memo import Memo
from shiftcheck.tracing.passes import OnRow, Row, Traced
from shiftcheck.tracing.precision import EPS as PRODUCT_EPS
from shiftcheck.tracing.restoring.state import Originals

STACK = {"cpu": 2**20}


LARGE_STACK = 2**22
"""Input values that travel in one pass at most, unless one shift alone needs more.

On a CPU, so few that the activations stay in its cache: there a larger pass is slower.
"""


@dataclass(kw_only=True, eq=False)
class Measured:
    """A row and its gaps so far.

    ``peak``: the largest magnitude of the base. Of an output: how many of its channels are
    ``faint``, and the magnitude of the ``faintest`` of the others.
    """

    row: Row
    gaps: list[Gap] = field(default_factory=list)
    peak: float = 0.0
    channels: int = 0
    faint: int = 0
    faintest: float | None = None

    def see(self, base: Base, *, ends: bool) -> None:
        """Keep what is asked of the base later."""
        self.peak = base.peak
        if ends:
            self.channels, self.faint = base.scales.numel(), base.faint
            self.faintest = base.faintest


@dataclass(kw_only=True, eq=False)
class Job:
    """Everything that one check is about.

    ``circular_padding``: as if whatever pads a circle padded circularly. ``odd``: outputs that no
    signal leads to, with the reason. ``doubt``: why no comparison of this run can be trusted.
    ``leak``: how values left in some pass. ``dtypes``: of every tensor on the way. ``products``:
    the coarser types of its products.
    ``alone``: the outputs for x by itself. ``unsure``: in the batch they were as near to these as
    a type that is coarser than float32 can tell.
    """

    model: Model
    inputs: Inputs
    shifts: tuple[Shift, ...]
    seed: int
    layer: str | None
    training: bool
    every_layer: bool
    scene: Scene
    circular_padding: bool = False
    rows: dict[str, Measured] = field(default_factory=dict)
    outputs: dict[str, Measured] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    odd: list[tuple[str, tuple[int, ...], Reason]] = field(default_factory=list)
    doubt: Reason = Reason.NONE
    leak: str = ""
    dtypes: set[torch.dtype] = field(default_factory=set)
    products: set[str] = field(default_factory=set)
    unsure: bool = False
    alone: list[torch.Tensor] = field(default_factory=list)
    plans: dict[Any, Planner] = field(default_factory=dict)
    memo: Memo = field(default_factory=Memo)

    @property
    def between(self) -> bool:
        """Whether some shift is between pixels."""
        return not all(map(is_whole, self.shifts))

    @cached_property
    def first_along(self) -> frozenset[Shift]:
        """For each axis, the first of the shifts that moves only this one."""
        single = {a: s for s in reversed(self.shifts) if (a := _only_axis(s)) is not None}
        return frozenset(single.values())

    def planner(self, signal: Layout, *, ends: bool = False) -> Planner:
        """The plans of a signal, kept as long as the same geometry comes again.

        ``ends``: it is an output, which has to move with the input.
        """
        dims = tuple(tuple((f.kind, f.size, f.axis) for f in dim) for dim in signal.dims)
        key = (dims, tuple(map(id, signal.axes)), ends)
        if key not in self.plans:
            self.plans[key] = Planner(signal, self.scene, with_input=ends)
        return self.plans[key]

    def fresh(self) -> Job:
        """The same job with nothing measured yet."""
        empty: dict[str, Any] = {"rows": {}, "outputs": {}, "plans": {}, "memo": Memo()}
        empty |= {"dtypes": set(), "products": set(), "unsure": False}
        return replace(self, notes=[], odd=[], alone=[], doubt=Reason.NONE, leak="", **empty)

    @property
    def eps(self) -> float:
        """That of the coarsest type on the way, or of the input."""
        types = (*self.dtypes, self.inputs.dtype)
        return max([*map(eps_of, types), *(PRODUCT_EPS[name] for name in self.products)])


def plain_job(
    model: Model,
    inputs: Inputs,
    shifts: tuple[Shift, ...],
    scene: Scene,
    *,
    layer: str | None,
    seed: int,
) -> Job:
    """A job about the outputs of a model in eval mode."""
    return Job(
        model=model,
        inputs=inputs,
        shifts=shifts,
        seed=seed,
        layer=layer,
        training=False,
        every_layer=False,
        scene=scene,
    )


def _only_axis(shift: Shift) -> int | None:
    moved = [a for a, v in enumerate(shift) if v]
    return moved[0] if len(moved) == 1 else None


SINGLE = 2.0**-23
"""The epsilon of float32."""


def eps_of(dtype: torch.dtype) -> float:
    """The distance from 1 to the next larger number of a type; 0 for whole numbers."""
    floating = dtype.is_floating_point or dtype.is_complex
    return float(torch.finfo(dtype).eps) if floating else 0.0


def chunks_of(job: Job, max_batch: int | None, *, bases: int = 1) -> list[tuple[Shift, ...]]:
    """The shifts of each pass, about as many in each, beside the base or without it."""
    values = sum(t.numel() for t in job.inputs.tensors)
    room = STACK.get(job.inputs.main.tensor.device.type, LARGE_STACK)
    most = max(1, room // max(values, 1) - bases)
    most = most if max_batch is None else min(most, max(1, max_batch - bases))
    passes = max(1, math.ceil(len(job.shifts) / most))
    most = max(1, math.ceil(len(job.shifts) / passes))
    return [job.shifts[i : i + most] for i in range(0, len(job.shifts), most)]


def guarded(
    job: Job,
    values: list[Any],
    copies: int,
    originals: Originals,
    on_row: OnRow,
    *,
    geometry: bool = True,
) -> Traced:
    """One traced pass; what the model raises gets our sentence above it."""
    rows: list[Row] = []

    def seen(row: Row, tensor: torch.Tensor) -> frozenset[int] | None:
        rows.append(row)
        return on_row(row, tensor)

    shape = tuple(job.inputs.main.tensor.shape)
    try:
        traced = call(
            job.model,
            job.inputs,
            values,
            copies=copies,
            layer=job.layer,
            originals=originals,
            on_row=seen,
            memo=job.memo,
            geometry=geometry,
            circular_padding=job.circular_padding,
        )
    except ShiftcheckError:
        raise
    except Exception as error:
        raise ModelError(raised(error, shape, rows)) from error
    job.leak = job.leak or traced.leak
    check_traced(traced, job.layer, rows)
    job.dtypes |= traced.dtypes
    job.products |= traced.products
    return traced
