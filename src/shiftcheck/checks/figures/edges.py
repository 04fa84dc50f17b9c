"""How far the unknown outside of a tile is felt inside of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from shiftcheck.checks.circumstances import circumstances
from shiftcheck.checks.explained import explaining_errors
from shiftcheck.checks.prepare import (
    check_options,
    dtype_of,
    is_shape,
    planned_with_gradients_if_needed,
    prepared,
)
from shiftcheck.errors import InputError
from shiftcheck.measuring.edge_runs import Felt, LayerRuns, edge_runs, quantiles
from shiftcheck.measuring.plan import Model, Plan
from shiftcheck.measuring.signals.samples import sample_signal
from shiftcheck.report.edges import EdgeLayer, EdgeSide, EffectiveHalo
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.torch_internals import uncompiled

QUARTER = 4
"""The error over the farthest of so many parts is its level."""

GOES_ON = 0.5
"""It levels off where it is not below this part of what it was a quarter before."""


@explaining_errors
def effective_halo(
    model: Model,
    x: Any,
    tolerances: Sequence[float] = (1e-1, 1e-2, 1e-3),
    *,
    percentiles: Sequence[float] = (50.0, 90.0, 99.0, 100.0),
    draws: int = 4,
    layers: bool = False,
    layer: str | None = None,
    boundary: str | Sequence[str] = "valid",
    spatial_dims: Sequence[int] | None = None,
    seed: int = 0,
    training: bool = False,
    fixed: Sequence[str | int] = (),
    outputs: Sequence[str | int] | None = None,
) -> EffectiveHalo:
    """How far from the edge of a tile the unknown outside changes the outputs, and how much.

    One side of x, from about its middle on, is replaced by fresh content: values from random places
    of x, never what would be rolled around. What that changes on the other side is told against the
    distance from the edge, relative to the largest value of the channel. This is what an overlap is
    chosen by; the theoretical halo is what makes tiles exact.

    Args:
        model: any module or callable.
        x: the input, or its shape ``[batch, channels, *spatial]``, for noise. Distances up to three
            eighths of its size are measured, so it should be larger than the overlap.
        tolerances: relative errors above 0 and below 1.
        percentiles: of places and channels, up to 100, which is the largest error of all.
        draws: how often each side is drawn anew, with its edge somewhere else near the middle.
        layers: whether to tell of every layer; their values are kept for one pass.
        layer, boundary, spatial_dims, seed, training, fixed, outputs: as in ``check_equivariance``.
            On a circle there is no edge: it is left out.

    Returns:
        The error at each distance from an edge, in pixels of the input.

    Raises:
        InputError: for arguments that cannot be used.
        ModelError: where the model raises or returns no tensor that depends on the input.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Sequential(torch.nn.MaxPool1d(2), torch.nn.Upsample(scale_factor=2))
        >>> found = shiftcheck.effective_halo(net, (1, 1, 64))
        >>> found.needed(1e-3)
        ((1, 1),)
    """
    check_options(draws=draws, seed=seed, layer=layer, training=training)
    allowed = _numbers("tolerances", tolerances, 0.0, 1.0)
    shares = _numbers("percentiles", percentiles, 0.0, 100.0, ends=True)
    if is_shape(x):
        x = sample_signal(x, dtype=dtype_of(uncompiled(model)))
    given = prepared(
        model, x, boundary, spatial_dims, fixed=fixed, outputs=outputs, whole_numbers=True
    )
    seen = given.seen(given.inputs, x, training=training)
    plan = Plan(model=seen.model, inputs=seen.inputs, layer=layer, training=training, seed=seed)
    if all(plan.inputs.circular):
        raise _no_edge(boundary)
    return planned_with_gradients_if_needed(
        plan, lambda each: _measured(each, allowed, shares, draws, layers=layers)
    )


def check_edges(boundary: Any) -> None:
    """Raise InputError for a boundary that leaves no axis with an edge."""
    each = (boundary,) if isinstance(boundary, str) else tuple(boundary)
    if each and all(kind == "circular" for kind in each):
        raise _no_edge(boundary)


def _no_edge(boundary: Any) -> InputError:
    return InputError(
        f"boundary={boundary!r}: a circle has no edge that could be unknown, and so no effective"
        " halo: give boundary='valid' for tiles that are cut out of it, or leave that figure out"
    )


def _numbers(
    name: str, values: Sequence[float], low: float, high: float, *, ends: bool = False
) -> tuple[float, ...]:
    try:
        numbers = tuple(float(v) for v in values)
    except (TypeError, ValueError):
        numbers = ()
    fits = [low < v < high or (ends and v in (low, high)) for v in numbers]
    if not numbers or not all(fits):
        between = f"from {low:g} to {high:g}" if ends else f"above {low:g} and below {high:g}"
        raise InputError(f"{name}={values!r}: give numbers {between}")
    return numbers


def _measured(
    plan: Plan,
    tolerances: tuple[float, ...],
    percentiles: tuple[float, ...],
    draws: int,
    *,
    layers: bool,
) -> EffectiveHalo:
    outputs, rows = edge_runs(plan, draws=draws, layers=layers)
    told = tuple(_layer(runs, tolerances, percentiles) for runs in outputs)
    how = circumstances(plan)
    kept = (
        "model",
        "boundary",
        "input_shape",
        "spatial_dims",
        "layer",
        "dtype",
        "seed",
        "versions",
    )
    return EffectiveHalo(
        tolerances=tolerances,
        percentiles=percentiles,
        outputs=told,
        layers=tuple(_layer(runs, tolerances, percentiles) for runs in rows),
        reason=told[0].reason if all(output.reason for output in told) else Reason.NONE,
        draws=draws,
        **{name: how[name] for name in kept},
    )


def _layer(
    runs: LayerRuns, tolerances: tuple[float, ...], percentiles: tuple[float, ...]
) -> EdgeLayer:
    return EdgeLayer(
        name=runs.name,
        op=runs.op,
        sides=tuple(
            edge_side(axis, side, felt, tolerances, percentiles)
            for (axis, side), felt in runs.felt.items()
        ),
        reason=runs.reason,
        channels=runs.channels,
        silent=runs.silent,
    )


def edge_side(
    axis: int, side: str, felt: Felt, tolerances: tuple[float, ...], percentiles: tuple[float, ...]
) -> EdgeSide:
    """What was felt on one side of an axis, with the distances within which it is too much."""
    curves = quantiles(felt, percentiles)
    distances = tuple(curves)
    errors = tuple(zip(*curves.values(), strict=True)) or ((),) * len(percentiles)
    quarter = max(1, len(distances) // QUARTER)
    level = tuple(max(curve[-quarter:], default=0.0) for curve in errors)
    before = [max(curve[-2 * quarter : -quarter], default=0.0) for curve in errors]
    goes_on = any(now > GOES_ON * then > 0 for now, then in zip(level, before, strict=True))
    levels_off = math.isinf(felt.theoretical) and goes_on
    return EdgeSide(
        axis=axis,
        side=side,
        theoretical=felt.theoretical,
        distances=distances,
        errors=errors,
        needed=tuple(
            tuple(
                None if levels_off and lasting > t else _needed(distances, curve, t)
                for t in tolerances
            )
            for curve, lasting in zip(errors, level, strict=True)
        ),
        level=level,
        levels_off=levels_off,
    )


def _needed(distances: Sequence[int], errors: Sequence[float], tolerance: float) -> int | None:
    """The last distance at which the error is larger; None where that is the end."""
    larger = [d for d, error in zip(distances, errors, strict=True) if error > tolerance]
    if not larger:
        return 0 if distances else None
    return None if larger[-1] == distances[-1] else larger[-1]
