"""A plan with a change applied, as it is tried."""

from __future__ import annotations

from dataclasses import replace

import torch

from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.signals.arguments import Inputs
from shiftcheck.measuring.signals.resized import resized
from shiftcheck.report.equivariance import Change
from shiftcheck.tracing.modules import in_dtype


def changed(
    plan: Plan, change: Change, share: float = 1.0, *, alike_in_a_batch: bool = False
) -> Plan:
    """The plan with a change applied; only the outputs are measured.

    ``share``: of the layers of the model, what a pass then goes through. ``alike_in_a_batch``: as
    it was, x gave the same there.
    """
    moved = change.moves(plan.shifts)
    model, inputs = plan.model, _changed_inputs(plan.inputs, change)
    if change.dtype:
        model = in_dtype(model, getattr(torch, change.dtype))
    return replace(
        plan,
        model=model,
        inputs=inputs,
        shifts=moved or plan.shifts,
        shifts_given=bool(moved) or plan.shifts_given,
        layer=change.layer or plan.layer,
        training=plan.training and not change.evaluation,
        tolerances=None if change.tolerances else plan.tolerances,
        circular_padding=change.circular_padding,
        every_layer=False,
        explained=False,
        share=share,
        alike_in_a_batch=alike_in_a_batch,
        progress=False,
    )


def _changed_inputs(inputs: Inputs, change: Change) -> Inputs:
    if change.size:
        inputs = resized(inputs, change.size)
    if change.signal:
        inputs = _noise(inputs)
    if change.fixed:
        inputs = inputs.keeping(change.fixed)
    if change.outputs:
        inputs = replace(inputs, outputs=change.outputs, measured={})
    if change.boundary:
        circles = tuple(b == "circular" for b in change.boundary)
        inputs = replace(inputs, circular=circles, measured={})
    return inputs.in_dtype(getattr(torch, change.dtype)) if change.dtype else inputs


def _noise(inputs: Inputs) -> Inputs:
    """Noise in the place of the main input."""
    x = inputs.main.tensor
    generator = torch.Generator().manual_seed(0)
    if not x.is_floating_point():  # its own values, and where these are all the same, others
        least, most = (int(v) for v in (x.min().long(), x.max().long()))
        top = max(most, least + 1)
        whole = torch.randint(least, top + 1, x.shape, generator=generator, device="cpu")
        return inputs.with_main(whole.to(x.dtype).to(x.device))
    drawn = torch.randn(x.shape, generator=generator, dtype=torch.float64, device="cpu")
    return inputs.with_main(drawn.to(x.dtype).to(x.device))
