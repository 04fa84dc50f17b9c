"""The first sentence of a failure, which takes no term of ours to be understood."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from shiftcheck.report.causes import Cause, CauseForm, CauseKind
from shiftcheck.report.equivariance import LayerResult, Report, ShiftResult, Verdict
from shiftcheck.report.reasons import NOTHING_VARIES, Reason
from shiftcheck.report.render.numbers import describe

DIRECTIONS = {
    1: (("forward", "back"),),
    2: (("down", "up"), ("to the right", "to the left")),
}
"""Where content goes along each axis for a positive and a negative shift, by their number."""

UNIT = {1: "sample", 2: "pixel", 3: "voxel"}

ORDINALS = ("first", "second", "third")


def moved_by(shift: Sequence[float]) -> str:
    """A shift in words.

    Example:
        >>> moved_by((1, 0)), moved_by((0, -2)), moved_by((0.5,))
        ('1 pixel down', '2 pixels to the left', '1/2 sample forward')
        >>> moved_by((-1, 0, 3))
        '1 voxel back along its first axis and 3 voxels along its third axis'
    """
    return " and ".join(_along(v, a, len(shift)) for a, v in enumerate(shift) if v) or "by nothing"


def _along(pixels: float, axis: int, axes: int) -> str:
    amount = abs(pixels)
    far = f"{describe(amount)} {UNIT[axes]}{'s' * (amount > 1)}"
    if axes in DIRECTIONS:
        return f"{far} {DIRECTIONS[axes][axis][pixels < 0]}"
    return f"{far} {'back ' * (pixels < 0)}along its {ORDINALS[axis]} axis"


def off_by(relative_error: float) -> str:
    """A relative error in words.

    Example:
        >>> off_by(0.312), off_by(0.004), off_by(2e-6), off_by(3.4)
        ('31% of its size', '0.4% of its size', '2.0e-06 of its size', '3.4 times its size')
    """
    if relative_error > 1.995:
        return f"{relative_error:.2g} times its size"
    if relative_error >= 0.01:
        return f"{relative_error:.0%} of its size"
    if relative_error >= 0.0005:
        return f"{relative_error:.1%} of its size"
    return f"{relative_error:.1e} of its size"


def first_sentence(report: Report, output: LayerResult, worst: ShiftResult | None) -> str:
    """What happened, to whom, and which layer is at fault; empty for what passed."""
    if report.verdict in (None, Verdict.EQUIVARIANT):
        return ""
    who = _who(report, output)
    where = _where(report)
    if report.verdict is not Verdict.BROKEN:
        why = NONE_LEFT if _is_out_of_room(report, output) else report.reason.plain
        return f"It cannot be told whether {who} moves with the input: {why}{where}."
    if report.guilty is not None and report.guilty.form is CauseForm.MIRRORED:
        return f"{_capital(who)} moves against the input, as in a mirror{where}."
    return f"{_capital(who)} does not move with the input: {_gap(report, worst)}{where}."


NONE_LEFT = "after a shift, no sample of the output is left to compare"


def _is_out_of_room(report: Report, output: LayerResult) -> bool:
    """Whether samples are free of what lies beyond the edge, and too few to be shifted."""
    return report.reason is Reason.NO_REGION and all(map(bool, output.valid))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _who(report: Report, output: LayerResult) -> str:
    if report.layer:
        return f"the output of layer {report.layer!r}"
    return f"the output {output.name!r}" if len(report.outputs) > 1 else "the output"


def _gap(report: Report, worst: ShiftResult | None) -> str:
    if worst is None or worst.relative_error is None:
        return "it is off"
    ends = [b for v, b in zip(worst.shift, report.boundary, strict=True) if v]
    moves = f"{'moves' if 'valid' in ends else 'is rolled'} {moved_by(worst.shift)}"
    size, exactly = worst.relative_error, worst.float64_error or 0.0
    off = off_by(size) if size >= exactly / 2 else f"{off_by(exactly)} in float64"
    return f"when the input {moves}, the output is off by {off}"


def _where(report: Report) -> str:
    """The layer at fault, and what it does."""
    if report.reason in (Reason.NOT_FINITE, *NOTHING_VARIES):
        alike = {report.reason} if report.reason is Reason.NOT_FINITE else NOTHING_VARIES
        first = next((row for row in report.layers if row.reason in alike), None)
        return "" if first is None else f" (from layer {first.name!r} on, {first.op})"
    guilty = report.guilty
    if guilty is None or report.reason in WITHOUT_LAYER:
        return ""
    op = _op(guilty, report)
    kind = "" if op == guilty.layer else f", {op}"
    hides = guilty.hides is report.reason is not Reason.NONE
    said = hides and guilty.form is not CauseForm.LEAK
    does = "" if said else f": {in_plain_words(guilty, _stride(guilty, report))}"
    return f" (layer {guilty.layer!r}{kind}{does})"


WITHOUT_LAYER = frozenset({Reason.IDENTITY, Reason.NEVER_MOVED, Reason.CONSTANT_INPUT})


def _op(guilty: Cause, report: Report) -> str:
    """The module of a layer, where it is one, else the operation."""
    row = next((row for row in report.layers if row.name == guilty.layer), None)
    return guilty.op if row is None else row.op


def _stride(cause: Cause, report: Report) -> Fraction | None:
    """The pixels between two samples of a layer, along the axis of its cause, where known."""
    row = next((row for row in report.layers if row.name == cause.layer), None)
    return None if row is None or not row.stride else row.stride[cause.axis or 0]


BLOCKWISE = frozenset({"pixel_unshuffle", "im2col"})
"""Operations that move the samples of a block into channels, so that none is left out."""


def in_plain_words(cause: Cause, stride: Fraction | None = None) -> str:
    """What a layer does, in few words; ``stride``: the pixels between two of its samples.

    Example:
        >>> in_plain_words(Cause(kind=CauseKind.STRIDE, period=4))
        'it keeps one sample for every 4 of the input'
        >>> in_plain_words(Cause(kind=CauseKind.STRIDE, period=3), Fraction(3, 2))
        'it keeps 2 samples for every 3 of the input'
    """
    if cause.form is CauseForm.LEAK:
        return "a value is taken out of a tensor"
    if cause.kind is CauseKind.STRIDE and cause.detail:
        return cause.detail
    if cause.kind is CauseKind.STRIDE and cause.period:
        apart = Fraction(cause.period) if stride is None else abs(stride)
        return _kept(cause.op, cause.period, cause.period / apart)
    return cause.kind.plain


def _kept(op: str, period: int, samples: Fraction) -> str:
    if op in BLOCKWISE or samples >= period:
        return f"it works in blocks of {period} of the input"
    if samples.denominator != 1:
        return CauseKind.STRIDE.plain
    many = "one sample" if samples == 1 else f"{samples} samples"
    return f"it keeps {many} for every {period} of the input"
