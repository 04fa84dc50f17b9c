"""One check of invariance at chosen shifts: run, look again at what is doubtful, judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from shiftcheck.checks.equivariance.build_report import causes_of, circumstances
from shiftcheck.checks.equivariance.second_look import EPS
from shiftcheck.checks.invariance.judge import (
    Demand,
    Promise,
    SecondLook,
    blind,
    doubtful,
    find_guilty,
    judge_model,
    judge_output,
    judge_shift,
    period_along,
    promise_of,
    sensitivity,
    settled,
    spatial_axes,
    why_constant,
)
from shiftcheck.checks.invariance.measure import (
    Measurement,
    measure,
    measured_in,
    same_from,
)
from shiftcheck.measuring.gaps.plan import Scene
from shiftcheck.measuring.progress import tracked
from shiftcheck.measuring.run import Job, eps_of
from shiftcheck.measuring.signals.arguments import Shift
from shiftcheck.measuring.signals.canvas import (
    Surroundings,
)
from shiftcheck.measuring.structure_pass import Model, read_structure
from shiftcheck.measuring.tolerance import Tolerance
from shiftcheck.measuring.unbatched import noise_floor
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.report.invariance import (
    InvarianceReport,
    InvarianceShift,
    InvarianceVerdict,
    InvariantOutput,
)
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.modules import in_dtype, modules_of, names_of
from shiftcheck.tracing.passes import Row
from shiftcheck.tracing.restoring.state import Originals, preserved


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """What the user asked; ``given``: whether the shifts are his own."""

    surroundings: Surroundings
    shifts: tuple[Shift, ...]
    given: bool
    bound: float | None
    layer: str | None
    seed: int
    progress: bool
    training: bool

    @property
    def circles(self) -> tuple[bool, ...]:
        """Which axes are circles."""
        return tuple(fill == "circular" for fill in self.surroundings.fills)

    def job(self, model: Model) -> Job:
        """What the engine is asked to run."""
        inputs = self.surroundings.inputs
        eps = eps_of(inputs.dtype)
        return Job(
            model=model,
            inputs=inputs,
            shifts=self.shifts,
            seed=self.seed,
            layer=self.layer,
            training=self.training,
            every_layer=False,
            scene=Scene(
                pixels=inputs.pixels,
                circular=inputs.circular,
                allowed=Tolerance(eps=eps).relative(None),
            ),
        )


def examined(job: Job, asked: Asked, *, again: bool = True) -> InvarianceReport:
    """One measurement, judged; with a second look in float64 where one is needed."""
    rows = _structure(job)
    modules = modules_of(job.model)
    with preserved(
        modules, job.inputs.tensors, training=job.training, model=job.model
    ) as originals:
        shifts = tracked(job.shifts, asked.progress and again)
        measured = measure(job, asked.surroundings, originals, shifts)
        written = [] if job.training else names_of(job.model, originals.changed())
        outputs = _judged(rows, measured, asked, job, {})
        if any(_is_doubtful(o, rows, asked, job) for o in outputs):
            looks = _second_looks(job, asked, originals)
            outputs = _judged(rows, measured, asked, job, looks)
        if any(o.reason in (Reason.CONSTANT, Reason.DEAD) for o in outputs):
            batch = measured.signals == "batch"
            measured.same_from = same_from(job, originals, apart=batch)
    job.notes += [f"the model writes to {n!r} in its forward; it was put back" for n in written]
    job.notes += [note for note in originals.left if note not in job.notes]
    return _report(rows, measured, outputs, job, asked)


def _structure(job: Job) -> dict[str, Row]:
    """The outputs by name, as their structure is; where padding is taken as circular, unknown."""
    _, outputs, notes = read_structure(
        job.model, job.inputs, layer=job.layer, training=job.training
    )
    job.notes += notes
    return {row.name: row for row in outputs}


def _second_looks(
    job: Job, asked: Asked, originals: Originals
) -> Mapping[tuple[str, int], SecondLook]:
    """By output and number of the shift: the gap in float64, or the noise of the output."""
    eps = max(EPS, job.eps)
    exact = _in_float64(job, asked) if eps > EPS else None
    noise = noise_floor(job, originals) if exact is None else {}
    looks = {}
    for name in exact.found if exact is not None else noise:
        for i in range(len(job.shifts)):
            gap = None if exact is None else exact.found[name][i].gap
            looks[name, i] = SecondLook(gap=gap, noise=noise.get(name, 0.0), eps=eps)
    return looks


def _in_float64(job: Job, asked: Asked) -> Measurement | None:
    """The same in float64 on a copy of the model; None where it does not run in float64."""
    try:
        model = in_dtype(job.model, torch.float64)
        own, measured = measured_in(job, asked.surroundings, model, torch.float64)
    except Exception:  # a model that cannot be copied or run in float64 stays unconfirmed
        return None
    return None if any(eps_of(t) > EPS for t in own.dtypes) else measured


def _demand(job: Job, asked: Asked, shift: Shift) -> Demand:
    exact = all(circle for circle, v in zip(asked.circles, shift, strict=True) if v)
    return Demand(bound=asked.bound, exact=exact, eps=eps_of(job.inputs.dtype))


def _promise(job: Job, row: Row | None, shift: Shift, circles: Sequence[bool]) -> Promise:
    if row is None or job.circular_padding:
        return Promise.UNKNOWN
    return promise_of(row.layout, shift, circles)


def _judged(
    rows: Mapping[str, Row],
    measured: Measurement,
    asked: Asked,
    job: Job,
    looks: Mapping[tuple[str, int], SecondLook],
) -> list[InvariantOutput]:
    moved = {a for s in job.shifts for a, v in enumerate(s) if v}
    required = moved if asked.given else set(range(len(asked.circles)))
    outputs = []
    for name, shape in measured.shapes.items():
        row = rows.get(name)
        variation = measured.variations[name]
        blank = InvariantOutput(
            name=name,
            shape=shape,
            period=_periods(row, asked.circles),
            measured=row is not None
            and any(c.kind == CauseKind.MEASURED for c in row.layout.causes),
            variation=variation.distance,
            magnitude=variation.magnitude if variation.finite else None,
            pairs=variation.pairs,
            top1_between=variation.between,
        )
        if row is not None and spatial_axes(row.layout) & moved:
            reason = Reason.STILL_SPATIAL
            outputs.append(replace(blank, verdict=InvarianceVerdict.INCONCLUSIVE, reason=reason))
            continue
        shifts = tuple(
            _judged_shift(row, measured, asked, job, name, i, looks.get((name, i)))
            for i in range(len(job.shifts))
        )
        verdict, reason = judge_output(shifts, required)
        outputs.append(replace(blank, verdict=verdict, reason=reason, shifts=shifts))
    return outputs


def _periods(row: Row | None, circles: Sequence[bool]) -> tuple[int | None, ...]:
    if row is None:
        return (None,) * len(circles)
    return tuple(period_along(s, c) for s, c in zip(row.layout.axes, circles, strict=True))


def _judged_shift(
    row: Row | None,
    measured: Measurement,
    asked: Asked,
    job: Job,
    name: str,
    i: int,
    look: SecondLook | None,
) -> InvarianceShift:
    shift, found = job.shifts[i], measured.found[name][i]
    variation = measured.variations[name]
    promise, demand = _promise(job, row, shift, asked.circles), _demand(job, asked, shift)
    answer = judge_shift(found, variation, promise, demand, measured.visible[i])
    if look is not None and doubtful(answer, promise, demand):
        answer = settled(answer, found, variation, promise, look)
    else:
        look = None
    if not any(shift):
        answer = InvarianceVerdict.INCONCLUSIVE, Reason.IDENTITY
    relative = found.distance / variation.distance if variation.distance else None
    return InvarianceShift(
        shift=shift,
        verdict=answer[0],
        reason=answer[1],
        distance=found.distance if found.finite else None,
        mean_distance=found.mean_distance if found.finite else None,
        relative_error=relative if found.finite else None,
        gap=found.gap if found.finite else None,
        allowance=demand.allowance if demand.exact and demand.bound is None else None,
        float64_gap=None if look is None else look.gap,
        top1_agreement=found.agreement,
        proven=promise is Promise.INVARIANT and demand.exact,
    )


def _is_doubtful(output: InvariantOutput, rows: Mapping[str, Row], asked: Asked, job: Job) -> bool:
    row = rows.get(output.name)
    return any(
        doubtful(
            (s.verdict, s.reason),
            _promise(job, row, s.shift, asked.circles),
            _demand(job, asked, s.shift),
        )
        for s in output.moved
    )


def _report(
    rows: Mapping[str, Row],
    measured: Measurement,
    outputs: list[InvariantOutput],
    job: Job,
    asked: Asked,
) -> InvarianceReport:
    op = measured.same_from[1]
    outputs = [why_constant(o, measured.constant, op) for o in outputs]
    outputs += [_unjudged(n, s, r, len(asked.circles)) for n, s, r in measured.odd]
    outputs += [_unjudged(n, s, Reason.IGNORES, len(asked.circles)) for n, s in measured.ignoring]
    batch = job.inputs.main.tensor.shape[0]
    verdict, reason = judge_model(outputs, batch)
    causes = causes_of(list(rows.values()))
    doubt = measured.doubt or blind(causes)
    if doubt and (verdict is not InvarianceVerdict.INCONCLUSIVE):
        verdict, reason = InvarianceVerdict.INCONCLUSIVE, doubt
    about = circumstances(job.model, job.inputs, job.layer, job.seed)
    del about["boundary"]
    report = InvarianceReport(
        verdict=verdict,
        reason=reason,
        outputs=tuple(outputs),
        max_relative_error=asked.bound,
        shifts=job.shifts,
        fill=asked.surroundings.fills,
        crop=None if asked.surroundings.canvas is None else job.inputs.pixels,
        signals=measured.signals,
        causes=causes,
        same_from=measured.same_from[0],
        notes=(*job.notes, *_notes(measured, outputs, batch)),
        **about,
    )
    return replace(
        report,
        guilty=_guilty(report, rows),
        sensitivity=_sensitivity(measured, outputs, job, asked),
        input_shape=_shape_of_x(asked),
    )


def _shape_of_x(asked: Asked) -> tuple[int, ...]:
    around = asked.surroundings
    return tuple((around.canvas or around.inputs).main.tensor.shape)


def _sensitivity(
    measured: Measurement, outputs: Sequence[InvariantOutput], job: Job, asked: Asked
) -> float | None:
    """The smallest relative error that every judged comparison would have caught."""
    if asked.bound is not None:
        return asked.bound
    eps = max(
        (_demand(job, asked, s.shift).allowance for o in outputs for s in o.moved), default=0.0
    )
    told = (InvarianceVerdict.INVARIANT, InvarianceVerdict.NOT_INVARIANT)
    known = [
        least
        for o in outputs
        if o.verdict in told and (least := sensitivity(measured.variations[o.name], eps))
    ]
    return max(known, default=None)


def _unjudged(name: str, shape: tuple[int, ...], reason: Reason, axes: int) -> InvariantOutput:
    return InvariantOutput(
        name=name,
        shape=shape,
        period=(None,) * axes,
        verdict=InvarianceVerdict.INCONCLUSIVE,
        reason=reason,
    )


def _notes(measured: Measurement, outputs: Sequence[InvariantOutput], batch: int) -> list[str]:
    notes = []
    if measured.signals == "drawn":
        others = "signals with the spectrum and range of x were drawn, to measure variation"
        notes.append(f"x does not hold different signals for every output: {others}")
    for output in outputs:
        if output.shifts and output.shape[:1] != (batch,):
            notes.append(
                f"the first dimension of {output.name!r} is not the batch: it counts as one signal"
            )
    return notes


def _guilty(report: InvarianceReport, rows: Mapping[str, Row]) -> Cause | None:
    """The cause on the way to the decisive output that explains its worst shift."""
    row = rows.get(report.decisive.name)
    if row is None:
        return None
    stochastic = [c for c in row.layout.causes if c.kind == CauseKind.STOCHASTIC]
    if report.reason == blind(stochastic) and stochastic:
        return stochastic[0]
    worst = report.decisive.worst
    if report.verdict is not InvarianceVerdict.NOT_INVARIANT or worst is None:
        return None
    return find_guilty(row.layout.causes, worst.shift)
