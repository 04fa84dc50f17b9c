"""The assertion that nothing of the future reaches the outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from _shiftcheck_listeners import Outcome, tell
from shiftcheck.checks.causality.check import check_causality
from shiftcheck.errors import InconclusiveError, NotCausalError
from shiftcheck.measuring.plan import Model
from shiftcheck.report.causality import CausalityReport, CausalityVerdict


def assert_causal(
    model: Model,
    x: Any,
    axis: int = -1,
    lookahead: int = 0,
    *,
    block: int | None = None,
    layer: str | None = None,
    seed: int = 0,
    training: bool = False,
    fixed: Sequence[str | int] = (),
    outputs: Sequence[str | int] | None = None,
) -> CausalityReport:
    """Pass only if no output depends on input samples behind its own, but for the look-ahead.

    Args:
        model, x, axis, lookahead, block, layer, seed, training, fixed, outputs: as in
            ``check_causality``.

    Returns:
        The report of ``check_causality``.

    Raises:
        NotCausalError: an AssertionError; the message names the layer that sees too far, how it
            comes to and by how much, and where the future was seen to leak.
        InconclusiveError: an AssertionError; nothing was seen, and that proves nothing.
        InputError: for arguments that cannot be used.
        ModelError: where the model raises.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Sequential(torch.nn.ConstantPad1d((4, 0), 0.0), torch.nn.Conv1d(1, 1, 5))
        >>> shiftcheck.assert_causal(net, torch.randn(1, 1, 64)).verdict
        'causal'
    """
    __tracebackhide__ = True
    found = check_causality(
        model,
        x,
        axis,
        lookahead,
        block=block,
        layer=layer,
        seed=seed,
        training=training,
        fixed=fixed,
        outputs=outputs,
    )
    tell(Outcome(report=found, passed=found.verdict is CausalityVerdict.CAUSAL))
    if found.verdict is CausalityVerdict.NOT_CAUSAL:
        raise NotCausalError(str(found))
    if found.verdict is CausalityVerdict.INCONCLUSIVE:
        raise InconclusiveError(str(found))
    return found
