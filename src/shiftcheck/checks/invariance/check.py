"""The check of invariance: outputs without spatial axes, for signals that are shifted."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from shiftcheck.checks.explained import explaining_errors
from shiftcheck.checks.invariance.examine import Question, examined, report_of, structure_of
from shiftcheck.checks.invariance.remedies import with_remedies
from shiftcheck.checks.prepare import (
    as_black_box_if_needed,
    check_options,
    prepared,
    with_gradients_if_needed,
)
from shiftcheck.measuring.effort import counted
from shiftcheck.measuring.plan import Model, Plan
from shiftcheck.measuring.remembered import remembering
from shiftcheck.measuring.signals.arguments import Inputs, Shift
from shiftcheck.measuring.signals.canvas import (
    Surroundings,
    boundary_of,
    check_room,
    fill_of_each_axis,
    read_fill,
    surrounded,
)
from shiftcheck.measuring.signals.read_arguments import check_shifts
from shiftcheck.report.invariance import (
    InvarianceReport,
    InvarianceVerdict,
)


@explaining_errors
def check_invariance(
    model: Model,
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
    """Compare ``model(S x)`` with ``model(x)``, relative to what different signals give.

    The relative error of a shift is the largest distance between the outputs for a signal of the
    batch and for the shifted signal, over the median distance between the outputs for different
    signals: those of the batch, or drawn ones where the batch holds only one.

    Args:
        model: any module or callable; it is left as it was found.
        x: a tensor or array ``[batch, channels, *spatial]``, or a tuple or dict of arguments.
        layer: check the output of this layer; what follows is not run.
        shifts: whole pixels, one tuple for each shift; by default some up to half of a circle, or
            to an eighth of an open axis.
        fill: what enters when the signal is shifted, once or for each axis: ``"circular"`` (the
            default: a torus), ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"fresh"``, as in
            `shiftcheck.shift`.
        crop: the spatial size of the model's input, where ``x`` is a larger canvas: the model is
            given the middle of ``x``, and a shift brings in what ``x`` holds there.
        spatial_dims: the spatial dimensions; all from the third on when left out.
        max_relative_error: what passes, above 0 and below 1; without it, shifts of circles must
            change nothing beyond rounding, and others are measured and not judged.
        seed: of the chosen shifts, of fresh content and of drawn signals.
        progress: show a progress bar.
        training: leave the training flags as they are; else the model is checked in eval mode.
        fixed: the arguments that are not shifted, by name or position; see `check_equivariance`.
        outputs: those of several outputs that count, by name, key or position.
        effort: what may be spent on an explanation, as in `check_equivariance`.

    Returns:
        The report, whatever the verdict.

    Raises:
        InputError: for arguments that cannot be used.
        ModelError: where the model raises or returns no tensor that depends on the input.

    Sources: the crop of a larger canvas is how R. Zhang, *Making Convolutional Networks
    Shift-Invariant Again* (2019), measures consistency; the torus is where A. Chaman and
    I. Dokmanic, *Truly Shift-Invariant Convolutional Neural Networks* (2020), prove it.

    Example:
        >>> import torch, shiftcheck
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 4, 3, stride=2, padding=1, padding_mode="circular"),
        ...     torch.nn.ReLU(),
        ...     torch.nn.AdaptiveAvgPool2d(1),
        ...     torch.nn.Flatten(),
        ... )
        >>> report = shiftcheck.check_invariance(model, torch.randn(4, 1, 8, 8))
        >>> report.verdict, report.guilty.kind, report.outputs[0].period
        (<InvarianceVerdict.NOT_INVARIANT: 'not invariant'>, 'STRIDE', (2, 2))
    """
    check_options(
        layer=layer,
        seed=seed,
        training=training,
        max_relative_error=max_relative_error,
        effort=effort,
    )
    entering = read_fill(fill, crop)
    given = prepared(
        model,
        x,
        boundary_of(entering),
        spatial_dims,
        fixed=fixed,
        outputs=outputs,
        whole_numbers=True,
    )
    fills = fill_of_each_axis(entering, len(given.inputs.pixels))
    surroundings = surrounded(given.inputs, fills, crop)
    chosen = check_shifts(shifts, surroundings.inputs) if shifts is not None else None
    check_room(chosen or (), surroundings)
    plan = Plan(
        model=given.seen(surroundings.inputs, x, training=training).model,
        inputs=surroundings.inputs,
        shifts=chosen or default_shifts(surroundings, seed),
        shifts_given=chosen is not None,
        layer=layer,
        seed=seed,
        progress=progress,
        training=training,
        full_effort=effort == "full",
    )
    question = Question(plan=plan, surroundings=surroundings, bound=max_relative_error)

    def check(model: Model, gradients: bool) -> InvarianceReport:
        seen = replace(question, plan=replace(plan, model=model))
        return _check(_around(seen, lambda i: replace(i, gradients=True)) if gradients else seen)

    return as_black_box_if_needed(
        lambda model: with_gradients_if_needed(lambda gradients: check(model, gradients)),
        plan.model,
        layer,
    )


def _around(question: Question, change: Callable[[Inputs], Inputs]) -> Question:
    """The same question with all arguments changed."""
    around = question.surroundings.mapped(change)
    plan = replace(question.plan, inputs=around.inputs)
    return replace(question, plan=plan, surroundings=around)


def default_shifts(surroundings: Surroundings, seed: int) -> tuple[Shift, ...]:
    """A grid of shifts: one pixel each way along each axis, and seeded larger ones."""
    draw = random.Random(seed)
    inputs, along = surroundings.inputs, []
    for n, room, fill in zip(inputs.pixels, surroundings.room, surroundings.fills, strict=True):
        reach = min(room, n // 2 if fill == "circular" else max(n // 8, 2))
        far = [sign * draw.randint(2, reach) for sign in (1, -1) if reach >= 2]
        few = far[1:] if len(inputs.pixels) > 2 else far
        along.append([v for v in (0, 1, -1, *few) if abs(v) <= room])
    return tuple(s for s in itertools.product(*map(sorted, along)))


def _check(question: Question) -> InvarianceReport:
    with counted() as ledger, remembering():
        structure = structure_of(question)
        findings = examined(question, structure, ledger=ledger)
        report = report_of(findings)
        if report.verdict in (InvarianceVerdict.INVARIANT, InvarianceVerdict.INCONCLUSIVE):
            return report
        return with_remedies(report, findings, structure)
