"""From rows and gaps to the frozen records of a report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from shiftcheck.checks.equivariance.in_float64 import settled_by_slope
from shiftcheck.checks.equivariance.judge import (
    find_guilty,
    judge,
    judge_layer,
    judge_model,
    unproven,
    why_constant,
)
from shiftcheck.checks.equivariance.left_out import is_reduced_alike, what_tells_places_apart
from shiftcheck.checks.equivariance.second_look import EPS, SecondLook, settled
from shiftcheck.checks.equivariance.too_little import what_leaves_too_little, with_fair_share
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.gather import runs
from shiftcheck.lattice.layout import Gone
from shiftcheck.measuring.gaps.compare import ROUNDING
from shiftcheck.measuring.gaps.plan import Gap
from shiftcheck.measuring.local_error import Found, causes_alone
from shiftcheck.measuring.run import Job, Measured, eps_of
from shiftcheck.measuring.signals.arguments import Inputs, Leaf
from shiftcheck.measuring.structure_pass import Model
from shiftcheck.measuring.tolerance import CLEARLY, NOISE, Tolerance
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.report.equivariance import LayerResult, Report, ShiftResult, Verdict
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.tracer import Row


def layer_result(row: Row) -> LayerResult:
    """The geometry of a row, with nothing measured."""
    signal = row.layout
    states = [s if isinstance(s, Axis) else None for s in signal.axes]
    placed = set(signal.axes_in(range(len(signal.dims))))
    known = [s if a in placed else None for a, s in enumerate(states)]
    shape = tuple(math.prod(f.size for f in d if f.kind != "copies") for d in signal.dims)
    return LayerResult(
        name=row.name,
        op=row.op,
        shape=shape,
        stride=tuple(None if s is None else s.stride for s in known),
        period=tuple(None if s is None else s.period for s in known),
        receptive_field=tuple(None if s is None else s.receptive_field for s in known),
        halo=tuple(None if s is None else s.halo for s in known),
        valid=tuple(None if s is None else runs(s.valid) for s in known),
        different=tuple(None if s is None else runs(s.readable & ~s.valid) for s in known),
        measured=any(
            c.kind in (CauseKind.MEASURED, CauseKind.DATA_DEPENDENT) for c in signal.causes
        ),
        reduced=is_reduced_alike(signal),
        causes=tuple(c for c in signal.causes if c.layer == (row.path or row.name)),
    )


def _judged(
    entry: Measured,
    job: Job,
    tolerance: Tolerance,
    strict: bool,
    required: set[int],
    look: SecondLook | None,
    local: Found | None,
) -> LayerResult:
    """One layer, judged; an output has no ``local`` errors."""
    ends = local is None
    result = layer_result(entry.row)
    if not is_reduced_alike(entry.row.layout, job.shifts):
        result = replace(result, reduced=False)
    if not entry.gaps:
        return result
    causes = entry.row.layout.causes
    shifts = tuple(
        judge(gap, shift, causes, entry.peak, tolerance)
        for gap, shift in zip(entry.gaps, job.shifts, strict=True)
    )
    name = entry.row.name
    if look is not None:
        shifts = _after_second_look(shifts, name, look, ends)
    if local is not None and name in local:
        shifts = tuple(
            replace(s, local_interior=own.interior, local_border=own.border)
            for s, own in zip(shifts, local[name], strict=True)
        )
    if any(c.kind == CauseKind.MEASURED for c in causes):
        shifts = tuple(unproven(s, job.inputs.circular) for s in shifts)
    pairs = zip(shifts, entry.gaps, strict=True)
    shifts = tuple(with_fair_share(s, gap) for s, gap in pairs)
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


def build_report(
    job: Job,
    tolerance: Tolerance,
    given: bool,
    look: SecondLook | None = None,
    local: Found | None = None,
) -> Report:
    """The report of what a job measured, with a second look at it, and the local errors."""
    axes = len(job.inputs.pixels)
    moved = {a for s in job.shifts for a, v in enumerate(s) if v}
    required = moved if given else set(range(axes))
    layers = tuple(
        _judged(e, job, tolerance, False, moved - _reduced_axes(e), look, local or {})
        for e in job.rows.values()
    )
    outputs = tuple(
        _judged(e, job, tolerance, given, required, look, None) for e in job.outputs.values()
    )
    constant = _is_constant(job.inputs)
    outputs = tuple(why_constant(o, layers, constant) for o in outputs)
    told = list(zip(outputs, job.outputs.values(), strict=True))
    outputs += tuple(_unjudged(*odd, axes) for odd in job.odd)
    verdict, reason = judge_model(outputs)
    doubt = job.doubt or (Reason.LEFT_TORCH if job.leak else Reason.NONE)
    if doubt and verdict is not Verdict.INCONCLUSIVE:
        verdict, reason = Verdict.INCONCLUSIVE, doubt
    causes = causes_of([e.row for e in job.outputs.values()])
    alike = [o for o in outputs if (o.verdict, o.reason) == (verdict, reason)]
    if reason == Reason.NOT_SPATIAL:
        alike.sort(key=lambda o: o.reduced)  # what could be left out decides nothing
    decisive = next(iter(alike), outputs[0])
    own = [e.row for e in job.outputs.values() if e.row.name == decisive.name]
    rounding = replace(tolerance, rtol=None, atol=None).relative(None)
    suspects = tuple(dict.fromkeys((*causes_of(own), *causes_alone(local or {}))))
    circular = job.inputs.circular
    guilty = _guilty_of_absence(reason, decisive, own, given)
    if guilty is None and reason != Reason.TOO_LITTLE:
        guilty = find_guilty(verdict, reason, decisive, suspects, circular, layers, rounding)
    return Report(
        verdict=verdict,
        reason=reason,
        layers=layers,
        outputs=outputs,
        guilty=guilty,
        causes=causes,
        shifts=job.shifts,
        sensitivity=sensitivity_of(told, tolerance),
        notes=(*job.notes, *faint_notes(told)),
        **circumstances(job.model, job.inputs, job.layer, job.seed),
    )


def _guilty_of_absence(
    reason: Reason, output: LayerResult, rows: Sequence[Row], given: bool
) -> Cause | None:
    """What leaves nothing of an output to compare, or too little; its geometry is in its row."""
    if not rows:
        return None
    shifts = [s.shift for s in output.shifts if s.reason == reason]
    if reason == Reason.NOT_SPATIAL and not output.reduced:
        return what_tells_places_apart(rows[0].layout, shifts)
    if reason == Reason.IDENTITY and not given:
        everywhere = (1,) * len(output.stride)
        return what_leaves_too_little(rows[0].layout, [everywhere], Reason.TOO_LITTLE)
    if reason in (Reason.NO_REGION, Reason.TOO_LITTLE):
        return what_leaves_too_little(rows[0].layout, shifts, reason)
    return None


def _is_constant(inputs: Inputs) -> bool:
    """Whether nothing that is shifted varies over space, beyond rounding."""
    moved = [leaf for leaf in inputs.leaves if isinstance(leaf, Leaf) and leaf.role == "shifted"]
    return not any(varies(leaf) for leaf in moved)


def varies(leaf: Leaf) -> bool:
    """Whether a signal varies over space, beyond rounding."""
    x = leaf.tensor.detach()
    noise = CLEARLY * Tolerance(eps=eps_of(x.dtype)).relative(None)
    if not x.is_floating_point():
        x = x.double()
    spread = x.amax(leaf.spatial) - x.amin(leaf.spatial)
    return bool((spread > noise * x.abs().amax(leaf.spatial)).any())


TOLD = (Verdict.EQUIVARIANT, Verdict.BROKEN)


def sensitivity_of(
    outputs: Sequence[tuple[LayerResult, Measured]], tolerance: Tolerance
) -> float | None:
    """The smallest relative break that every comparison which told something catches.

    A break shows as itself give or take rounding, so it is caught where it is larger than what is
    allowed and rounding together.
    """
    found = [
        _caught(shift, entry, tolerance)
        for output, entry in outputs
        for shift in output.shifts
        if shift.verdict in TOLD and shift.allowance is not None
    ]
    return max(found, default=None)


def _caught(shift: ShiftResult, entry: Measured, tolerance: Tolerance) -> float:
    """The smallest relative break of any channel that is not faint that one comparison catches."""
    faintest = entry.faintest or entry.peak
    exact = shift.float64_error is not None
    allowed = tolerance.relative(faintest) if tolerance.given else (shift.allowance or 0.0)
    noise = NOISE[EPS] * EPS if exact else replace(tolerance, rtol=None, atol=None).relative(None)
    least = ROUNDING * (EPS if exact else tolerance.eps)
    return allowed + max(noise, least * entry.peak / faintest if faintest else 0.0)


def faint_notes(outputs: Iterable[tuple[LayerResult, Measured]]) -> list[str]:
    """What there is to say of outputs of which some channels hold nothing to be compared."""
    return [
        f"{entry.faint} of {entry.channels} channels of {output.name!r} are zero, or rounding"
        " beside the largest: nothing is told of them"
        for output, entry in outputs
        if output.verdict in TOLD and 0 < entry.faint < entry.channels
    ]


def _reduced_axes(entry: Measured) -> set[int]:
    """The axes that a layer has no longer: only outputs must have all of them."""
    return {a for a, state in enumerate(entry.row.layout.axes) if isinstance(state, Gone)}


def _unjudged(name: str, shape: tuple[int, ...], reason: Reason, axes: int) -> LayerResult:
    """An output that no signal leads to: it counts unless it is too small to have the axes."""
    nothing = (None,) * axes
    return LayerResult(
        name=name,
        op="output",
        shape=shape,
        stride=nothing,
        period=nothing,
        receptive_field=nothing,
        halo=nothing,
        valid=nothing,
        verdict=Verdict.INCONCLUSIVE,
        reason=reason,
    )


def causes_of(rows: Sequence[Row]) -> tuple[Cause, ...]:
    """The causes on the way to the rows, each once."""
    return tuple(dict.fromkeys(c for row in rows for c in row.layout.causes))


def circumstances(model: Model, inputs: Inputs, layer: str | None, seed: int) -> dict[str, Any]:
    """How a report was made, for its record."""
    x = inputs.main.tensor
    names = ("valid", "circular")
    return {
        "model": getattr(model, "__name__", type(model).__name__),
        "boundary": tuple(names[c] for c in inputs.circular),
        "input_shape": tuple(x.shape),
        "spatial_dims": inputs.main.spatial,
        "layer": layer,
        "fixed": inputs.fixed,
        "chosen_outputs": inputs.outputs,
        "dtype": str(x.dtype).removeprefix("torch."),
        "device": str(x.device),
        "seed": seed,
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }
