"""The geometry of a model, from shapes alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from shiftcheck.checks.circumstances import causes_of, circumstances
from shiftcheck.checks.explained import explaining_errors
from shiftcheck.checks.layer_geometry import layer_result
from shiftcheck.checks.prepare import dtype_of, is_shape, planned_with_gradients_if_needed, prepared
from shiftcheck.errors import InputError
from shiftcheck.measuring.plan import Model, Plan
from shiftcheck.measuring.structure_pass import read_structure
from shiftcheck.report.equivariance import Report
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.torch_internals import uncompiled


@explaining_errors
def geometry(
    model: Model,
    x: Any,
    *,
    layer: str | None = None,
    boundary: str | Sequence[str] = "valid",
    spatial_dims: Sequence[int] | None = None,
    training: bool = False,
    fixed: Sequence[str | int] = (),
    outputs: Sequence[str | int] | None = None,
) -> Report:
    """The stride, period, halo, valid region and causes of every layer, from shapes alone.

    Args:
        model: any module or callable.
        x: the input, or its shape ``[batch, channels, *spatial]``; nothing is computed.
        layer, boundary, spatial_dims, training, fixed, outputs: as in ``check_equivariance``.

    Returns:
        A report of all layers without a verdict, as nothing was measured.

    Raises:
        InputError: for arguments that cannot be used.
        ModelError: where the model raises.

    Example:
        >>> import torch, shiftcheck
        >>> g = shiftcheck.geometry(torch.nn.Conv2d(1, 1, 5, stride=2), (1, 1, 32, 32))
        >>> [str(s) for s in g.outputs[0].stride], g.outputs[0].receptive_field
        (['2', '2'], (5.0, 5.0))
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
    return planned_with_gradients_if_needed(plan, _structure)


def structure_plan(
    model: Model,
    x: Any,
    *,
    layer: str | None,
    boundary: str | Sequence[str],
    spatial_dims: Sequence[int] | None,
    training: bool,
    fixed: Sequence[str | int],
    outputs: Sequence[str | int] | None,
) -> Plan:
    """The plan of a pass that only reads the structure, on an input or for its shape."""
    if is_shape(x):
        if min(x) < 0:
            raise InputError(f"x={tuple(x)}: a shape has no negative sizes")
        x = torch.empty(tuple(x), dtype=dtype_of(uncompiled(model)), device="meta")
    given = prepared(
        model,
        x,
        boundary,
        spatial_dims,
        fixed=fixed,
        outputs=outputs,
        whole_numbers=True,
        values=False,
    )
    seen = given.seen(given.inputs, x, training=training)
    return Plan(model=seen.model, inputs=seen.inputs, layer=layer, training=training)


def _structure(plan: Plan) -> Report:
    rows, outputs, notes = read_structure(
        plan.model, plan.inputs, layer=plan.layer, training=plan.training
    )
    return Report(
        verdict=None,
        reason=Reason.NONE,
        layers=tuple(map(layer_result, rows)),
        outputs=tuple(map(layer_result, outputs)),
        causes=causes_of(outputs),
        notes=tuple(notes),
        **circumstances(plan),
    )
