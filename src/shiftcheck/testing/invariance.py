"""The assertion of invariance for test suites."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from _shiftcheck_listeners import Outcome, tell
from shiftcheck.checks.invariance.check import check_invariance
from shiftcheck.errors import InconclusiveError, NotInvariantError
from shiftcheck.report.invariance import InvarianceReport, InvarianceVerdict


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
    effort: Literal["bounded", "full"] = "bounded",
) -> InvarianceReport:
    """Pass only if every output of the model stays as it is when its input is shifted.

    The arguments are those of ``check_invariance``. With ``max_relative_error``, the relative error
    of every shift must not exceed it; without, shifts of circles must change nothing beyond
    rounding. Either way the outputs must differ between signals. Returns the report.

    Raises:
        NotInvariantError: an AssertionError; the message names the first guilty layer.
        InconclusiveError: an AssertionError; the message says what could not be told and why. An
            open axis without ``max_relative_error`` is one such case.
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
    tell(Outcome(report=report))
    if report.verdict is InvarianceVerdict.INVARIANT:
        return report
    from shiftcheck.report.render import explain_invariance

    broken = report.verdict is InvarianceVerdict.NOT_INVARIANT
    raise (NotInvariantError if broken else InconclusiveError)(explain_invariance(report))
