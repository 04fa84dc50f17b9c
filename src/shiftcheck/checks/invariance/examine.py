"""One check of invariance at chosen shifts: run, look again at what is doubtful, judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from shiftcheck.checks.circumstances import causes_of, circumstances
from shiftcheck.checks.equivariance.second_look import COARSEST, most_rounding
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
    MOST_OTHERS,
    Found,
    Measurement,
    Thrift,
    Variation,
    gaps_at,
    measure,
    same_from,
)
from shiftcheck.measuring.effort import Ledger, whatever_it_costs
from shiftcheck.measuring.in_another_type import EPS, in_float64
from shiftcheck.measuring.passes import Passes
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.progress import tracked
from shiftcheck.measuring.signals.arguments import Shift
from shiftcheck.measuring.signals.canvas import (
    Surroundings,
)
from shiftcheck.measuring.signals.variation import varies_somewhere
from shiftcheck.measuring.structure_pass import read_structure
from shiftcheck.measuring.unbatched import noise_floor
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.report.invariance import (
    InvarianceReport,
    InvarianceShift,
    InvarianceVerdict,
    InvariantOutput,
)
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.modules import modules_of, names_of
from shiftcheck.tracing.precision import eps_of
from shiftcheck.tracing.restoring.state import preserved
from shiftcheck.tracing.traced import Row


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """A plan with what lies around the signal, and the bound that the user states."""

    plan: Plan
    surroundings: Surroundings
    bound: float | None

    @property
    def circles(self) -> tuple[bool, ...]:
        """Which axes are circles."""
        return tuple(fill == "circular" for fill in self.surroundings.fills)


Place = tuple[str, int]
"""An output by its name, and the number of a shift."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """All that is known: the outputs by their structure, what was measured, and looked at again.

    ``looks``: by output and number of the shift. ``same_from``: the layer, and its operation, from
    which on all signals give the same.
    """

    question: Question
    rows: Mapping[str, Row]
    measured: Measurement
    looks: Mapping[Place, SecondLook] = field(default_factory=dict)
    same_from: tuple[str, str] = ("", "")
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Structure:
    """What the structure alone says: every layer, the outputs by their names, and notes."""

    layers: Sequence[Row]
    outputs: Mapping[str, Row]
    notes: Sequence[str]


def structure_of(question: Question) -> Structure:
    """What the structure alone says of the layers and the outputs."""
    plan = question.plan
    layers, ends, notes = read_structure(
        plan.model, plan.inputs, layer=plan.layer, training=plan.training, computed=True
    )
    return Structure(layers=layers, outputs={row.name: row for row in ends}, notes=notes)


def examined(
    question: Question, structure: Structure, *, ledger: Ledger | None = None, hasty: bool = False
) -> Findings:
    """One measurement, with a second look in float64 where one is needed.

    ``ledger``: what follows after the measurement is bounded by what that has cost. ``hasty``: the
    first shift that fails by more than rounding is the last.
    """
    plan = question.plan
    with preserved(
        modules_of(plan.model), plan.inputs.tensors, training=plan.training, model=plan.model
    ) as originals:
        passes = Passes(plan, originals)
        shifts = tracked(plan.shifts, plan.progress and ledger is not None)
        thrift = _thrift(passes, question) if hasty else Thrift()
        measured = measure(passes, question.surroundings, shifts, thrift)
        if ledger is not None and not plan.full_effort:
            ledger.bound(without_rules=len(plan.shifts))
        plan = replace(plan, shifts=plan.shifts[: len(measured.visible)])
        question = replace(question, plan=plan)
        written = [] if plan.training else names_of(plan.model, originals.changed())
        findings = Findings(question=question, rows=structure.outputs, measured=measured)
        outputs = _judged(findings)
        doubts = [place for output in outputs for place in _doubts(output, findings)]
        if doubts:
            with whatever_it_costs():
                looks = _second_looks(passes, findings, doubts)
            findings = replace(findings, looks=looks)
            outputs = _judged(findings)
        if any(o.reason in (Reason.CONSTANT, Reason.DEAD) for o in outputs):
            with whatever_it_costs():
                start = same_from(passes, apart=measured.signals == "batch")
            findings = replace(findings, same_from=start)
    writes = [f"the model writes to {n!r} in its forward; it was put back" for n in written]
    notes = [*structure.notes, *measured.notes, *writes]
    left = [note for note in originals.left if note not in notes]
    return replace(findings, notes=(*notes, *left))


FEW_OTHERS = 3
"""Different signals of a hasty measurement: so many tell whether an output is the same for all."""


def _thrift(passes: Passes, question: Question) -> Thrift:
    """One shift that fails is enough, where its gap is too large for rounding.

    A bound is held against the median distance of as many signals as in any check.
    """
    bound = question.bound

    def enough(found: Found, variation: Variation) -> bool:
        clear = found.gap > COARSEST * max(EPS, passes.eps)
        over = bound is None or found.distance > bound * (variation.distance or 0.0)
        return clear and over and (bound is not None or all(question.circles))

    return Thrift(most_others=FEW_OTHERS if bound is None else MOST_OTHERS, enough=enough)


def _second_looks(
    passes: Passes, findings: Findings, doubts: Sequence[Place]
) -> Mapping[Place, SecondLook]:
    """The gaps in float64 where the model runs in it, else the noise of each output.

    Of gaps that are too large for rounding, the largest of each output comes first; where it keeps
    its size, the others need no second look.
    """
    eps = max(EPS, findings.measured.eps)
    found = {(name, i): findings.measured.distances[name][i].gap for name, i in doubts}
    clear = [place for place in doubts if found[place] > COARSEST * eps]
    largest = {place[0]: place for place in sorted(clear, key=lambda place: found[place])}
    first = [place for place in doubts if place not in clear or place in largest.values()]
    gaps = _in_float64(passes, findings, first) if eps > EPS else None
    if gaps is None:
        noise = noise_floor(passes)
        return {p: SecondLook(noise=noise.get(p[0], 0.0), eps=eps) for p in doubts}
    if any(gaps[place] <= most_rounding(found[place], eps) for place in largest.values()):
        gaps |= _in_float64(passes, findings, [p for p in clear if p not in gaps]) or {}
    return {place: SecondLook(gap=gap, eps=eps) for place, gap in gaps.items()}


def _in_float64(
    passes: Passes, findings: Findings, places: Sequence[Place]
) -> dict[Place, float] | None:
    """The gaps at some outputs and shifts in float64; None where the model does not run in it."""
    plan, measured = passes.plan, findings.measured
    around = findings.question.surroundings.mapped(lambda inputs: inputs.in_dtype(torch.float64))
    numbers = sorted({i for _, i in places})
    shifts = [plan.shifts[i] for i in numbers]
    gaps = in_float64(plan, lambda again: gaps_at(again, around, shifts, measured.magnitudes))
    if gaps is None:
        return None
    at = dict(zip(numbers, gaps, strict=True))
    return {(name, i): at[i][name] for name, i in places}


def _demand(question: Question, shift: Shift) -> Demand:
    exact = all(circle for circle, v in zip(question.circles, shift, strict=True) if v)
    return Demand(bound=question.bound, exact=exact, eps=eps_of(question.plan.inputs.dtype))


def _promise(findings: Findings, name: str, shift: Shift) -> Promise:
    """Nothing is known where padding is taken as circular: that is not what the structure says."""
    row = findings.rows.get(name)
    if row is None or findings.question.plan.circular_padding:
        return Promise.UNKNOWN
    return promise_of(row.layout, shift, findings.question.circles)


def _judged(findings: Findings) -> list[InvariantOutput]:
    plan, measured = findings.question.plan, findings.measured
    required = plan.moved if plan.shifts_given else set(range(len(plan.zero)))
    outputs = []
    for name in measured.shapes:
        blank, row = _unmoved(findings, name), findings.rows.get(name)
        if row is not None and spatial_axes(row.layout) & plan.moved:
            reason = Reason.STILL_SPATIAL
            outputs.append(replace(blank, verdict=InvarianceVerdict.INCONCLUSIVE, reason=reason))
            continue
        shifts = tuple(_judged_shift(findings, name, i) for i in range(len(plan.shifts)))
        verdict, reason = judge_output(shifts, required)
        outputs.append(replace(blank, verdict=verdict, reason=reason, shifts=shifts))
    return outputs


def _unmoved(findings: Findings, name: str) -> InvariantOutput:
    """What is known of an output besides its shifts."""
    row, variation = findings.rows.get(name), findings.measured.variations[name]
    causes = () if row is None else row.layout.causes
    return InvariantOutput(
        name=name,
        shape=findings.measured.shapes[name],
        period=_periods(row, findings.question.circles),
        measured=any(c.kind == CauseKind.MEASURED for c in causes),
        variation=variation.distance,
        magnitude=variation.magnitude if variation.finite else None,
        pairs=variation.pairs,
        top1_between=variation.between,
    )


def _periods(row: Row | None, circles: Sequence[bool]) -> tuple[int | None, ...]:
    if row is None:
        return (None,) * len(circles)
    return tuple(period_along(s, c) for s, c in zip(row.layout.axes, circles, strict=True))


def _judged_shift(findings: Findings, name: str, i: int) -> InvarianceShift:
    measured, look = findings.measured, findings.looks.get((name, i))
    shift, distance = findings.question.plan.shifts[i], measured.distances[name][i]
    variation = measured.variations[name]
    promise, demand = _promise(findings, name, shift), _demand(findings.question, shift)
    answer = judge_shift(distance, variation, promise, demand, measured.visible[i])
    if look is not None and doubtful(answer, promise, demand):
        answer = settled(answer, distance, variation, promise, look)
    else:
        look = None
    if not any(shift):
        answer = InvarianceVerdict.INCONCLUSIVE, Reason.IDENTITY
    relative = distance.distance / variation.distance if variation.distance else None
    return InvarianceShift(
        shift=shift,
        verdict=answer[0],
        reason=answer[1],
        distance=distance.distance if distance.finite else None,
        mean_distance=distance.mean_distance if distance.finite else None,
        relative_error=relative if distance.finite else None,
        gap=distance.gap if distance.finite else None,
        allowance=demand.allowance if demand.exact and demand.bound is None else None,
        float64_gap=None if look is None else look.gap,
        top1_agreement=distance.agreement,
        proven=promise is Promise.INVARIANT and demand.exact,
    )


def _doubts(output: InvariantOutput, findings: Findings) -> list[Place]:
    """The shifts of an output about which float64 may tell more."""
    return [
        (output.name, i)
        for i, s in enumerate(output.shifts)
        if any(s.shift)
        and doubtful(
            (s.verdict, s.reason),
            _promise(findings, output.name, s.shift),
            _demand(findings.question, s.shift),
        )
    ]


def report_of(findings: Findings) -> InvarianceReport:
    """What was found, judged."""
    outputs = _judged(findings)
    question, measured = findings.question, findings.measured
    plan, around = question.plan, question.surroundings
    first, op = findings.same_from
    constant = not varies_somewhere(plan.inputs)
    odd = [(o.name, o.shape, o.reason) for o in measured.odd]
    odd += [(name, shape, Reason.IGNORES) for name, shape in measured.ignoring]
    outputs = [
        *(why_constant(output, constant, op) for output in outputs),
        *(_unjudged(*each, len(plan.zero)) for each in odd),
    ]
    batch = plan.inputs.main.tensor.shape[0]
    verdict, reason = judge_model(outputs, batch)
    causes = causes_of(list(findings.rows.values()))
    doubt = measured.doubt or blind(causes)
    if doubt and verdict is not InvarianceVerdict.INCONCLUSIVE:
        verdict, reason = InvarianceVerdict.INCONCLUSIVE, doubt
    about = circumstances(plan)
    del about["boundary"]
    about["input_shape"] = tuple((around.canvas or around.inputs).main.tensor.shape)
    report = InvarianceReport(
        verdict=verdict,
        reason=reason,
        outputs=tuple(outputs),
        max_relative_error=question.bound,
        shifts=plan.shifts,
        fill=around.fills,
        crop=None if around.canvas is None else plan.inputs.pixels,
        signals=measured.signals,
        causes=causes,
        same_from=first,
        sensitivity=_sensitivity(findings, outputs),
        notes=(*findings.notes, *_notes(measured, outputs, batch)),
        **about,
    )
    return replace(report, guilty=_guilty(report, findings.rows))


def _sensitivity(findings: Findings, outputs: Sequence[InvariantOutput]) -> float | None:
    """The smallest relative error that every judged comparison would have caught."""
    question = findings.question
    if question.bound is not None:
        return question.bound
    allowances = [_demand(question, s.shift).allowance for o in outputs for s in o.moved]
    most = max(allowances, default=0.0)
    decided = (InvarianceVerdict.INVARIANT, InvarianceVerdict.NOT_INVARIANT)
    variations = [findings.measured.variations[o.name] for o in outputs if o.verdict in decided]
    known = [least for v in variations if (least := sensitivity(v, most))]
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
