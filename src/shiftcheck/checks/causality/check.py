"""The check of causality: whether anything of the future reaches the outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from shiftcheck.checks.causality.arguments import time_of
from shiftcheck.checks.causality.guilt import Layers
from shiftcheck.checks.causality.judge import judged, overall
from shiftcheck.checks.causality.measure import DRAWS, Findings, findings
from shiftcheck.checks.causality.question import Question
from shiftcheck.checks.circumstances import circumstances
from shiftcheck.checks.explained import explaining_errors
from shiftcheck.checks.prepare import (
    as_black_box_if_needed,
    check_options,
    prepared,
    signal_shape,
    with_gradients_if_needed,
)
from shiftcheck.errors import InputError
from shiftcheck.measuring.plan import Model, Plan
from shiftcheck.report.causality import CausalityReport, CausalityVerdict
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.modules import named_modules_of


@explaining_errors
def check_causality(
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
    """Say whether an output depends on input samples that come after it.

    The structure tells how far ahead each layer sees; runs in which all that comes behind a time is
    replaced tell what changes before it. A model passes where the structure allows no sample to see
    beyond ``lookahead``, and nothing changed that must not.

    Output sample ``k`` of effective stride ``s`` stands at input sample ``k * s`` and is due when
    its block of ``block`` input samples is complete: by default its own ``s``, so that the k-th
    output of a layer of stride 4 may see the inputs up to ``4 * k + 3``, and an output of stride 1
    those up to ``k``.

    Args:
        model: any module or callable; it is left as it was found.
        x: a tensor or array, such as ``[batch, channels, time]``, or ``[batch, time]`` for a wave
            or the numbers of tokens, or a tuple or dict of arguments.
        axis: the dimension of ``x`` that is the time, such as 1 for ``[batch, time, channels]`` or
            2 for a video ``[batch, channels, time, height, width]``.
        lookahead: input samples that each output may see beyond its block.
        block: input samples that come together; by default as many as an output's stride.
        layer: check the output of this layer; what follows is not run.
        seed: of the futures that are drawn.
        training: leave the training flags as they are; else the model is checked in eval mode.
        fixed: arguments that have no time, by name or position; see `check_equivariance`.
        outputs: those of several outputs that count, by name, key or position.

    Returns:
        The report, whatever the verdict.

    Raises:
        InputError: for arguments that cannot be used.
        ModelError: where the model raises or returns no tensor that depends on the input.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Conv1d(1, 1, 3, padding=1)
        >>> report = shiftcheck.check_causality(net, torch.randn(1, 1, 64))
        >>> report.verdict, report.outputs[0].lookahead, report.guilty.kind
        ('not causal', 1.0, 'window reaches ahead')
    """
    check_options(layer=layer, seed=seed, training=training)
    dim, rank = time_of(signal_shape(model, x, fixed), axis)
    _check_numbers(lookahead, block)
    given = prepared(model, x, "valid", (dim,), fixed=fixed, outputs=outputs, whole_numbers=True)
    seen = given.seen(given.inputs, x, training=training)
    _check_room(seen.inputs.pixels[0], axis, lookahead, block or 1)
    plan = Plan(model=seen.model, inputs=seen.inputs, layer=layer, training=training, seed=seed)
    question = Question(plan=plan, dim=dim, lookahead=lookahead, block=block)

    def check(model: Model, gradients: bool) -> CausalityReport:
        inputs = replace(plan.inputs, gradients=gradients)
        asked = replace(question, plan=replace(plan, model=model, inputs=inputs))
        return _report(asked, axis, dim - rank)

    return as_black_box_if_needed(
        lambda model: with_gradients_if_needed(lambda gradients: check(model, gradients)),
        plan.model,
        layer,
    )


LEAST = 4


def _check_numbers(lookahead: Any, block: Any) -> None:
    whole = isinstance(lookahead, int) and not isinstance(lookahead, bool)
    if not whole or lookahead < 0:
        raise InputError(f"lookahead={lookahead!r}: give a whole number of samples, 0 or more")
    whole = isinstance(block, int) and not isinstance(block, bool)
    if block is not None and (not whole or block < 1):
        raise InputError(f"block={block!r}: give a whole number of samples, 1 or more")


def _check_room(pixels: int, axis: int, lookahead: int, block: int) -> None:
    """Raise InputError where no output could be due with something left behind it."""
    if pixels < LEAST:
        raise InputError(
            f"axis={axis}: x has {pixels} samples of time, and {LEAST} are the least that have a"
            " past and a future"
        )
    for name, value in (("block", block), ("lookahead", lookahead)):
        if value > pixels // 2:
            raise InputError(
                f"{name}={value}: x has {pixels} samples of time, of which too few are behind it:"
                f" give at least {2 * value}"
            )


def _report(question: Question, axis: int, place: int) -> CausalityReport:
    plan = question.plan
    found = findings(question)
    layers = Layers(found.rows, named_modules_of(plan.model), place, question.lookahead)
    outputs = judged(question, found, layers)
    verdict, reason = overall(outputs)
    first = plan.inputs.main.tensor
    if verdict is not CausalityVerdict.NOT_CAUSAL and _is_constant(first):
        verdict, reason = CausalityVerdict.INCONCLUSIVE, Reason.CONSTANT_INPUT
    how = circumstances(plan)
    kept = ("model", "input_shape", "layer", "dtype", "seed", "versions")
    return CausalityReport(
        verdict=verdict,
        reason=reason,
        outputs=outputs,
        layers=layers.told,
        axis=axis,
        lookahead=question.lookahead,
        block=question.block,
        times=found.times,
        draws=DRAWS,
        notes=_notes(question, found),
        **{name: how[name] for name in kept},
    )


def _is_constant(x: torch.Tensor) -> bool:
    return bool((x == x.flatten()[0]).all())


def _notes(question: Question, found: Findings) -> tuple[str, ...]:
    pixels = question.plan.inputs.pixels[0]
    few = () if found.times else (f"no time of {pixels} has a future behind the look-ahead",)
    untried = (seen.untried for seen in found.measured if seen.untried)
    return (*found.notes, *few, *untried)
