"""The check of equivariance: prepare, choose shifts, measure, judge, and try what may help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from shiftcheck.checks.black_boxes import leaves_torch
from shiftcheck.checks.equivariance.examine import examine, passing, with_shifts
from shiftcheck.checks.equivariance.growing import grown, read_grow
from shiftcheck.checks.equivariance.randomized_weights import check_randomized
from shiftcheck.checks.equivariance.remedies import diagnosed
from shiftcheck.checks.explained import explaining_errors
from shiftcheck.checks.prepare import (
    as_black_box_if_needed,
    check_options,
    prepared,
    read_tolerances,
    with_gradients_if_needed,
)
from shiftcheck.measuring.effort import counted
from shiftcheck.measuring.plan import Model, Plan
from shiftcheck.measuring.progress import shown_if_long
from shiftcheck.measuring.remembered import remembering
from shiftcheck.measuring.signals.read_arguments import check_shifts
from shiftcheck.report.equivariance import Report, Verdict
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.modules import modules_of


@explaining_errors
def check_equivariance(
    model: Model,
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
    measure: Literal["layers", "outputs", "failing"] = "layers",
    weights: Literal["own", "randomized"] = "own",
    draws: int = 3,
    interpolation: Literal["lanczos", "linear"] = "lanczos",
    fixed: Sequence[str | int] = (),
    outputs: Sequence[str | int] | None = None,
    effort: Literal["bounded", "full"] = "bounded",
    grow: bool | Sequence[int] = False,
) -> Report:
    """Compare ``model(S x)`` with ``S model(x)`` for every layer, over the valid region.

    Args:
        model: any module or callable; it is left as it was found.
        x: a tensor or array ``[batch, channels, *spatial]``, or a tuple or dict of arguments; of
            floating or whole numbers, or truth values.
        layer: check up to this layer; what follows is not run.
        shifts: pixels, one tuple for each shift; chosen from the geometry when left out. Where one
            of them is fractional, as ``(0.5, 0)``, input and outputs are interpolated; that
            measures, and only with tolerances passes or fails.
        boundary: ``"valid"`` (a window onto an infinite plane) or ``"circular"`` (a torus, shifted
            with torch.roll), once or for each spatial axis.
        spatial_dims: the spatial dimensions; all from the third on when left out.
        rtol, atol: what passes, ``atol + rtol * max|y|`` of a channel; both or neither.
        seed: of the fresh content that a shift brings in, and of the chosen shifts.
        max_batch: copies, with the base, that travel in one pass at most.
        progress: show a progress bar.
        training: leave the training flags as they are; else the model is checked in eval mode.
        measure: ``"layers"``, only the ``"outputs"``, or the layers of a model that is
            ``"failing"`` and the outputs of one that is not.
        weights: the model's ``"own"``, or ``"randomized"`` ones: normal noise with the mean and the
            standard deviation of each parameter. What is found then is a property of the
            architecture, and not of these weights.
        draws: how many times randomised weights are drawn; the worst verdict counts.
        interpolation: how a plane is read between pixels, as in ``shift``; circles are read as
            trigonometric polynomials.
        fixed: the arguments that stand still while the others move, by name or position, as
            ``("template",)`` or ``(1,)``; a part of one as ``"batch['template']"``.
        outputs: those of several outputs that count, by their names in the report, their keys or
            their positions, as ``["output[0]"]``, ``["map"]`` or ``[0]``; all when left out.
        effort: where the check does not pass, ``"bounded"`` spends on the explanation at most three
            times what measuring has cost, and twelve passes; the report names what was left out.
            With ``"full"`` there is no such bound.
        grow: with True, an input that leaves nothing to compare is grown to the smallest size that
            does, where the memory allows: x is put in the middle, and what is added is drawn from
            its own values. Or the spatial size itself, in pixels, as ``(512, 512)``. A note says
            what was drawn.

    Returns:
        The report, whatever the verdict.

    Raises:
        InputError: for arguments that cannot be used.
        ModelError: where the model raises or returns no tensor that depends on the input.

    Example:
        >>> import torch, shiftcheck
        >>> report = shiftcheck.check_equivariance(
        ...     torch.nn.Conv2d(1, 1, 3, padding=1), torch.randn(1, 1, 12, 13)
        ... )
        >>> report.verdict
        <Verdict.EQUIVARIANT: 'equivariant'>
    """
    check_options(
        layer=layer,
        seed=seed,
        max_batch=max_batch,
        training=training,
        measure=measure,
        weights=weights,
        draws=draws,
        interpolation=interpolation,
        effort=effort,
    )
    tolerances = read_tolerances(rtol, atol)
    given = prepared(
        model, x, boundary, spatial_dims, fixed=fixed, outputs=outputs, whole_numbers=True
    )
    inputs = replace(given.inputs, interpolation=interpolation)
    chosen = check_shifts(shifts, inputs, between=True) if shifts is not None else None
    plan = Plan(
        model=given.seen(inputs, x, training=training).model,
        inputs=inputs,
        shifts=chosen or (),
        shifts_given=chosen is not None,
        seed=seed,
        layer=layer,
        training=training,
        every_layer=measure == "layers",
        explained=measure == "failing",
        full_effort=effort == "full",
        grow=read_grow(grow, inputs),
        tolerances=tolerances,
        max_batch=max_batch,
        progress=progress,
    )
    if weights == "own":
        return _check(plan)
    return check_randomized(lambda: _check(plan), modules_of(plan.model), seed, draws)


def _check(plan: Plan) -> Report:
    """The check of a plan, of the model as it can be looked at."""

    def check(model: Model, gradients: bool) -> Report:
        inputs = replace(plan.inputs, gradients=gradients) if gradients else plan.inputs
        return _examined(replace(plan, model=model, inputs=inputs))

    return as_black_box_if_needed(
        lambda model: with_gradients_if_needed(lambda gradients: check(model, gradients)),
        plan.model,
        plan.layer,
        leaves_torch,
        lambda report: report.reason in (Reason.UNSUPPORTED, Reason.LEFT_TORCH),
    )


def _examined(plan: Plan) -> Report:
    """Choose shifts where none were given, measure, judge, and try what may help."""
    shown = shown_if_long(otherwise_shown=plan.progress)
    with counted() as ledger, remembering(), shown:
        plan, notes = grown(*with_shifts(plan))
        if plan.explained:
            report = passing(plan, notes)
            if report is not None:
                return report
            plan = replace(plan, every_layer=True)
        report = examine(plan, notes, ledger=ledger).report
        if report.verdict is Verdict.EQUIVARIANT:
            return of_outputs(report) if plan.explained else report
        if not plan.every_layer or plan.between_pixels:
            return report
        return diagnosed(report, plan)


def of_outputs(report: Report) -> Report:
    """The report with nothing said of the layers before the outputs."""
    layers = tuple(
        replace(row, verdict=None, reason=Reason.NONE, shifts=()) for row in report.layers
    )
    return replace(report, layers=layers)
