"""The runs of a step that are asked for, and what comes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from shiftcheck.checks.circumstances import circumstances
from shiftcheck.checks.seams.vacuity import Seen, why_nothing_is_told
from shiftcheck.checks.streams.explain import Case, explained, patterns
from shiftcheck.checks.streams.fit import Array, Fit, Fitting, arranged, first_of
from shiftcheck.checks.streams.gradients import gradient_findings
from shiftcheck.checks.streams.probes import Probes
from shiftcheck.checks.streams.schedules import Schedule, schedules
from shiftcheck.checks.streams.session import Channel, Stage, Streamed
from shiftcheck.checks.streams.staging import channels_of, in_two
from shiftcheck.errors import ModelError, ShiftcheckError
from shiftcheck.measuring.plan import Plan
from shiftcheck.report.reasons import Reason
from shiftcheck.report.steps import (
    StreamFault,
    StreamFinding,
    StreamReport,
    StreamRun,
    StreamVerdict,
)
from shiftcheck.report.streams import Memory, Streaming, StreamingPlan

KEPT = ("model", "input_shape", "spatial_dims", "dtype", "versions")
SHOWN = 8
"""So many lengths of chunks are kept of each run."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Options:
    """How a step is held against its model."""

    chunk: tuple[int, ...]
    delay: int
    any_chunk: bool
    complete: bool
    gradients: bool
    tolerances: tuple[float | None, float | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A run with the fit of each output; none where the step raised."""

    schedule: Schedule
    streamed: Streamed
    fits: tuple[Fit, ...]
    wrong: tuple[Fit, ...]

    @property
    def outcome(self) -> str:
        """What came of it."""
        return "refused" if self.streamed.error else "wrong" if self.wrong else "right"

    @property
    def is_cut(self) -> bool:
        """Whether a chunk followed another one."""
        return len(self.streamed.lengths) > 1


class Question:
    """What was asked of a step: the runs, and what they tell."""

    def __init__(
        self, stage: Stage, plan: StreamingPlan | None, options: Options, notes: Sequence[str]
    ) -> None:
        self.plan, self.options, self.notes = plan, options, list(notes)
        whole = stage.on_the_whole()
        self.stage = replace(stage, channels=channels_of(whole, plan, stage))
        if not self.stage.channels:
            raise ModelError(
                "the model returned nothing that has a time axis: there is nothing to stream; check"
                " a part of it that has one"
            )
        self.values = [arranged(whole[c.place][1], c.dim) for c in self.stage.channels]
        self.fitting = Fitting(self.values, options.delay, *options.tolerances)
        self.period = plan.period if plan and plan.period else 1

    def report(self) -> StreamReport:
        """All that came of it."""
        reason = self._untelling()
        if reason in (Reason.NOT_FINITE, Reason.EMPTY, Reason.UNSTEADY):
            return self._made((), (), reason)
        runs = [self._run(s) for s in self._schedules()]
        given = runs[0]
        if given.streamed.error is not None:
            self._raise(given, everywhere=not any(run.streamed.lengths for run in runs))
        if not self._repeats(given):
            return self._made(runs, (), Reason.NOT_REPEATED)
        findings = self._findings(runs)
        if not findings and self.options.gradients:
            cut = [r for r in runs if r.schedule.demanded and r.is_cut and not r.wrong]
            lookback = self.plan.lookback if self.plan else None
            for run in cut[:1]:
                found, notes = gradient_findings(
                    self.stage, run.schedule, self.options.delay, lookback
                )
                findings, self.notes = found, [*self.notes, *notes]
        if findings:
            return self._made(runs, findings, Reason.NONE)
        return self._made(runs, (), reason or self._blind(runs))

    # -- runs ------------------------------------------------------------------------------------

    def _schedules(self) -> list[Schedule]:
        lookback = None if self.plan is None else self.plan.lookback
        finite = lookback if lookback is not None and lookback != float("inf") else None
        return schedules(
            self.stage.length,
            self.options.chunk,
            self.period,
            finite,
            any_chunk=self.options.any_chunk,
        )

    def _run(self, schedule: Schedule) -> Run:
        streamed = self.stage.stream(schedule.lengths)
        if streamed.error is not None:
            return Run(schedule=schedule, streamed=streamed, fits=(), wrong=())
        fits = tuple(self.fitting.of(c, streamed) for c in self.stage.channels)
        wrong = tuple(fit for fit in fits if self._is_wrong(fit))
        return Run(schedule=schedule, streamed=streamed, fits=fits, wrong=wrong)

    def _is_wrong(self, fit: Fit) -> bool:
        if fit.wrong.any() or not fit.count:
            return True
        return not 0 <= fit.missing <= self._may_be_missing(fit.channel)

    def _may_be_missing(self, channel: Channel) -> int:
        if self.options.complete:
            return 0
        named = [o for o in (self.plan.outputs if self.plan else ()) if o.name == channel.name]
        held = next((o.delay for o in named if o.delay is not None), 0) or 0
        ratio = channel.shape[channel.dim] / self.stage.length
        return max(self.options.delay, held) + int(self.period * ratio)

    def _raise(self, run: Run, *, everywhere: bool) -> None:
        """The step raised on the chunks that it was said to take."""
        error, number = run.streamed.error, len(run.streamed.lengths)
        start = sum(run.streamed.lengths)
        length, every = run.schedule.lengths[number], len(run.schedule.lengths)
        chunk = self.options.chunk[0] if len(self.options.chunk) == 1 else self.options.chunk
        if everywhere:
            remedy = (
                "it took a chunk of none of the lengths that were tried: mend what it raises, or"
                " give the length of the chunks that it takes"
            )
        elif length % self.period:
            multiple = -(-length // self.period) * self.period
            remedy = (
                f"chunks of the model are multiples of {self.period}: give chunk={multiple}, and an"
                " x whose length is a multiple, too"
            )
        elif 0 < number == every - 1 and length != run.schedule.lengths[0]:
            size = start + run.schedule.lengths[0]
            remedy = f"the last chunk is what is left of x: give an x of {start} or {size} samples"
        else:
            remedy = "give the length of the chunks that it takes"
        raise ModelError(
            f"chunk={chunk}: the step raised {type(error).__name__} on chunk {number} of {length}"
            f" samples, from sample {start} on: {error}\n{remedy}"
        ) from error

    def _repeats(self, given: Run) -> bool:
        """Whether the same chunks give the same once more."""
        again = self.stage.stream(given.schedule.lengths)
        return again.error is None and all(
            torch.equal(_plain(a), _plain(b))
            for channel in self.stage.channels
            for a, b in [(again.whole(channel), given.streamed.whole(channel))]
        )

    # -- findings --------------------------------------------------------------------------------

    def _findings(self, runs: Sequence[Run]) -> list[StreamFinding]:
        found = [*self._of_values(runs), *self._beside(runs[0])]
        order = list(StreamFault)
        return sorted(found, key=lambda f: order.index(f.fault))

    def _of_values(self, runs: Sequence[Run]) -> list[StreamFinding]:
        demanded = [r for r in runs if r.schedule.demanded and not r.streamed.error]
        wrong = [r for r in demanded if r.wrong]
        if not wrong:
            return []
        cases = [self._case(wrong[0], fit) for fit in wrong[0].wrong]
        told = [r for r in runs if not r.streamed.error]
        fault = patterns(
            [r.schedule for r in told if not r.wrong],
            [r.schedule for r in told if r.wrong],
            self.period,
            None if self.plan is None else self.plan.lookback,
        )
        if fault is None:
            return [finding for case in cases for finding in explained(case)]
        lengths = ", ".join(r.schedule.name for r in told if r.wrong)
        detail = f"wrong: {lengths}"
        if fault is StreamFault.OFF_GRID:
            detail = f"the period is {self.period} samples; {detail}"
            off = [n for n, s in enumerate(wrong[0].schedule.starts) if s % self.period]
            first = [cases[0].finding(fault, chunk=off[0] if off else None, detail=detail)]
        else:
            first = [cases[0].finding(fault, detail=detail)]
        if fault is not StreamFault.CHUNKS:
            return first
        return first + [finding for case in cases for finding in explained(case)]

    def _case(self, run: Run, fit: Fit) -> Case:
        return Case(
            stage=self.stage,
            fitting=self.fitting,
            plan=self.plan,
            schedule=run.schedule,
            streamed=run.streamed,
            fit=fit,
        )

    def _beside(self, given: Run) -> list[StreamFinding]:
        """What is wrong whatever the values are."""
        found = []
        streamed = given.streamed
        for fit in given.fits:
            channel, case = fit.channel, self._case(given, fit)
            types = {piece.dtype for piece in streamed.pieces[channel.number]} - {channel.dtype}
            if types:
                names = ", ".join(sorted(str(t).removeprefix("torch.") for t in types))
                wanted = str(channel.dtype).removeprefix("torch.")
                detail = f"{names} rather than {wanted}"
                found.append(case.finding(StreamFault.DTYPE, detail=detail))
            counts = streamed.counts(channel)
            if streamed.flushed and len(counts) > 3 and not sum(counts[:-1]) and counts[-1]:
                found.append(case.finding(StreamFault.LATE, samples=counts[-1]))
        case = self._case(given, given.fits[0])
        if streamed.shared is not None:
            found.append(case.finding(StreamFault.SHARED, chunk=streamed.shared))
        return [*found, *self._of_two(case), *self._leaks(given, case)]

    def _of_two(self, case: Case) -> list[StreamFinding]:
        """Where the batch has one element: whether another one beside it changes what it gives."""
        two = in_two(self.stage)
        if two is None or case.fit.wrong.any():
            return []
        channel = case.fit.channel
        try:
            whole = arranged(two.on_the_whole()[channel.place][1], channel.dim)
            streamed = two.stream(case.schedule.lengths)
        except (ShiftcheckError, IndexError):
            whole, streamed = None, None
        if streamed is None or whole is None or streamed.error or whole.array.shape[0] != 2:
            self.notes.append(
                "x has a batch of one: that its elements are kept apart was not tried"
            )
            return []
        came = arranged(streamed.whole(channel), channel.dim)
        kept = not self.fitting.changed(case.fit.whole, first_of(whole)).any()
        mixed = self.fitting.changed(case.fit.came, first_of(came)).any()
        return [case.finding(StreamFault.BATCH)] if kept and mixed else []

    def _leaks(self, given: Run, case: Case) -> list[StreamFinding]:
        """Whether a sequence that begins anew knows of another one that went before it."""
        lengths = given.schedule.lengths
        other = Probes(self.stage, self.fitting, lengths, given.fits[0]).other
        if not (self.stage.stepping.begins_anew or given.streamed.carries):
            self.notes.append(
                "that a new sequence begins without the state of the last one was not tried: give"
                " reset=..., make_step=... or state=..."
            )
            return []
        try:
            after = self.stage.stream(lengths, before=other.to(case.stage.inputs.main.tensor.dtype))
        except ShiftcheckError:
            return []
        found = []
        for fit in given.fits:
            came = self.fitting.of(fit.channel, after)
            changed = self.fitting.changed(fit.came, came.came)
            if after.error is not None or changed.any() or came.missing != fit.missing:
                sample = int(changed.argmax()) - fit.delay if changed.any() else None
                found.append(case.finding(StreamFault.LEAK, sample=sample, chunk=0))
        return found

    # -- reasons ---------------------------------------------------------------------------------

    def _untelling(self) -> Reason:
        """Why the outputs of the model tell nothing."""
        again = self.stage.on_the_whole()
        try:
            other = self.stage.on_the_whole(_shuffled(self.stage.inputs.main.tensor))
        except ShiftcheckError:
            other = []
        signal = self.stage.inputs.main.tensor
        axes = len(self.stage.inputs.pixels)
        for channel, whole in zip(self.stage.channels, self.values, strict=True):
            seen = Seen(
                whole=whole,
                again=_at(again, channel),
                other=_at(other, channel),
                spatial=whole.array.ndim - 2,
                signal=signal,
                axes=axes,
            )
            found = why_nothing_is_told(seen, *self.options.tolerances)
            if found:
                return found
        return Reason.NONE

    def _blind(self, runs: Sequence[Run]) -> Reason:
        """Why runs that are all right tell nothing."""
        right = [r for r in runs if r.schedule.demanded and not r.streamed.error]
        if not any(r.is_cut for r in right):
            return Reason.NO_SEAM
        plan = self.plan
        if plan is not None and (plan.keep == 0 or plan.lookback == plan.lookahead == 0):
            placed = any(n.memory is Memory.POSITION for n in plan.layers)
            but = " but the place of each chunk" if placed else ""
            self.notes.append(f"the model needs no state{but}: no sample depends on another chunk")
            return Reason.NONE
        return Reason.NONE if self._crosses(right) else Reason.INVISIBLE_STATE

    def _crosses(self, runs: Sequence[Run]) -> bool:
        """Whether what stands on one side of a cut changes the whole on the other side."""
        run = next(r for r in runs if r.is_cut)
        probes = Probes(self.stage, self.fitting, run.schedule.lengths, run.fits[0])
        for cut in run.schedule.starts[1:4]:
            for start, stop, before in ((0, cut, False), (cut, self.stage.length, True)):
                now = self.stage.on_the_whole(probes.with_other(start, stop))
                for channel, whole in zip(self.stage.channels, self.values, strict=True):
                    values = _at(now, channel)
                    if values is None:
                        continue
                    changed: Array = self.fitting.changed(whole, values)
                    at = cut * channel.shape[channel.dim] // self.stage.length
                    if (changed[: at - 1] if before else changed[at + 1 :]).any():
                        return True
                    if not before and changed[at : at + 1].any():
                        return True
        return False

    # -- record ----------------------------------------------------------------------------------

    def _made(
        self, runs: Sequence[Run], findings: Sequence[StreamFinding], reason: Reason
    ) -> StreamReport:
        plan, stage = self.plan, self.stage
        fits = [fit for run in runs if run.schedule.demanded for fit in run.fits]
        verdict = StreamVerdict.SAME
        if findings or reason:
            verdict = StreamVerdict.DIFFERENT if findings else StreamVerdict.INCONCLUSIVE
        figures = ("period", "lookback", "lookahead", "latency")
        how = circumstances(Plan(model=stage.model, inputs=stage.inputs))
        told: dict[str, Any] = {name: getattr(plan, name, None) for name in figures}
        told |= {name: how[name] for name in KEPT}
        return StreamReport(
            verdict=verdict,
            reason=Reason.NONE if findings else reason,
            faults=tuple(dict.fromkeys(f.fault for f in findings)),
            findings=tuple(findings),
            runs=tuple(self._told(run) for run in runs),
            error=max((fit.worst for fit in fits), default=None),
            allowance=max((fit.allowance for fit in fits), default=None),
            chunk=self.options.chunk,
            delay=self.options.delay,
            gradients=self.options.gradients,
            layers=tuple(n.layer for n in plan.obstacles) if plan else (),
            step=stage.stepping.name,
            axis=stage.dim,
            notes=(*self.notes, *self._more_notes(runs), *stage.left),
            **told,
        )

    def _told(self, run: Run) -> StreamRun:
        worst = max((fit.worst for fit in run.fits), default=None)
        error = run.streamed.error
        first = str(error).splitlines()[:1] if error else []
        return StreamRun(
            chunks=run.schedule.name,
            lengths=run.schedule.lengths[:SHOWN],
            count=len(run.schedule.lengths),
            demanded=run.schedule.demanded,
            outcome=run.outcome,
            error=worst,
            held=None if error else max(self._held(run, fit) for fit in run.fits),
            detail=f"{type(error).__name__}: {''.join(first)}" if error else "",
        )

    def _held(self, run: Run, fit: Fit) -> int:
        """The most samples that the model has and the step has not given, after any chunk."""
        counts = run.streamed.counts(fit.channel)[: len(run.streamed.lengths)]
        ratio = fit.channel.shape[fit.channel.dim] / self.stage.length
        seen = came = most = 0
        for length, count in zip(run.streamed.lengths, counts, strict=True):
            seen, came = seen + length, came + count
            most = max(most, int(seen * ratio) - (came - fit.delay))
        return most

    def _more_notes(self, runs: Sequence[Run]) -> list[str]:
        found = []
        off = [r for r in runs if not r.schedule.demanded and r.outcome != "right"]
        if off and all(r.schedule.fits(self.period) for r in runs if r.schedule.demanded):
            found.append(
                f"off the grid of {self.period} the step is not the model; any_chunk=True has that"
                " count"
            )
        if runs and runs[0].streamed.written is not None:
            found.append("the step writes to the chunks that it is given")
        if self.plan is not None and self.plan.streaming is Streaming.UNKNOWN:
            layers = ", ".join(dict.fromkeys(n.layer for n in self.plan.obstacles))
            found.append(f"what {layers} does along time is not known from the structure")
        return found


def _at(found: Sequence[tuple[str, torch.Tensor]], channel: Channel) -> Any:
    return arranged(found[channel.place][1], channel.dim) if len(found) > channel.place else None


def _shuffled(main: torch.Tensor) -> torch.Tensor:
    order = torch.randperm(main.numel(), generator=torch.Generator().manual_seed(0), device="cpu")
    return main.flatten()[order.to(main.device)].reshape(main.shape)


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor in which NaN equals NaN."""
    return torch.nan_to_num(tensor) if tensor.is_floating_point() else tensor
