"""Why a run of a step is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from shiftcheck.checks.streams.fit import Fit, Fitting
from shiftcheck.checks.streams.probes import Known, Probes
from shiftcheck.checks.streams.schedules import Schedule
from shiftcheck.checks.streams.session import Stage, Streamed
from shiftcheck.report.steps import StreamFault, StreamFinding
from shiftcheck.report.streams import Memory, StreamedOutput, StreamingPlan

COARSE = ((torch.float32, 2.0**-23), (torch.float16, 2.0**-10), (torch.bfloat16, 2.0**-7))
"""The types in which a state may be kept, the finest first, with their eps."""

AS_ROUNDED = 8.0
"""Times the eps of a coarser type that values may be off for it to be the cause."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One output of one run that is wrong, with what there is to explain it."""

    stage: Stage
    fitting: Fitting
    plan: StreamingPlan | None
    schedule: Schedule
    streamed: Streamed
    fit: Fit

    @property
    def output(self) -> StreamedOutput | None:
        """What the structure says of the output."""
        outputs = self.plan.outputs if self.plan else ()
        named = [o for o in outputs if o.name == self.fit.channel.name]
        return named[0] if named else None

    def finding(
        self,
        fault: StreamFault,
        *,
        sample: int | None = None,
        chunk: int | None = None,
        samples: int | None = None,
        detail: str = "",
    ) -> StreamFinding:
        """A finding with its place: where it is wrong first, unless that is told."""
        wrong = np.flatnonzero(self.fit.wrong)
        if sample is None and len(wrong):
            sample = int(wrong[0])
        if chunk is None and sample is not None:
            chunk = self.fit.chunk_of(sample)
        return StreamFinding(
            fault=fault,
            output=self.fit.channel.name,
            chunks=self.schedule.name,
            chunk=chunk,
            sample=sample,
            error=self.fit.worst if math.isfinite(self.fit.worst) else None,
            samples=samples,
            detail=detail,
        )

    def reach(self, *, ahead: bool) -> int | None:
        """Samples of the output that see beyond a cut; None where there is no end to them."""
        out = self.output
        if out is None or not out.stride or out.lookback is None or out.lookahead is None:
            return None
        seen = out.lookahead if ahead else out.lookback
        return math.ceil(seen / out.stride) if math.isfinite(seen) else None


def explained(case: Case) -> list[StreamFinding]:
    """The findings for a run that is wrong, those that say most."""
    for explain in (
        _nothing_came,
        _not_finite,
        _not_streamable,
        _another_delay,
        _only_the_end_is_missing,
        _batch,
        _state,
        _another_length,
        _beginning_or_end,
        _coarser,
        _another_state,
    ):
        found = list(explain(case))
        if found:
            return found
    return [case.finding(StreamFault.OTHER)]


def _nothing_came(case: Case) -> Iterator[StreamFinding]:
    if not case.fit.came.array.size:
        length = case.fit.whole.array.shape[2]
        detail = f"no sample came; the model gives {length}"
        yield case.finding(StreamFault.LENGTH, chunk=0, samples=length, detail=detail)


def _not_finite(case: Case) -> Iterator[StreamFinding]:
    came = case.fit.came.array
    bad = ~np.isfinite(came).all(axis=(0, 1, *range(3, came.ndim)))
    if bad.any():
        sample = int(np.argmax(bad)) - case.fit.delay
        yield case.finding(StreamFault.NOT_FINITE, sample=max(0, sample))


GROWS = (Memory.PAST, Memory.RECURRENT, Memory.POSITION)
"""What a step can know of, whatever it costs."""


def _not_streamable(case: Case) -> Iterator[StreamFinding]:
    obstacles = case.plan.obstacles if case.plan else ()
    guilty = [n for n in obstacles if n.memory.finite is False and n.memory not in GROWS]
    if guilty and case.fit.wrong.any():
        told = ", ".join(f"{n.layer!r} ({n.memory})" for n in guilty)
        yield case.finding(StreamFault.NOT_STREAMABLE, detail=told)


def _another_delay(case: Case) -> Iterator[StreamFinding]:
    if case.fit.agrees:
        return
    found = case.fitting.found_delay(case.fit)
    if found is None:
        return
    left = case.fit.whole.array.shape[2] - (case.fit.came.array.shape[2] - found)
    detail = f"{found} rather than {case.fit.delay}"
    if found < 0:
        detail += f": the first {-found} of the model never come"
    elif left > 0:
        detail += f", and the last {left} of the model never come"
    yield case.finding(StreamFault.DELAY, samples=found, detail=detail)


def _only_the_end_is_missing(case: Case) -> Iterator[StreamFinding]:
    fit = case.fit
    if not fit.agrees or not fit.missing:
        return
    if fit.missing > 0:
        yield case.finding(StreamFault.FLUSH, sample=fit.count, chunk=None, samples=fit.missing)
    else:
        yield case.finding(
            StreamFault.LENGTH,
            sample=fit.count,
            samples=-fit.missing,
            detail=f"{-fit.missing} samples too many at the end",
        )


def _batch(case: Case) -> Iterator[StreamFinding]:
    chunk = min(1, len(case.streamed.lengths) - 1)
    if _probes(case).mixes_the_batch(chunk):
        yield case.finding(StreamFault.BATCH)


def _probes(case: Case) -> Probes:
    return Probes(case.stage, case.fitting, case.streamed.lengths, case.fit)


def _another_length(case: Case) -> Iterator[StreamFinding]:
    fit = case.fit
    if not fit.missing:
        return
    counts = case.streamed.counts(fit.channel)
    ratio = fit.whole.array.shape[2] / case.stage.length
    pairs = list(zip(case.streamed.lengths, counts, strict=False))
    off = [i for i, (n, m) in enumerate(pairs) if abs(m - n * ratio) >= 1]
    chunk = off[0] if off else 0
    given, came = pairs[chunk]
    yield case.finding(
        StreamFault.LENGTH,
        chunk=chunk,
        samples=abs(fit.missing),
        detail=(
            f"chunk {chunk} of {given} gave {came}, and all together"
            f" {sum(counts)}; the model gives {fit.whole.array.shape[2]}"
        ),
    )


def _state(case: Case) -> Iterator[StreamFinding]:
    """What a wrong chunk knows of those before it, against what the model knows there."""
    chunk = _chunk_to_ask(case)
    if chunk is None:
        return
    probes = _probes(case)
    aligned = not case.fit.missing
    mine = probes.known_by_step(chunk)
    if mine.farthest == 0:
        if _looks_back(case, probes, chunk, aligned=aligned):
            yield _without_state(case, probes, chunk, aligned=aligned)
        elif aligned and probes.peeks(chunk):
            yield case.finding(StreamFault.WHOLE_CHUNK)
        return
    if not aligned:
        return
    models = probes.known_by_model(chunk)
    if mine.nearest > max(1, models.nearest):
        skipped = mine.nearest - 1
        detail = f"of the samples just before chunk {chunk}, {skipped} are not known there"
        stale = skipped >= case.streamed.lengths[chunk - 1]
        fault = StreamFault.STALE if stale else StreamFault.GAP
        yield case.finding(fault, samples=skipped, detail=detail)
    elif mine.farthest < models.farthest and _forgets(case, chunk, mine):
        there = f"the model looks back {models.farthest}"
        detail = f"chunk {chunk} knows {mine.farthest} samples, and {there}"
        lacking = models.farthest - mine.farthest
        yield case.finding(StreamFault.SHORT, samples=lacking, detail=detail)
    elif probes.peeks(chunk):
        yield case.finding(StreamFault.WHOLE_CHUNK)


def _forgets(case: Case, chunk: int, mine: Known) -> bool:
    """Whether what a chunk knows ends somewhere, and does not fade away.

    Where a look-back has no end, rounding decides how far it is seen, unless it ends with a chunk.
    """
    out = case.output
    if out is not None and out.lookback is not None and math.isfinite(out.lookback):
        return True
    starts = np.cumsum([0, *case.streamed.lengths])
    return int(starts[chunk]) - mine.farthest in starts[1:]


def _without_state(case: Case, probes: Probes, chunk: int, *, aligned: bool) -> StreamFinding:
    samples = probes.known_by_model(chunk).farthest if aligned else None
    detail = "" if samples is None else f"the model looks back {samples} samples at chunk {chunk}"
    if aligned and _differs_beside(case):
        detail += "; samples that see no other chunk are wrong as well, so it is not all"
    return case.finding(StreamFault.NO_STATE, samples=samples, detail=detail)


def _differs_beside(case: Case) -> bool:
    """Whether a sample is wrong that sees its own chunk alone, and the beginning of the signal."""
    fit, back, ahead = case.fit, case.reach(ahead=False), case.reach(ahead=True)
    if back is None or ahead is None:
        return False
    margin = max(0, back) + max(0, ahead)
    wrong = np.flatnonzero(fit.wrong)
    chunks = np.array([fit.chunk_of(int(q)) for q in wrong], int)
    begins, ends = np.array(fit.cuts), np.array([*fit.cuts[1:], fit.count])
    known = (chunks == 0) | (wrong >= begins[chunks] + margin)
    return bool((known & (wrong < ends[chunks] - margin)).any())


def _looks_back(case: Case, probes: Probes, chunk: int, *, aligned: bool) -> bool:
    """Whether the model knows at a chunk what came before it."""
    if aligned:
        return probes.known_by_model(chunk).farthest > 0
    out = case.output
    if out is None or out.lookback is None or out.lookahead is None:
        return False
    return out.lookback + out.lookahead > 0


def _chunk_to_ask(case: Case) -> int | None:
    """A wrong chunk, the third or a later one where there is such; None without a second one."""
    fit = case.fit
    wrong = sorted({fit.chunk_of(int(q)) for q in np.flatnonzero(fit.wrong)})
    last = len(case.streamed.lengths) - 1
    if fit.missing and not wrong:
        wrong = list(range(1, last + 1))
    later = [c for c in wrong if 2 <= c <= last] or [c for c in wrong if 1 <= c <= last]
    return later[0] if later else None


def _beginning_or_end(case: Case) -> Iterator[StreamFinding]:
    """Whether only the first samples are wrong, or the last: as far as the ends are seen."""
    fit = case.fit
    wrong = np.flatnonzero(fit.wrong)
    if not len(wrong) or len(fit.cuts) < 2:
        return
    back, ahead = case.reach(ahead=False), case.reach(ahead=True)
    quarter = max(1, fit.count // 4)
    first = quarter if back is None else max(1, back + (ahead or 0))
    last = fit.count - (quarter if ahead is None else max(1, ahead + (back or 0)))
    if wrong[-1] < first and first < fit.count:
        yield case.finding(StreamFault.START, samples=int(wrong[-1]) + 1)
    elif wrong[0] >= last and last > 0:
        yield case.finding(StreamFault.END, samples=fit.count - int(wrong[0]))


def _coarser(case: Case) -> Iterator[StreamFinding]:
    error, eps = case.fit.worst, case.fit.whole.eps
    for kind, coarse in COARSE:
        if coarse > eps > 0 and error <= AS_ROUNDED * coarse:
            if _probes(case).grows_with_the_signal():
                return
            name = str(kind).removeprefix("torch.")
            yield case.finding(StreamFault.PRECISION, detail=f"as a type such as {name} makes it")
            return


def _another_state(case: Case) -> Iterator[StreamFinding]:
    """Whether only samples after the beginning of a chunk are wrong that see beyond it."""
    fit = case.fit
    wrong = np.flatnonzero(fit.wrong)
    inner = [cut for cut in fit.cuts[1:] if cut > 0]
    if not len(wrong) or not inner or wrong[0] < inner[0]:
        return
    reach = case.reach(ahead=False)
    before = np.array(inner)[np.searchsorted(inner, wrong, side="right") - 1]
    width = int((wrong - before).max()) + 1
    if reach is None or width <= reach + (case.reach(ahead=True) or 0):
        detail = f"wrong up to {width} samples after a chunk begins"
        yield case.finding(StreamFault.ANOTHER_STATE, samples=width, detail=detail)


def patterns(
    rights: Sequence[Schedule], wrongs: Sequence[Schedule], period: int, lookback: float | None
) -> StreamFault | None:
    """What the lengths of the chunks tell that are right and wrong; None where it is nothing."""
    cut = [s for s in rights if len(s.lengths) > 1]
    if not cut or not wrongs:
        return None
    if period > 1:
        on_grid = all(s.fits(period) for s in cut)
        if on_grid and not any(s.fits(period) for s in wrongs):
            return StreamFault.OFF_GRID
    if lookback is not None and math.isfinite(lookback):
        least = min(map(_shortest, cut))
        if max(map(_shortest, wrongs)) < min(least, lookback + 1):
            return StreamFault.SHORT_CHUNKS
    return StreamFault.CHUNKS


def _shortest(schedule: Schedule) -> float:
    """The shortest chunk that another one follows."""
    return min(schedule.lengths[:-1], default=math.inf)
