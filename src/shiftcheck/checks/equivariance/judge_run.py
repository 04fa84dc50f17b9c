"""A run, judged with all that is known of it: every layer, every output, and the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from shiftcheck.checks.equivariance.judge import (
    judge,
    judge_layer,
    judge_model,
    unproven,
    why_constant,
)
from shiftcheck.checks.equivariance.second_look import SecondLook, settled
from shiftcheck.checks.equivariance.slope import settled_by_slope
from shiftcheck.checks.equivariance.too_little import with_fair_share
from shiftcheck.checks.layer_geometry import layer_result
from shiftcheck.checks.left_out import is_reduced_alike
from shiftcheck.lattice.layout import Gone
from shiftcheck.measuring.gaps.regions import Gap
from shiftcheck.measuring.in_another_type import EPS
from shiftcheck.measuring.local_error import LocalErrors
from shiftcheck.measuring.measurements import LayerGaps, Measurements, OddOutput
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.signals.variation import varies_somewhere
from shiftcheck.report.causes import CauseKind
from shiftcheck.report.equivariance import LayerResult, ShiftResult, Verdict
from shiftcheck.report.reasons import Reason


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """All that was measured for a plan: at first, again in another type, and of layers alone."""

    plan: Plan
    measured: Measurements
    look: SecondLook | None = None
    local: LocalErrors = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """What follows of the findings; where they are in doubt, nothing passes and nothing breaks.

    ``outputs``: in the order of the measurements, those that no signal leads to last.
    """

    findings: Findings
    layers: tuple[LayerResult, ...]
    outputs: tuple[LayerResult, ...]
    verdict: Verdict
    reason: Reason


def judge_run(findings: Findings) -> Judged:
    """The verdicts on every layer and output, and on the model."""
    measured = findings.measured
    layers = _layers(findings)
    outputs = _outputs(findings, layers)
    verdict, reason = judge_model(outputs)
    doubt = measured.doubt.reason or (Reason.LEFT_TORCH if measured.leak else Reason.NONE)
    if doubt and verdict is not Verdict.INCONCLUSIVE:
        verdict, reason = Verdict.INCONCLUSIVE, doubt
    return Judged(findings=findings, layers=layers, outputs=outputs, verdict=verdict, reason=reason)


def _layers(findings: Findings) -> tuple[LayerResult, ...]:
    """Every layer that was met; shifts that are off its lattice are no fault of it."""
    moved = findings.plan.moved
    return tuple(
        _judged(entry, findings, moved - _reduced_axes(entry), ends=False)
        for entry in findings.measured.rows.values()
    )


def _outputs(findings: Findings, layers: Sequence[LayerResult]) -> tuple[LayerResult, ...]:
    plan = findings.plan
    axes = len(plan.zero)
    required = plan.moved if plan.shifts_given else set(range(axes))
    constant = not varies_somewhere(plan.inputs)
    outputs = [
        why_constant(_judged(entry, findings, required, ends=True), layers, constant)
        for entry in findings.measured.outputs.values()
    ]
    return (*outputs, *(_unjudged(odd, axes) for odd in findings.measured.odd))


def _judged(entry: LayerGaps, findings: Findings, required: set[int], *, ends: bool) -> LayerResult:
    plan = findings.plan
    result = layer_result(entry.row)
    if not is_reduced_alike(entry.row.layout, plan.shifts):
        result = replace(result, reduced=False)
    if not entry.gaps:
        return result
    causes = entry.row.layout.causes
    shifts = tuple(
        judge(gap, shift, causes, entry.peak, plan.tolerance)
        for gap, shift in zip(entry.gaps, plan.shifts, strict=True)
    )
    if findings.look is not None:
        shifts = _after_second_look(shifts, entry.row.name, findings.look, ends)
    if not ends and entry.row.name in findings.local:
        shifts = tuple(
            replace(s, local_interior=alone.interior, local_border=alone.border)
            for s, alone in zip(shifts, findings.local[entry.row.name], strict=True)
        )
    if any(c.kind == CauseKind.MEASURED for c in causes):
        shifts = tuple(unproven(s, plan.inputs.circular) for s in shifts)
    pairs = zip(shifts, entry.gaps, strict=True)
    shifts = tuple(with_fair_share(s, gap) for s, gap in pairs)
    strict = ends and plan.shifts_given
    verdict, reason = judge_layer(shifts, required, strict=strict, reduced=result.reduced)
    return replace(result, verdict=verdict, reason=reason, shifts=shifts)


def _after_second_look(
    shifts: tuple[ShiftResult, ...], name: str, look: SecondLook, ends: bool
) -> tuple[ShiftResult, ...]:
    """The results of a layer or of an output, with what the second look tells of them."""
    noise = look.noise.get(name, 0.0) if ends else 0.0
    fine = look.eps == EPS
    if fine:
        seen = look.coarser_outputs if ends else look.coarser_rows
    else:
        seen = look.outputs if ends else look.rows
    gaps: Sequence[Gap | None] = seen.get(name) or [None] * len(shifts)
    pairs = zip(shifts, gaps, strict=True)
    if fine:
        return tuple(settled_by_slope(s, gap, noise, look.size) for s, gap in pairs)
    return tuple(settled(s, gap, noise, look.eps, look.size) for s, gap in pairs)


def _reduced_axes(entry: LayerGaps) -> set[int]:
    """The axes that a layer has no longer: only outputs must have all of them."""
    return {a for a, state in enumerate(entry.row.layout.axes) if isinstance(state, Gone)}


def _unjudged(odd: OddOutput, axes: int) -> LayerResult:
    """An output that no signal leads to: it counts unless it is too small to have the axes."""
    nothing = (None,) * axes
    return LayerResult(
        name=odd.name,
        op="output",
        shape=odd.shape,
        stride=nothing,
        period=nothing,
        receptive_field=nothing,
        halo=nothing,
        valid=nothing,
        verdict=Verdict.INCONCLUSIVE,
        reason=odd.reason,
    )
