"""Every layer of the copies against what it gave for x alone, which then need not run beside them.

That holds where x gives the same in a batch, and where no layer is off against its rules: what is
will be looked at with x in the same batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from shiftcheck.measuring.agreement import all_rounding, is_against_rules
from shiftcheck.measuring.alone_in_a_batch import doubt_in_a_batch
from shiftcheck.measuring.gaps.arrange import arranged, spatial_places
from shiftcheck.measuring.gaps.regions import Gap
from shiftcheck.measuring.layer_gaps import compare_copies, require_copies, without_copies
from shiftcheck.measuring.measurements import Doubt, LayerGaps, Measured
from shiftcheck.measuring.outputs import output_rows
from shiftcheck.measuring.passes import Passes
from shiftcheck.measuring.progress import tracked
from shiftcheck.measuring.signals.arguments import Shift
from shiftcheck.measuring.unbatched import Alone
from shiftcheck.tracing.traced import Row


def against_alone(passes: Passes, alone: Alone) -> tuple[Measured, Measured, Doubt] | None:
    """The layers and the outputs of all copies, and what to doubt of them.

    None where x has to run beside the copies.
    """
    plan = passes.plan
    if alone.doubt.reason or passes.products or not alone.layers:
        return None
    rows: Measured = {}
    outputs: Measured = {}
    for chunk in tracked(plan.chunks(bases=0), plan.progress):
        compared = _with_chunk(passes, alone, chunk, (rows, outputs)) if len(chunk) > 1 else None
        if compared is None:
            return None
        rows, outputs = compared
    known = plan.alike_in_a_batch
    if known or all(all_rounding(plan, entry) for entry in outputs.values()):
        return rows, outputs, alone.doubt
    return rows, outputs, alone.doubt.then(doubt_in_a_batch(passes, alone))


def _with_chunk(
    passes: Passes, alone: Alone, chunk: Sequence[Shift], known: tuple[Measured, Measured]
) -> tuple[Measured, Measured] | None:
    """What is known, with the gaps of one batch of copies."""
    plan = passes.plan
    rows, outputs = map(dict, known)
    met: set[str] = set()
    strangers: set[str] = set()

    def on_row(row: Row, tensor: torch.Tensor) -> None:
        met.add(row.name)
        entry = rows.get(row.name, LayerGaps(row=row))
        pair = alone.layers.get(row.name), tensor
        compared = _compared(passes, entry, row, pair, chunk)
        if compared is None:
            strangers.add(row.name)
        else:
            rows[row.name] = compared

    with plan.inputs.without_gradients():
        values = plan.inputs.stacked(chunk, plan.seed, base=False)
        traced = passes.run(values, on_row, copies=len(chunk))
        ends = output_rows(traced)
        if strangers or len(ends) != len(alone.outputs) or met != set(rows):
            return None
        for row, base, (_, tensor, _) in zip(ends, alone.outputs, traced.outputs, strict=True):
            entry = outputs.get(row.name, LayerGaps(row=row))
            compared = _compared(passes, entry, row, (base, tensor), chunk, ends=True)
            if compared is None:
                return None
            outputs[row.name] = compared
    entries = (*rows.values(), *outputs.values())
    if plan.alike_in_a_batch:
        return rows, outputs
    return None if any(is_against_rules(passes, entry) for entry in entries) else (rows, outputs)


def _compared(
    passes: Passes,
    known: LayerGaps,
    row: Row,
    pair: tuple[torch.Tensor | None, torch.Tensor],
    chunk: Sequence[Shift],
    *,
    ends: bool = False,
) -> LayerGaps | None:
    """What is known of a layer, with the gaps of its copies; ``pair``: what is alone, and they.

    None where x alone gave no such layer.
    """
    require_copies(row.layout)
    unbatched, tensor = pair
    if tensor.layout != torch.strided:
        return known.with_gaps(*[Gap(spatial=False, predicted=False)] * len(chunk))
    layout = without_copies(row.layout)
    alike = unbatched is not None and unbatched.layout == torch.strided
    if not alike or unbatched is None or unbatched.shape != layout.shape:
        return None
    axes = len(passes.plan.zero)
    base = arranged(unbatched, layout, spatial_places(layout, axes))[0]
    copies = arranged(tensor, row.layout, spatial_places(row.layout, axes))
    return compare_copies(passes, known, row, base, copies, chunk, ends=ends)
