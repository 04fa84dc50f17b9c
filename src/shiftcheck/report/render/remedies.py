"""What to do about a verdict: the changes that were tried and pass, else hints."""

from __future__ import annotations

from shiftcheck.report.causes import REMEDY_OF_OP, Cause, CauseForm, CauseKind
from shiftcheck.report.equivariance import Change, LayerResult, Report, Trial, Verdict
from shiftcheck.report.reasons import TOO_FEW, Reason

SHIFTS = {
    Reason.IDENTITY: "give shifts that are not zero",
    Reason.TOO_LITTLE: "give smaller shifts",
    Reason.NEVER_MOVED: "move the axes alone that the output has",
}
"""What other shifts are to be, where that follows from the reason."""

WITHOUT_RULE = (
    "give the operation a rule; if each sample of its result is computed from the same sample of"
    " its arguments, it is this one:"
)


def remedies(report: Report, output: LayerResult) -> list[str]:
    """The changes that pass; where none does, those that were tried, and hints."""
    lines = _circular_padding(report, output)
    working = [f"remedy: {_words(t.change, report, output)}" for t in report.trials if t.works]
    if report.needed is not None:
        working = [f"remedy: {_another_size(report, report.needed)}"]
    if not working and report.trials:
        tried = "; ".join(_words(t.change, report, output) for t in report.trials)
        lines.append(f"tried in vain: {tried}")
    lines += working + _not_tried(report, output)
    if report.reason is Reason.NOT_SPATIAL:
        lines.append("or: assert_invariant checks outputs that have no spatial axes")
        others = [o.name for o in report.outputs if o.verdict is Verdict.EQUIVARIANT]
        lines += [f"or: outputs={others} leaves it out"] if others else []
    if lacks_rule(report):
        return lines + _rule_to_add(report)
    return lines if working else lines + _hint(report)


def _not_tried(report: Report, output: LayerResult) -> list[str]:
    """What would have cost too much, unless something that passes is known."""
    changes = [_words(change, report, output) for change in report.untried]
    left_out = [*changes, *map(str, report.left_out)]
    return [f"not tried: {'; '.join(left_out)} (effort='full' does it)"] if left_out else []


def _another_size(report: Report, needed: tuple[int, ...]) -> str:
    """The sizes that would do: all larger ones, some of them, or one."""
    given = [report.input_shape[dim] for dim in report.spatial_dims]
    larger = all(n >= m for n, m in zip(needed, given, strict=True))
    size, steps = " x ".join(map(str, needed)), report.needed_steps
    which = f"at least {size}"
    if 0 in steps:
        which = size
    elif steps:
        along = str(steps[0]) if len(set(steps)) == 1 else " x ".join(map(str, steps))
        which += f", in steps of {along}"
    return f"give {'a larger' if larger else 'another'} input: {which}"


def _circular_padding(report: Report, output: LayerResult) -> list[str]:
    """The error that circular padding alone would leave, where it leaves one."""
    alone = Change(circular_padding=True)
    trial = next((t for t in report.trials if t.change == alone and not t.works), None)
    if trial is None or trial.relative_error is None:
        return []
    return [
        f"with circular padding: relative error {trial.relative_error:.1e} instead of"
        f" {output.relative_error or 0.0:.1e}{_rest(trial)}"
    ]


def _rest(trial: Trial) -> str:
    if trial.guilty is None:
        return ""
    return f"; what is left is {trial.guilty.kind} in layer {trial.guilty.layer!r}"


def _words(change: Change, report: Report, output: LayerResult) -> str:
    parts = []
    if change.circular_padding:
        crops = report.guilty is not None and report.guilty.form is CauseForm.AFTER_A_CROP
        circular = "pad circularly (padding_mode='circular')"
        parts.append("pad circularly first and crop then" if crops else circular)
    if change.multiples:
        whose = ", the period of this output" if change.multiples == output.period else ""
        parts.append(f"use shifts that are multiples of {change.multiples}{whose}")
    if change.shifts:
        what = SHIFTS.get(report.reason, "use other shifts")
        parts.append(f"{what}: shifts={list(change.shifts)}")
    if change.fixed:
        unmoved = ": no shift within it moves inputs of these sizes by whole samples"
        still = report.reason in (Reason.IDENTITY, Reason.NEVER_MOVED)
        why = unmoved if still else ""
        fixed = (*report.fixed, *change.fixed)
        parts.append(f"let the main signal move alone, fixed={fixed!r}{why}")
    if change.layer:
        end = ": what follows has no spatial axes" if report.reason is Reason.NOT_SPATIAL else ""
        parts.append(f"check layer={change.layer!r} instead{end}")
    if change.size:
        parts.append(f"give an input of {' x '.join(map(str, change.size))}, which the strides fit")
    if change.boundary:
        parts.append(f"boundary={change.boundary[0]!r}, if the signal is periodic")
    if change.signal:
        parts.append("give a signal that varies, such as noise from torch.randn")
    if change.dtype:
        parts.append(f"run the model and the input in {change.dtype}")
    if change.tolerances:
        parts.append("leave rtol and atol out")
    if change.evaluation:
        parts.append("leave training=True out")
    return ", and ".join(parts)


def _hint(report: Report) -> list[str]:
    guilty = report.guilty
    text = report.reason.hints.equivariance or ""
    if report.reason is Reason.UNCONFIRMED and report.dtype == "float64":
        text = "give rtol and atol for what is acceptable"
    if guilty is not None:
        text = _hint_against(guilty, report.reason) or text
    return [f"hint: {text}"] if text else []


def _hint_against(guilty: Cause, reason: Reason) -> str:
    """What may help against the guilty cause; nothing where the reason is not due to it."""
    if guilty.op in REMEDY_OF_OP:
        return REMEDY_OF_OP[guilty.op]
    if guilty.form is CauseForm.MIRRORED:
        return guilty.form.remedy
    if reason not in (Reason.NONE, *TOO_FEW, Reason.UNSUPPORTED):
        return ""
    fits = guilty.kind in (CauseKind.STRIDE, CauseKind.RESIZE) and guilty.period is None
    if fits and guilty.detail:
        return f"give a size that fits the circle: {guilty.detail}"
    return guilty.form.remedy or guilty.kind.remedy


def unsupported(report: Report) -> Cause | None:
    """The first operation of which no rule knows anything, where that is the reason."""
    if report.reason is not Reason.UNSUPPORTED:
        return None
    return next((c for c in report.causes if c.kind is CauseKind.UNSUPPORTED_OP), report.guilty)


def lacks_rule(report: Report) -> bool:
    """Whether the operation at fault could be given a rule, as opposed to one that has one."""
    end = unsupported(report)
    return end is not None and end == report.guilty and end.form is CauseForm.NO_RULE


def _rule_to_add(report: Report) -> list[str]:
    if report.guilty is None:
        return []
    operation = report.guilty.operation.rstrip("_")  # a rule serves the in-place variant too
    return [
        f"hint: {WITHOUT_RULE}",
        f'    @shiftcheck.register_rule("{operation}")',
        "    def rule(*args):",
        "        return shiftcheck.rules.pointwise(*args)",
        "another law: see 'A rule for your own operation' in the documentation",
    ]
