"""What a report says, in sentences: the fact, the place, the measure, the remedy."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from itertools import takewhile

from shiftcheck.render.numbers import count, each, gap, spans
from shiftcheck.report import Cause, LayerResult, Report, ShiftResult, Verdict

COLUMNS = 100

MEANING = {
    "PADDING": "samples near the border see padding instead of the signal",
    "STRIDE": "it keeps only every so many samples, so other shifts meet other samples",
    "RESIZE": "it changes the sampling by a ratio, or combines tensors of different strides",
    "POSITION": "a constant that depends on the position is combined with the signal",
    "MIXING": "a linear map with a weight of its own for each place",
    "GLOBAL": "every sample depends on the whole axis",
    "INDEX": "a sample is taken at a fixed place",
    "DATA_DEPENDENT": "the place is chosen from the data",
    "STOCHASTIC": "it draws random numbers",
    "BATCH_COUPLED": "it mixes the elements of the batch",
    "UNSUPPORTED_OP": "no rule knows what the operation does to a shift",
    "MEASURED": "what it does to a shift was found by experiments, which can miss something",
    "UNEXPLAINED": "the structure promises agreement here, and the run contradicts it",
}


def headline(report: Report) -> str:
    """One sentence: the model and the verdict."""
    shape = "x".join(map(str, report.input_shape))
    what = report.model + (f" up to {report.layer!r}" if report.layer else "")
    if report.verdict is None:
        return f"{what} on {shape}: structure only, nothing was run"
    reason = f" ({report.reason})" if report.reason else ""
    moved = count(sum(any(s) for s in report.shifts), "shift") + " besides zero" * (
        not any(any(s) for s in report.shifts)
    )
    return f"{what} on {shape}: {report.verdict.upper()}{reason} over {moved}"


def explain(report: Report, *, columns: int = COLUMNS) -> str:
    """The headline and what explains it, in at most 30 lines."""
    lines = [headline(report)]
    output = _decisive(report)
    if report.verdict is not None and output is not None:
        lines += _evidence(report, output)
    if report.verdict not in (None, Verdict.EQUIVARIANT) and output is not None:
        lines += _blame(report, output)
        lines.append(f"reproduce: {reproduce(report, output)}")
    wrapped = [
        part
        for line in lines
        for part in textwrap.wrap(
            line,
            min(columns, COLUMNS),
            subsequent_indent="    ",
            break_on_hyphens=False,
            break_long_words=False,
        )
    ]
    return "\n".join(wrapped[:30])


def _decisive(report: Report) -> LayerResult | None:
    same = [o for o in report.outputs if (o.verdict, o.reason) == (report.verdict, report.reason)]
    return next(iter(same or report.outputs), None)


def _worst(report: Report, output: LayerResult) -> ShiftResult | None:
    same = [
        s
        for s in output.shifts
        if (s.verdict, s.reason) == (report.verdict, report.reason) and any(s.shift)
    ]
    same = [s for s in same if _explains(report.guilty, s.shift)] or same
    return max(same, key=lambda s: s.relative_error or 0.0, default=None)


def _explains(cause: Cause | None, shift: Sequence[int]) -> bool:
    """Whether a shift is none of those that a cause does not affect."""
    if cause is None or cause.period is None:
        return True
    along = shift if cause.axis is None else shift[cause.axis : cause.axis + 1]
    return any(v % cause.period for v in along)


def _evidence(report: Report, output: LayerResult) -> list[str]:
    compared = [
        s
        for s in output.shifts
        if s.error is not None and any(s.shift) and s.reason not in NOTHING_KNOWN
    ]
    lines = [
        f"output {output.name!r} {list(output.shape)}: stride {each(output.stride)}, period"
        f" {each(output.period)}, valid {spans(output.valid)}"
    ]
    if output.measured:
        lines.append(_measured_by(report))
    if not compared:
        return lines
    top = max(compared, key=lambda s: s.relative_error or 0.0)
    share = min(s.share or 0.0 for s in compared)
    least = "" if share == 1 else "at least "
    lines.append(
        f"compared {count(len(compared), 'shift')}, {least}{share:.0%} of the samples each;"
        f" largest gap {gap(top.error)}, relative {gap(top.relative_error)}"
        f" (allowed {gap(top.allowance)}, the smallest break this run would have caught)"
    )
    return lines


def _measured_by(report: Report) -> str:
    layers = [repr(c.layer) for c in report.causes if c.kind == "MEASURED"]
    where = f" of {', '.join(layers)}" if layers else ""
    return f"marked as measured: the geometry{where} comes from probing, not from a rule"


def _blame(report: Report, output: LayerResult) -> list[str]:
    lines = []
    worst = _worst(report, output)
    if worst is not None and worst.error is not None and worst.reason not in NOTHING_KNOWN:
        where = f", at output index {list(worst.worst)}" if worst.worst else ""
        lines.append(f"shift {worst.shift}: gap {gap(worst.error)}{where}")
    guilty = report.guilty
    if report.reason == "not spatial":
        lines += _end_of_space(report)
    if guilty is not None:
        windowed = guilty.kind == "STRIDE" and guilty.period and guilty.detail
        meaning = guilty.detail if windowed else MEANING.get(guilty.kind, "")
        new = guilty.detail and not guilty.detail.endswith(" padding")
        new = new and guilty.detail not in meaning
        detail = f" ({guilty.detail})" if new else ""
        lines.append(
            f"first guilty layer: {guilty.layer!r} ({guilty.op}), cause {guilty.kind}:"
            f" {meaning}{detail}"
        )
        lines += _others(report, guilty, output)
    remedy = remedy_for(report, output)
    if remedy:
        lines.append(f"remedy: {remedy}")
    return lines + _rule_to_add(report)


AT_EVERY_SHIFT = ("POSITION", "MIXING", "INDEX", "DATA_DEPENDENT")


def _others(report: Report, guilty: Cause, output: LayerResult) -> list[str]:
    """The first layer of every other kind of cause that no choice of shifts mends."""
    endless = any(halo is None or math.inf in halo for halo in output.halo)
    first: dict[str, Cause] = {}
    for cause in report.causes:
        known = cause.period is not None or cause.latent or cause.kind == guilty.kind
        some = endless if cause.kind == "GLOBAL" else None in output.period
        if some and not known and cause.kind in (*AT_EVERY_SHIFT, "GLOBAL", "RESIZE"):
            first.setdefault(cause.kind, cause)
    return [f"also: cause {c.kind} in layer {c.layer!r} ({c.op})" for c in first.values()]


def _lacks_rule(report: Report) -> bool:
    """Whether the operation at fault could be given a rule, as opposed to one that has one."""
    guilty = report.guilty
    return (
        report.reason == UNSUPPORTED
        and guilty is not None
        and guilty.detail.startswith("no rule for")
    )


def _rule_to_add(report: Report) -> list[str]:
    if not _lacks_rule(report) or report.guilty is None:
        return []
    operation = report.guilty.operation.rstrip("_")  # a rule serves the in-place variant too
    return [
        f'    @shiftcheck.register_rule("{operation}")',
        "    def rule(*args):",
        "        return shiftcheck.rules.pointwise(*args)",
        "another law: see 'A rule for your own operation' in the documentation",
    ]


def _end_of_space(report: Report) -> list[str]:
    rows = list(takewhile(lambda row: row.reason == "not spatial", reversed(report.layers)))
    first = rows[-1] if rows else None
    if first is None or (report.guilty is not None and report.guilty.layer == first.name):
        return []
    return [f"the spatial axes end at layer {first.name!r} ({first.op})"]


UNSUPPORTED = "unsupported operation"
MEASURED_GAP = "gap where the geometry was measured"
NOTHING_KNOWN = (UNSUPPORTED, "nondeterministic", "batch coupled")
"""Reasons for which the gaps say nothing: it is not known which samples belong together."""

REMEDIES = {
    "off the lattice": "use shifts that are multiples of the period {period}, or leave shifts out",
    "not spatial": "check up to a layer that has spatial axes, for example layer={spatial!r}",
    "no valid region": "give a larger input, so that some samples see no padding{needed}",
    "not finite": "the output holds NaN or infinity; look at the values that the model returns",
    "dead output": "the output is zero everywhere; check the weights, or give another signal",
    "shift not visible": "the output hardly varies along the shift; give a signal that does",
    "identity shift": "give at least one shift that is not zero",
    "axis never moved": "give an input that is large enough for one step of the output's lattice",
    "tolerance larger than the signal": "give smaller tolerances; everything passes these",
    "within noise of a break": "the structure breaks here but no gap was seen; give another signal",
    "gap not confirmed in float64": "run the check with the model and the input in float64",
    MEASURED_GAP: "give the operation a rule, or a larger input",
    "nondeterministic": "switch the random operation off, for example with model.eval()",
    "batch coupled": "use statistics that do not come from the batch, for example model.eval()",
    "output ignores the input": "leave the constant out of the outputs, or check up to a layer",
    "output cannot be read": "return tensors, or check up to a layer with layer=...",
    UNSUPPORTED: "check up to a layer before it, write that step with other operations of torch, or"
    " mend its rule where that is your own",
}
WITHOUT_RULE = (
    "check up to a layer before it, or give it a rule; if each sample of its result is computed"
    " from the same sample of its arguments, it is this one:"
)


def remedy_for(report: Report, output: LayerResult) -> str:
    """What to do about the verdict."""
    guilty = report.guilty
    if _lacks_rule(report):
        return WITHOUT_RULE
    if report.reason == MEASURED_GAP and guilty is not None and guilty.kind != "MEASURED":
        return _remedy_for_cause(guilty, output)
    if report.reason in REMEDIES:
        if report.reason == "no valid region" and guilty is not None and guilty.kind == "GLOBAL":
            if guilty.op in ("batch_norm", "instance_norm"):
                return "use running statistics, as in eval mode, or check up to a layer before it"
            around = all(c.kind in ("GLOBAL", "STRIDE", "RESIZE") for c in report.causes)
            return "no larger input helps; check up to a layer before it" + (
                ", or boundary='circular'" if around else ""
            )
        if report.reason == "axis never moved" and None in output.stride:
            left = tuple(0 if s is None else abs(s.numerator) for s in output.stride)
            return f"the output has only some of the axes: move those alone, shifts=[{left}]"
        spatial = [r.name for r in report.layers if _has_axes(r)]
        period = _period(output) or (f"{guilty.period}" if guilty is not None else "")
        needed = (
            "" if report.needed is None else f": at least {' x '.join(map(str, report.needed))}"
        )
        return REMEDIES[report.reason].format(
            period=period,
            needed=needed,
            spatial=(spatial or [row.name for row in report.layers] or [""])[-1],
        )
    return _remedy_for_cause(guilty, output)


def _has_axes(row: LayerResult) -> bool:
    return all(s is not None for s in row.stride) and row.reason != "not spatial"


def _period(output: LayerResult) -> str:
    known: Sequence[int | None] = output.period
    return f"({', '.join(str(p) for p in known)})" if known and None not in known else ""


def _remedy_for_cause(guilty: Cause | None, output: LayerResult) -> str:
    if guilty is None:
        return ""
    if guilty.kind == "RESIZE" and guilty.detail == "strides differ":
        return f"bring the tensors that {guilty.layer!r} combines to the same stride before it"
    if guilty.kind in ("STRIDE", "RESIZE") and guilty.period is None and guilty.detail:
        return f"give a size that fits the circle: {guilty.detail}"
    if guilty.kind in ("STRIDE", "RESIZE", "POSITION") and _period(output):
        return f"use shifts that are multiples of {_period(output)}, the period of this output"
    if guilty.kind == "PADDING":
        return "pad circularly (padding_mode='circular') where the boundary is circular"
    if guilty.kind == "MIXING":
        return (
            f"use a convolution in the place of {guilty.layer!r}, or check up to a layer before it"
        )
    if guilty.kind == "UNEXPLAINED":
        return "please report this as a bug of shiftcheck, unless the rule is your own"
    return f"check up to a layer before {guilty.layer!r}, or replace that operation"


def reproduce(report: Report, output: LayerResult) -> str:
    """The call that shows the worst shift again."""
    worst = _worst(report, output)
    shifts = f", shifts=[{worst.shift}]" if worst is not None else ""
    layer = f", layer={report.layer!r}" if report.layer else ""
    kinds = set(report.boundary)
    same = repr(report.boundary[0]) if len(kinds) == 1 else repr(report.boundary)
    boundary = "" if kinds == {"valid"} else f", boundary={same}"
    return f"shiftcheck.assert_equivariant(model, x{layer}{shifts}{boundary}, seed={report.seed})"
