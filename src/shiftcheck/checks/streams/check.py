"""Whether a step, chunk by chunk, gives what its model gives on the whole, and why it does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from shiftcheck.checks.explained import explaining_errors
from shiftcheck.checks.prepare import Prepared, dims_without_channels, prepared, read_tolerances
from shiftcheck.checks.streams.calling import NOT_GIVEN, Stepping
from shiftcheck.checks.streams.plan import plan_of
from shiftcheck.checks.streams.question import Options, Question
from shiftcheck.checks.streams.schedules import read_chunk
from shiftcheck.checks.streams.session import Stage
from shiftcheck.checks.streams.time_axis import time_axis
from shiftcheck.errors import InputError, ModelError
from shiftcheck.measuring.plan import Model
from shiftcheck.report.steps import StreamReport
from shiftcheck.report.streams import StreamingPlan


@explaining_errors
def check_streamable(
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
    """Hold a step that takes one chunk after another against its model on the whole signal.

    The step is run over the signal in chunks of the given length and of others: one sample, a
    prime number, uneven, two halves, all at once. Where it gives something else than the model,
    parts of the signal are changed, to see what a chunk knows of those before it: that tells a
    state that is missing from one that is stale or too short, and from what is no matter of state.

    Args:
        step: what is called with a chunk and returns the outputs for it: ``step(chunk)``, with a
            state inside; or ``outputs, state = step(chunk, state)``, which is seen from its
            parameters. The first state is ``state``, None when left out. A step may return fewer
            samples than came, or None, and the rest later.
        model: any module or callable, which takes all of the signal. Step and model run in eval
            mode, and are left as they were found; every run begins with the step as it was given.
        x: a tensor or array ``[batch, channels, *spatial]``, or a tuple or dict of arguments.
        chunk: samples of a chunk, or several lengths that follow each other. The last one is what
            is left of x. Where it is a multiple of the model's period, other lengths off that grid
            are tried and told, and only with ``any_chunk`` have to be right.
        axis: the dimension of x that is time.
        delay: so many samples of the output come before the first of the model's.
        make_step: makes a fresh step, in the place of ``step``.
        reset: a callable, or the name of a method of the step, that begins a new sequence.
        flush: a callable, or the name of a method of the step, that returns what is still held
            back when the signal has ended; with a state where it takes one.
        state: the first state, of which each sequence gets a copy.
        any_chunk: whether chunks off the grid have to be right, too.
        complete: whether all of the model's samples have to come; else those may be missing at the
            end that are held back for the delay or for the look-ahead.
        gradients: compare gradients as well, with respect to x and the model's parameters.
        rtol, atol: what may differ, ``atol + rtol * max|y|`` with the maximum of each channel; both
            or neither. When left out, 64 eps of the type of the model's output.
        spatial_dims: the spatial dimensions of x; all from the third on when left out.

    Returns a record whose verdict is SAME, DIFFERENT with its faults and their places, or
    INCONCLUSIVE with its reason. Outputs that are constant, dead or not finite are never the same,
    and neither is anything where no chunk followed another, or where none can know of another.

    Raises:
        InputError: for arguments that cannot be used.
        ModelError: where the model raises, or the step on chunks of the given length, or where it
            returns what is no output of the model.

    Example:
        >>> import torch, shiftcheck
        >>> conv = torch.nn.Conv1d(1, 1, 5)
        >>> model = lambda x: conv(torch.nn.functional.pad(x, (4, 0)))
        >>> def step(chunk, past):
        ...     past = torch.zeros(1, 1, 4) if past is None else past
        ...     both = torch.cat([past, chunk], -1)
        ...     return conv(both), both[..., -4:]
        >>> shiftcheck.check_streamable(step, model, torch.randn(1, 1, 100), 16).verdict
        'same'
        >>> forgets = lambda chunk: step(chunk, None)[0]
        >>> shiftcheck.check_streamable(forgets, model, torch.randn(1, 1, 100), 16).faults
        ('no state',)
    """
    tolerances = read_tolerances(rtol, atol) or (None, None)
    stepping = Stepping(step=step, make_step=make_step, reset=reset, flush=flush, state=state)
    stepping.check()
    options = Options(
        chunk=read_chunk(chunk),
        delay=_read_delay(delay),
        any_chunk=any_chunk,
        complete=complete,
        gradients=gradients,
        tolerances=tolerances,
    )
    dims = dims_without_channels(x, spatial_dims)
    given = prepared(model, x, spatial_dims=dims, whole_numbers=True)
    seen = given.seen(given.inputs, x)
    at = time_axis(seen.inputs, axis)
    plan, notes = _structure(seen, axis)
    stage = Stage(
        model=seen.model,
        stepping=stepping,
        inputs=seen.inputs,
        axis=at,
        arrays=_holds_arrays(x),
    )
    return Question(stage, plan, options, notes).report()


def _read_delay(delay: Any) -> int:
    if isinstance(delay, bool) or not isinstance(delay, int) or delay < 0:
        raise InputError(
            f"delay={delay!r}: give by how many samples of the output the step is late, a whole"
            " number of at least 0"
        )
    return delay


def _holds_arrays(x: Any) -> bool:
    values = x.values() if isinstance(x, Mapping) else x if isinstance(x, tuple) else (x,)
    return any(isinstance(value, np.ndarray) for value in values)


def _structure(seen: Prepared, axis: int) -> tuple[StreamingPlan | None, tuple[str, ...]]:
    try:
        return plan_of(seen, axis), ()
    except ModelError as error:
        why = str(error).splitlines()[0]
        return None, (f"the structure of the model could not be read: {why}",)
