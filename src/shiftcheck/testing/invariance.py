"""The assertion of invariance for test suites."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from _shiftcheck_listeners import Outcome, tell
from shiftcheck.checks.invariance.check import check_invariance
from shiftcheck.errors import InconclusiveError, InputError, NotInvariantError
from shiftcheck.report.invariance import InvarianceReport, InvarianceVerdict
from shiftcheck.testing.budget_evidence import evidence_of_invariance
from shiftcheck.testing.budgets import OpenedBudget, Ruling, claim_budget


def assert_invariant(
    model: Callable[..., Any],
    x: Any,
    *,
    layer: str | None = None,
    shifts: Sequence[Any] | None = None,
    fill: str | Sequence[str] | None = None,
    crop: Sequence[int] | None = None,
    spatial_dims: Sequence[int] | None = None,
    max_relative_error: float | None = None,
    seed: int = 0,
    progress: bool = False,
    training: bool = False,
    fixed: Sequence[str | int] = (),
    outputs: Sequence[str | int] | None = None,
    budget: str | None = None,
    effort: Literal["bounded", "full"] = "bounded",
) -> InvarianceReport:
    """Pass only if every output of the model stays as it is when its input is shifted.

    With ``max_relative_error``, the relative error of every shift must not exceed it; without,
    shifts of circles must change nothing beyond rounding. Either way the outputs must differ
    between signals.

    Args:
        model: any module or callable; it is left as it was found.
        x: a tensor or array ``[batch, channels, *spatial]``, or a tuple or dict of arguments.
        layer: check the output of this layer; what follows is not run.
        shifts: whole pixels, one tuple for each shift; chosen when left out.
        max_relative_error: what passes, above 0 and below 1.
        fill, crop, spatial_dims, seed, progress, training: as in ``check_invariance``.
        fixed, outputs, effort: as in ``check_invariance``.
        budget: the name of the error budget of a model that is known to be imperfect, as nearly
            every one is on photographs: its relative error may not exceed the one that is stored
            under this name, in the file that the pytest plugin or ``budget_file`` has opened. An
            inconclusive check is never within a budget, nor is a model that a shift changes as
            much as another signal does.

    Returns:
        The report.

    Raises:
        NotInvariantError: an AssertionError; the message names the first guilty layer.
        InconclusiveError: an AssertionError; the message says what could not be told and why. An
            open axis without ``max_relative_error`` or ``budget`` is one such case.
        InputError: for arguments that cannot be used.
        ModelError: where the model raises.

    Example:
        >>> import torch, shiftcheck
        >>> features = torch.nn.Conv2d(1, 8, 5, padding=2, padding_mode="circular")
        >>> model = torch.nn.Sequential(
        ...     features, torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
        ... )
        >>> report = shiftcheck.assert_invariant(model, torch.randn(4, 1, 12, 14))
        >>> report.outputs[0].proven
        True
    """
    __tracebackhide__ = True
    opened = _opened(budget, max_relative_error)
    report = check_invariance(
        model,
        x,
        layer=layer,
        shifts=shifts,
        fill=fill,
        crop=crop,
        spatial_dims=spatial_dims,
        max_relative_error=max_relative_error,
        seed=seed,
        progress=progress,
        training=training,
        fixed=fixed,
        outputs=outputs,
        effort=effort,
    )
    ruling = None if opened is None else opened.rule_on(evidence_of_invariance(report))
    tell(Outcome(report=report, ruling=ruling))
    _raise_unless_good(report, ruling)
    return report


def _opened(budget: str | None, bound: float | None) -> OpenedBudget | None:
    if budget is not None and bound is not None:
        raise InputError(
            f"budget={budget!r} with max_relative_error={bound}: a budget is a bound that was"
            " measured; give one of them"
        )
    return None if budget is None else claim_budget(budget)


def _raise_unless_good(report: InvarianceReport, ruling: Ruling | None) -> None:
    __tracebackhide__ = True
    if report.verdict is InvarianceVerdict.INVARIANT if ruling is None else ruling.within:
        return
    from shiftcheck.report.render import explain_invariance

    message = explain_invariance(report)
    unclear = report.verdict is not InvarianceVerdict.NOT_INVARIANT
    if ruling is not None:
        unclear, message = ruling.unclear, f"{ruling.line}\n{message}"
    raise (InconclusiveError if unclear else NotInvariantError)(message)
