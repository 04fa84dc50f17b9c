"""Shifted copies that give the outputs for x by itself, shifted: then x need not run beside them.

Where the pass of x read no value, the copies go the same way without rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from shiftcheck.lattice.factors import Factor
from shiftcheck.lattice.layout import Layout
from shiftcheck.measuring.gaps.arrange import arranged, spatial_places
from shiftcheck.measuring.gaps.regions import Gap
from shiftcheck.measuring.layer_gaps import compare_copies, require_copies, without_copies
from shiftcheck.measuring.measurements import Doubt, LayerGaps, Measured
from shiftcheck.measuring.outputs import output_rows
from shiftcheck.measuring.passes import Passes
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.progress import tracked
from shiftcheck.measuring.signals.arguments import Shift
from shiftcheck.measuring.tolerance import Tolerance
from shiftcheck.measuring.unbatched import Alone, compare_alone
from shiftcheck.report.causes import CauseKind
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.precision import eps_of
from shiftcheck.tracing.traced import Row, Traced


@dataclass(frozen=True, eq=False)
class Agreement:
    """The layers and the outputs of copies beside which x did not run.

    ``exact``: every copy gives the outputs for x by itself, shifted, up to rounding.
    """

    rows: Measured
    outputs: Measured
    exact: bool = True


def agreement_with_alone(
    passes: Passes, alone: Alone, *, only_exact: bool = False
) -> Agreement | None:
    """The outputs of all copies against those for x by itself; None where it has to run with them.

    Where one is off, the reason may be the batch. Coarse products nearly always are one.
    ``only_exact``: None where one is off.
    """
    plan = passes.plan
    only_ends = not plan.every_layer
    if alone.doubt.reason or passes.products or not (only_ends and whole_shifts(plan)):
        return None
    bare = _without_rules(passes, alone, only_exact=only_exact)
    return bare or (_with_rules(passes, alone) if several_whole_shifts(plan) else None)


def _with_rules(passes: Passes, alone: Alone) -> Agreement | None:
    """The same, for a model that has to be traced again.

    None where a copy is off, unless that is known not to be due to the batch.
    """
    rows: dict[str, LayerGaps] = {}
    outputs: Measured = {}
    for chunk in tracked(passes.plan.chunks(bases=0), passes.plan.progress):
        agreeing = _agreeing(passes, alone, chunk, outputs) if len(chunk) > 1 else None
        if agreeing is None:
            return None
        met, outputs = agreeing
        rows |= {name: entry for name, entry in met.items() if name not in rows}
    exact = all(all_rounding(passes.plan, entry) for entry in outputs.values())
    return Agreement(rows, outputs, exact)


def leaves_nothing(passes: Passes, alone: Alone) -> bool:
    """Whether there is an output of which no shift leaves a sample to compare."""
    plan = passes.plan
    if alone.traced is None or not whole_shifts(plan):
        return False
    shifts = [shift for shift in plan.shifts if any(shift)]
    planners = (passes.planner(row.layout, ends=True) for row in output_rows(alone.traced))
    each = ([planner.region(shift) for shift in shifts] for planner in planners)
    return any(all(isinstance(r, Gap) or not r.share for r in regions) for regions in each)


def whole_shifts(plan: Plan) -> bool:
    """Whether there are copies, and each is compared sample by sample."""
    return bool(plan.shifts) and not (plan.between_pixels or plan.sums)


def several_whole_shifts(plan: Plan) -> bool:
    """Whether there is more than one copy, and each is compared sample by sample."""
    return len(plan.shifts) > 1 and whole_shifts(plan)


def _without_rules(passes: Passes, alone: Alone, *, only_exact: bool) -> Agreement | None:
    """The outputs of copies that go the way of x alone; None where they do not.

    A single copy has x beside it, which must come out as it does alone.
    """
    plan, traced = passes.plan, alone.traced
    if traced is None or _meets_other_signals(traced):
        return None
    measured: Measured = {}
    exact, beside = True, not several_whole_shifts(plan)
    for chunk in tracked(plan.chunks(bases=0), plan.progress):
        with plan.inputs.without_gradients():
            values = plan.inputs.stacked(chunk, plan.seed, base=beside)
            tensors = passes.run_again(traced, values)
            if tensors is not None and beside:
                tensors = _after_x(passes, alone, tensors)
            compared = (
                None if tensors is None else _compared(passes, traced, tensors, chunk, measured)
            )
        if compared is None:
            return None
        measured = compared
        exact = all(all_rounding(plan, entry) for entry in measured.values())
        if only_exact and not exact:
            break
    rows = {name: LayerGaps(row=row) for name, row in alone.rows.items()}
    return Agreement(rows, measured, exact)


def _after_x(
    passes: Passes, alone: Alone, tensors: Sequence[torch.Tensor]
) -> list[torch.Tensor] | None:
    """What the copy gave that ran behind x; None where x gave something else than alone."""
    halves = [tensor.chunk(2) if tensor.ndim else () for tensor in tensors]
    pairs = zip(halves, alone.outputs, strict=True)
    if any(len(half) != 2 or half[0].shape != single.shape for half, single in pairs):
        return None
    doubt = compare_alone(passes, alone.outputs, [x for x, _ in halves], Reason.BATCH_COUPLED)
    return None if doubt != Doubt() else [copy for _, copy in halves]


def _meets_other_signals(traced: Traced) -> bool:
    """Whether rules say that the elements of a batch are mixed."""
    causes = (cause for _, _, layout in traced.outputs for cause in layout.causes)
    return any(cause.kind == CauseKind.BATCH_COUPLED for cause in causes)


def _compared(
    passes: Passes,
    traced: Traced,
    tensors: Sequence[torch.Tensor],
    chunk: Sequence[Shift],
    known: Measured,
) -> Measured | None:
    """What is known, with the gaps of copies that ran without rules; None for other shapes."""
    measured = dict(known)
    for row, (_, base, _), tensor in zip(output_rows(traced), traced.outputs, tensors, strict=True):
        stacked = _of_copies(row.layout, base, tensor, len(chunk))
        if stacked is None:
            return None
        measured[row.name] = _output(passes, measured, row, base, (tensor, stacked), chunk)
    return measured


def _of_copies(
    layout: Layout, base: torch.Tensor, tensor: torch.Tensor, copies: int
) -> Layout | None:
    """The layout of a batch of copies, which lead the one dimension that is larger than alone."""
    if not _alike(base, tensor) or base.ndim != tensor.ndim:
        return None
    sizes = list(zip(base.shape, tensor.shape, strict=True))
    larger = [dim for dim, (one, other) in enumerate(sizes) if one != other]
    if copies == 1 and not larger:
        larger = [0]
    if len(larger) != 1 or tensor.shape[larger[0]] != copies * base.shape[larger[0]]:
        return None
    dims = list(layout.dims)
    dims[larger[0]] = (Factor("copies", copies), *dims[larger[0]])
    return replace(layout, dims=tuple(dims))


def _alike(base: torch.Tensor, tensor: torch.Tensor) -> bool:
    dense = tensor.layout == torch.strided and base.layout == torch.strided
    return dense and tensor.dtype == base.dtype


def _output(
    passes: Passes,
    measured: Measured,
    row: Row,
    unbatched: torch.Tensor,
    stacked: tuple[torch.Tensor, Layout],
    chunk: Sequence[Shift],
) -> LayerGaps:
    """What is known of an output, with the gaps of its copies."""
    tensor, layout = stacked
    axes, alone = len(passes.plan.zero), without_copies(layout)
    copies = arranged(tensor, layout, spatial_places(layout, axes))
    base = arranged(unbatched, alone, spatial_places(alone, axes))[0]
    known = measured.get(row.name, LayerGaps(row=row))
    return compare_copies(passes, known, row, base, copies, chunk, ends=True)


def _agreeing(
    passes: Passes, alone: Alone, chunk: Sequence[Shift], outputs: Measured
) -> tuple[Measured, Measured] | None:
    plan = passes.plan
    rows: dict[str, LayerGaps] = {}

    def on_row(row: Row, tensor: torch.Tensor) -> None:
        rows.setdefault(row.name, LayerGaps(row=row))

    with plan.inputs.without_gradients():
        values = plan.inputs.stacked(chunk, plan.seed, base=False)
        traced = passes.run(values, on_row, copies=len(chunk))
        ends = output_rows(traced)
        if len(ends) != len(alone.outputs):
            return None
        measured = dict(outputs)
        for row, (_, tensor, _), unbatched in zip(ends, traced.outputs, alone.outputs, strict=True):
            require_copies(row.layout)
            if not _alike(unbatched, tensor):
                return None
            if without_copies(row.layout).shape != unbatched.shape:
                return None
            stacked = tensor, row.layout
            entry = _output(passes, measured, row, unbatched, stacked, chunk)
            if not (plan.alike_in_a_batch or all_rounding(plan, entry)):
                return None
            measured[row.name] = entry
    return rows, measured


def is_rounding(plan: Plan, shift: Shift, gap: Gap) -> bool:
    """Whether a gap was measured, and is rounding in the type of x, whatever else is allowed."""
    if not any(shift):
        return True
    if gap.error is None or gap.relative is None:
        return False
    return gap.relative <= Tolerance(eps=eps_of(plan.inputs.dtype)).relative(None)


def all_rounding(plan: Plan, entry: LayerGaps) -> bool:
    """Whether every gap so far was measured, and is rounding."""
    pairs = zip(plan.shifts, entry.gaps, strict=False)
    return all(is_rounding(plan, shift, gap) for shift, gap in pairs)


def is_against_rules(passes: Passes, entry: LayerGaps) -> bool:
    """Whether some gap is larger than rounding where the structure promises none."""
    pairs = zip(passes.plan.shifts, entry.gaps, strict=False)
    return any(
        gap.predicted and gap.error is not None and not is_rounding(passes.plan, shift, gap)
        for shift, gap in pairs
    )
