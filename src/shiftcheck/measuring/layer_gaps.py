"""The copies of a layer that travelled as one batch, each compared with the base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from shiftcheck.lattice.layout import Layout
from shiftcheck.measuring.gaps.arrange import arranged, place_in_tensor, spatial_places
from shiftcheck.measuring.gaps.compare import Base, measure
from shiftcheck.measuring.gaps.compare_between import measure_between, sums_of
from shiftcheck.measuring.gaps.compare_stacked import maps
from shiftcheck.measuring.gaps.plan import Gap, Map, Plan, Region
from shiftcheck.measuring.run import Job, Measured
from shiftcheck.measuring.signals.arguments import Shift
from shiftcheck.rules import BatchCoupledError
from shiftcheck.tracing.passes import Row


def compare_stacked(
    job: Job,
    into: dict[str, Measured],
    row: Row,
    tensor: torch.Tensor,
    chunk: Sequence[Shift],
    *,
    ends: bool,
) -> None:
    """Compare what travelled with the base in the first place, and keep what is found.

    ``ends``: it is an output. Raises BatchCoupledError where the copies are not apart any more.
    """
    require_copies(row.layout)
    if tensor.layout != torch.strided:
        entry = into.setdefault(row.name, Measured(row=row))
        entry.gaps += [Gap(spatial=False, predicted=False)] * len(chunk)
        return
    whole = arranged(tensor, row.layout, spatial_places(row.layout, len(job.scene.pixels)))
    compare_copies(job, into, row, whole[0], whole[1:], chunk, ends=ends)


def compare_copies(
    job: Job,
    into: dict[str, Measured],
    row: Row,
    unshifted: torch.Tensor,
    copies: torch.Tensor,
    chunk: Sequence[Shift],
    *,
    ends: bool,
) -> list[Gap]:
    """Compare the copies of a layer, arranged, with its shifted base, and keep what is found."""
    entry = into.setdefault(row.name, Measured(row=row))
    layout = without_copies(row.layout)
    planner = job.planner(layout, ends=ends)
    base = Base(unshifted, job.scene.tolerance, planner.valid, job.scene.allowed)
    if not entry.gaps:
        entry.see(base, ends=ends)
    plans = [planner.plan(shift) if any(shift) else Gap() for shift in chunk]
    steady = [None if isinstance(p, Gap) or p.between else p for p in plans]
    known = maps(copies, unshifted, steady)
    found = [
        gap_of(job, layout, shift, base, part, placed, ends, apart)
        for shift, placed, part, apart in zip(chunk, plans, copies, known, strict=True)
    ]
    entry.gaps += found
    return found


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
    """The signal of one of the stacked copies."""
    dims = tuple(tuple(f for f in dim if f.kind != "copies") for dim in layout.dims)
    return replace(layout, dims=dims)


def gap_of(
    job: Job,
    layout: Layout,
    shift: Shift,
    base: Base,
    copy: torch.Tensor,
    placed: Plan,
    ends: bool,
    apart: Map | None = None,
) -> Gap:
    """The gap of one copy of a layer from its base, where a plan says what to compare."""
    if isinstance(placed, Gap):
        return placed
    if placed.between:
        gap = measure_between(base, copy, placed, null=ends)
        return _with_place(_with_sums(gap, job, base, copy, placed, ends), layout, shift)
    null = "measure" if ends else "same" if shift in job.first_along else ""
    gap = measure(base, copy, placed, border=job.every_layer, null=null, apart=apart)
    return _with_place(_with_sums(gap, job, base, copy, placed, ends), layout, shift)


def _with_sums(
    gap: Gap, job: Job, base: Base, copy: torch.Tensor, region: Region, ends: bool
) -> Gap:
    how = job.scene.sums
    if not how or not ends or gap.error is None:
        return gap
    return replace(gap, sums=sums_of(base, copy, region, every=how == "all"))


def _with_place(gap: Gap, layout: Layout, shift: Shift) -> Gap:
    if gap.worst is None:
        return gap
    places = spatial_places(layout, len(shift))
    return replace(gap, worst=place_in_tensor(gap.worst, layout, places))
