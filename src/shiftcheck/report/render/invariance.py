"""A report of invariance in sentences, and with its map as text for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich import box
from rich.table import Table

from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.report.equivariance import Change
from shiftcheck.report.invariance import (
    InvarianceReport,
    InvarianceShift,
    InvarianceTrial,
    InvarianceVerdict,
    InvariantOutput,
    worst_of,
)
from shiftcheck.report.reasons import Reason
from shiftcheck.report.render.call import asked_for
from shiftcheck.report.render.contents import (
    APART,
    COLUMNS,
    Contents,
    Sheet,
    drawn,
    how_made,
    wrapped,
)
from shiftcheck.report.render.map_of_shifts import drawn_map
from shiftcheck.report.render.numbers import count, each, gap
from shiftcheck.report.render.plain import in_plain_words, moved_by
from shiftcheck.report.render.sentences import leaving

LINES = 30


def headline_of(report: InvarianceReport) -> str:
    """One sentence: the model, the verdict and what it was asked."""
    shape = "x".join(map(str, report.input_shape))
    what = report.model + (f" up to {report.layer!r}" if report.layer else "")
    verdict = "measured, not judged" if report.verdict is None else report.verdict.upper()
    reason = f" ({report.reason})" if report.reason and report.verdict is not None else ""
    moved = count(sum(any(s) for s in report.shifts), "shift")
    bound = report.max_relative_error
    asked = "" if bound is None else f", max_relative_error={bound:g}"
    return f"{what} on {shape}: {verdict}{reason} over {moved} {_where(report)}{asked}"


def _where(report: InvarianceReport) -> str:
    if report.crop is not None:
        return f"of a crop of {'x'.join(map(str, report.crop))} from the canvas"
    if set(report.fill) == {"circular"}:
        return "of a signal that closes on itself"
    kinds = report.fill if len(set(report.fill)) > 1 else report.fill[:1]
    return f"with fill {' x '.join(kinds)}"


def explain_invariance(report: InvarianceReport) -> str:
    """What happened in plain words, and what explains it, in at most 30 lines of 100 columns."""
    *lines, last = [*_first_sentence(report), *_sentences(report)]
    end = wrapped([last])
    return "\n".join([*wrapped(lines)[: LINES - len(end)], *end])


def _first_sentence(report: InvarianceReport) -> list[str]:
    """What happened, by a sentence that takes no term of ours; none for what passed."""
    output, guilty = report.decisive, report.guilty
    if report.verdict is InvarianceVerdict.INVARIANT:
        return []
    where = "" if guilty is None else f" (layer {guilty.layer!r}: {in_plain_words(guilty)})"
    if report.verdict is not InvarianceVerdict.NOT_INVARIANT or output.relative_error is None:
        why = report.reason.plain or "no bound was given to judge it by"
        asked = "whether the output stays the same when the input moves"
        return [f"It cannot be told {asked}: {why}{where}."]
    moved = "moves" if output.worst is None else f"moves {moved_by(output.worst.shift)}"
    return [
        f"The output changes when the input moves: when the input {moved}, it changes by"
        f" {output.relative_error:.0%} of what tells two inputs apart{where}."
    ]


def _sentences(report: InvarianceReport) -> list[str]:
    """The headline and what explains it, a sentence each."""
    output = report.decisive
    lines = [headline_of(report), *_evidence(report, output)]
    if report.verdict is not InvarianceVerdict.INVARIANT:
        lines += _blame(report, output)
        lines += [f"note: {note}" for note in report.notes]
        lines.append(f"reproduce: {_reproduce(report, output)}")
    return lines


def _evidence(report: InvarianceReport, output: InvariantOutput) -> list[str]:
    lines = [f"output {output.name!r} {list(output.shape)}: {_promised(output)}"]
    worst = output.worst
    if report.reason in TELL_NOTHING:
        return lines
    if output.variation is not None:
        lines.append(
            f"different signals are {output.variation:.2g} apart"
            f" (median of {count(output.pairs, 'pair')} {FROM[report.signals]})"
        )
    if worst is not None:
        lines.append(
            f"a shift moves the output by {gap(output.relative_error)} of that at worst,"
            f" shift {worst.shift}; by {gap(output.mean_relative_error)} on average"
        )
        lines += _exactness(output)
    lines += _top1(output)
    passed = report.verdict is InvarianceVerdict.INVARIANT
    if passed and report.sensitivity is not None and report.max_relative_error is None:
        least = gap(report.sensitivity)
        lines.append(f"the smallest relative error this run would have caught: {least}")
    return lines


FROM = {"batch": "of the batch", "drawn": "with drawn signals"}
TELL_NOTHING = (Reason.UNSTEADY, Reason.STILL_SPATIAL)
"""Reasons for which the distances say nothing."""


def _promised(output: InvariantOutput) -> str:
    if output.reason is Reason.STILL_SPATIAL:
        return "it still has an axis that is shifted"
    passed = output.verdict is InvarianceVerdict.INVARIANT and not output.proven
    if None in output.period:
        measured = "; that it agrees was measured" if passed else ""
        return f"its structure does not promise invariance{measured}"
    known = "as far as probing tells, its structure" if output.measured else "its structure"
    if all(p == 1 for p in output.period):
        return f"{known} is invariant to every shift"
    measured = "; that other shifts agree was measured" if passed and not output.measured else ""
    return f"{known} is invariant to multiples of {output.period}{measured}"


def _exactness(output: InvariantOutput) -> list[str]:
    judged = [s for s in output.moved if s.allowance is not None and s.gap is not None]
    top = max(judged, key=lambda s: s.gap or 0.0, default=None)
    if top is None:
        return []
    known = [s.float64_gap for s in judged if s.float64_gap is not None]
    exact = f"; in float64 {gap(max(known))}" if known else ""
    return [f"largest gap of a channel {gap(top.gap)} (allowed {gap(top.allowance)}{exact})"]


def _top1(output: InvariantOutput) -> list[str]:
    """Secondary, and with what it is worth: how often different signals agree."""
    if output.top1_agreement is None:
        return []
    line = f"secondary: top-1 agrees in {output.top1_agreement:.1%}"
    if output.top1_between is None:
        return [line]
    worth = ""
    if output.top1_agreement <= output.top1_between:
        worth = ", no less often" if output.top1_agreement < 1.0 else ": this tells nothing"
    return [f"{line}; different signals agree in {output.top1_between:.1%}{worth}"]


def _blame(report: InvarianceReport, output: InvariantOutput) -> list[str]:
    lines = []
    if report.same_from:
        lines.append(f"all signals give the same from layer {report.same_from!r} on")
    if report.guilty is not None:
        lines += _accusation(report, report.guilty, output.worst)
        lines += leaving(report.guilty)
    lines += _advice(report)
    image = len(output.shape) >= len(report.fill) + 2
    if report.verdict is InvarianceVerdict.NOT_INVARIANT and image:
        lines.append("if this output is to move with the input, use shiftcheck.assert_equivariant")
    return lines


def _advice(report: InvarianceReport) -> list[str]:
    """A change of the model first, then of the shifts, then of what is asked."""
    lines = [_trial(trial, report) for trial in report.trials if not trial.works]
    works = [t for t in report.trials if t.works]
    found = [t for t in works if t.max_relative_error is None]
    lines += [_trial(trial, report) for trial in found]
    if report.untried:
        changes = "; ".join(map(_words, report.untried))
        lines.append(f"not tried: {changes} (effort='full' does it)")
    if report.reason is Reason.NO_BOUND and works:
        lines.append("what enters changes the output, so this was measured and not judged")
    elif hint := report.reason.hints.invariance:
        lines.append(f"remedy: {hint}")
    if report.guilty is not None and not found:
        known = [(kind, kind.remedy_of_invariance) for kind in _kinds(report)]
        lines += [f"to try: {_at(kind, report)}{text}" for kind, text in known if text]
    if report.equivariant_features:
        lines.append(
            "remedy: check the features before the head; this passes: shiftcheck.assert_equivariant"
            f"(model, x{asked_for(report.fixed, ())}, layer={report.equivariant_features!r}"
            f"{_dimensions(report)})"
        )
    lines += [_trial(trial, report) for trial in works if trial not in found]
    unknown = report.verdict is InvarianceVerdict.INCONCLUSIVE
    if (report.relative_error or 0.0) >= 1.0 and not unknown:
        lines.append(
            "no bound helps: a shift changes the output as much as another signal does, and"
            " max_relative_error has to be below 1"
        )
    return lines


def _dimensions(report: InvarianceReport) -> str:
    """The spatial dimensions, where they are not all from the third on."""
    dims = report.spatial_dims
    usual = dims == tuple(range(2, len(report.input_shape)))
    return "" if usual else f", spatial_dims={dims}"


def _at(kind: CauseKind, report: InvarianceReport) -> str:
    """Where a cause is, to say what is to be changed."""
    first = next((c for c in report.causes if c.kind == kind and not c.latent), None)
    return "" if first is None else f"at layer {first.layer!r}, "


def _accusation(
    report: InvarianceReport, guilty: Cause, worst: InvarianceShift | None
) -> list[str]:
    meaning = guilty.kind.meaning
    lines = [f"first guilty layer: {guilty.layer!r} ({guilty.op}), cause {guilty.kind}: {meaning}"]
    for kind in _kinds(report)[1:]:
        first = next(c for c in report.causes if c.kind == kind and not c.latent)
        lines.append(f"also: cause {kind} in layer {first.layer!r} ({first.op})")
    return lines


def _kinds(report: InvarianceReport) -> list[CauseKind]:
    """Every kind of cause on the way, that of the guilty layer first."""
    known = [c.kind for c in report.causes if c.kind != CauseKind.MEASURED and not c.latent]
    first = [report.guilty.kind] if report.guilty is not None else []
    return list(dict.fromkeys([*first, *known]))


def _trial(trial: InvarianceTrial, report: InvarianceReport) -> str:
    bound = trial.max_relative_error
    if bound is not None:
        return (
            f"remedy: max_relative_error={bound:g}, a bound with which this check passes: a shift"
            f" may change the output by {100 * bound:.3g} % of what another signal does"
        )
    words = _words(trial.change)
    if trial.works:
        bounded = report.max_relative_error is not None
        error = f", relative error {gap(trial.relative_error)}" if bounded else ""
        return f"remedy: {words}: then it passes{error}"
    why = f" ({trial.reason})" if trial.reason else ""
    where = "" if trial.shift is None else f" at shift {trial.shift}"
    return f"tried: {words}: relative error {gap(trial.relative_error)}{where}, no pass{why}"


def _words(change: Change) -> str:
    parts = []
    if change.circular_padding:
        parts.append("pad circularly (padding_mode='circular'), if the signal is periodic")
    if change.multiples:
        steps = f"shift by multiples of {change.multiples}"
        parts.append(f"{steps}, shifts={list(change.shifts)}" if change.shifts else steps)
    return "; and ".join(parts)


def _reproduce(report: InvarianceReport, output: InvariantOutput) -> str:
    """The call that shows the worst shift again."""
    same = [s for s in output.moved if (s.verdict, s.reason) == (report.verdict, report.reason)]
    worst = worst_of(same)
    parts = [f"layer={report.layer!r}"] if report.layer else []
    parts += [f"shifts=[{worst.shift}]"] if worst is not None else []
    if report.crop is not None:
        parts.append(f"crop={report.crop}")
    elif set(report.fill) != {"circular"}:
        kinds = report.fill[0] if len(set(report.fill)) == 1 else report.fill
        parts.append(f"fill={kinds!r}")
    if report.max_relative_error is not None:
        parts.append(f"max_relative_error={report.max_relative_error:g}")
    call = ", ".join([*parts, f"seed={report.seed}"])
    asked = asked_for(report.fixed, report.chosen_outputs)
    return f"shiftcheck.assert_invariant(model, x{asked}, {call})"


def render_invariance(report: InvarianceReport) -> str:
    """The report as text: what explains it, every output, and the map over the shifts."""
    lines = explain_invariance(report).splitlines()
    others = [o for o in report.outputs if o is not report.decisive]
    lines += [_one_line(o) for o in others]
    if report.verdict is InvarianceVerdict.INVARIANT:
        lines += [f"note: {note}" for note in report.notes]
    sheet = _map(report)
    return "\n".join([*lines, *([] if sheet is None else ["", *_as_text(sheet)])])


def _one_line(output: InvariantOutput) -> str:
    reason = f" ({output.reason})" if output.reason else ""
    return (
        f"output {output.name!r} {list(output.shape)}: {_verdict(output)}{reason}, relative error"
        f" {gap(output.relative_error)}"
    )


def _verdict(output: InvariantOutput) -> str:
    return "not judged" if output.verdict is None else str(output.verdict)


MAP = "relative error over the shifts"


def _map(report: InvarianceReport) -> Sheet | None:
    """The relative errors over (m, n), or over the only axis."""
    output = report.decisive
    along = output.grid
    nothing = report.reason in TELL_NOTHING or output.relative_error is None
    if along is None or len(along) > 2 or nothing:
        return None
    flat = len(along) == 1
    rows: Sequence[Sequence[float | None]] = [output.map()] if flat else output.map()
    names = [""] if flat else [str(m) for m in along[0]]
    return Sheet(
        title=MAP,
        head=("shift" if flat else "m \\ n", *map(str, along[-1])),
        rows=tuple((name, *map(gap, row)) for name, row in zip(names, rows, strict=True)),
    )


def _as_text(sheet: Sheet) -> list[str]:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=APART)
    for name in sheet.head:
        table.add_column(name, no_wrap=True, justify="right")
    for row in sheet.rows:
        table.add_row(*row)
    return [f"{sheet.title}:", *(line for line in drawn(table, COLUMNS) if line)]


def contents_of_invariance(report: InvarianceReport) -> Contents:
    """What a page shows of a check of invariance."""
    first, *rest = _sentences(report)
    over = _map(report) or Sheet.of(MAP, report.decisive.shifts, OF_A_SHIFT)
    return Contents(
        headline=first,
        verdict="measured" if report.verdict is None else str(report.verdict),
        sentences=tuple(rest),
        sheets=(Sheet.of("outputs", report.outputs, OF_AN_OUTPUT), *([over] if over.rows else [])),
        made=how_made(report, device=report.device, fill=", ".join(report.fill)),
        figure=_figure(report),
    )


def _figure(report: InvarianceReport) -> str:
    """The map as a picture; empty where the shifts form none, or the distances say nothing."""
    output = report.decisive
    if output.grid is None or report.reason in TELL_NOTHING:
        return ""
    errors = {s.shift: s.relative_error for s in output.shifts}
    errors[(0,) * len(output.grid)] = 0.0
    return drawn_map(output.grid, errors, called="relative error", bound=report.max_relative_error)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


OF_AN_OUTPUT: dict[str, Callable[[InvariantOutput], str]] = {
    "output": lambda o: o.name,
    "verdict": _verdict,
    "reason": lambda o: o.reason,
    "worst": lambda o: gap(o.relative_error),
    "mean": lambda o: gap(o.mean_relative_error),
    "shape": lambda o: "x".join(map(str, o.shape)),
    "period": lambda o: each(o.period),
    "top-1 agreement": lambda o: _percent(o.top1_agreement),
}
OF_A_SHIFT: dict[str, Callable[[InvarianceShift], str]] = {
    "shift": lambda s: str(s.shift),
    "relative error": lambda s: gap(s.relative_error),
    "gap": lambda s: gap(s.gap),
    "top-1 agreement": lambda s: _percent(s.top1_agreement),
}
