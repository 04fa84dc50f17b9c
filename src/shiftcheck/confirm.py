"""Doubtful gaps, looked at again in float64: a break keeps its size, rounding shrinks with eps."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from shiftcheck.compare import Gap
from shiftcheck.inputs import Inputs, Leaf
from shiftcheck.measurement import NOISE_MARGIN, Job, run_all
from shiftcheck.modules import modules_of
from shiftcheck.report import LayerResult, ShiftResult, Verdict
from shiftcheck.state import preserved
from shiftcheck.verdict import AGAINST_RULES, IN_NOISE, MEASURED_GAP, UNCONFIRMED

EPS = 2.0**-52
BREAK = 1e4 * EPS
"""A relative gap in float64 above this is no rounding: twenty layers reach about 100 eps."""

SLOPE = 1e-4
"""Rounding shrinks by 2**-29 from float32 to float64; a break does not."""


def doubtful(outputs: Sequence[LayerResult]) -> bool:
    """Whether a gap contradicts the structure, or a structural break shows no gap."""
    reasons = (AGAINST_RULES, IN_NOISE, MEASURED_GAP)
    return any(s.reason in reasons for o in outputs for s in o.shifts)


def measured_in_float64(job: Job, max_batch: int | None) -> dict[str, list[Gap]] | None:
    """The gaps of the outputs in float64, on a copy of the model; None where that cannot run."""
    try:
        model = doubled(job.model)
        exact = replace(
            job, model=model, inputs=_doubled_inputs(job.inputs), every_layer=False
        ).fresh()
        with preserved(modules_of(model), [], training=job.training) as originals:
            run_all(exact, originals, max_batch, progress=False)
    except Exception:  # a model that cannot be copied or run in float64 stays unconfirmed
        return None
    return {name: entry.gaps for name, entry in exact.outputs.items()}


def doubled(model: Any) -> Any:
    """A copy of a module in float64; a plain function is its own copy."""
    if isinstance(model, torch.nn.Module):
        return copy.deepcopy(model).double()
    if modules_of(model):
        raise TypeError("a bound method has no copy in float64")
    return model


def _doubled_inputs(inputs: Inputs) -> Inputs:
    def double(leaf: Any) -> Any:
        if isinstance(leaf, Leaf) and leaf.tensor.is_floating_point():
            return replace(leaf, tensor=leaf.tensor.double())
        return leaf

    leaves = tuple(double(leaf) for leaf in inputs.leaves)
    index = next(i for i, leaf in enumerate(inputs.leaves) if leaf is inputs.main)
    return replace(inputs, leaves=leaves, main=leaves[index])


def settled(result: ShiftResult, exact: Gap | None, noise: float) -> ShiftResult:
    """A doubtful result after its second look: in float64, and at what rounding can do.

    ``noise``: how far the output moves when every value of the input is off by one eps.
    """
    if result.reason not in (AGAINST_RULES, IN_NOISE):
        return result
    if result.reason == AGAINST_RULES and (result.error or 0.0) <= NOISE_MARGIN * noise:
        return replace(result, verdict=Verdict.EQUIVARIANT, reason="")
    if exact is None or exact.relative is None:
        if result.reason == AGAINST_RULES:
            return replace(result, verdict=Verdict.INCONCLUSIVE, reason=UNCONFIRMED)
        return result
    if result.reason == IN_NOISE:
        found = exact.relative > BREAK
        return replace(result, verdict=Verdict.BROKEN, reason="") if found else result
    limit = max(64 * EPS, SLOPE * (result.relative_error or 0.0))
    if exact.relative <= limit:
        return replace(result, verdict=Verdict.EQUIVARIANT, reason="")
    return result
