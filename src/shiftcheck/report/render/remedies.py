"""What to do about a verdict: the changes that were tried and pass, else hints."""

from __future__ import annotations

from collections.abc import Sequence

from shiftcheck.report.causes import REMEDY_OF_OP, Cause, CauseForm, CauseKind
from shiftcheck.report.equivariance import Change, LayerResult, Report, Trial, Verdict
from shiftcheck.report.reasons import TOO_FEW, Reason
from shiftcheck.report.render.call import assertion
from shiftcheck.report.render.plain import UNIT, off_by

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

FLOATING = ("float16", "bfloat16", "float32", "float64")

CONVOLUTIONS = ("Conv1d", "Conv2d", "Conv3d")
"""Modules that pad by their ``padding_mode``."""

MOST_LINES = 3
"""Layers that are named one by one, each in a line; more of them are changed in a loop."""


def remedies(report: Report, output: LayerResult) -> list[str]:
    """The changes that pass, each as a line to paste; else what was tried, and hints."""
    lines = [*_at_the_border(report, output), *_circular_padding(report, output)]
    works = [t.change for t in report.trials if t.works]
    working = [c for c in works if not c.boundary] or works
    for change in working:
        pasted = [f"    {line}" for line in _to_paste(change, report)]
        lines += [f"remedy: {_words(change, report)}{':' * bool(pasted)}", *pasted]
    if not working:
        tried = "; ".join(_words(t.change, report) for t in report.trials if _is_listed(t.change))
        lines += [f"tried in vain: {tried}"] if tried else []
    lines += _blurred(report, output) or _in_the_model(report, working)
    lines += [*_on_a_circle(report, working), *_too_costly_size(report), *_not_tried(report)]
    if report.reason is Reason.NOT_SPATIAL:
        lines.append("or: shiftcheck.assert_invariant(model, x), if the output is not to change")
    lines += _as_expected(report)
    if lacks_rule(report):
        return lines + _rule_to_add(report)
    return lines if working else lines + _hint(report)


def _is_listed(change: Change) -> bool:
    """Whether a change is told among those that were tried, not by a line of its own."""
    return not change.boundary and not change.blurred


def _blurred(report: Report, output: LayerResult) -> list[str]:
    """The layers that make the error of a stride smaller, and by how much."""
    trial = next((t for t in report.trials if t.change.blurred), None)
    before = output.relative_error
    if trial is None or trial.relative_error is None or not before:
        return []
    left = f"{off_by(trial.relative_error)} in the place of {off_by(before)}"
    if trial.relative_error > WORTH_IT * before:
        return [f"an average before the stride helps little: the output is then off by {left}"]
    average = f"torch.nn.AvgPool{len(report.boundary)}d"
    lines = [f"or average before the stride, and the output is off by {left}:"]
    for name, step in trial.change.blurred:
        layer = f"model.get_submodule({name!r})"
        lines.append(f"    {layer}.stride = 1")
        pool = f"{average}({step}, ceil_mode=True)"
        lines.append(f"    model.set_submodule({name!r}, torch.nn.Sequential({layer}, {pool}))")
    return lines


WORTH_IT = 0.8
"""An error that is not smaller than this share of the one before is not told."""


def _in_the_model(report: Report, working: Sequence[Change]) -> list[str]:
    """What a model could do instead, where only other shifts make the test pass."""
    guilty = report.guilty
    of_the_test = bool(working) and all(c.multiples and not c.circular_padding for c in working)
    broken = report.verdict is Verdict.BROKEN
    if not (of_the_test and broken and guilty is not None and guilty.kind is CauseKind.STRIDE):
        return []
    return [f"or change the model (not tried): {guilty.kind.remedy_of_invariance}"]


def _to_paste(change: Change, report: Report) -> list[str]:
    """The lines that make the change, and check it; none where the model has to be rewritten."""
    filled = {"zeros_": change.constants, "ones_": change.factors}
    lines = [
        f"torch.nn.init.{fill}({_tensor(name)})" for fill, names in filled.items() for name in names
    ]
    if change.signal and report.dtype not in FLOATING:
        return []
    if change.circular_padding:
        circular = _pad_circularly(report)
        if not circular:
            return []
        lines += circular
    return [*lines, assertion(report, change)]


def _tensor(name: str) -> str:
    """A parameter or a buffer of the model, by its path."""
    path, _, own = name.rpartition(".")
    if not own.isidentifier():
        return f"model.get_parameter({name!r})"
    if all(part.isidentifier() for part in name.split(".")):
        return f"model.{name}"
    return f"model.get_submodule({path!r}).{own}"


def _pad_circularly(report: Report) -> list[str]:
    """Lines that make convolutions pad circularly; none where something else pads."""
    if report.model in CONVOLUTIONS:
        return ["model.padding_mode = 'circular'"]
    padded = dict.fromkeys(c.layer for c in report.causes if c.kind is CauseKind.PADDING)
    ops = {row.name: row.op for row in report.layers}
    if not all(ops.get(name) in CONVOLUTIONS for name in padded):
        return []
    if len(padded) <= MOST_LINES:
        return [f"model.get_submodule({name!r}).padding_mode = 'circular'" for name in padded]
    return [
        "for layer in model.modules():",
        f"    if type(layer).__name__ in {CONVOLUTIONS}:",
        "        layer.padding_mode = 'circular'",
    ]


def _at_the_border(report: Report, output: LayerResult) -> list[str]:
    """What padding, or what enters, does to the output where that reaches all of it."""
    if report.reason is not Reason.NO_REGION:
        return []
    error = output.relative_border_error
    if not error:
        return []
    return [f"what lies beyond the edge changes the output by up to {off_by(error)}"]


def _on_a_circle(report: Report, told: Sequence[Change]) -> list[str]:
    """What holds for a signal that closes, unless a remedy tells it."""
    trials = [t for t in report.trials if t.change.boundary]
    if not trials or trials[-1].change in told:
        return []
    last = trials[-1]
    padded = " and circular padding" if last.change.circular_padding else ""
    if last.works:
        return [f"with boundary='circular'{padded} it passes, if the signal is periodic"]
    error = "" if last.relative_error is None else f", off by {off_by(last.relative_error)}"
    return [f"with boundary='circular'{padded}: {last.verdict.upper()}{error}{_rest(last)}"]


def _too_costly_size(report: Report) -> list[str]:
    """The size that would do by the structure, where it was not run."""
    sizes = [c.size for c in report.untried if c.size]
    if report.needed is None or report.needed not in sizes:
        return []
    return [
        f"by its structure an input of {_sizes(report, report.needed)} leaves"
        f" {_share(report)} to compare; that was not run:",
        f"    {assertion(report, Change(size=report.needed))}",
    ]


def _share(report: Report) -> str:
    if not report.needed_share:
        return "something"
    return f"{max(report.needed_share, 0.001):.1%} of the output"


def _not_tried(report: Report) -> list[str]:
    """What would have cost too much, unless something that passes is known."""
    changes = [_words(c, report) for c in report.untried if c.size != report.needed or not c.size]
    left_out = [*changes, *map(str, report.left_out)]
    return [f"not tried: {'; '.join(left_out)} (effort='full' does it)"] if left_out else []


def _as_expected(report: Report) -> list[str]:
    """How a layer of which nothing can be told is named in a test of all layers."""
    if report.layer is None or report.verdict is not Verdict.INCONCLUSIVE:
        return []
    known = {report.layer: str(report.reason)}
    return [f"or, in parametrize_with_layers: expected_inconclusive={known}"]


def _sizes(report: Report, size: tuple[int, ...]) -> str:
    """The sizes that would do: all larger ones, some of them, or one."""
    text, steps = " x ".join(map(str, size)), report.needed_steps
    if size != report.needed or 0 in steps:
        return text
    if not steps:
        return f"at least {text}"
    along = str(steps[0]) if len(set(steps)) == 1 else " x ".join(map(str, steps))
    return f"at least {text}, in steps of {along}"


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


def _words(change: Change, report: Report) -> str:
    """A change in words: of the model, of the input, then of the test."""
    parts = [*_of_the_model(change, report), *_of_the_input(change, report)]
    return ", and ".join([*parts, *_of_the_test(change, report)])


def _of_the_model(change: Change, report: Report) -> list[str]:
    parts = []
    for left_out, same in ((change.constants, "zero"), (change.factors, "one")):
        if left_out:
            names = ", ".join(map(repr, left_out))
            depends = "depends" if len(left_out) == 1 else "depend"
            parts.append(f"leave {names} out, which {depends} on the place ({same} does the same)")
    if change.circular_padding:
        crops = report.guilty is not None and report.guilty.form is CauseForm.AFTER_A_CROP
        parts.append("pad circularly first and crop then" if crops else "pad circularly")
    if change.evaluation:
        parts.append("check the model in eval mode, without training=True")
    return parts


def _of_the_input(change: Change, report: Report) -> list[str]:
    parts = []
    if change.dtype:
        parts.append(f"run the model and the input in {change.dtype}")
    if change.signal:
        parts.append("give a signal that varies, such as noise from torch.randn")
    if change.size:
        given = [report.input_shape[dim] for dim in report.spatial_dims]
        larger = all(n >= m for n, m in zip(change.size, given, strict=True))
        sizes = _sizes(report, change.size)
        if change.size == report.needed:
            free = f" ({_share(report)} is free of padding there)" if report.needed_share else ""
            parts.append(f"give {'a larger' if larger else 'another'} input: {sizes}{free}")
        else:
            parts.append(f"give an input of {sizes}, which the strides fit")
    return parts


def _of_the_test(change: Change, report: Report) -> list[str]:
    parts = []
    if change.multiples:
        parts.append(_by_multiples(change.multiples))
    if change.shifts:
        parts.append(SHIFTS.get(report.reason, "use other shifts"))
    if change.fixed:
        unmoved = ": no shift within it moves inputs of these sizes by whole samples"
        still = report.reason in (Reason.IDENTITY, Reason.NEVER_MOVED)
        fixed = (*report.fixed, *change.fixed)
        parts.append(f"let the main signal move alone, {fixed=!r}{unmoved if still else ''}")
    if change.layer:
        parts.append(f"check up to layer {change.layer!r}")
    if change.outputs:
        parts.append(f"check {', '.join(map(repr, change.outputs))} alone")
    if change.boundary:
        parts.append("say that the signal is periodic, if it is")
    if change.tolerances:
        parts.append("leave rtol and atol out")
    return parts


def _by_multiples(steps: Sequence[int]) -> str:
    """Shifts by whole periods, and what that is in a property test."""
    same = len(set(steps)) == 1
    amount = str(steps[0]) if same else " x ".join(map(str, steps))
    lattice = steps[0] if same else tuple(steps)
    unit = UNIT[len(steps)]
    return f"shift by multiples of {amount} {unit}s (lattice={lattice} in a property test)"


def _hint(report: Report) -> list[str]:
    guilty = report.guilty
    text = report.reason.hints.equivariance or ""
    if report.reason is Reason.UNCONFIRMED and report.dtype == "float64":
        text = "give rtol and atol for what is acceptable"
    if guilty is not None:
        around = "circular" in report.boundary
        text = _hint_against(guilty, report.reason, around=around) or text
    return [f"hint: {text}"] if text else []


def _hint_against(guilty: Cause, reason: Reason, *, around: bool) -> str:
    """What may help against the guilty cause; nothing where the reason is not due to it."""
    if guilty.op in REMEDY_OF_OP:
        return REMEDY_OF_OP[guilty.op]
    if guilty.form is CauseForm.MIRRORED:
        return guilty.form.remedy
    if reason not in (Reason.NONE, *TOO_FEW, Reason.UNSUPPORTED):
        return ""
    fits = guilty.kind in (CauseKind.STRIDE, CauseKind.RESIZE) and guilty.period is None
    if fits and guilty.detail and around:
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
