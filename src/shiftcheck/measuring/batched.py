"""Measuring a plan: base and copies in one batch, or one by one where the batch interferes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from shiftcheck.errors import InputError, ModelError
from shiftcheck.measuring.agreement import (
    Agreement,
    agreement_with_alone,
    is_against_rules,
    leaves_nothing,
    several_whole_shifts,
    whole_shifts,
)
from shiftcheck.measuring.alone_in_a_batch import doubt_in_a_batch
from shiftcheck.measuring.beside_nothing import against_alone
from shiftcheck.measuring.gaps.arrange import arranged, spatial_places, valid_spans
from shiftcheck.measuring.gaps.compare import Base
from shiftcheck.measuring.gaps.regions import Gap
from shiftcheck.measuring.layer_gaps import compare_stacked, first_copy, gap_of, with_base
from shiftcheck.measuring.measurements import Doubt, LayerGaps, Measured, Measurements
from shiftcheck.measuring.outputs import output_rows
from shiftcheck.measuring.passes import Passes
from shiftcheck.measuring.progress import tracked
from shiftcheck.measuring.signals.arguments import Shift
from shiftcheck.measuring.unbatched import Alone, compare_alone, run_alone
from shiftcheck.report.reasons import Reason
from shiftcheck.rules import BatchCoupledError
from shiftcheck.tracing.traced import Row


def measure_agreeing(passes: Passes) -> Measurements | None:
    """The outputs at every shift, where all agree with those for x alone, or nearly.

    None where one is off by more than rounding, unless the user allows for more, or where the
    structure leaves nothing of one to compare.
    """
    plan = passes.plan
    try:
        alone = run_alone(passes, geometry=not plan.between_pixels)
        if leaves_nothing(passes, alone):
            return None
        agreement = agreement_with_alone(passes, alone, only_exact=plan.tolerances is None)
        compared = _accepted(passes, alone, agreement)
    except (BatchCoupledError, ModelError):  # what every layer is looked at for tells why
        return None
    return None if compared is None else _measurements(passes, alone, compared)


def _accepted(passes: Passes, alone: Alone, agreement: Agreement | None) -> _Compared | None:
    """What the copies gave without x beside them, and what to doubt; None where x is needed."""
    plan = passes.plan
    if agreement is None:
        return None
    entries = agreement.outputs.values()
    if any(len(entry.gaps) < len(plan.shifts) for entry in entries):
        return None
    if agreement.exact or plan.alike_in_a_batch:
        return _Compared(agreement.rows, agreement.outputs, alone.doubt)
    if plan.tolerances is None and any(is_against_rules(passes, entry) for entry in entries):
        return None
    doubt = alone.doubt.then(doubt_in_a_batch(passes, alone))
    return _Compared(agreement.rows, agreement.outputs, doubt)


def measure(passes: Passes) -> Measurements:
    """Every layer at every shift, stacked, or one by one where the copies interfere."""
    alone = Alone()
    try:
        layers = passes.plan.every_layer
        keep = layers and several_whole_shifts(passes.plan)
        geometry = whole_shifts(passes.plan) and (passes.plan.explained or not layers)
        alone = run_alone(passes, geometry=geometry, keep_layers=keep)
        compared = _beside_nothing(passes, alone) or _in_chunks(passes, alone)
        return _measurements(passes, alone, compared)
    except BatchCoupledError as error:
        reason = str(error)
    except (ModelError, InputError):
        if not passes.plan.shifts:
            raise
        reason = "the model raises on a batch of copies"
    steady = alone.doubt.reason is not Reason.UNSTEADY
    alone = replace(alone, doubt=Doubt() if steady else Doubt(Reason.UNSTEADY))
    compared = _one_by_one(passes, alone)
    return _measurements(passes, alone, compared, f"the copies ran one at a time: {reason}")


@dataclass(frozen=True, eq=False)
class _Compared:
    rows: Measured
    outputs: Measured
    doubt: Doubt


def _measurements(passes: Passes, alone: Alone, compared: _Compared, *notes: str) -> Measurements:
    return Measurements(
        rows=compared.rows,
        outputs=compared.outputs,
        notes=(*alone.notes, *notes),
        odd=alone.odd,
        doubt=compared.doubt,
        leak=passes.leak,
        dtypes=frozenset(passes.dtypes),
        products=frozenset(passes.products),
        eps=passes.eps,
    )


def _beside_nothing(passes: Passes, alone: Alone) -> _Compared | None:
    """The copies against what x gave alone; None where x has to run beside them."""
    if passes.plan.every_layer:
        against = against_alone(passes, alone)
        return None if against is None else _Compared(*against)
    return _accepted(passes, alone, agreement_with_alone(passes, alone))


def _in_chunks(passes: Passes, alone: Alone) -> _Compared:
    compared = _Compared({}, {}, alone.doubt)
    for chunk in tracked(passes.plan.chunks(), passes.plan.progress):
        compared = _with_chunk(passes, alone, compared, chunk)
    return compared


def _with_chunk(
    passes: Passes, alone: Alone, known: _Compared, chunk: Sequence[Shift]
) -> _Compared:
    """What is known, with the gaps of one batch of the base and its copies."""
    plan, copies = passes.plan, len(chunk) + 1
    rows, outputs = dict(known.rows), dict(known.outputs)
    met: set[str] = set()

    def on_row(row: Row, tensor: torch.Tensor) -> None:
        met.add(row.name)
        entry = rows.get(row.name, LayerGaps(row=row))
        if plan.every_layer:
            entry = compare_stacked(passes, entry, row, tensor, chunk, ends=False)
        rows[row.name] = entry

    with plan.inputs.without_gradients():
        traced = passes.run(plan.inputs.stacked(chunk, plan.seed), on_row, copies=copies)
        for row, (_, tensor, _) in zip(output_rows(traced), traced.outputs, strict=True):
            entry = outputs.get(row.name, LayerGaps(row=row))
            outputs[row.name] = compare_stacked(passes, entry, row, tensor, chunk, ends=True)
        bases = [first_copy(tensor, layout, copies) for _, tensor, layout in traced.outputs]
        doubt = compare_alone(passes, alone.outputs, bases, Reason.BATCH_COUPLED)
    if plan.every_layer and met != set(rows):
        raise BatchCoupledError("the layers differ from pass to pass")
    return _Compared(rows, outputs, known.doubt.then(doubt))


Place = tuple[str, str]
"""Whether it is a row or an output, and its name."""


def _one_by_one(passes: Passes, alone: Alone) -> _Compared:
    plan = passes.plan
    entries: dict[Place, LayerGaps] = {}
    bases: dict[Place, Base] = {}

    def keep(kind: str, row: Row, tensor: torch.Tensor) -> None:
        places = spatial_places(row.layout, len(plan.zero))
        copy = arranged(tensor, row.layout, places)[0].clone()
        spans = valid_spans(row.layout, len(plan.zero))
        base = Base(copy, plan.tolerances, spans, plan.scene.allowed)
        entries[kind, row.name] = with_base(LayerGaps(row=row), base, ends=kind == "output")
        if kind == "output" or plan.every_layer:
            bases[kind, row.name] = base

    with plan.inputs.without_gradients():
        values = plan.inputs.shifted(plan.zero, plan.seed)
        traced = passes.run(values, lambda row, tensor: keep("row", row, tensor))
        for row, (_, tensor, _) in zip(output_rows(traced), traced.outputs, strict=True):
            keep("output", row, tensor)
        for shift in tracked(plan.shifts, plan.progress):
            entries = _with_shift(passes, shift, entries, bases)
        again = plan.inputs.shifted(plan.zero, plan.seed)
        repeat = passes.run(again, lambda row, tensor: None)
        first, others = ([t for _, t, _ in run.outputs] for run in (traced, repeat))
        doubt = alone.doubt.then(compare_alone(passes, first, others, Reason.UNSTEADY))
    rows = {name: entry for (kind, name), entry in entries.items() if kind == "row"}
    outputs = {name: entry for (kind, name), entry in entries.items() if kind == "output"}
    return _Compared(rows, outputs, doubt)


def _with_shift(
    passes: Passes,
    shift: Shift,
    known: Mapping[Place, LayerGaps],
    bases: Mapping[Place, Base],
) -> dict[Place, LayerGaps]:
    """What is known, with the gaps of one shifted copy that ran by itself."""
    plan = passes.plan
    gaps: dict[Place, Gap] = {}

    def compare(kind: str, row: Row, tensor: torch.Tensor) -> None:
        place = kind, row.name
        if place in bases and place in known:
            before = known[place].row.layout.shape
            gaps[place] = _gap(passes, before, row, shift, bases[place], tensor, kind == "output")

    values = plan.inputs.shifted(shift, plan.seed)
    traced = passes.run(values, lambda row, tensor: compare("row", row, tensor))
    for row, (_, tensor, _) in zip(output_rows(traced), traced.outputs, strict=True):
        compare("output", row, tensor)
    entries = dict(known)
    for place in sorted(bases, key=lambda place: place[0] == "row"):  # the outputs first
        if place not in known:
            continue
        if place in gaps:
            entries[place] = known[place].with_gaps(gaps[place])
        elif place[0] == "output" and passes.leak:
            entries[place] = known[place].with_gaps(Gap())
        elif place[0] == "row" and traced.leak:  # what is met on every way is kept
            del entries[place]
        else:
            raise ModelError(
                f"{place[1]!r} was not met again for x shifted by {shift}: the model takes"
                " another way through its layers for other values"
            )
    return entries


def _gap(
    passes: Passes,
    before: tuple[int, ...],
    row: Row,
    shift: Shift,
    base: Base,
    tensor: torch.Tensor,
    ends: bool,
) -> Gap:
    """The gap of a copy that ran by itself; ``before``: the shape of its base."""
    copy = arranged(tensor, row.layout, spatial_places(row.layout, len(shift)))[0]
    if copy.shape != base.values.shape and passes.leak:
        return Gap()
    if copy.shape != base.values.shape:
        raise ModelError(
            f"{row.name!r} has shape {before} for x and {row.layout.shape} for x"
            f" shifted by {shift}: shapes must not depend on the values"
        )
    region = passes.planner(row.layout, ends=ends).region(shift) if any(shift) else Gap()
    return gap_of(passes.plan, row.layout, shift, base, copy, region, ends)
