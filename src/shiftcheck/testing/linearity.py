"""The assertion that a model is linear."""

from __future__ import annotations

from typing import Any

from _shiftcheck_listeners import Outcome, tell
from shiftcheck.checks.linearity.check import check_linear, raise_unless_linear
from shiftcheck.measuring.plan import Model
from shiftcheck.report.linearity import Linearity, LinearityReport


def assert_linear(
    model: Model,
    x: Any,
    *,
    affine: bool = False,
    layer: str | None = None,
    seed: int = 0,
) -> LinearityReport:
    """Pass only if every output of the model is a linear function of its signal.

    Args:
        model, x, layer, seed: as in ``check_linear``.
        affine: let a constant part pass too, as a bias makes one; the report holds it.

    Returns:
        The report of ``check_linear``.

    Raises:
        NotLinearError: an AssertionError; the message shows a law and the two numbers that it
            should make equal, or the constant part.
        InconclusiveError: an AssertionError; the message says what could not be told and why.
        InputError: for arguments that cannot be used.
        ModelError: where the model raises.

    Example:
        >>> import torch, shiftcheck
        >>> report = shiftcheck.assert_linear(
        ...     torch.nn.AvgPool2d(2), torch.randn(1, 3, 8, 8)
        ... )
    """
    __tracebackhide__ = True
    report = check_linear(model, x, layer=layer, seed=seed)
    good = report.verdict is Linearity.LINEAR or (affine and report.verdict is Linearity.AFFINE)
    tell(Outcome(report=report, passed=good))
    raise_unless_linear(report, affine=affine)
    return report
