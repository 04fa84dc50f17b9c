"""Linearity and the convolution theorem as text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shiftcheck.report.equivariance import Verdict
from shiftcheck.report.linearity import (
    ConvolutionReport,
    Linearity,
    LinearityReport,
    LinearOutput,
    Superposition,
    Theorem,
)
from shiftcheck.report.reasons import Reason
from shiftcheck.report.render.contents import Contents, Sheet, how_made, wrapped
from shiftcheck.report.render.layers import sheet_of_layers
from shiftcheck.report.render.numbers import count, each, gap
from shiftcheck.report.render.sentences import sentences


def explain_linearity(report: LinearityReport) -> str:
    """The verdict on linearity and the numbers that it rests on."""
    return "\n".join(wrapped(_linearity(report)))


def headline_of_linearity(report: LinearityReport) -> str:
    """One sentence: the model and the verdict."""
    return _headline(report, report)


def headline_of_convolution(report: ConvolutionReport) -> str:
    """One sentence: the operator, and whether it is a convolution."""
    return _headline(report.linearity, report)


def _headline(checked: LinearityReport, judged: LinearityReport | ConvolutionReport) -> str:
    reason = f" ({judged.reason})" if judged.reason else ""
    return f"{_asked(checked)}: {judged.verdict.upper()}{reason}"


def _linearity(report: LinearityReport) -> list[str]:
    lines = [headline_of_linearity(report)]
    output = next((o for o in report.outputs if o.verdict is report.verdict), None)
    if output is not None:
        lines += _evidence(report, output)
    if hint := report.reason.hints.linearity:
        lines.append(f"remedy: {hint}")
    return [*lines, *(f"note: {note}" for note in report.notes)]


def _asked(report: LinearityReport) -> str:
    """What was checked on which shape."""
    shape = "x".join(map(str, report.input_shape))
    return f"{report.model}{f' up to {report.layer!r}' if report.layer else ''} on {shape}"


_HOLDS_NOT = {True: "does not hold", False: "holds but for what may be rounding"}


def _evidence(report: LinearityReport, output: LinearOutput) -> list[str]:
    lines = []
    worst = output.worst
    if report.verdict is Linearity.AFFINE:
        lines.append(
            f"linear but for a constant part: phi(0) reaches {gap(output.constant)},"
            f" phi(f) - phi(0) reaches {gap(output.scale)}"
        )
    if worst is None:
        return lines
    where = f"output {output.name!r} {list(output.shape)}"
    broken = report.verdict is Linearity.NOT_LINEAR
    if not worst.holds:
        lines.append(f"{where}: {worst.law} {_HOLDS_NOT[broken]}")
        lines.append(
            f"at output index {list(worst.index)}: left side {worst.together:.9g}, right side"
            f" {worst.apart:.9g}"
        )
    lines.append(
        f"{where}: largest gap {gap(worst.error)} relative to the linear part (allowed"
        f" {gap(worst.allowance)})"
    )
    if report.sensitivity is not None:
        lines.append(
            f"the smallest departure this run would have caught: {gap(report.sensitivity)}"
        )
    low, high = report.amplitudes
    laws = count(len(output.superpositions), "law")
    lines.append(
        f"{laws}: f and g are white noise of magnitude {report.unit:g} (seed {report.seed}), c is"
        f" constant, s is f at half of its places; at {gap(low)} to {gap(high)} times that,"
        f" compared in {report.precision}"
    )
    return lines


def explain_convolution(report: ConvolutionReport) -> str:
    """The theorem: the premises, and the conclusion or the property that fails."""
    return "\n".join(wrapped(_theorem(report)))


def headline_of_theorem(report: ConvolutionReport) -> str:
    """One sentence: the operator, and the verdict of the whole."""
    linear = report.linearity
    reason = f" ({report.reason})" if report.reason else ""
    return f"{_asked(linear)}: {report.verdict.upper()}{reason}"


def _theorem(report: ConvolutionReport) -> list[str]:
    premises = [*_first_premise(report), *_second_premise(report)]
    return [headline_of_theorem(report), *premises, *_conclusion(report)]


def _first_premise(report: ConvolutionReport) -> list[str]:
    linear = report.linearity
    if linear.verdict not in (Linearity.LINEAR, Linearity.AFFINE):
        return [f"linearity: {linear.verdict}", *_linearity(linear)[1:]]
    worst = linear.outputs[0].worst
    constant = ""
    if linear.verdict is Linearity.AFFINE:
        constant = f", but for a constant part phi(0) of up to {gap(linear.outputs[0].constant)}"
    measured = (
        "" if worst is None else f": largest gap {gap(worst.error)}, allowed {gap(worst.allowance)}"
    )
    return [f"linear{constant}{measured}"]


def _second_premise(report: ConvolutionReport) -> list[str]:
    checked = report.equivariance
    if checked is None:
        return []
    if checked.verdict is not Verdict.EQUIVARIANT:
        return sentences(checked)
    moved = f"{checked.shifts[0]} and {count(len(checked.shifts) - 1, 'shift')} more"
    return [
        f"equivariant at multiples of the period {each(report.structure_period)}: checked {moved},"
        f" largest gap {gap(checked.outputs[0].relative_error)}, allowed {gap(checked.sensitivity)}"
    ]


def _conclusion(report: ConvolutionReport) -> list[str]:
    if report.verdict is Theorem.CONVOLUTION:
        return _convolution(report)
    lines = [FAILS[report.verdict] + (f" ({report.reason})" if report.reason else "")]
    if report.verdict is Theorem.INFINITE_SUPPORT:
        lines.append(f"remedy: check up to a layer before {report.guilty!r}")
        lines[0] += f": from layer {report.guilty!r} on, a sample depends on all of an axis"
        lines[-1] += ", or give boundary='circular' if the operator is one of the circle"
    if report.reason is Reason.TOO_SMALL:
        sizes = " x ".join(map(str, report.needed or ()))
        lines.append(
            f"remedy: give a larger signal, at least {sizes}"
            if report.needed
            else "remedy: give a larger signal"
        )
    elif report.reason.hints.linearity and report.linearity.reason != report.reason:
        lines.append(f"remedy: {report.reason.hints.linearity}")
    return lines


FAILS = {
    Theorem.NOT_LINEAR: "no convolution: it is not linear",
    Theorem.NOT_EQUIVARIANT: "no convolution: it is linear, but not equivariant",
    Theorem.INFINITE_SUPPORT: "no finite convolution: it is linear, but its support is infinite",
    Theorem.INCONCLUSIVE: "whether it is a convolution cannot be told",
}


def _convolution(report: ConvolutionReport) -> list[str]:
    taps = "x".join(map(str, report.taps))
    channels = "" if report.channels is None else "{1} to {0}".format(*report.channels)
    constant = f", constant part {gap(report.constant)}" if report.constant else ""
    where = "the torus" if set(report.boundary) == {"circular"} else "the valid region"
    return [
        f"therefore a convolution: kernel {taps} ({channels} channels), origin {report.origin},"
        f" stride {each(report.stride)}, period {each(report.period)}{constant}",
        f"phi(f) and f * h differ by at most {gap(report.error)} on random signals, relative"
        f" {gap(report.relative_error)} (allowed {gap(report.allowance)}), over {where},"
        f" {report.share or 0:.0%} of the output",
    ]


def contents_of_linearity(report: LinearityReport) -> Contents:
    """What a page shows of a check of linearity."""
    first, *rest = _linearity(report)
    return Contents(
        headline=first,
        verdict=str(report.verdict),
        sentences=tuple(rest),
        sheets=_sheets(report),
        made=_made(report),
    )


def contents_of_convolution(report: ConvolutionReport) -> Contents:
    """What a page shows of the theorem: the premises with their tables, and the conclusion."""
    first, *rest = _theorem(report)
    checked = report.equivariance
    layers = [] if checked is None else [sheet_of_layers(checked)]
    return Contents(
        headline=first,
        verdict=str(report.verdict),
        sentences=tuple(rest),
        sheets=(
            *_sheets(report.linearity),
            *layers,
        ),
        made=_made(report.linearity, boundary=", ".join(report.boundary)),
    )


def _sheets(report: LinearityReport) -> tuple[Sheet, ...]:
    comparisons = [(o, s) for o in report.outputs for s in o.superpositions]
    return (
        Sheet.of("outputs", report.outputs, OF_AN_OUTPUT),
        Sheet.of("comparisons", comparisons, OF_A_COMPARISON),
    )


def _made(report: LinearityReport, **more: str) -> tuple[tuple[str, str], ...]:
    return how_made(report, precision=report.precision, **more)


OF_AN_OUTPUT: dict[str, Callable[[LinearOutput], str]] = {
    "output": lambda o: o.name,
    "verdict": lambda o: str(o.verdict),
    "reason": lambda o: o.reason,
    "shape": lambda o: "x".join(map(str, o.shape)),
    "constant part": lambda o: gap(o.constant),
    "linear part": lambda o: gap(o.scale),
}
OF_A_COMPARISON: dict[str, Callable[[tuple[LinearOutput, Superposition]], str]] = {
    "law": lambda pair: pair[1].law,
    "holds": lambda pair: "yes" if pair[1].holds else "no",
    "gap": lambda pair: gap(pair[1].error),
    "allowed": lambda pair: gap(pair[1].allowance),
    "output": lambda pair: pair[0].name,
    "largest at": lambda pair: str(list(pair[1].index)),
}


LARGEST = 12
"""Rows and columns of a matrix that are shown as numbers."""


def show_matrix(view: Any) -> str:
    """What the matrix of an operator looks like, with its numbers where there are few."""
    rows, columns = len(view.matrix), len(view.matrix[0])
    lines = [f"{rows} x {columns} matrix: {view.structure}"]
    if rows <= LARGEST and columns <= LARGEST:
        lines += [" ".join(f"{v:6.2f}" for v in row) for row in view.matrix.tolist()]
    return "\n".join(lines)
