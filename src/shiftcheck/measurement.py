"""Running a model on its shifted copies and comparing every layer inside the pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from shiftcheck.compare import (
    Base,
    Gap,
    Placed,
    Scene,
    arranged,
    measure,
    place_in_tensor,
    plan,
    spatial_places,
)
from shiftcheck.errors import InputError, ModelError, ShiftcheckError
from shiftcheck.inputs import Inputs, Shift
from shiftcheck.layout import Signal
from shiftcheck.rules import BatchCoupledError
from shiftcheck.state import Originals
from shiftcheck.structure import Model, call, check_traced, output_rows, raised
from shiftcheck.trace import Row, Traced

STACK = 2**22
"""Input values that travel in one pass at most, unless one shift alone needs more."""


@dataclass(kw_only=True, eq=False)
class Measured:
    """A row and its gaps so far."""

    row: Row
    gaps: list[Gap] = field(default_factory=list)
    peak: float = 0.0


@dataclass(kw_only=True, eq=False)
class Job:
    """Everything that one check is about."""

    model: Model
    inputs: Inputs
    shifts: tuple[Shift, ...]
    seed: int
    layer: str | None
    training: bool
    every_layer: bool
    scene: Scene
    rows: dict[str, Measured] = field(default_factory=dict)
    outputs: dict[str, Measured] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    plans: dict[Any, tuple[Any, list[Placed] | Gap]] = field(default_factory=dict)

    def first_along(self, shift: Shift) -> Shift:
        """The first of the shifts that moves the same axes."""
        moved = [bool(v) for v in shift]
        return next(s for s in self.shifts if [bool(v) for v in s] == moved)

    def fresh(self) -> Job:
        """The same job with nothing measured yet."""
        return replace(self, rows={}, outputs={}, notes=[], plans={})


def run_all(job: Job, originals: Originals, max_batch: int | None, progress: bool) -> None:
    """Measure every layer at every shift, stacked, or one by one where the copies interfere."""
    chunks = _chunks(job, max_batch)
    try:
        for chunk in _tracked(chunks, progress):
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
    _run_one_by_one(job, originals, progress)
    job.notes.append(f"the copies ran one at a time: {reason}")


def _tracked(chunks: Sequence[Any], progress: bool) -> Any:
    if not progress:
        return chunks
    from rich.progress import track

    return track(chunks, description="shifts")


def _chunks(job: Job, max_batch: int | None) -> list[tuple[Shift, ...]]:
    if max_batch is not None and (isinstance(max_batch, bool) or max_batch < 2):
        raise InputError(
            f"max_batch={max_batch}: a pass holds the base and at least one copy, so 2"
        )
    values = sum(t.numel() for t in job.inputs.tensors)
    most = max_batch - 1 if max_batch is not None else max(1, STACK // max(values, 1) - 1)
    return [job.shifts[i : i + most] for i in range(0, len(job.shifts), most)]


def _run_chunk(job: Job, chunk: Sequence[Shift], originals: Originals) -> None:
    met: set[str] = set()

    def on_row(row: Row, tensor: torch.Tensor) -> None:
        if job.every_layer:
            met.add(row.name)
            _compare_stacked(job, job.rows, row, tensor, chunk, ends=False)
        elif row.name not in job.rows:
            job.rows[row.name] = Measured(row=row)

    with torch.inference_mode():
        values = job.inputs.stacked(chunk, job.seed)
        traced = _guarded(job, values, len(chunk) + 1, originals, on_row)
        for row, (_, tensor, _) in zip(output_rows(traced), traced.outputs, strict=True):
            _compare_stacked(job, job.outputs, row, tensor, chunk, ends=True)
    if job.every_layer and met != set(job.rows):
        raise BatchCoupledError("the layers differ from pass to pass")


def _guarded(
    job: Job,
    values: list[Any],
    copies: int,
    originals: Originals,
    on_row: Callable[[Row, torch.Tensor], None],
) -> Traced:
    rows: list[Row] = []

    def seen(row: Row, tensor: torch.Tensor) -> None:
        rows.append(row)
        on_row(row, tensor)

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
        )
    except ShiftcheckError:
        raise
    except Exception as error:
        raise ModelError(raised(error, shape, rows)) from error
    check_traced(traced, job.layer, rows)
    return traced


def _compare_stacked(
    job: Job,
    into: dict[str, Measured],
    row: Row,
    tensor: torch.Tensor,
    chunk: Sequence[Shift],
    *,
    ends: bool,
) -> None:
    _require_copies(row.signal)
    whole = arranged(tensor, row.signal, spatial_places(row.signal, len(job.scene.pixels)))
    entry = into.setdefault(row.name, Measured(row=row))
    base = Base(whole[0])
    if not entry.gaps:
        entry.peak = base.peak
    signal = without_copies(row.signal)
    for shift, part in zip(chunk, whole[1:], strict=True):
        entry.gaps.append(_gap_of(job, signal, shift, base, part, ends))


def _require_copies(signal: Signal) -> None:
    if not any(f.kind == "copies" for dim in signal.dims for f in dim):
        raise BatchCoupledError("a layer mixes the elements of the batch")


def without_copies(signal: Signal) -> Signal:
    """The signal of one of the stacked copies."""
    dims = tuple(tuple(f for f in dim if f.kind != "copies") for dim in signal.dims)
    return replace(signal, dims=dims)


def _gap_of(
    job: Job, signal: Signal, shift: Shift, base: Base, copy: torch.Tensor, ends: bool
) -> Gap:
    if not any(shift):
        return Gap()
    placed = _planned(job, signal, shift)
    if isinstance(placed, Gap):
        return placed
    first = sum(map(bool, shift)) == 1 and shift == job.first_along(shift)
    null = "measure" if ends else "same" if first else ""
    gap = measure(base, copy, placed, border=job.every_layer, null=null)
    if gap.worst is None:
        return gap
    places = spatial_places(signal, len(shift))
    return replace(gap, worst=place_in_tensor(gap.worst, signal, places))


def _planned(job: Job, signal: Signal, shift: Shift) -> list[Placed] | Gap:
    """The plan of ``shift``, kept as long as the same geometry comes again."""
    dims = tuple(tuple((f.kind, f.size, f.axis) for f in dim) for dim in signal.dims)
    key = (dims, tuple(map(id, signal.axes)), shift)
    if key not in job.plans:
        job.plans[key] = (signal.axes, plan(signal, shift, job.scene))
    return job.plans[key][1]


def _run_one_by_one(job: Job, originals: Originals, progress: bool) -> None:
    bases: dict[tuple[str, str], Base] = {}
    zero = (0,) * len(job.inputs.pixels)

    def note(kind: str, into: dict[str, Measured], row: Row, tensor: torch.Tensor) -> None:
        places = spatial_places(row.signal, len(zero))
        base = Base(arranged(tensor, row.signal, places)[0].clone())
        into[row.name] = Measured(row=row, peak=base.peak)
        if kind == "output" or job.every_layer:
            bases[kind, row.name] = base

    with torch.inference_mode():
        values = job.inputs.shifted(zero, job.seed)
        traced = _guarded(job, values, 1, originals, lambda r, t: note("row", job.rows, r, t))
        for row, (_, tensor, _) in zip(output_rows(traced), traced.outputs, strict=True):
            note("output", job.outputs, row, tensor)
        for shift in _tracked(job.shifts, progress):
            _run_single(job, shift, bases, originals)


def _run_single(
    job: Job, shift: Shift, bases: dict[tuple[str, str], Base], originals: Originals
) -> None:
    def compare(kind: str, into: dict[str, Measured], row: Row, tensor: torch.Tensor) -> None:
        base = bases.get((kind, row.name))
        if base is None:
            return
        copy = arranged(tensor, row.signal, spatial_places(row.signal, len(shift)))[0]
        if copy.shape != base.values.shape:
            raise ModelError(
                f"{row.name!r} has shape {into[row.name].row.signal.shape} for x and"
                f" {row.signal.shape} for x"
                f" shifted by {shift}: shapes must not depend on the values"
            )
        ends = kind == "output"
        gap = _gap_of(job, row.signal, shift, base, copy, ends)
        into[row.name].gaps.append(gap)

    values = job.inputs.shifted(shift, job.seed)
    traced = _guarded(job, values, 1, originals, lambda r, t: compare("row", job.rows, r, t))
    for row, (_, tensor, _) in zip(output_rows(traced), traced.outputs, strict=True):
        compare("output", job.outputs, row, tensor)
    expected = len(next(iter(job.outputs.values())).gaps)
    for entry in [*job.outputs.values(), *(job.rows.values() if job.every_layer else ())]:
        if len(entry.gaps) != expected:
            raise ModelError(
                f"{entry.row.name!r} was not met again for x shifted by {shift}: the model takes"
                " another way through its layers for other values"
            )
