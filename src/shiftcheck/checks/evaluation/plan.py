"""The geometry of a model for items of one size, read once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch

from shiftcheck.errors import ModelError
from shiftcheck.lattice.factors import Factor
from shiftcheck.lattice.layout import Layout
from shiftcheck.measuring.choose_shifts import input_steps, unit_steps
from shiftcheck.measuring.gaps.arrange import arranged, size_at, spatial_places
from shiftcheck.measuring.gaps.compare_items import ItemBase, Pairing
from shiftcheck.measuring.gaps.regions import Gap, Planner
from shiftcheck.measuring.layer_gaps import first_copy, require_copies, without_copies
from shiftcheck.measuring.measurements import OddOutput
from shiftcheck.measuring.outputs import output_rows
from shiftcheck.measuring.passes import Passes
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.signals.arguments import Inputs, Leaf, Shift
from shiftcheck.measuring.unbatched import Alone, compare_alone, run_alone
from shiftcheck.report.causes import CauseKind
from shiftcheck.report.reasons import Reason
from shiftcheck.rules import BatchCoupledError
from shiftcheck.tracing.restoring.state import Originals
from shiftcheck.tracing.traced import Row, Traced

ROOM = 2**22
"""So many places of an output are remembered, over all shifts."""


@dataclass(frozen=True, eq=False)
class Compared:
    """The places to compare under a shift; ``fair``: they are enough to tell of agreement."""

    pairing: Pairing
    fair: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """An output or a layer for inputs of one size: where its items are, and what is compared.

    ``stacked``: its layout, with a factor for the items. ``reason``: why it tells nothing.
    """

    name: str
    op: str
    stacked: Layout
    planner: Planner
    reason: Reason = Reason.NONE
    steps: dict[Shift, Compared | Reason] = field(default_factory=dict)

    @cached_property
    def layout(self) -> Layout:
        """The layout for one item."""
        return without_copies(self.stacked)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Its size along each of its spatial axes."""
        places = self.planner.places
        return tuple(size_at(self.layout, places[axis]) for axis in sorted(places))

    @cached_property
    def measured(self) -> bool:
        """Whether its geometry was found by experiments, so that a gap may be due to them."""
        return any(c.kind == CauseKind.MEASURED for c in self.layout.causes)

    def of_items(self, tensor: torch.Tensor, items: int) -> torch.Tensor:
        """The tensor of several items as ``[items, channels, *spatial]``."""
        layout = self.in_batch(items)
        return arranged(tensor, layout, spatial_places(layout, self.axes))

    def in_batch(self, items: int) -> Layout:
        """The layout for so many items in a batch."""

        def sized(factor: Factor) -> Factor:
            return replace(factor, size=items) if factor.kind == "copies" else factor

        dims = tuple(tuple(map(sized, dim)) for dim in self.stacked.dims)
        return replace(self.stacked, dims=dims)

    @property
    def axes(self) -> int:
        """How many spatial axes the input has."""
        return len(self.planner.scene.pixels)

    def base(self, tensor: torch.Tensor, items: int) -> ItemBase:
        """The unshifted values of several items."""
        return ItemBase.of(self.of_items(tensor, items), self.planner.valid)

    def under(self, shift: Shift) -> Compared | Reason:
        """What to compare under a shift, or why nothing can be."""
        if shift not in self.steps:
            while self.steps and (len(self.steps) + 1) * math.prod(self.sizes) > ROOM:
                del self.steps[next(iter(self.steps))]
            self.steps[shift] = self._under(shift)
        return self.steps[shift]

    def _under(self, shift: Shift) -> Compared | Reason:
        if self.reason:
            return self.reason
        region = self.planner.region(shift)
        if isinstance(region, Gap):
            return Reason.OFF_LATTICE if region.spatial else Reason.NOT_SPATIAL
        if region.share == 0.0:
            return Reason.TOO_LITTLE if region.room else Reason.NO_REGION
        return Compared(Pairing(region, self.sizes), region.fair)


@dataclass(frozen=True, kw_only=True, eq=False)
class SizePlan:
    """What is known of a model for items of one size.

    ``inputs``: one item. ``odd``: outputs that cannot be compared. ``alone``: items cannot travel
    in one batch. ``reason``: why nothing that is measured can be trusted. ``units``: one step of
    the outputs' lattice along each axis. ``eps``: that of the coarsest type on the way.
    """

    inputs: Inputs
    paths: tuple[str, ...]
    outputs: tuple[Seen, ...]
    layers: dict[str, Seen] = field(default_factory=dict)
    odd: tuple[OddOutput, ...] = ()
    alone: bool = False
    reason: Reason = Reason.NONE
    units: tuple[int, ...] = ()
    eps: float = 0.0
    notes: tuple[str, ...] = ()


def read_size(plan: Plan, originals: Originals, *, layers: bool) -> SizePlan:
    """What is known for items of the size of ``plan.inputs``, which are one item.

    Raises ModelError where the model raises on it.
    """
    passes = Passes(plan, originals)
    alone = run_alone(passes, geometry=True)
    doubt, notes, apart = alone.doubt.reason, alone.notes, False
    try:
        with plan.inputs.without_gradients():
            traced, rows = _stacked(passes, alone, layers=layers)
    except (BatchCoupledError, ModelError) as error:
        apart = True
        notes = (*notes, f"the items ran one at a time: {str(error).splitlines()[0]}")
        with plan.inputs.without_gradients():
            traced, rows = _by_itself(passes, layers=layers)
    outputs = [_seen(passes, row, ends=True) for row in output_rows(traced)]
    return SizePlan(
        inputs=plan.inputs,
        paths=tuple(path for path, _, _ in traced.outputs),
        outputs=tuple(outputs),
        layers=rows if layers else {},
        odd=alone.odd,
        alone=apart,
        reason=doubt or (Reason.LEFT_TORCH if passes.leak else Reason.NONE),
        units=_units(outputs, plan.inputs),
        eps=passes.eps,
        notes=notes,
    )


def _units(outputs: Sequence[Seen], inputs: Inputs) -> tuple[int, ...]:
    steps = unit_steps([seen.layout for seen in outputs], inputs) or input_steps(inputs)
    return tuple(int(v) for v in steps)


def _stacked(passes: Passes, alone: Alone, *, layers: bool) -> tuple[Traced, dict[str, Seen]]:
    """A pass of the item beside a shifted one; raises BatchCoupledError where that matters."""
    plan = passes.plan
    if any(isinstance(v, Leaf) and v.role == "fixed" for v in plan.inputs.leaves):
        raise BatchCoupledError("an input has no dimension for the items")
    rows: dict[str, Seen] = {}

    def on_row(row: Row, tensor: torch.Tensor) -> None:
        if layers and tensor.layout == torch.strided:
            require_copies(row.layout)
            rows[row.name] = _seen(passes, row, ends=False)

    values = plan.inputs.stacked(plan.shifts[:1], plan.seed)
    traced = passes.run(values, on_row, copies=2)
    for row in output_rows(traced):
        require_copies(row.layout)
    bases = [first_copy(tensor, layout, 2) for _, tensor, layout in traced.outputs]
    doubt = compare_alone(passes, alone.outputs, bases, Reason.BATCH_COUPLED)
    if doubt.reason:
        raise BatchCoupledError("an item gives something else beside others")
    return traced, rows


def _by_itself(passes: Passes, *, layers: bool) -> tuple[Traced, dict[str, Seen]]:
    """A pass of the item by itself, in layouts with a factor for the one item."""
    rows: dict[str, Seen] = {}

    def on_row(row: Row, tensor: torch.Tensor) -> None:
        if layers and tensor.layout == torch.strided:
            rows[row.name] = _seen(passes, _single(row), ends=False)

    plan = passes.plan
    traced = passes.run(plan.inputs.shifted(plan.zero, plan.seed), on_row)
    outputs = tuple((path, t, _with_item(layout)) for path, t, layout in traced.outputs)
    return replace(traced, outputs=outputs), rows


def _single(row: Row) -> Row:
    return replace(row, layout=_with_item(row.layout))


def _with_item(layout: Layout) -> Layout:
    """The layout of one item, which leads the first dimension."""
    dims = layout.dims
    if not dims:
        return layout
    return replace(layout, dims=((Factor("copies", 1), *dims[0]), *dims[1:]))


def _seen(passes: Passes, row: Row, *, ends: bool) -> Seen:
    layout = row.layout
    alone = without_copies(layout)
    hidden = next((c.hides for c in layout.causes if c.hides), Reason.NONE)
    return Seen(
        name=row.name,
        op=row.op,
        stacked=layout,
        planner=passes.planner(alone, ends=ends),
        reason=hidden,
    )
