"""What to do about a verdict: what was tried and passes; else what may help."""

from __future__ import annotations

from shiftcheck.report import Cause, Change, LayerResult, Report, Trial, Verdict

UNSUPPORTED = "unsupported operation"
UNCONFIRMED = "gap not confirmed in float64"

HINTS = {
    "no valid region": "give a larger input, so that some samples see no padding",
    "too little compared": "give a larger input, or smaller shifts",
    "not finite": "look at the values of that layer: they overflow, or NaN comes from 0/0",
    "dead output": "look at the weights and the signal that lead to that layer",
    "constant output": "look at the weights and the signal that lead to that layer",
    "saturated output": "give a signal of smaller magnitude, or look at the weights before it",
    "constant input": "give a signal that varies",
    "shift not visible": "the output hardly varies along the shift; give a signal that does",
    "axis never moved": "give an input that is large enough for one step of the output's lattice",
    "within noise of a break": "the structure breaks here but no gap was seen; give another signal",
    "chosen from the data": "run the check with the model and the input in float64",
    UNCONFIRMED: "run the check with the model and the input in float64",
    "gap where the geometry was measured": "give the operation a rule, or a larger input",
    "nondeterministic": "switch the random operation off for the test",
    "batch coupled": "use statistics that do not come from the batch",
    "output ignores the input": "leave the constant out of the outputs, or check up to a layer",
    "output cannot be read": "return tensors, or check up to a layer with layer=...",
    "disagrees with the structure": "please report this as a bug of shiftcheck, unless the rule is"
    " your own",
    "only in low precision": "compute this part of the model in a finer type",
    "measured between pixels": "give rtol and atol to have it pass or fail",
    "values leave torch": "decide with operations of torch on tensors of a known size, such as"
    " torch.where, or a sum over a mask in the place of a count",
    UNSUPPORTED: "write that step with other operations of torch, or mend its rule where that is"
    " your own",
}
TOO_FEW = ("no valid region", "too little compared")
SHIFTS = {
    "identity shift": "give shifts that are not zero",
    "too little compared": "give smaller shifts",
    "axis never moved": "move the axes alone that the output has",
}
WITHOUT_RULE = (
    "give the operation a rule; if each sample of its result is computed from the same sample of"
    " its arguments, it is this one:"
)
CAUSES = {
    "MIXING": "a convolution in its place has one weight for all places",
    "POSITION": "leave the constant out, or make it relative",
    "INDEX": "a reduction over the axis in the place of a choice does not depend on the place",
    "GLOBAL": "no larger input helps: that layer sees the whole axis",
    "PADDING": "pad circularly (padding_mode='circular') where the boundary is circular",
    "RESIZE": "resize by a whole number, or bring the tensors it combines to one stride before",
    "ALIASING": "low-pass filters before sampling, and finer sampling around what is not linear",
    "STRIDE": "shift by whole samples of the coarsest layer, or leave the stride out",
}


def remedies(report: Report, output: LayerResult) -> list[str]:
    """The remedies that were found, what else the trials tell, and hints where there are none."""
    lines = _circular_padding(report, output)
    found = [f"remedy: {_words(t.change, report, output)}" for t in report.trials if t.works]
    if report.needed is not None:
        size = " x ".join(map(str, report.needed))
        found = [f"remedy: give a larger input: at least {size}"]
    if not found and report.trials:
        tried = "; ".join(_words(t.change, report, output) for t in report.trials)
        lines.append(f"tried in vain: {tried}")
    lines += found
    if report.reason == "not spatial":
        lines.append("or: assert_invariant checks outputs that have no spatial axes")
        others = [o.name for o in report.outputs if o.verdict is Verdict.EQUIVARIANT]
        lines += [f"or: outputs={others} leaves it out"] if others else []
    if lacks_rule(report):
        return lines + _rule_to_add(report)
    return lines if found else lines + _hint(report)


def _circular_padding(report: Report, output: LayerResult) -> list[str]:
    """What circular padding alone would change, where it does not mend all."""
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
        crops = report.guilty is not None and "of what a crop left" in report.guilty.detail
        circular = "pad circularly (padding_mode='circular')"
        parts.append("pad circularly first and crop then" if crops else circular)
    if change.multiples:
        own = ", the period of this output" if change.multiples == output.period else ""
        parts.append(f"use shifts that are multiples of {change.multiples}{own}")
    if change.shifts:
        what = SHIFTS.get(report.reason, "use other shifts")
        parts.append(f"{what}: shifts={list(change.shifts)}")
    if change.fixed:
        unmoved = ": no shift within it moves inputs of these sizes by whole samples"
        why = unmoved if report.reason in ("identity shift", "axis never moved") else ""
        still = (*report.fixed, *change.fixed)
        parts.append(f"let the main signal move alone, fixed={still!r}{why}")
    if change.layer:
        end = ": what follows has no spatial axes" if report.reason == "not spatial" else ""
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
    text = HINTS.get(report.reason, "")
    reasons = ("", *TOO_FEW, UNSUPPORTED)
    if guilty is not None and guilty.kind in CAUSES and report.reason in reasons:
        text = CAUSES[guilty.kind]
        if guilty.detail.startswith("align_corners"):
            text = (
                "leave align_corners out, or give sizes of which (N - 1)/(M - 1) is a plain ratio"
            )
        if guilty.period is None and guilty.kind in ("STRIDE", "RESIZE") and guilty.detail:
            text = f"give a size that fits the circle: {guilty.detail}"
    if report.reason == UNCONFIRMED and report.dtype == "float64":
        text = "give rtol and atol for what is acceptable"
    if guilty is not None and is_mirrored(guilty):
        text = "turn the output back, by another flip of the same axis"
    if guilty is not None and guilty.op in ("batch_norm", "instance_norm"):
        text = "use running statistics, as in eval mode"
    return [f"hint: {text}"] if text else []


def is_mirrored(cause: Cause) -> bool:
    """Whether the cause is that an output moves against its input."""
    return cause.kind == "INDEX" and cause.detail.startswith("mirrored")


def unsupported(report: Report) -> Cause | None:
    """The first operation of which no rule knows anything, where that is the reason."""
    if report.reason != UNSUPPORTED:
        return None
    return next((c for c in report.causes if c.kind == "UNSUPPORTED_OP"), report.guilty)


def lacks_rule(report: Report) -> bool:
    """Whether the operation at fault could be given a rule, as opposed to one that has one."""
    end = unsupported(report)
    return end is not None and end == report.guilty and end.detail.startswith("no rule for")


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
