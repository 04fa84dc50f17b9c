"""The local error of each layer: what it does to an exactly shifted input, so that errors stay.

After every layer the copies are replaced by exact shifts of the base, wherever it has a sample for
them. The next layer's gap is then its own: the border where it sees its own padding, else interior.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import torch

from shiftcheck.errors import InputError, ModelError
from shiftcheck.lattice.layout import Gone, Layout
from shiftcheck.measuring.gaps.arrange import arranged, put_back, spatial_places
from shiftcheck.measuring.gaps.compare import Base, asked_gap
from shiftcheck.measuring.gaps.read import Asking, all_answered
from shiftcheck.measuring.gaps.regions import Gap, Planner, Region, whole_index
from shiftcheck.measuring.layer_gaps import require_copies, without_copies
from shiftcheck.measuring.passes import Passes
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.signals.arguments import Leaf, Shift
from shiftcheck.report.causes import Cause
from shiftcheck.rules import BatchCoupledError
from shiftcheck.tracing.black_box import BlackBox
from shiftcheck.tracing.restoring.state import Originals
from shiftcheck.tracing.traced import Row


@dataclass(frozen=True, kw_only=True)
class Local:
    """The local error of one layer under one shift, over the magnitude of its channel.

    None where nothing could be compared, or the layer was not fed with exact shifts. ``causes``:
    what the layer does to a signal of which every sample is known, whatever came before it.
    """

    interior: float | None = None
    border: float | None = None
    causes: tuple[Cause, ...] = ()


NOTHING = Local()
LocalErrors = Mapping[str, Sequence[Local]]
"""For each layer, its local error at every shift of the plan."""


def measure_local(plan: Plan, originals: Originals) -> LocalErrors:
    """The local errors of every layer; of none where the layers cannot be fed like that.

    They cannot where the model computes gradients of its own values, which must not be replaced,
    where torch does not see into it, and where the values are of a class of their own, which may
    take part in what is done to them.
    """
    classes = [
        leaf for leaf in plan.inputs.leaves if isinstance(leaf, Leaf) and leaf.given is not None
    ]
    if plan.inputs.gradients or classes or isinstance(plan.model, BlackBox):
        return {}
    passes = Passes(replace(plan, interior=True), originals)
    try:
        return _stacked(passes)
    except (BatchCoupledError, ModelError, InputError):
        return _one_by_one(passes)


def _stacked(passes: Passes) -> LocalErrors:
    plan = passes.plan
    errors: dict[str, list[Local]] = {}
    for chunk in plan.chunks():

        def on_row(row: Row, tensor: torch.Tensor, chunk: Sequence[Shift] = chunk) -> Left:
            require_copies(row.layout)
            before = None if tensor.layout != torch.strided else _base_of(passes, row, tensor)
            results, left = _replace(passes, row, tensor, before, chunk, 1)
            errors.setdefault(row.name, []).extend(results)
            return left

        with plan.inputs.without_gradients():
            values = plan.inputs.stacked(chunk, plan.seed)
            passes.run(values, on_row, copies=len(chunk) + 1)
    return {name: each for name, each in errors.items() if len(each) == len(plan.shifts)}


def _one_by_one(passes: Passes) -> LocalErrors:
    plan = passes.plan
    bases: dict[str, Base] = {}
    errors: dict[str, list[Local]] = {}

    def keep(row: Row, tensor: torch.Tensor) -> Left:
        if tensor.layout == torch.strided:
            bases[row.name] = _base_of(passes, row, tensor.clone())
        return frozenset()

    with plan.inputs.without_gradients():
        passes.run(plan.inputs.shifted(plan.zero, plan.seed), keep)
        for shift in plan.shifts:

            def on_row(row: Row, tensor: torch.Tensor, shift: Shift = shift) -> Left:
                base = bases.get(row.name)
                results, left = _replace(passes, row, tensor, base, [shift], 0)
                errors.setdefault(row.name, []).extend(results)
                return left

            passes.run(plan.inputs.shifted(shift, plan.seed), on_row)
    return {name: each for name, each in errors.items() if len(each) == len(plan.shifts)}


Left = frozenset[int] | None


def _base_of(passes: Passes, row: Row, tensor: torch.Tensor) -> Base:
    places = spatial_places(row.layout, len(passes.plan.zero))
    unshifted = arranged(tensor, row.layout, places)[0]
    return Base(unshifted, None, passes.planner(without_copies(row.layout)).valid)


def _replace(
    passes: Passes,
    row: Row,
    tensor: torch.Tensor,
    base: Base | None,
    shifts: Sequence[Shift],
    first: int,
) -> tuple[list[Local], Left]:
    """Measure the copies from the place ``first`` on, then put exact shifts in their place."""
    every = frozenset(range(len(shifts)))
    places = spatial_places(row.layout, len(passes.plan.zero))
    if base is None or tensor.layout != torch.strided:
        return [NOTHING] * len(shifts), every
    whole = arranged(tensor, row.layout, places).clone()
    if whole.shape[1:] != base.values.shape:
        return [NOTHING] * len(shifts), every
    layout = without_copies(row.layout)
    planner = passes.planner(layout)
    regions = [
        planner.region(shift) if i not in row.strayed and any(shift) else None
        for i, shift in enumerate(shifts)
    ]
    local = _measured(base, whole[first:], regions, row)
    strayed = set()
    for i, shift in enumerate(shifts):
        copy = whole[first + i]
        exact = _exact_region(planner, layout, shift)
        if exact is None:
            strayed.add(i)
        else:
            here, there = whole_index(exact)
            copy[here] = base.values[there]
    if not _overlaps_itself(tensor):
        passes.originals.before_write(tensor)
        _level_pieces(tensor, row.layout, first)
        put_back(whole, tensor, row.layout, places)
        return local, frozenset(strayed)
    return local, None


def _measured(
    base: Base, copies: torch.Tensor, regions: Sequence[Region | Gap | None], row: Row
) -> list[Local]:
    """What each copy tells; None in the place of a region: it was not fed with an exact shift."""
    causes = tuple(c for c in row.layout.causes if c.layer == (row.path or row.name))
    pairs = list(zip(copies, regions, strict=True))
    asked = (_local(base, copy, region) for copy, region in pairs if region is not None)
    magnitudes = [base.asked()] if any(isinstance(region, Region) for region in regions) else []
    found = filter(None, all_answered(chain(magnitudes, asked), base.values))
    return [NOTHING if r is None else replace(next(found), causes=causes) for r in regions]


def _local(base: Base, copy: torch.Tensor, region: Region | Gap) -> Asking[Local]:
    if not isinstance(region, Region):
        return NOTHING
    gap = yield from asked_gap(base, copy, region, border=True, null="")
    scale = base.peak
    border = None if gap.border is None or not scale > 0 else gap.border / scale
    return Local(interior=_finite(gap.relative), border=_finite(border))


def causes_alone(errors: LocalErrors) -> tuple[Cause, ...]:
    """The causes of every layer alone: those too that an axis lost before leaves unseen."""
    every = (c for locals_ in errors.values() for local in locals_ for c in local.causes)
    return tuple(dict.fromkeys(every))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _exact_region(planner: Planner, layout: Layout, shift: Shift) -> Region | None:
    """Where the samples of an exact shift come from; a reduced axis has none that could move."""
    rest = tuple(
        0 if isinstance(state, Gone) or state is None else v
        for v, state in zip(shift, layout.axes, strict=True)
    )
    region = planner.region(rest)
    return region if isinstance(region, Region) else None


def _overlaps_itself(tensor: torch.Tensor) -> bool:
    """Whether several of its places are one value in memory, as in an expanded tensor."""
    return any(
        step == 0 and size > 1 for step, size in zip(tensor.stride(), tensor.shape, strict=True)
    )


def _level_pieces(tensor: torch.Tensor, layout: Layout, first: int) -> None:
    """Give the copies what the base has in the pieces that no axis leads through."""
    joined = any(f.kind == "joined" for dim in layout.dims for f in dim)
    copies = [(d, i) for d, dim in enumerate(layout.dims) for i, f in enumerate(dim)
              if f.kind == "copies"]  # fmt: skip
    if not joined or not copies or not first:
        return
    dim, at = copies[0]
    whole = tensor.unflatten(dim, [f.size for f in layout.dims[dim]]).movedim(dim + at, 0)
    whole[first:] = whole[:1]
