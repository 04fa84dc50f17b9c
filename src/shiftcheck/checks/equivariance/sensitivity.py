"""How small a break a run would have caught, and where it would have caught none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from shiftcheck.measuring.gaps.compare import ROUNDING
from shiftcheck.measuring.in_another_type import EPS
from shiftcheck.measuring.measurements import LayerGaps
from shiftcheck.measuring.tolerance import NOISE, Tolerance
from shiftcheck.report.equivariance import LayerResult, ShiftResult, Verdict

TOLD = (Verdict.EQUIVARIANT, Verdict.BROKEN)


def sensitivity_of(
    outputs: Sequence[tuple[LayerResult, LayerGaps]], tolerance: Tolerance
) -> float | None:
    """The smallest relative break that every comparison which told something catches.

    A break shows as itself give or take rounding, so it is caught where it is larger than what is
    allowed and rounding together.
    """
    caught = [
        _caught(shift, entry, tolerance)
        for output, entry in outputs
        for shift in output.shifts
        if shift.verdict in TOLD and shift.allowance is not None
    ]
    return max(caught, default=None)


def _caught(shift: ShiftResult, entry: LayerGaps, tolerance: Tolerance) -> float:
    """The smallest relative break of any channel that is not faint that one comparison catches."""
    faintest = entry.faintest or entry.peak
    exact = shift.float64_error is not None
    allowed = tolerance.relative(faintest) if tolerance.given else (shift.allowance or 0.0)
    noise = NOISE[EPS] * EPS if exact else replace(tolerance, rtol=None, atol=None).relative(None)
    least = ROUNDING * (EPS if exact else tolerance.eps)
    return allowed + max(noise, least * entry.peak / faintest if faintest else 0.0)


def faint_notes(outputs: Iterable[tuple[LayerResult, LayerGaps]]) -> list[str]:
    """What there is to say of outputs of which some channels hold nothing to be compared."""
    return [
        f"{entry.faint} of {entry.channels} channels of {output.name!r} are zero, or rounding"
        " beside the largest: nothing is told of them"
        for output, entry in outputs
        if output.verdict in TOLD and 0 < entry.faint < entry.channels
    ]
