"""What the literature measures beside: squared errors over shifts, and decibels made of them."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from shiftcheck.checks.equivariance.examine import Examination, examine
from shiftcheck.checks.explained import explaining_errors
from shiftcheck.checks.prepare import check_options, prepared
from shiftcheck.errors import InputError, ModelError
from shiftcheck.measuring.gaps.regions import Sums
from shiftcheck.measuring.model_errors import needs_gradients
from shiftcheck.measuring.plan import Model, Plan
from shiftcheck.measuring.signals.arguments import Shift
from shiftcheck.measuring.signals.read_arguments import check_shifts
from shiftcheck.report.figures import Metrics
from shiftcheck.report.reasons import BLIND, Reason

LARGEST = 8
"""Shifts are drawn from up to this part of a size, as in StyleGAN3."""


@explaining_errors
def equivariance_metrics(
    model: Model,
    x: Any,
    *,
    shifts: Sequence[Any] | None = None,
    fractional: bool = False,
    draws: int = 16,
    peak: float | None = None,
    margin: bool = True,
    layer: str | None = None,
    boundary: str | Sequence[str] = "valid",
    spatial_dims: Sequence[int] | None = None,
    interpolation: Literal["lanczos", "linear"] = "lanczos",
    seed: int = 0,
    max_batch: int | None = None,
) -> tuple[Metrics, ...]:
    """Measure how far ``model(S x)`` is from ``S model(x)``, for each output, in common metrics.

    They measure; they are no test: a PSNR is as good as its ``peak`` is chosen, and scaling an
    output down raises it. ``check_equivariance`` judges.

    Args:
        model: any module or callable; it is left as it was found.
        x: a tensor or array ``[batch, channels, *spatial]``, or a tuple or dict of arguments.
        shifts: pixels, one tuple for each shift, whole or fractional. When left out, ``draws``
            seeded ones, uniform over an eighth of each size to both sides.
        fractional: whether drawn shifts are fractional; else they are rounded to whole pixels.
        draws: how many shifts are drawn.
        peak: the range of the output that the PSNR is relative to, as 2 for images in [-1, 1]; that
            of the unshifted output when left out.
        margin: compare only samples that see neither padding nor what the shift brought in; else
            every one that overlaps, as EQ-T does.
        layer, boundary, spatial_dims, interpolation, seed, max_batch: as in ``check_equivariance``.
            Where a shift is no whole number of samples of an output, that is interpolated.

    Returns:
        The figures of each output, in the order of the outputs.

    Raises:
        InputError: for arguments that cannot be used.
        ModelError: where the model raises or returns no tensor that depends on the input.

    Example:
        >>> import torch, shiftcheck
        >>> blur = torch.nn.AvgPool2d(2, stride=1)
        >>> found = shiftcheck.equivariance_metrics(blur, torch.rand(1, 1, 24, 26), draws=4)
        >>> len(found[0].shifts), found[0].relative_l2 < 1e-6
        (4, True)
    """
    check_options(
        draws=draws,
        peak=peak,
        interpolation=interpolation,
        fractional=fractional,
        margin=margin,
    )
    given = prepared(model, x, boundary, spatial_dims)
    inputs = replace(given.inputs, interpolation=interpolation)
    chosen = check_shifts(
        _drawn(inputs.pixels, draws, seed, fractional) if shifts is None else shifts,
        inputs,
        between=True,
    )
    plan = Plan(
        model=given.seen(inputs, x).model,
        inputs=inputs,
        shifts=chosen,
        shifts_given=True,
        seed=seed,
        layer=layer,
        max_batch=max_batch,
        between_samples=True,
        sums="valid" if margin else "all",
    )
    try:
        examination = examine(plan)
    except ModelError as error:
        if not needs_gradients(error):
            raise
        examination = examine(replace(plan, inputs=replace(inputs, gradients=True)))
    names = [output.name for output in examination.report.outputs]
    return tuple(_metrics(plan, examination, name, peak, margin) for name in names)


def _drawn(pixels: Sequence[int], draws: int, seed: int, fractional: bool) -> list[Shift]:
    """Uniform shifts of at most an eighth of each size, none of which is zero."""
    draw = random.Random(seed)
    shifts: list[Shift] = []
    reach = [n / LARGEST for n in pixels]
    if all(math.floor(r) < 1 for r in reach) and not fractional:
        raise InputError(
            f"x has spatial sizes {tuple(pixels)}: an eighth of them is less than a pixel; give"
            " shifts, or fractional=True"
        )
    while len(shifts) < draws:
        shift = tuple(draw.uniform(-r, r) for r in reach)
        shift = shift if fractional else tuple(round(v) for v in shift)
        if any(shift):
            shifts.append(shift)
    return shifts


def _metrics(
    plan: Plan, examination: Examination, name: str, peak: float | None, margin: bool
) -> Metrics:
    measured = examination.measured
    row = next(o for o in examination.report.outputs if o.name == name)
    entry = measured.outputs.get(name)
    gaps = entry.gaps if entry is not None else ()
    known: dict[str, Any] = {"name": name, "shifts": plan.shifts, "margin": margin}
    sums = [gap.sums for gap in gaps if gap.sums is not None and gap.sums.count]
    blind = row.reason if row.reason in TELLS_NOTHING else measured.doubt.reason
    if blind or not sums:
        return Metrics(**known, reason=blind or row.reason or Reason.NO_REGION)
    return _figures(known, [gap.sums for gap in gaps], sums, peak)


TELLS_NOTHING = {
    Reason.NOT_FINITE,
    Reason.DEAD,
    Reason.CONSTANT,
    Reason.CONSTANT_INPUT,
    Reason.SATURATED,
    Reason.NOT_SPATIAL,
    Reason.NO_REGION,
}
TELLS_NOTHING |= {Reason.IGNORES, Reason.UNREAD, *BLIND}
"""Reasons for which the figures would tell nothing, though they could be computed."""


def _figures(
    known: dict[str, Any], each: Sequence[Sums | None], sums: Sequence[Sums], peak: float | None
) -> Metrics:
    samples = sum(s.count for s in sums)
    error, signal = math.fsum(s.error for s in sums), math.fsum(s.signal for s in sums)
    top = peak if peak is not None else sums[0].high - sums[0].low
    of_shifts = tuple(None if s is None else _ratio(s.error, s.signal) for s in each)
    measured = [(e, v) for e, v in zip(of_shifts, known["shifts"], strict=True) if e is not None]
    worst = max(measured, key=lambda pair: pair[0], default=(None, None))
    return Metrics(
        **known,
        samples=samples,
        max_gap=max(s.largest for s in sums),
        relative_l2=_ratio(error, signal),
        mean_squared_error=error / samples,
        psnr=_decibels(top, error / samples),
        peak=top,
        relative_l2_of_shifts=of_shifts,
        mean_error=math.fsum(e for e, _ in measured) / len(measured) if measured else None,
        worst_error=worst[0],
        worst_shift=worst[1],
    )


def _ratio(error: float, signal: float) -> float | None:
    return math.sqrt(error / signal) if signal > 0 else None


def _decibels(peak: float, mean_squared_error: float) -> float | None:
    """Infinite where there is no error; None of an output that has no range."""
    if not peak > 0:
        return None
    if mean_squared_error == 0.0:
        return math.inf
    return 10 * math.log10(peak**2 / mean_squared_error)
