"""What the summary of a pytest run needs of a check: numbers, strings and lists, which travel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from _shiftcheck_listeners import Outcome
from shiftcheck.report.base import rendered
from shiftcheck.report.causality import CausalityReport
from shiftcheck.report.equivariance import Report, Verdict
from shiftcheck.report.evaluation import EvaluationReport
from shiftcheck.report.invariance import InvarianceReport, InvarianceVerdict
from shiftcheck.report.linearity import ConvolutionReport, Linearity, LinearityReport, Theorem
from shiftcheck.report.seams import TiledComparison, TilesVerdict
from shiftcheck.report.shards_compared import ShardedComparison
from shiftcheck.report.steps import StreamReport, StreamVerdict
from shiftcheck.testing.budget_store import as_plain
from shiftcheck.testing.budgets import Ruling

PASSING = (
    Verdict.EQUIVARIANT,
    InvarianceVerdict.INVARIANT,
    Linearity.LINEAR,
    Theorem.CONVOLUTION,
    TilesVerdict.SAME,
    StreamVerdict.SAME,
)
"""Verdicts with which there is nothing to look at."""

NOT_JUDGED = "measured, not judged"

Compared = tuple[float, float, str, str]
"""An error, what is allowed, what it is an error of, and where it was found."""


def record_of(outcome: Outcome) -> dict[str, Any]:
    """What the summary needs of a check of any kind."""
    report: Any = outcome.report
    asked = report.linearity if isinstance(report, ConvolutionReport) else report
    layer = getattr(asked, "layer", None)
    verdict = getattr(report, "verdict", None)
    compared = [entry for entry in COMPARED[type(report)](report) if entry[1]]
    return {
        "verdict": NOT_JUDGED if verdict is None else str(verdict),
        "passed": verdict in PASSING if outcome.passed is None else outcome.passed,
        "model": asked.model + (f" up to {layer}" if layer else ""),
        "headline": rendered("headline", report),
        "worst": max(compared, key=lambda entry: entry[0] / entry[1], default=None),
        "budget": None if outcome.ruling is None else _budget_record(outcome.ruling),
    }


def _budget_record(ruling: Ruling) -> dict[str, Any]:
    """What travels of a ruling."""
    stored = None if ruling.stored is None else as_plain(ruling.stored)
    names = ("name", "within", "unclear", "measured", "allowed")
    return {name: getattr(ruling, name) for name in names} | {"stored": stored}


def _of_equivariance(report: Report) -> Iterator[Compared]:
    for output in report.outputs:
        for s in output.shifts:
            gap = s.relative_error if s.float64_error is None else s.float64_error
            if gap is not None and s.allowance is not None:
                yield gap, s.allowance, "relative gap", f"at shift {s.shift}"


def _of_invariance(report: InvarianceReport) -> Iterator[Compared]:
    """What each shift was judged by: the bound, or exactness."""
    bound = report.max_relative_error
    for s in (s for output in report.outputs for s in output.moved):
        gap = s.gap if s.float64_gap is None else s.float64_gap
        if bound is not None and s.relative_error is not None:
            yield s.relative_error, bound, "relative error", f"at shift {s.shift}"
        elif bound is None and gap is not None and s.allowance is not None:
            yield gap, s.allowance, "relative gap", f"at shift {s.shift}"


def _of_linearity(report: LinearityReport) -> Iterator[Compared]:
    for s in (s for output in report.outputs for s in output.superpositions):
        if s.error is not None and s.allowance is not None:
            yield s.error, s.allowance, "relative gap", f"in {s.law}"


def _of_convolution(report: ConvolutionReport) -> Iterator[Compared]:
    if report.relative_error is not None and report.allowance is not None:
        where = "between the operator and the convolution"
        yield report.relative_error, report.allowance, "relative gap", where


def _of_tiles(report: TiledComparison) -> Iterator[Compared]:
    for output in report.outputs:
        if output.error is not None and output.allowance is not None:
            yield output.error, output.allowance, "relative gap", "between tiles and whole"


def _of_stream(report: StreamReport) -> Iterator[Compared]:
    if report.error is not None and report.allowance is not None:
        yield report.error, report.allowance, "relative gap", "between step and whole"


def _of_causality(report: CausalityReport) -> Iterator[Compared]:
    """Nothing: what was due changes, or it does not."""
    yield from ()


def _of_evaluation(report: EvaluationReport) -> Iterator[Compared]:
    """Nothing: what is allowed stands in a budget."""
    yield from ()


def _of_shards(report: ShardedComparison) -> Iterator[Compared]:
    for output in report.outputs:
        if output.error is not None and output.allowance is not None:
            yield output.error, output.allowance, "relative gap", "between shards and whole"


COMPARED: dict[type, Callable[[Any], Iterator[Compared]]] = {
    Report: _of_equivariance,
    InvarianceReport: _of_invariance,
    LinearityReport: _of_linearity,
    ConvolutionReport: _of_convolution,
    TiledComparison: _of_tiles,
    StreamReport: _of_stream,
    CausalityReport: _of_causality,
    ShardedComparison: _of_shards,
    EvaluationReport: _of_evaluation,
}
