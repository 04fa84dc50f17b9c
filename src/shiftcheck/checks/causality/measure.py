"""A model on other futures: which samples change that were due before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import torch

from shiftcheck.checks.causality.fillings import Filling, fillings
from shiftcheck.checks.causality.futures import (
    Future,
    all_can_be_others,
    can_be_nan,
    times_of,
    with_future,
)
from shiftcheck.checks.causality.question import Question
from shiftcheck.checks.causality.runs import Runs
from shiftcheck.checks.causality.timeline import Line, differences
from shiftcheck.errors import ShiftcheckError
from shiftcheck.lattice.axis import Axis
from shiftcheck.measuring.in_another_type import in_float64
from shiftcheck.measuring.passes import Passes
from shiftcheck.report.reasons import Reason
from shiftcheck.rules.weights import reading_weights
from shiftcheck.tracing.black_box import BlackBox
from shiftcheck.tracing.modules import modules_of
from shiftcheck.tracing.restoring.state import preserved
from shiftcheck.tracing.traced import Row

DRAWS = 2
"""So often each future is drawn."""

NANS = 3
"""At so many times the future is filled with NaN."""

ANSWERS = 0.25
"""Of the samples so many have to change where all of the input does."""

STAYS = 1e-2
"""A difference that is so much smaller in float64 was rounding."""

KEEPS = 0.25
"""What was within rounding and keeps this part of its size there was none,"""

ROUNDED = 8.0
"""unless it is below so many eps: constants may have been rounded, which float64 does not mend."""

CLEAR = 1e3
"""One that is so many times what rounding allows needs no float64."""


MOST_PROVEN = 512
"""An input of so many samples can be gone through time by time."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A change of a sample that was due; ``error``: the largest of all these, relative."""

    future: Future
    sample: int
    due: int
    ahead: int
    error: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What runs tell of one output.

    ``leak``: the change that was seen furthest ahead of what is allowed. ``ahead``: that of all,
    None where there was none. ``murmur``: the largest difference at samples that were due, seen as
    rounding. ``nan``: whether NaN reached one. ``proven``: NaN behind each single time reached
    none, and nothing on its way could have given a number for it. ``filled``: the layer by which
    NaN comes to samples that were due and that do not follow the law of the others. ``untried``:
    what is not known of these, as not each time at which one is due was gone through.
    """

    reason: Reason = Reason.NONE
    stride: Fraction | None = None
    leak: Seen | None = None
    ahead: int | None = None
    murmur: float = 0.0
    nan: bool | None = None
    proven: bool = False
    filled: str = ""
    untried: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """The structure as one run met it, and what the others tell of each output.

    ``leaking``: for each output that leaks, the layers that do so in the same run, in their order.
    """

    rows: tuple[Row, ...]
    outputs: tuple[Row, ...]
    measured: tuple[Measured, ...]
    leaking: tuple[tuple[str, ...], ...]
    times: tuple[int, ...]
    notes: tuple[str, ...] = ()


def findings(question: Question) -> Findings:
    """Run the model on its input, and on the same with other futures."""
    plan = question.plan
    with (
        preserved(
            modules_of(plan.model), plan.inputs.tensors, training=plan.training, model=plan.model
        ) as originals,
        plan.inputs.without_gradients(),
        reading_weights(),
    ):
        runs = _Measuring(Passes(plan, originals), question)
        times = times_of(plan.inputs.pixels[0], question.lookahead, runs.outputs)
        filled = fillings(runs, times)
        met = {t for filling in filled.values() for t in filling.shown}
        times = tuple(sorted({*times, *met}))
        futures = [Future(time=t, draw=d) for t in times for d in range(DRAWS)]
        measured = runs.measured(futures)
        measured = [_confirmed(question, runs, i, m, futures) for i, m in enumerate(measured)]
        measured = runs.with_proofs(measured)
        measured = [_with_filling(m, filled.get(i)) for i, m in enumerate(measured)]
        leaking = tuple(runs.leaking(i, m) for i, m in enumerate(measured))
        return Findings(
            rows=tuple(runs.rows),
            outputs=tuple(runs.outputs),
            measured=tuple(measured),
            leaking=leaking,
            times=times,
            notes=tuple(originals.left),
        )


def _with_filling(seen: Measured, filling: Filling | None) -> Measured:
    """What was seen, and where nothing was, what is known of samples made otherwise."""
    if filling is None or seen.reason or seen.leak is not None:
        return seen
    if filling.layer:
        return replace(seen, filled=filling.layer, nan=True)
    return replace(seen, untried="" if filling.complete else str(filling))


def _confirmed(
    question: Question, runs: _Measuring, number: int, seen: Measured, futures: Sequence[Future]
) -> Measured:
    """What was seen, if it stays in float64; else it was rounding, or cannot be told.

    What was too small to be told from rounding is looked at there as well.
    """
    leak = seen.leak
    if seen.reason or (leak is None and not seen.murmur):
        return seen
    if leak is not None and leak.error == math.inf:
        return seen
    looked_at = [f for f in futures if not f.draw] if leak is None else [leak.future]
    finer = in_float64(question.plan, lambda p: _Measuring(p, question).measured(looked_at)[number])
    quiet = max(KEEPS * seen.murmur, ROUNDED * runs.passes.eps)
    size = quiet if leak is None else STAYS * leak.error
    stays = finer is not None and finer.leak is not None and finer.leak.error > size
    if leak is None:
        return replace(seen, leak=finer.leak, ahead=finer.ahead) if stays and finer else seen
    if stays or (finer is None and leak.error > CLEAR * runs.noise):
        return seen
    if finer is None:
        return replace(seen, reason=Reason.UNCONFIRMED)
    return replace(seen, leak=None, ahead=None, murmur=max(seen.murmur, leak.error))


class _Measuring(Runs):
    """What other futures change."""

    def measured(self, futures: Sequence[Future]) -> list[Measured]:
        """What the futures tell of every output."""
        again = self.lines(self.plan.inputs.shifted(self.plan.zero, 0))
        whole = [self.lines(with_future(self.plan, Future(time=-1, draw=d))) for d in range(DRAWS)]
        reasons = [self._unfit(i, again, whole) for i in range(len(self.base))]
        seen: list[list[Seen]] = [[] for _ in self.base]
        quiet = [0.0] * len(self.base)
        for future in futures:
            lines = self.lines(with_future(self.plan, future))
            for i, base in enumerate(self.base):
                if base is None or reasons[i]:
                    continue
                other = None if lines is None else lines[i]
                if other is None:
                    reasons[i] = Reason.UNSTEADY
                    continue
                found, quiet[i] = self._changes(base, other, future, quiet[i])
                seen[i] += found
        nans = self._nans(futures)
        return [self._told(i, reasons[i], seen[i], quiet[i], nans[i]) for i in range(len(seen))]

    def _told(
        self, number: int, reason: Reason, seen: Sequence[Seen], quiet: float, nan: bool | None
    ) -> Measured:
        base = self.base[number]
        beyond = [s for s in seen if s.ahead > self.question.lookahead]
        leak = max(beyond, key=lambda s: (s.ahead, s.error), default=None)
        return Measured(
            reason=reason,
            stride=None if base is None else base.stride,
            leak=leak,
            ahead=max((s.ahead for s in seen), default=None),
            murmur=quiet,
            nan=nan,
        )

    def _unfit(self, number: int, again: Any, whole: Sequence[Any]) -> Reason:
        """Why nothing that is seen of an output would tell anything."""
        base = self.base[number]
        if base is None:
            return Reason.NOT_SPATIAL
        if not bool(base.values.isfinite().all()):
            return Reason.NOT_FINITE
        if again is None or not bool((differences(base, again[number]) <= self.noise).all()):
            return Reason.UNSTEADY
        changed = torch.zeros(base.values.shape[1], dtype=torch.bool, device="cpu")
        for lines in whole:
            if lines is None:
                return Reason.UNSTEADY
            changed |= differences(base, lines[number]) > self.noise
        if not bool(changed.any()):
            return Reason.IGNORES if bool((base.values != 0).any()) else Reason.DEAD
        due = base.due(self.question.block_of(base.stride)) + self.question.lookahead
        early = float((due <= self.plan.inputs.pixels[0] - 2).mean())
        told = min(float(changed.float().mean()), early)
        return Reason.NONE if told >= ANSWERS else Reason.TOO_LITTLE

    def _changes(
        self, base: Line, other: Line, future: Future, quiet: float
    ) -> tuple[list[Seen], float]:
        """The first sample that changed and was due, and the largest difference within rounding."""
        due = base.due(self.question.block_of(base.stride))
        gaps = differences(base, other).numpy()
        early = due <= future.time
        within = gaps[early & (gaps <= self.noise)]
        quiet = max(quiet, float(within.max(initial=0.0)))
        changed = np.flatnonzero(early & (gaps > self.noise))
        if not len(changed):
            return [], quiet
        first = changed[int(due[changed].argmin())]
        ahead = future.time + 1 - int(due[first])
        allowed = gaps[changed[due[changed] + self.question.lookahead <= future.time]]
        error = float(allowed.max(initial=0.0)) or float(gaps[changed].max())
        seen = Seen(future=future, sample=int(first), due=int(due[first]), ahead=ahead, error=error)
        return [seen], quiet

    def _nans(self, futures: Sequence[Future]) -> list[bool | None]:
        """Whether NaN in the future reaches samples of each output that were due."""
        times = sorted({f.time for f in futures})
        found: list[bool | None] = [None] * len(self.base)
        if not can_be_nan(self.plan) or not times:
            return found
        for time in times[:: max(1, len(times) // NANS)]:
            try:
                lines = self.lines(with_future(self.plan, Future(time=time, fill="nan")))
            except ShiftcheckError:
                return [None] * len(self.base)
            for i, base in enumerate(self.base):
                other = None if lines is None else lines[i]
                if base is not None and other is not None:
                    found[i] = bool(found[i]) or self.holds_nan(other, Future(time=time))
        return found

    def with_proofs(self, measured: Sequence[Measured]) -> list[Measured]:
        """What was seen, and of outputs of unknown structure whether NaN proves it."""
        without = [
            i
            for i, (row, seen) in enumerate(zip(self.outputs, measured, strict=True))
            if not isinstance(row.layout.axes[0], Axis) and not seen.reason and seen.leak is None
        ]
        outside = isinstance(self.plan.model, BlackBox) or bool(self.passes.leak)
        pixels = self.plan.inputs.pixels[0]
        if not without or outside or pixels > MOST_PROVEN or not all_can_be_others(self.plan):
            return list(measured)
        proven = self._never_reached([Future(time=t, fill="other") for t in range(pixels - 1)])
        return [replace(m, proven=i in without and proven[i]) for i, m in enumerate(measured)]

    def _never_reached(self, futures: Sequence[Future]) -> list[bool]:
        """For each output, whether no NaN reached a sample that was due."""
        clean = [base is not None for base in self.base]
        for future in futures:
            watch = self.watch_for_nan()
            lines = self.watched(with_future(self.plan, future), watch)
            if watch.swallowing or lines is None:
                return [False] * len(clean)
            for i, line in enumerate(lines):
                clean[i] = clean[i] and line is not None and not self.holds_nan(line, future)
        return clean

    def leaking(self, number: int, seen: Measured) -> tuple[str, ...]:
        """The layers that change too early in the runs around the one that shows a leak."""
        if seen.leak is None:
            return ()
        block, at = self.question.block_of(seen.stride), seen.leak.future
        lines: dict[str, Line] = {}
        names: dict[str, None] = {}

        def keep(row: Row, tensor: torch.Tensor) -> None:
            line = self.line(tensor, row.layout)
            if line is not None:
                lines[row.name] = line

        def compare(row: Row, tensor: torch.Tensor, time: int) -> None:
            line, base = self.line(tensor, row.layout), lines.get(row.name)
            if line is None or base is None or line.values.shape != base.values.shape:
                return
            early = base.due(block) + self.question.lookahead <= time
            if bool((differences(base, line).numpy()[early] > self.noise).any()):
                names[row.name] = None

        self.passes.run(self.plan.inputs.shifted(self.plan.zero, 0), keep)
        last = self.plan.inputs.pixels[0] - 2
        for time in sorted({at.time, max(0, at.time - 1), min(last, at.time + 1)}):
            values = with_future(self.plan, replace(at, time=time))
            self.passes.run(values, partial(compare, time=time))
        return tuple(names)
