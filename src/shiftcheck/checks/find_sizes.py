"""Which sizes a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shiftcheck.checks.prepare import planned_with_gradients_if_needed
from shiftcheck.checks.read_geometry import structure_plan
from shiftcheck.measuring.plan import Model
from shiftcheck.measuring.sizes_taken import sizes_taken
from shiftcheck.report.sizes import InputSizes


def input_sizes(
    model: Model,
    x: Any,
    *,
    layer: str | None = None,
    boundary: str | Sequence[str] = "valid",
    spatial_dims: Sequence[int] | None = None,
    training: bool = False,
    fixed: Sequence[str | int] = (),
    outputs: Sequence[str | int] | None = None,
) -> InputSizes:
    """Which spatial sizes a model takes, and which of them are even, valid, comparable and closed.

    The model runs without values at few sizes; what they tell is verified at others.

    Args:
        model: any module or callable.
        x: an input, or its shape ``[batch, channels, *spatial]``; the model need not take its size.
        layer, boundary, spatial_dims, training, fixed, outputs: as in ``check_equivariance``.

    Returns:
        The sizes in pixels, for each spatial axis.

    Raises:
        InputError: for arguments that cannot be used.
        ModelError: the model took none of the sizes that were tried.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Sequential(torch.nn.PixelUnshuffle(2), torch.nn.MaxPool2d(2, 2))
        >>> sizes = shiftcheck.input_sizes(net, (1, 1, 31, 31))
        >>> sizes.axes[0].accepted.least, sizes.axes[0].accepted.step, sizes.nearest(31)[0]
        (4, 2, (30, 32))
    """
    plan = structure_plan(
        model,
        x,
        layer=layer,
        boundary=boundary,
        spatial_dims=spatial_dims,
        training=training,
        fixed=fixed,
        outputs=outputs,
    )
    return planned_with_gradients_if_needed(plan, lambda each: sizes_taken(each, model))
