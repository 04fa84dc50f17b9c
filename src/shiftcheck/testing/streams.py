"""The assertion that a step gives, chunk by chunk, what its model gives on the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from _shiftcheck_listeners import Outcome, tell
from shiftcheck.checks.streams.calling import NOT_GIVEN
from shiftcheck.checks.streams.check import check_streamable
from shiftcheck.errors import InconclusiveError, StreamDiffersError
from shiftcheck.measuring.plan import Model
from shiftcheck.report.steps import StreamReport, StreamVerdict


def assert_streamable(
    step: Callable[..., Any] | None,
    model: Model,
    x: Any,
    chunk: int | Sequence[int],
    *,
    axis: int = -1,
    delay: int = 0,
    make_step: Callable[[], Callable[..., Any]] | None = None,
    reset: Callable[[], Any] | str | None = None,
    flush: Callable[..., Any] | str | None = None,
    state: Any = NOT_GIVEN,
    any_chunk: bool = False,
    complete: bool = True,
    gradients: bool = False,
    rtol: float | None = None,
    atol: float | None = None,
    spatial_dims: Sequence[int] | None = None,
) -> StreamReport:
    """Pass only if a step gives, chunk by chunk, what the model gives on the whole.

    Args:
        step, model, x, chunk: as in ``check_streamable``, and so are all keywords.

    Returns:
        The report of ``check_streamable``.

    Raises:
        StreamDiffersError: an AssertionError; the message says why they differ, where, by how much,
            and what would mend it.
        InconclusiveError: an AssertionError; the outputs agree, and that tells nothing.
        InputError: for arguments that cannot be used.
        ModelError: where the model or the step raises.

    Example:
        >>> import torch, shiftcheck
        >>> lstm = torch.nn.LSTM(3, 4, batch_first=True)
        >>> found = shiftcheck.assert_streamable(
        ...     lstm, lambda x: lstm(x)[0], torch.randn(1, 80, 3), 16, axis=1, spatial_dims=(1,),
        ... )
        >>> found.verdict
        'same'
    """
    __tracebackhide__ = True
    found = check_streamable(
        step,
        model,
        x,
        chunk,
        axis=axis,
        delay=delay,
        make_step=make_step,
        reset=reset,
        flush=flush,
        state=state,
        any_chunk=any_chunk,
        complete=complete,
        gradients=gradients,
        rtol=rtol,
        atol=atol,
        spatial_dims=spatial_dims,
    )
    tell(Outcome(report=found, passed=found.verdict is StreamVerdict.SAME))
    if found.verdict is StreamVerdict.DIFFERENT:
        raise StreamDiffersError(str(found))
    if found.verdict is StreamVerdict.INCONCLUSIVE:
        raise InconclusiveError(str(found))
    return found
