"""A plan of a stream, and how a step differs from its model, as text and on a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from shiftcheck.report.render.contents import Contents, Sheet, wrapped
from shiftcheck.report.render.numbers import count, describe, gap, size_in_bytes
from shiftcheck.report.steps import StreamFinding, StreamReport, StreamRun, StreamVerdict
from shiftcheck.report.streams import Memory, StreamedOutput, StreamingPlan, StreamLayer


def render_streaming(plan: StreamingPlan) -> str:
    """Whether a finite state suffices, how far the model looks, and what each layer keeps."""
    lines = [*_of_plan(plan), *(f"    {_layer(layer)}" for layer in _kept(plan))]
    return "\n".join([headline_of_streaming(plan), *wrapped([*lines, *_notes(plan)])])


def headline_of_streaming(plan: StreamingPlan) -> str:
    """The model, the shape, and whether a finite state suffices."""
    shape = "x".join(map(str, plan.input_shape))
    return f"{plan.model} on {shape}, time along axis {plan.axis}: {plan.streaming.upper()}"


def _of_plan(plan: StreamingPlan) -> Iterator[str]:
    yield from map(_obstacle, plan.obstacles)
    if plan.lookback is not None or plan.lookahead is not None:
        yield (
            f"look-back {_far(plan.lookback)}, look-ahead {_far(plan.lookahead)}, latency"
            f" {_far(plan.latency)} (samples of the input)"
        )
    if plan.period is not None:
        any_length = plan.period == 1
        grid = "may have any length" if any_length else f"are multiples of {plan.period} samples"
        yield f"chunks {grid}"
    if plan.keep is not None:
        yield (
            f"a window that begins {count(plan.keep, 'sample')} earlier gives the next chunk, with"
            " no state in any layer"
        )
    if len(plan.outputs) > 1:
        yield from map(_output, plan.outputs)
    if plan.finite and plan.layers:
        total, size = plan.state_elements, size_in_bytes(plan.state_bytes)
        known = "" if total is None else f", {count(total, 'number')}, {size}"
        yield f"a state for each layer{known}:"
    elif plan.finite:
        yield "no layer has to keep anything"


def _kept(plan: StreamingPlan) -> tuple[StreamLayer, ...]:
    return plan.layers if plan.finite else ()


def _notes(record: StreamingPlan | StreamReport) -> Iterator[str]:
    yield from (f"note: {note}" for note in record.notes)


def _far(samples: float | None) -> str:
    return "unknown" if samples is None else describe(samples)


def _obstacle(layer: StreamLayer) -> str:
    remedy = f"; {layer.memory.remedy}" if layer.memory.remedy else ""
    detail = f" ({layer.detail})" if layer.detail else ""
    return f"{_name(layer)}: {layer.memory}: {layer.memory.plain}{detail}{remedy}"


def _name(layer: StreamLayer) -> str:
    return f"'{layer.layer}' ({layer.op})" if layer.layer != layer.op else f"'{layer.layer}'"


def _layer(layer: StreamLayer) -> str:
    size = "" if layer.elements is None else f", {count(layer.elements, 'number')}"
    if layer.memory in (Memory.WINDOW, Memory.DELAY):
        what = "holds back" if layer.memory is Memory.DELAY else "the last"
        return f"{_name(layer)}: {what} {count(layer.samples or 0, 'sample')} of its input{size}"
    if layer.memory is Memory.RECURRENT:
        return f"{_name(layer)}: its recurrent state{size}"
    return f"{_name(layer)}: {layer.memory.remedy}"


def _output(output: StreamedOutput) -> str:
    if output.stride is None:
        return f"{output.name} has no time axis of its own"
    return (
        f"{output.name}: look-back {_far(output.lookback)}, look-ahead {_far(output.lookahead)},"
        f" latency {_far(output.latency)}, one sample for each {output.stride} of the input"
    )


def contents_of_streaming(plan: StreamingPlan) -> Contents:
    """What a page shows of a plan."""
    return Contents(
        headline=headline_of_streaming(plan),
        verdict=str(plan.streaming),
        sentences=tuple(_of_plan(plan)),
        sheets=(
            Sheet.of("what each layer keeps", plan.layers, OF_A_LAYER),
            Sheet.of("outputs", plan.outputs, OF_AN_OUTPUT),
        ),
        made=(
            ("input", " x ".join(map(str, plan.input_shape))),
            ("type", plan.dtype),
            ("versions", ", ".join(f"{k} {v}" for k, v in plan.versions.items())),
            *(("note", note) for note in plan.notes),
        ),
    )


OF_A_LAYER: dict[str, Callable[[StreamLayer], str]] = {
    "layer": lambda n: n.layer,
    "operation": lambda n: n.op,
    "what": lambda n: str(n.memory),
    "samples": lambda n: "-" if n.samples is None else str(n.samples),
    "numbers": lambda n: "-" if n.elements is None else str(n.elements),
    "bytes": lambda n: size_in_bytes(n.bytes),
}
OF_AN_OUTPUT: dict[str, Callable[[StreamedOutput], str]] = {
    "output": lambda o: o.name,
    "stride": lambda o: "-" if o.stride is None else str(o.stride),
    "look-back": lambda o: _far(o.lookback),
    "look-ahead": lambda o: _far(o.lookahead),
    "latency": lambda o: _far(o.latency),
    "delay": lambda o: _far(o.delay),
}


def render_stream(found: StreamReport) -> str:
    """What differs and why, where, and what would mend it."""
    lines = [*_of_stream(found), *_notes(found)]
    return "\n".join([headline_of_stream(found), *wrapped(lines)])


def headline_of_stream(found: StreamReport) -> str:
    """One line: the model, the step, the verdict and the faults."""
    shape = "x".join(map(str, found.input_shape))
    lengths = ", ".join(map(str, found.chunk))
    why = ", ".join(found.faults) or found.reason
    verdict = found.verdict.upper() + (f", {why}" if why else "")
    return f"{found.model} on {shape}, in chunks of {lengths} by {found.step}: {verdict}"


def _of_stream(found: StreamReport) -> Iterator[str]:
    if found.reason:
        hint = found.reason.hints.streams or ""
        yield f"reason: {found.reason.plain}" + (f"; {hint}" if hint else "")
    for finding in found.findings:
        yield _finding(finding)
        yield f"{finding.fault}: {finding.fault.plain}; {finding.fault.remedy}"
    if found.verdict is not StreamVerdict.SAME and found.lookback is not None:
        period = "" if found.period in (None, 1) else f", period {found.period}"
        yield (
            f"the model: look-back {_far(found.lookback)}, look-ahead {_far(found.lookahead)},"
            f" latency {_far(found.latency)}{period} (samples of the input)"
        )
    if found.verdict is StreamVerdict.SAME and found.error is not None:
        yield f"largest difference {gap(found.error)} of a channel, allowed {gap(found.allowance)}"
    yield from _runs(found.runs)


def _finding(finding: StreamFinding) -> str:
    place = [] if finding.chunk is None else [f"chunk {finding.chunk}"]
    place += [] if finding.sample is None else [f"sample {finding.sample} of {finding.output}"]
    where = f" at {', '.join(place)}" if place else ""
    size = "" if not finding.error else f", largest difference {gap(finding.error)}"
    detail = f": {finding.detail}" if finding.detail else ""
    if finding.samples is not None and not finding.detail:
        detail = f": {count(finding.samples, 'sample')}"
    return f"{finding.chunks}: {finding.fault}{where}{size}{detail}"


def _runs(runs: Sequence[StreamRun]) -> Iterator[str]:
    for outcome in dict.fromkeys(run.outcome for run in runs if run.demanded):
        names = [run.chunks for run in runs if run.demanded and run.outcome == outcome]
        yield f"{outcome}: {', '.join(names)}"
    beside = [f"{run.chunks} ({run.outcome})" for run in runs if not run.demanded]
    if beside:
        yield f"tried as well, and not counted: {', '.join(beside)}"
    held = [run.held for run in runs if run.demanded and run.held]
    if held:
        yield f"up to {count(max(held), 'sample')} held back"


def contents_of_stream(found: StreamReport) -> Contents:
    """What a page shows of a step held against its model."""
    return Contents(
        headline=headline_of_stream(found),
        verdict=str(found.verdict),
        sentences=tuple(_of_stream(found)),
        sheets=(Sheet.of("runs", found.runs, OF_A_RUN),) if found.runs else (),
        made=(
            ("input", " x ".join(map(str, found.input_shape))),
            ("type", found.dtype),
            ("versions", ", ".join(f"{k} {v}" for k, v in found.versions.items())),
            *(("note", note) for note in found.notes),
        ),
    )


OF_A_RUN: dict[str, Callable[[StreamRun], str]] = {
    "chunks": lambda r: r.chunks,
    "lengths": lambda r: ", ".join(map(str, r.lengths)),
    "count": lambda r: str(r.count),
    "outcome": lambda r: r.outcome + ("" if r.demanded else " (does not count)"),
    "difference": lambda r: gap(r.error),
    "held back": lambda r: "-" if r.held is None else str(r.held),
    "raised": lambda r: r.detail or "-",
}
