"""One check at shifts that are chosen: run, compare, look again at what is doubtful, judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from shiftcheck.checks.equivariance.build_report import build_report
from shiftcheck.checks.equivariance.second_look import (
    doubt_in_a_batch,
    doubtful,
    look_again,
    precision_notes,
)
from shiftcheck.measuring.batched import run_all
from shiftcheck.measuring.local_error import measure_local
from shiftcheck.measuring.run import Job, eps_of
from shiftcheck.measuring.structure_pass import choose_shifts
from shiftcheck.measuring.tolerance import Tolerance
from shiftcheck.report.equivariance import Report, Verdict
from shiftcheck.tracing.modules import modules_of, names_of
from shiftcheck.tracing.restoring.state import preserved


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the user asked of a check, besides what its job is about.

    ``tolerances``: rtol and atol, or nothing. ``shifts``: whether the user gave them.
    """

    tolerances: Mapping[str, float] = field(default_factory=dict)
    shifts: bool = False
    max_batch: int | None = None
    progress: bool = False


def with_shifts(job: Job, asked: Asked) -> Job:
    """The job, with shifts chosen from the geometry where the user gave none."""
    if asked.shifts:
        return job
    chosen, notes = choose_shifts(
        job.model, job.inputs, layer=job.layer, seed=job.seed, training=job.training
    )
    fresh = replace(job, shifts=chosen).fresh()
    fresh.notes += notes
    return fresh


def examine(job: Job, asked: Asked) -> Report:
    """What the job found; the local errors of its layers where it does not pass."""
    modules = modules_of(job.model)
    tolerance = Tolerance(eps=eps_of(job.inputs.dtype), **asked.tolerances)
    with preserved(
        modules, job.inputs.tensors, training=job.training, model=job.model
    ) as originals:
        run_all(job, originals, asked.max_batch, asked.progress)
        written = [] if job.training else names_of(job.model, originals.changed())
        job.notes += [
            f"the model writes to {name!r} in its forward; it was put back" for name in written
        ]
        if job.between:
            job.notes.append(_how_between(job))
        job.notes += precision_notes(job.dtypes, job.products, job.inputs.dtype)
        if job.unsure and not job.doubt:
            job.doubt = doubt_in_a_batch(job, originals, asked.max_batch)
        report = build_report(job, tolerance, asked.shifts)
        look = None
        if not tolerance.given and doubtful((*report.outputs, *report.layers)):
            look = look_again(job, originals, asked.max_batch)
            report = build_report(job, tolerance, asked.shifts, look)
        if report.verdict is not Verdict.EQUIVARIANT and job.every_layer and not job.between:
            local = measure_local(job, originals, asked.max_batch)
            report = build_report(job, tolerance, asked.shifts, look, local)
    return replace(report, notes=tuple(dict.fromkeys((*report.notes, *originals.left))))


def _how_between(job: Job) -> str:
    """How the values between pixels were read."""
    ways = {True: "Fourier on circles", False: f"{job.inputs.interpolation} on the plane"}
    used = [ways[circle] for circle in ways if circle in job.inputs.circular]
    return f"shifts between pixels: interpolated, {' and '.join(used)}"
