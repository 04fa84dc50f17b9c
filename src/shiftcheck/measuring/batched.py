"""Running a check: base and copies in one batch, or one by one where the batch interferes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from shiftcheck.errors import InputError, ModelError
from shiftcheck.measuring.gaps.arrange import arranged, spatial_places, valid_spans
from shiftcheck.measuring.gaps.compare import Base
from shiftcheck.measuring.gaps.plan import Gap
from shiftcheck.measuring.layer_gaps import compare_stacked, first_copy, gap_of
from shiftcheck.measuring.progress import tracked
from shiftcheck.measuring.run import Job, Measured, chunks_of, guarded
from shiftcheck.measuring.signals.arguments import Shift
from shiftcheck.measuring.structure_pass import output_rows
from shiftcheck.measuring.unbatched import agrees_with_alone, compare_alone, run_alone
from shiftcheck.report.reasons import Reason
from shiftcheck.rules import BatchCoupledError
from shiftcheck.tracing.passes import Row
from shiftcheck.tracing.restoring.state import Originals


def run_all(job: Job, originals: Originals, max_batch: int | None, progress: bool) -> None:
    """Measure every layer at every shift, stacked, or one by one where the copies interfere."""
    try:
        run_alone(job, originals)
        if agrees_with_alone(job, originals, max_batch, progress):
            return
        for chunk in tracked(chunks_of(job, max_batch), progress):
            _run_chunk(job, chunk, originals)
        return
    except BatchCoupledError as error:
        reason = str(error)
    except (ModelError, InputError):
        if len(job.shifts) == 0:
            raise
        reason = "the model raises on a batch of copies"
    job.rows.clear()
    job.outputs.clear()
    job.doubt, job.unsure = job.doubt if job.doubt == Reason.UNSTEADY else Reason.NONE, False
    _run_one_by_one(job, originals, progress)
    job.notes.append(f"the copies ran one at a time: {reason}")


def _run_chunk(job: Job, chunk: Sequence[Shift], originals: Originals) -> None:
    met: set[str] = set()

    def on_row(row: Row, tensor: torch.Tensor) -> None:
        if job.every_layer:
            met.add(row.name)
            compare_stacked(job, job.rows, row, tensor, chunk, ends=False)
        elif row.name not in job.rows:
            job.rows[row.name] = Measured(row=row)

    with job.inputs.without_gradients():
        values = job.inputs.stacked(chunk, job.seed)
        traced = guarded(job, values, len(chunk) + 1, originals, on_row)
        for row, (_, tensor, _) in zip(output_rows(traced), traced.outputs, strict=True):
            compare_stacked(job, job.outputs, row, tensor, chunk, ends=True)
        copies = len(chunk) + 1
        bases = [first_copy(tensor, signal, copies) for _, tensor, signal in traced.outputs]
        compare_alone(job, bases, Reason.BATCH_COUPLED, originals)
    if job.every_layer and met != set(job.rows):
        raise BatchCoupledError("the layers differ from pass to pass")


def _run_one_by_one(job: Job, originals: Originals, progress: bool) -> None:
    bases: dict[tuple[str, str], Base] = {}
    zero = (0,) * len(job.inputs.pixels)

    def note(kind: str, into: dict[str, Measured], row: Row, tensor: torch.Tensor) -> None:
        places = spatial_places(row.layout, len(zero))
        whole = arranged(tensor, row.layout, places)[0].clone()
        spans = valid_spans(row.layout, len(zero))
        base = Base(whole, job.scene.tolerance, spans, job.scene.allowed)
        into[row.name] = Measured(row=row)
        into[row.name].see(base, ends=kind == "output")
        if kind == "output" or job.every_layer:
            bases[kind, row.name] = base

    with job.inputs.without_gradients():
        values = job.inputs.shifted(zero, job.seed)
        traced = guarded(job, values, 1, originals, lambda r, t: note("row", job.rows, r, t))
        for row, (_, tensor, _) in zip(output_rows(traced), traced.outputs, strict=True):
            note("output", job.outputs, row, tensor)
        for shift in tracked(job.shifts, progress):
            _run_single(job, shift, bases, originals)
        again = job.inputs.shifted(zero, job.seed)
        repeat = guarded(job, again, 1, originals, lambda row, tensor: None)
        job.alone = [tensor for _, tensor, _ in traced.outputs]
        compare_alone(job, [tensor for _, tensor, _ in repeat.outputs], Reason.UNSTEADY, originals)


def _run_single(
    job: Job, shift: Shift, bases: dict[tuple[str, str], Base], originals: Originals
) -> None:
    def compare(kind: str, into: dict[str, Measured], row: Row, tensor: torch.Tensor) -> None:
        base = bases.get((kind, row.name))
        if base is None:
            return
        copy = arranged(tensor, row.layout, spatial_places(row.layout, len(shift)))[0]
        if copy.shape != base.values.shape and job.leak:
            into[row.name].gaps.append(Gap())
            return
        if copy.shape != base.values.shape:
            raise ModelError(
                f"{row.name!r} has shape {into[row.name].row.layout.shape} for x and"
                f" {row.layout.shape} for x"
                f" shifted by {shift}: shapes must not depend on the values"
            )
        ends = kind == "output"
        placed = job.planner(row.layout, ends=ends).plan(shift) if any(shift) else Gap()
        gap = gap_of(job, row.layout, shift, base, copy, placed, ends)
        into[row.name].gaps.append(gap)

    values = job.inputs.shifted(shift, job.seed)
    traced = guarded(job, values, 1, originals, lambda r, t: compare("row", job.rows, r, t))
    for row, (_, tensor, _) in zip(output_rows(traced), traced.outputs, strict=True):
        compare("output", job.outputs, row, tensor)
    expected = len(next(iter(job.outputs.values())).gaps)
    if traced.leak and job.every_layer:  # it chose another way; what is met on every way is kept
        for name in [n for n, entry in job.rows.items() if len(entry.gaps) != expected]:
            del job.rows[name], bases["row", name]
    if job.leak:
        _fill(job.outputs.values(), expected)
    for entry in [*job.outputs.values(), *(job.rows.values() if job.every_layer else ())]:
        if len(entry.gaps) != expected:
            raise ModelError(
                f"{entry.row.name!r} was not met again for x shifted by {shift}: the model takes"
                " another way through its layers for other values"
            )


def _fill(entries: Iterable[Measured], expected: int) -> None:
    """One gap for each shift, of outputs that another pass did not give."""
    for entry in entries:
        missing = expected - len(entry.gaps)
        entry.gaps[expected:] = [Gap()] * missing
