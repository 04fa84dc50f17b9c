"""Which of several causes is guilty: the first that the measured local errors do not clear."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from shiftcheck.checks.verdicts import affects
from shiftcheck.report.causes import Cause, CauseForm, CauseKind
from shiftcheck.report.equivariance import LayerResult, Verdict

QUIET = 1e-13
"""A local error of that much is rounding, in any type."""

OF_ONE_SIZE = 0.1
"""Among errors that are all within noise, those count that are that share of the largest."""

AT_EVERY_SHIFT = (CauseKind.POSITION, CauseKind.MIXING, CauseKind.INDEX, CauseKind.RESIZE)
"""The kinds of breaks that no choice of shifts mends, where they have no period."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the layers do to exactly shifted inputs, at the shifts that are asked about.

    ``noise``: the relative error that rounding may cause in the type of the run.
    """

    layers: Sequence[LayerResult]
    shifts: Sequence[tuple[float, ...]]
    noise: float = 0.0

    def of(self, cause: Cause) -> float | None:
        """The largest local error of a cause's layer; None where it was not measured.

        Moving against the input is a break at any error: both runs are mirrored alike.
        """
        if cause.form is CauseForm.MIRRORED:
            return math.inf
        shifts = [s for s in self.shifts if affects(cause, s)]
        errors = [
            s.local_border if cause.kind == CauseKind.PADDING else s.local_interior
            for row in self.layers
            if _is_of(row, cause.layer)
            for s in row.shifts
            if s.shift in shifts
        ]
        known = [error for error in errors if error is not None]
        return max(known) if known and len(known) == len(errors) else None

    def allowed(self, cause: Cause) -> float:
        """The largest error of a cause's layer that tells nothing."""
        rows = [row for row in self.layers if _is_of(row, cause.layer)]
        given = [s.allowance for row in rows for s in row.shifts if s.allowance is not None]
        return max([QUIET, self.noise, *given])

    def first(self, causes: Sequence[Cause]) -> Cause | None:
        """The first cause that its layer's local error does not clear.

        One that was not measured comes after an error that is more than rounding in any type.
        Where all are within noise, it is the first whose error is as large as that of any other.
        """
        errors = [self.of(cause) for cause in causes]
        for place, (cause, error) in enumerate(zip(causes, errors, strict=True)):
            if error is None:
                seen = [c for c, e in zip(causes[:place], errors, strict=False) if e and e > QUIET]
                return next(iter(seen), cause)
            if error > self.allowed(cause):
                return cause
        known = [0.0 if error is None or error <= QUIET else error for error in errors]
        least = OF_ONE_SIZE * max(known, default=0.0)
        return next((c for c, e in zip(causes, known, strict=True) if e >= least), None)

    def before(self, unknown: Cause, causes: Sequence[Cause]) -> Cause | None:
        """The first break at every shift on the way to where the geometry becomes ``unknown``.

        Samples at fixed places may be put together again, so an INDEX needs a layer that shows it.
        """
        earlier = takewhile(lambda cause: cause != unknown, causes)
        for cause in [c for c in earlier if self._breaks_always(c)]:
            error = self.of(cause)
            shown = error is not None and error > self.allowed(cause)
            if shown or (error is None and self._stands(cause, unknown)):
                return cause
        return None

    def _breaks_always(self, cause: Cause) -> bool:
        always = cause.kind in AT_EVERY_SHIFT and cause.period is None and not cause.latent
        always = always and cause.form is not CauseForm.MIRRORED  # another flip takes it back
        return always and any(affects(cause, shift) for shift in self.shifts)

    def _stands(self, cause: Cause, unknown: Cause) -> bool:
        """Whether a break whose own layer was not measured is one for all that is known."""
        if cause.kind != CauseKind.INDEX:
            return True
        until = takewhile(lambda row: not _is_of(row, unknown.layer), self.layers)
        rows = [row for row in until if not _is_of(row, cause.layer)]
        return any(
            s.verdict is Verdict.BROKEN
            for row in rows
            for s in row.shifts
            if s.shift in self.shifts and affects(cause, s.shift)
        )


def _is_of(row: LayerResult, layer: str) -> bool:
    return row.name == layer or row.name.startswith(f"{layer}[")
