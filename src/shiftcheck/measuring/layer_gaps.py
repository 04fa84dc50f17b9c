"""The copies of a layer that travelled as one batch, each compared with the base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import torch

from shiftcheck.lattice.layout import Layout
from shiftcheck.measuring.gaps.arrange import arranged, place_in_tensor, spatial_places
from shiftcheck.measuring.gaps.compare import Base, asked_gap
from shiftcheck.measuring.gaps.compare_between import asked_between, asked_sums
from shiftcheck.measuring.gaps.compare_stacked import maps
from shiftcheck.measuring.gaps.read import Asking, all_answered, answered
from shiftcheck.measuring.gaps.regions import Gap, Region
from shiftcheck.measuring.measurements import LayerGaps
from shiftcheck.measuring.passes import Passes
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.signals.arguments import Shift
from shiftcheck.rules import BatchCoupledError
from shiftcheck.tracing.traced import Row


def compare_stacked(
    passes: Passes,
    known: LayerGaps,
    row: Row,
    tensor: torch.Tensor,
    chunk: Sequence[Shift],
    *,
    ends: bool,
) -> LayerGaps:
    """What is known of a layer, with the gaps of what travelled behind the base.

    ``ends``: it is an output. Raises BatchCoupledError where the copies are not apart any more.
    """
    require_copies(row.layout)
    if tensor.layout != torch.strided:
        return known.with_gaps(*[Gap(spatial=False, predicted=False)] * len(chunk))
    places = spatial_places(row.layout, len(passes.plan.zero))
    copies = arranged(tensor, row.layout, places)
    return compare_copies(passes, known, row, copies[0], copies[1:], chunk, ends=ends)


def compare_copies(
    passes: Passes,
    known: LayerGaps,
    row: Row,
    unshifted: torch.Tensor,
    copies: torch.Tensor,
    chunk: Sequence[Shift],
    *,
    ends: bool,
) -> LayerGaps:
    """What is known of a layer, with the gaps of its copies from the shifted base, arranged."""
    plan = passes.plan
    layout = without_copies(row.layout)
    planner = passes.planner(layout, ends=ends)
    base = Base(unshifted, plan.tolerances, planner.valid, plan.scene.allowed)
    regions = [planner.region(shift) if any(shift) else Gap() for shift in chunk]
    steady = [None if isinstance(r, Gap) or r.between else r for r in regions]
    apart = maps(copies, unshifted, steady)
    first = [base.asked()] if ends or not known.gaps else []
    found = all_answered(
        chain(
            first,
            (
                asked_gap_of(plan, layout, shift, base, copy, region, ends, places)
                for shift, region, copy, places in zip(chunk, regions, copies, apart, strict=True)
            ),
        ),
        unshifted,
    )
    known = known if known.gaps else with_base(known, base, ends=ends)
    return known.with_gaps(*(gap for gap in found if gap is not None))


def with_base(known: LayerGaps, base: Base, *, ends: bool) -> LayerGaps:
    """What is known of a layer, with what is asked of its base later."""
    if not ends:
        return replace(known, peak=base.peak)
    return replace(
        known,
        peak=base.peak,
        channels=base.scales.numel(),
        faint=base.faint,
        faintest=base.faintest,
    )


def first_copy(tensor: torch.Tensor, layout: Layout, copies: int) -> torch.Tensor:
    """What the first of the stacked copies gave; the copies lead their dimension."""
    if tensor.layout != torch.strided:
        return tensor
    dim = next(d for d, fs in enumerate(layout.dims) if any(f.kind == "copies" for f in fs))
    factors = [f.size for f in layout.dims[dim]]
    at = [f.kind for f in layout.dims[dim]].index("copies")
    whole = tensor.unflatten(dim, factors).select(dim + at, 0)
    rest = len(factors) - 1
    first: torch.Tensor = whole.flatten(dim, dim + rest - 1) if rest else whole.unsqueeze(dim)
    return first


def require_copies(layout: Layout) -> None:
    """Raise BatchCoupledError unless one dimension holds the copies, once."""
    if sum(f.kind == "copies" for dim in layout.dims for f in dim) != 1:
        raise BatchCoupledError("a layer mixes the elements of the batch")


def without_copies(layout: Layout) -> Layout:
    """The layout of one of the stacked copies."""
    dims = tuple(tuple(f for f in dim if f.kind != "copies") for dim in layout.dims)
    return replace(layout, dims=dims)


def gap_of(
    plan: Plan,
    layout: Layout,
    shift: Shift,
    base: Base,
    copy: torch.Tensor,
    region: Region | Gap,
    ends: bool,
) -> Gap:
    """The gap of one copy of a layer from its base, where a region says what to compare."""
    return answered(asked_gap_of(plan, layout, shift, base, copy, region, ends))


def asked_gap_of(
    plan: Plan,
    layout: Layout,
    shift: Shift,
    base: Base,
    copy: torch.Tensor,
    region: Region | Gap,
    ends: bool,
    apart: torch.Tensor | None = None,
) -> Asking[Gap]:
    """The same, beside others of the layer."""
    if isinstance(region, Gap):
        return region
    if region.between:
        gap = yield from asked_between(base, copy, region, null=ends)
    else:
        null = "measure" if ends else "same" if shift in plan.first_along else ""
        border = plan.every_layer
        gap = yield from asked_gap(base, copy, region, border=border, null=null, apart=apart)
    if plan.sums and ends and gap.error is not None:
        every = plan.sums == "all"
        gap = replace(gap, sums=(yield from asked_sums(base, copy, region, every=every)))
    return _with_place(gap, layout, shift)


def _with_place(gap: Gap, layout: Layout, shift: Shift) -> Gap:
    if gap.worst is None:
        return gap
    places = spatial_places(layout, len(shift))
    return replace(gap, worst=place_in_tensor(gap.worst, layout, places))
