"""What a report says, in sentences: the fact, the place, the measure, the remedy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, takewhile

from shiftcheck.report.causes import Cause, CauseForm, CauseKind
from shiftcheck.report.equivariance import LayerResult, Report, ShiftResult, Verdict
from shiftcheck.report.reasons import BLIND, NOTHING_VARIES, TOO_FEW, Reason
from shiftcheck.report.render.call import assertion
from shiftcheck.report.render.contents import COLUMNS, wrapped
from shiftcheck.report.render.numbers import count, each, gap, spans
from shiftcheck.report.render.plain import first_sentence
from shiftcheck.report.render.remedies import remedies, unsupported

LINES = 15
"""The lines of a failing assertion, unless it can't be said in fewer."""


def headline(report: Report) -> str:
    """One sentence: the model and the verdict."""
    shape = "x".join(map(str, report.input_shape))
    drawn = f" with randomised weights ({count(len(report.draws), 'draw')})" if report.draws else ""
    what = report.model + drawn + (f" up to {report.layer!r}" if report.layer else "")
    if report.verdict is None:
        return f"{what} on {shape}: structure only, nothing was run"
    reason = f" ({report.reason})" if report.reason else ""
    moved = count(sum(any(s) for s in report.shifts), "shift") + " besides zero" * (
        not any(any(s) for s in report.shifts)
    )
    return f"{what} on {shape}: {report.verdict.upper()}{reason} over {moved}"


def sentences(report: Report) -> list[str]:
    """The headline and what explains it, a sentence each; of a failure, the plain words first."""
    lines = [headline(report)]
    output = _decisive(report)
    if report.verdict is None or output is None:
        return lines
    if report.verdict is Verdict.EQUIVARIANT:
        return lines + _draws(report) + _evidence(report, output) + _left_out(report)
    told = _told(report, output)
    return [lines[0], told.first, *told.answers, *told.details, *told.again]


@dataclass(frozen=True, kw_only=True)
class _Told:
    """What is told of a failure: what happened, what to do, how it was seen, and how to see it."""

    first: str
    answers: tuple[str, ...]
    details: tuple[str, ...]
    again: tuple[str, ...]


def _told(report: Report, output: LayerResult) -> _Told:
    worst = _worst(report, output)
    return _Told(
        first=first_sentence(report, output, worst),
        answers=(*_blame(report, output), *remedies(report, output)),
        details=(
            *_draws(report),
            *_seen(report, worst),
            *_local(report),
            *_evidence(report, output),
        ),
        again=(f"reproduce: {reproduce(report, output)}", *_more(report)),
    )


def explain(report: Report, *, columns: int = COLUMNS, most: int = LINES) -> str:
    """What happened in plain words, the layer at fault, what to do, and how it was seen.

    ``most``: lines; beyond them details are left out, and it is said where they are.
    """
    output = _decisive(report)
    if report.verdict in (None, Verdict.EQUIVARIANT) or output is None:
        return "\n".join(wrapped(sentences(report), columns)[:most])
    told = _told(report, output)
    start = wrapped([told.first, *told.answers, headline(report)], columns)
    end = wrapped(told.again, columns)
    room = most - len(start) - len(end)
    return "\n".join([*start, *_that_fit(told.details, columns, room), *end])


MORE = "more: pytest -v, or print(shiftcheck.check_equivariance(...))"


def _that_fit(details: Sequence[str], columns: int, room: int) -> list[str]:
    """The first of the details in so many lines, whole sentences; with where the others are."""
    parts = [wrapped([detail], columns) for detail in details]
    if sum(map(len, parts)) <= room:
        return list(chain(*parts))
    taken = accumulate(map(len, parts))
    fitting = takewhile(lambda pair: pair[1] < room, zip(parts, taken, strict=True))
    return [*chain(*(part for part, _ in fitting)), MORE]


def _more(report: Report) -> list[str]:
    """Where the words are explained."""
    kind = report.guilty.kind if report.guilty is not None else ""
    return [f"what that means: shiftcheck explain {kind or repr(str(report.reason))}"]


def _left_out(report: Report) -> list[str]:
    """The outputs that a pass says nothing of."""
    if report.verdict is not Verdict.EQUIVARIANT:
        return []
    return [
        f"left out: output {o.name!r} {list(o.shape)}: its axes were reduced, at all places alike"
        for o in report.outputs
        if o.reason is Reason.NOT_SPATIAL
    ]


def _draws(report: Report) -> list[str]:
    """How the draws of randomised weights differ, if they do."""
    kinds = Counter(draw.verdict for draw in report.draws)
    if len(kinds) < 2:
        return []
    return ["the draws: " + ", ".join(f"{number} {kind}" for kind, number in kinds.items())]


def _decisive(report: Report) -> LayerResult | None:
    same = [o for o in report.outputs if (o.verdict, o.reason) == (report.verdict, report.reason)]
    if report.reason is Reason.NOT_SPATIAL:
        same.sort(key=lambda o: o.reduced)  # what could be left out decides nothing
    return next(iter(same or report.outputs), None)


def _worst(report: Report, output: LayerResult) -> ShiftResult | None:
    same = [
        s
        for s in output.shifts
        if (s.verdict, s.reason) == (report.verdict, report.reason) and any(s.shift)
    ]
    same = [s for s in same if _explains(report.guilty, s.shift)] or same
    return max(same, key=lambda s: s.relative_error or 0.0, default=None)


def _explains(cause: Cause | None, shift: Sequence[float]) -> bool:
    """Whether a shift is none of those that a cause does not affect."""
    if cause is None or cause.period is None:
        return True
    along = shift if cause.axis is None else shift[cause.axis : cause.axis + 1]
    return any(v % cause.period for v in along)


def _evidence(report: Report, output: LayerResult) -> list[str]:
    compared = [
        s for s in output.shifts if s.error is not None and any(s.shift) and s.reason not in BLIND
    ]
    thin = [s for s in output.shifts if s.reason in TOO_FEW]
    if report.reason not in TOO_FEW:
        compared = [s for s in compared if s not in thin]
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
    least = "" if share == 1 or share < 0.01 else "at least "
    part = _percent(share)
    allowed = "" if top.allowance is None else f" (allowed {gap(top.allowance)})"
    more = (
        ""
        if report.verdict is not Verdict.EQUIVARIANT or not thin
        else (f" ({len(thin)} more left too little)")
    )
    lines.append(
        f"compared {count(len(compared), 'shift')}{more}, {least}{part} of the samples each;"
        f" largest gap {gap(top.error)}, relative {gap(top.relative_error)}{allowed}"
    )
    if report.sensitivity is not None:
        lines.append(f"the smallest break this run would have caught: {gap(report.sensitivity)}")
    return lines


def _measured_by(report: Report) -> str:
    probed, chosen = (
        ", ".join(dict.fromkeys(repr(c.layer) for c in report.causes if c.kind == kind))
        for kind in (CauseKind.MEASURED, CauseKind.DATA_DEPENDENT)
    )
    parts = []
    if probed:
        parts.append(f"the geometry of {probed} comes from probing, not from a rule")
    if chosen:
        parts.append(f"{chosen} chooses from the data, so shifts off the period are measured alone")
    return f"marked as measured: {'; '.join(parts)}"


def _seen(report: Report, worst: ShiftResult | None) -> list[str]:
    """The shift that shows it best, by how much, where, and in float64."""
    if worst is None or worst.error is None or worst.reason in BLIND:
        return []
    where = f", at output index {list(worst.worst)}" if worst.worst else ""
    share = f"; {_percent(worst.differing)} of the values differ" if worst.differing else ""
    lines = [f"shift {worst.shift}: gap {gap(worst.error)}{where}{share}"]
    if _shrinks_or_grows(worst):
        lines.append(f"the same in float64: relative {gap(worst.float64_error)}")
    return lines


def _blame(report: Report, output: LayerResult) -> list[str]:
    """Where it begins."""
    lines = []
    if report.reason is Reason.NOT_SPATIAL:
        lines += _end_of_space(report)
    if report.reason in FROM_SOME_LAYER_ON:
        lines += _first_like_that(report)
    if report.guilty is not None:
        lines += _accusation(report, report.guilty, output)
    return lines


def _shrinks_or_grows(result: ShiftResult) -> bool:
    """Whether float64 shows another gap than the type of the input."""
    if result.float64_error is None:
        return False
    here = result.relative_error or 0.0
    return not here / 10 <= result.float64_error <= 10 * here


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "less than 1%"


def _accusation(report: Report, guilty: Cause, output: LayerResult) -> list[str]:
    windowed = guilty.kind == CauseKind.STRIDE and guilty.period and guilty.detail
    detail_says_all = windowed or guilty.form.tells_all
    meaning = guilty.detail if detail_says_all else guilty.kind.meaning
    new = guilty.detail and not detail_says_all and guilty.form is not CauseForm.OWN_PADDING
    detail = f" ({guilty.detail})" if new else ""
    return [
        f"first guilty layer: {guilty.layer!r} ({guilty.op}), cause {guilty.kind}:"
        f" {meaning}{detail}",
        *leaving(guilty),
        *_others(report, guilty, output),
        *_end_of_knowledge(report, guilty),
    ]


def leaving(guilty: Cause) -> list[str]:
    """The line of the user's own by which values leave torch."""
    return [f"values leave torch at {guilty.line}"] if guilty.line else []


def _end_of_knowledge(report: Report, guilty: Cause) -> list[str]:
    """Where the geometry ends, if that is after the guilty layer."""
    end = unsupported(report)
    if end is None or guilty.kind == end.kind:
        return []
    return [
        f"nothing is known from layer {end.layer!r} ({end.op}) on, cause {end.kind}: {end.detail}"
    ]


def _local(report: Report) -> list[str]:
    """What the guilty layer does alone, when it is fed with exact shifts."""
    guilty = report.guilty
    if guilty is None:
        return []
    before = report.reason is Reason.UNSUPPORTED and guilty.kind != CauseKind.UNSUPPORTED_OP
    few = report.reason in TOO_FEW and guilty.kind != CauseKind.INDEX
    known = report.verdict is Verdict.BROKEN or few or before
    if not known:
        return []
    rows = [r for r in report.layers if r.name in (guilty.layer, f"{guilty.layer}[0]")][:1]
    shown = [s for r in rows for s in r.shifts if _explains(guilty, s.shift)]
    inside = max((s.local_interior for s in shown if s.local_interior is not None), default=None)
    border = max((s.local_border for s in shown if s.local_border is not None), default=None)
    figures = [
        f"{gap(value)} {where}"
        for value, where in ((inside, "inside"), (border, "at its border"))
        if value is not None
    ]
    off = f"is off by {', '.join(figures)}"
    told = f"layer {guilty.layer!r} alone, given inputs that move exactly, {off}"
    return [told] if figures else []


FROM_SOME_LAYER_ON = (Reason.NOT_FINITE, *NOTHING_VARIES)


def _first_like_that(report: Report) -> list[str]:
    varies = report.reason not in NOTHING_VARIES
    like = {report.reason} if varies else NOTHING_VARIES
    first = next((r for r in report.layers if r.reason in like), None)
    return [] if first is None else [f"it begins at layer {first.name!r} ({first.op})"]


AT_EVERY_SHIFT = (CauseKind.POSITION, CauseKind.MIXING, CauseKind.INDEX, CauseKind.DATA_DEPENDENT)


def _others(report: Report, guilty: Cause, output: LayerResult) -> list[str]:
    """The first layer of every other kind of cause that no choice of shifts mends."""
    endless = any(halo is None or math.inf in halo for halo in output.halo)
    first: dict[str, Cause] = {}
    for cause in report.causes:
        known = cause.period is not None or cause.latent or cause.kind == guilty.kind
        some = endless if cause.kind == CauseKind.GLOBAL else None in output.period
        if (
            some
            and not known
            and cause.kind in (*AT_EVERY_SHIFT, CauseKind.GLOBAL, CauseKind.RESIZE)
        ):
            first.setdefault(cause.kind, cause)
    return [f"also: cause {c.kind} in layer {c.layer!r} ({c.op})" for c in first.values()]


def _end_of_space(report: Report) -> list[str]:
    rows = list(takewhile(lambda row: row.reason is Reason.NOT_SPATIAL, reversed(report.layers)))
    first = rows[-1] if rows else None
    if first is None or (report.guilty is not None and report.guilty.layer == first.name):
        return []
    return [f"the spatial axes end at layer {first.name!r} ({first.op})"]


def reproduce(report: Report, output: LayerResult) -> str:
    """The call that shows the worst shift again."""
    worst = _worst(report, output)
    given = report.shifts if report.shifts_given else ()
    return assertion(report, shifts=given if worst is None else [worst.shift])
