"""From structure and measurement to a verdict: scalars in, scalars out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from shiftcheck.checks.equivariance.guilt import Evidence
from shiftcheck.checks.verdicts import saturates, with_reason, worst
from shiftcheck.measuring.gaps.regions import Gap
from shiftcheck.measuring.signals.interpolation import is_whole
from shiftcheck.measuring.tolerance import CLEARLY, Tolerance
from shiftcheck.report.causes import Cause, CauseForm, CauseKind
from shiftcheck.report.equivariance import LayerResult, ShiftResult, Verdict
from shiftcheck.report.reasons import SKIPPED, Reason


def judge(
    gap: Gap, shift: tuple[float, ...], causes: Sequence[Cause], peak: float, tolerance: Tolerance
) -> ShiftResult:
    """The verdict on one layer under one shift."""
    allowance = tolerance.relative(gap.scale)
    verdict, reason = _decide(gap, shift, causes, peak, tolerance)
    return ShiftResult(
        shift=shift,
        verdict=verdict,
        reason=reason,
        error=_finite(gap.error),
        relative_error=_finite(gap.relative),
        border_error=gap.border,
        relative_border_error=_over(gap.border, peak),
        scale=_finite(gap.scale),
        allowance=None if gap.error is None or _only_measured(gap, tolerance) else allowance,
        null_error=_finite(gap.null),
        share=gap.share,
        worst=gap.worst,
        differing=gap.differing,
    )


def _decide(
    gap: Gap, shift: tuple[float, ...], causes: Sequence[Cause], peak: float, tolerance: Tolerance
) -> tuple[Verdict, Reason]:
    if not any(shift):
        return Verdict.INCONCLUSIVE, Reason.IDENTITY
    for cause in causes:
        if reason := cause.hides:
            return Verdict.INCONCLUSIVE, reason
    if not gap.spatial:
        return Verdict.INCONCLUSIVE, Reason.NOT_SPATIAL
    if not gap.onto_lattice:
        return Verdict.INCONCLUSIVE, Reason.OFF_LATTICE
    if gap.error is None or gap.relative is None:
        return Verdict.INCONCLUSIVE, Reason.NO_REGION
    if not all(map(math.isfinite, (peak, gap.error, gap.relative))):
        return Verdict.INCONCLUSIVE, Reason.NOT_FINITE
    if peak == 0.0 and gap.error == 0.0:
        return Verdict.INCONCLUSIVE, Reason.DEAD
    measured_only = _only_measured(gap, tolerance)
    over = gap.excess if tolerance.given else gap.relative / tolerance.relative(gap.scale)
    if over is not None and over > 1 and not measured_only:
        return Verdict.BROKEN, Reason.NONE if not gap.predicted else Reason.AGAINST_RULES
    visible = gap.null_excess if tolerance.given else _over(gap.null, tolerance.relative(None))
    if visible is not None and not visible > CLEARLY:
        hidden = tolerance.given and gap.null != 0.0
        return Verdict.INCONCLUSIVE, Reason.TOO_TOLERANT if hidden else _why_invisible(
            gap, tolerance
        )
    if measured_only:
        return Verdict.INCONCLUSIVE, Reason.BETWEEN
    if gap.predicted or gap.between:
        return Verdict.EQUIVARIANT, Reason.NONE
    chosen = gap.off_period and any(c.kind == CauseKind.DATA_DEPENDENT for c in causes)
    if chosen and tolerance.given:
        return Verdict.EQUIVARIANT, Reason.NONE
    return Verdict.INCONCLUSIVE, Reason.CHOSEN if chosen else Reason.IN_NOISE


def _only_measured(gap: Gap, tolerance: Tolerance) -> bool:
    """Whether there is no promise that a gap between samples is held against."""
    return gap.between and not tolerance.given


def _why_invisible(gap: Gap, tolerance: Tolerance) -> Reason:
    """Whether the layer varies over space at all, beyond rounding."""
    noise = replace(tolerance, rtol=None, atol=None).relative(None)
    varies = gap.variation is None or gap.variation > CLEARLY * noise
    return Reason.INVISIBLE if varies else Reason.CONSTANT


def _over(value: float | None, unit: float) -> float | None:
    return None if value is None or not unit > 0 else value / unit


def unproven(result: ShiftResult, circular: Sequence[bool]) -> ShiftResult:
    """The result where the geometry was measured: a gap may be due to what probing did not see.

    On a circle every sample counts, whatever the geometry says.
    """
    closed = all(ring for ring, v in zip(circular, result.shift, strict=True) if v)
    if result.verdict is not Verdict.BROKEN or (closed and result.reason != Reason.AGAINST_RULES):
        return result
    return replace(result, verdict=Verdict.INCONCLUSIVE, reason=Reason.MEASURED_GAP)


FAILING = (Verdict.BROKEN, Verdict.INCONCLUSIVE)


def judge_layer(
    results: Sequence[ShiftResult],
    required: Iterable[int],
    *,
    strict: bool,
    reduced: bool = True,
) -> tuple[Verdict, Reason]:
    """The verdict on one layer over all shifts.

    ``required``: the axes that must have been moved. ``strict``: a shift that is off the lattice
    counts against the layer; otherwise it is skipped. ``reduced``: the axes that the layer has no
    longer were reduced; one that was lost counts against it. A shift that leaves too little tells
    nothing: along each axis another one has to.
    """
    skipped = {Reason.TOO_LITTLE, Reason.IDENTITY} if strict else {Reason.TOO_LITTLE, *SKIPPED}
    if reduced and any(r.reason not in (Reason.NOT_SPATIAL, *SKIPPED) for r in results):
        skipped |= {Reason.NOT_SPATIAL}
    counted = [r for r in results if r.reason not in skipped]
    if failing := worst(counted, FAILING):
        return failing
    only = {r.reason for r in results}
    thin = {a for r in results if r.reason == Reason.TOO_LITTLE for a, v in enumerate(r.shift) if v}
    if not counted and not thin:
        return (
            Verdict.INCONCLUSIVE,
            Reason.OFF_LATTICE if Reason.OFF_LATTICE in only else Reason.IDENTITY,
        )
    still = set(required) - {a for r in counted for a, v in enumerate(r.shift) if v}
    if still or not counted:
        return Verdict.INCONCLUSIVE, Reason.TOO_LITTLE if thin >= still else Reason.NEVER_MOVED
    return Verdict.EQUIVARIANT, Reason.NONE


def why_constant(
    output: LayerResult, layers: Sequence[LayerResult], constant_input: bool
) -> LayerResult:
    """The output with a better reason, where it is constant or dead for one."""
    nothing = (Reason.CONSTANT, Reason.DEAD)
    if output.reason not in nothing:
        return output
    if constant_input:
        return with_reason(output, Reason.CONSTANT_INPUT)
    first = next((row for row in layers if row.reason in nothing), None)
    saturated = first is not None and saturates(first.op)
    return with_reason(output, Reason.SATURATED) if saturated else output


def judge_model(outputs: Sequence[LayerResult]) -> tuple[Verdict, Reason]:
    """The verdict on the model: BROKEN beats INCONCLUSIVE beats EQUIVARIANT over its outputs.

    An output whose spatial axes were reduced is left out as long as another was compared; one whose
    geometry was lost is not.
    """
    spatial = [o for o in outputs if o.reason != Reason.NOT_SPATIAL or not o.reduced]
    if all(o.reason == Reason.NOT_SPATIAL for o in spatial):
        spatial = []
    if failing := worst(spatial or outputs, FAILING):
        return failing
    return (
        (Verdict.EQUIVARIANT, Reason.NONE)
        if spatial
        else (Verdict.INCONCLUSIVE, Reason.NOT_SPATIAL)
    )


def find_guilty(
    verdict: Verdict,
    reason: Reason,
    output: LayerResult,
    causes: Sequence[Cause],
    circular: Sequence[bool],
    layers: Sequence[LayerResult],
    noise: float = 0.0,
) -> Cause | None:
    """The first cause on the way to the output that explains its verdict.

    A cause that does nothing to exactly shifted inputs, as measured, hides no other; nor does an
    operation of which nothing is known hide a break before it. ``noise``: the relative error of
    rounding in the type of the run.
    """
    if verdict is Verdict.EQUIVARIANT:
        return None
    if reason == Reason.BETWEEN:
        return None
    causes = [c for c in causes if _concerns(c, output)]
    blind = next((c for c in causes if reason and c.hides == reason), None)
    if blind is not None:
        evidence = Evidence(layers=layers, shifts=[s.shift for s in output.shifts], noise=noise)
        earlier = evidence.before(blind, causes) if blind.kind == CauseKind.UNSUPPORTED_OP else None
        return earlier or blind
    same = [s for s in output.shifts if (s.verdict, s.reason) == (verdict, reason)]
    shifts = [s.shift for s in same if any(s.shift)]
    if not shifts:
        return None
    if reason == Reason.AGAINST_RULES:
        return _first_measured(layers, shifts[0])
    if verdict is Verdict.BROKEN and not is_whole(shifts[0]):
        return _first_between(layers, shifts[0])
    explaining = [c for c in causes if any(_explains(c, s, reason, circular) for s in shifts)]
    if reason == Reason.MEASURED_GAP:
        explaining += [c for c in causes if c.kind == CauseKind.MEASURED]
    if reason == Reason.NO_REGION:
        explaining.sort(key=lambda c: c.kind != CauseKind.GLOBAL)
    elif verdict is Verdict.BROKEN:
        explaining.sort(key=lambda c: c.kind == CauseKind.DATA_DEPENDENT)
        return Evidence(layers=layers, shifts=shifts, noise=noise).first(explaining)
    return explaining[0] if explaining else None


def _concerns(cause: Cause, output: LayerResult) -> bool:
    """Whether a cause that may be undone on the way, as by a second flip, shows in an output.

    What is joined again, or combined with what is not flipped, has causes of its own.
    """
    if cause.axis is None or cause.form not in (CauseForm.MIRRORED, CauseForm.SINGLE):
        return True
    if cause.form is CauseForm.SINGLE:
        return output.shape[2:][cause.axis : cause.axis + 1] == (1,)
    stride = output.stride[cause.axis]
    return stride is not None and stride < 0


def _explains(
    cause: Cause, shift: Sequence[float], reason: Reason, circular: Sequence[bool]
) -> bool:
    moved = [a for a, v in enumerate(shift) if v and cause.axis in (None, a)]
    if not moved or cause.latent or cause.kind == CauseKind.MEASURED:
        return False
    if cause.kind == CauseKind.PADDING:
        return reason == Reason.NO_REGION or any(circular[a] for a in moved)
    if cause.kind == CauseKind.GLOBAL:
        return reason in (Reason.NO_REGION, Reason.NOT_SPATIAL) or any(circular[a] for a in moved)
    if reason == Reason.NO_REGION:
        return False
    if cause.period is not None and reason == Reason.NOT_SPATIAL:
        return False
    return cause.period is None or any(shift[a] % cause.period for a in moved)


def _first_measured(layers: Sequence[LayerResult], shift: tuple[float, ...]) -> Cause | None:
    """The first layer that breaks what it is fed with; where that was not measured, any gap."""
    rows = [(row, s) for row in layers for s in row.shifts if s.shift == shift]
    local = [row for row, s in rows if _over_allowance(s.local_interior, s)]
    broken = [row for row, s in rows if s.verdict is Verdict.BROKEN]
    for row in (*local, *broken):
        detail = "the rules promise agreement here: one of them is wrong, or the model is"
        return Cause(kind=CauseKind.UNEXPLAINED, layer=row.name, op=row.op, detail=detail)
    return None


def _first_between(layers: Sequence[LayerResult], shift: tuple[float, ...]) -> Cause | None:
    """The first layer whose gap at a shift between pixels is larger than what is allowed."""
    for row in layers:
        if any(s.verdict is Verdict.BROKEN for s in row.shifts if s.shift == shift):
            detail = "its samples do not hold what it makes of the signal between them"
            return Cause(kind=CauseKind.ALIASING, layer=row.name, op=row.op, detail=detail)
    return None


def _over_allowance(error: float | None, result: ShiftResult) -> bool:
    return error is not None and error > (result.allowance or 0.0)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
