"""Assertions for test suites."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from _shiftcheck_listeners import Outcome, tell
from shiftcheck.checks.equivariance.check import check_equivariance
from shiftcheck.errors import InconclusiveError, NotEquivariantError
from shiftcheck.report.equivariance import Report, Verdict
from shiftcheck.testing.budget_evidence import evidence_of_equivariance
from shiftcheck.testing.budgets import OpenedBudget, claim_budget
from shiftcheck.testing.exploring import Later, Unwatched, is_exploring


def assert_equivariant(
    model: Callable[..., Any],
    x: Any,
    *,
    layer: str | None = None,
    shifts: Sequence[Any] | None = None,
    boundary: str | Sequence[str] = "valid",
    spatial_dims: Sequence[int] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
    max_batch: int | None = None,
    progress: bool = False,
    training: bool = False,
    weights: Literal["own", "randomized"] = "own",
    draws: int = 3,
    budget: str | None = None,
    fixed: Sequence[str | int] = (),
    outputs: Sequence[str | int] | None = None,
    effort: Literal["bounded", "full"] = "bounded",
    grow: bool | Sequence[int] = False,
) -> Report:
    """Pass only if every output of the model moves with its input, measurably and provably.

    Args:
        model: any module or callable; it is left as it was found.
        x: a tensor or array ``[batch, channels, *spatial]``, or a tuple or dict of arguments.
        layer: check up to this layer; what follows is not run.
        shifts: pixels, one tuple for each shift; chosen from the geometry when left out.
        boundary: ``"valid"`` or ``"circular"``, once or for each spatial axis.
        spatial_dims, rtol, atol, seed, max_batch, progress, training: as in ``check_equivariance``.
        weights, draws, fixed, outputs, effort, grow: as in ``check_equivariance``.
        budget: the name of the error budget of a model that is known to be imperfect: its relative
            error may not exceed the one that is stored under this name, in the file that the
            pytest plugin or ``budget_file`` has opened. An inconclusive check is never within a
            budget.

    Returns:
        The report, in which only the outputs were measured.

    Raises:
        NotEquivariantError: an AssertionError; the message names the first guilty layer.
        InconclusiveError: an AssertionError; the message says what could not be told and why.
        InputError: for arguments that cannot be used.
        ModelError: where the model raises.

    Example:
        >>> import torch, shiftcheck
        >>> report = shiftcheck.assert_equivariant(
        ...     torch.nn.Conv2d(1, 4, 5, padding=2), torch.randn(1, 1, 16, 18)
        ... )
    """
    __tracebackhide__ = True
    shifts = list(shifts) if isinstance(shifts, Iterator) else shifts  # it is read twice

    def check(what: Any) -> Report:
        return check_equivariance(
            model,
            x,
            layer=layer,
            shifts=shifts,
            boundary=boundary,
            spatial_dims=spatial_dims,
            rtol=rtol,
            atol=atol,
            seed=seed,
            max_batch=max_batch,
            progress=progress,
            training=training,
            measure=what,
            weights=weights,
            draws=draws,
            fixed=fixed,
            outputs=outputs,
            effort=effort,
            grow=grow,
        )

    with Unwatched():
        opened = None if budget is None else claim_budget(budget, rtol, atol, weights)
        return _asserted(check, opened, given=shifts is not None)


def _asserted(
    check: Callable[[Any], Report], opened: OpenedBudget | None, *, given: bool
) -> Report:
    """The report of a check that passes, or is within its budget; raises with its message."""
    __tracebackhide__ = True
    exploring = is_exploring()
    report = check("failing" if opened is None and not exploring else "outputs")
    ruling = None
    if opened is not None:
        ruling = opened.rule_on(evidence_of_equivariance(report, given=given))
    if report.verdict is Verdict.EQUIVARIANT if ruling is None else ruling.within:
        tell(Outcome(report=report, ruling=ruling))
        return report

    def message(shown: Report) -> str:
        from shiftcheck.report.render import explain

        return explain(shown) if ruling is None else f"{ruling.line}\n{explain(shown)}"

    said: str | Later
    if exploring:  # the simplest example is explained, and told of, once it is found
        said = Later(lambda: message(check("layers")))
    else:
        report = report if opened is None else check("layers")
        tell(Outcome(report=report, ruling=ruling))
        said = message(report)
    if report.verdict is Verdict.BROKEN and not (ruling and ruling.unclear):
        raise NotEquivariantError(said)
    raise InconclusiveError(said)
