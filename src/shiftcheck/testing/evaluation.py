"""The assertion that over a whole set of data a model is no worse than it was."""

from __future__ import annotations

from collections.abc import Iterator

from _shiftcheck_listeners import Outcome, tell
from shiftcheck.errors import BudgetExceededError, InconclusiveError, InputError
from shiftcheck.report.evaluation import EvaluationReport, Quantity
from shiftcheck.report.reasons import Reason
from shiftcheck.testing.budget_evidence import Evidence, noise_of_type
from shiftcheck.testing.budget_store import Budget, OutputBudget
from shiftcheck.testing.budgets import claim_budget

BOUNDED = ("equivariance", "eq_t", "invariance", "classes", "class_maps")
"""Quantities that from 1 on tell nothing: then anything would be within the budget."""


def assert_within_budget(report: EvaluationReport, budget: str) -> EvaluationReport:
    """Pass only if over its set of data a model is no worse than what a budget stores.

    Of every quantity the mean over all pairs of an item and a shift is held, of an invariance
    relative to the distance between two items, and of errors the largest one besides.

    Args:
        report: of ``evaluate``.
        budget: the name of the error budget, in the file that the pytest plugin or ``budget_file``
            has opened; ``--shiftcheck-update`` stores it. It holds for so many items of these
            shapes under these shifts; where any of them is another, it cannot be compared.

    Returns:
        The report.

    Raises:
        BudgetExceededError: an AssertionError; a figure is larger than the stored one.
        InconclusiveError: an AssertionError; some quantity, or some item, could not be measured, or
            a mean is as large as that of an output that has nothing to do with the input.
        InputError: the file has no such budget, or it was measured under other circumstances.

    Example:
        >>> import tempfile, torch, shiftcheck
        >>> data = torch.rand(20, 1, 12, 12, generator=torch.Generator().manual_seed(0))
        >>> conv = torch.nn.Conv2d(1, 2, 3, padding=1, bias=False)
        >>> _ = torch.nn.init.constant_(conv.weight, 1 / 9)
        >>> report = shiftcheck.evaluate(conv, data, boundary="circular", shifts=[(0, 1)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for update in (True, False):
        ...         with shiftcheck.budget_file(f"{folder}/budgets.json", update=update):
        ...             found = shiftcheck.assert_within_budget(report, "the seam")
        >>> found is report
        True
    """
    __tracebackhide__ = True
    if not isinstance(report, EvaluationReport):
        raise InputError(f"report={type(report).__name__}: give what shiftcheck.evaluate returns")
    ruling = claim_budget(budget).rule_on(evidence_of_evaluation(report))
    tell(Outcome(report=report, ruling=ruling))
    if not ruling.within:
        message = f"{ruling.line}\n{report}"
        raise (InconclusiveError if ruling.unclear else BudgetExceededError)(message)
    return report


def evidence_of_evaluation(report: EvaluationReport) -> Evidence:
    """What was measured over a set of data, as a budget; None where there is a doubt."""
    doubt = _doubt(report)
    figures = {} if doubt else dict(f for q in report.quantities for f in _figures(q, report))
    noise = noise_of_type(report.dtype)
    return Evidence(
        budget=_budget(report, figures) if figures else None,
        doubt=doubt or ("" if figures else "nothing was measured"),
        perfect=False,
        noise=dict.fromkeys(figures, noise),
        hidden_by=_as_much_as_anything,
    )


def _budget(report: EvaluationReport, figures: dict[str, OutputBudget]) -> Budget:
    shapes = ", ".join("x".join(map(str, shape)) for shape in report.input_shapes)
    entering = " ".join((*report.boundary, *report.fill))
    return Budget(
        check="evaluation",
        outputs=figures,
        dtype=report.dtype,
        boundary=entering,
        input_shape=f"{report.items} items of {shapes}",
        layer=None,
        seed=report.seed,
    )


def _doubt(report: EvaluationReport) -> str:
    """Why a set of data is not measured well enough for a budget."""
    if report.reason:
        return f"the evaluation is inconclusive ({report.reason})"
    if report.corrupt:
        first = ", ".join(str(c.item) for c in report.corrupt_items[:3])
        return f"{report.corrupt} items could not be measured ({first})"
    for q in report.quantities:
        bad = [left.reason for left in q.unmeasured if left.reason is Reason.NOT_FINITE]
        if bad:
            return f"{q.what} of {q.output!r} is inconclusive ({bad[0]})"
    for what in report.what:
        of_it = [q for q in report.quantities if q.what == what]
        if not any(q.pairs.count and not q.reason for q in of_it):
            reasons = [str(q.reason) for q in of_it if q.reason] or ["nothing was measured"]
            return f"{what} is inconclusive ({reasons[0]})"
    return ""


def _figures(q: Quantity, report: EvaluationReport) -> Iterator[tuple[str, OutputBudget]]:
    """What is held of a quantity: the mean, and the largest of what is more than yes or no."""
    if not q.pairs.count or q.reason:
        return
    drawn = f"{report.draws} draws up to {report.max_shift or 'an eighth of the size'}"
    shifts = tuple(map(str, report.shifts)) or (drawn,)
    counted = f"{q.pairs.count} of {q.pairs.count + sum(u.pairs for u in q.unmeasured)} measured"
    mean, largest = q.pairs.mean, q.pairs.largest
    if q.what == "invariance":
        mean, largest = q.figures.get("relative_mean"), q.figures.get("relative_largest")
    for name, value in (("mean", mean), ("largest", None if q.what == "classes" else largest)):
        if value is not None:
            held = OutputBudget(relative_error=value, shifts=(*shifts, counted))
            yield f"{name} {q.what} of {q.output}", held


def _as_much_as_anything(budget: Budget) -> str:
    for name, held in budget.outputs.items():
        kind, what, *_ = name.split(" ")
        if kind == "mean" and what in BOUNDED and held.relative_error >= 1.0:
            return (
                f"the {name} is {held.relative_error:.3g}, which is too large to mean anything: an"
                " output that has nothing to do with the input is no worse; choose shifts at which"
                " the model does better"
            )
    return ""
