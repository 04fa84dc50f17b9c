"""The same plan, measured on a copy of the model in another floating type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch

from shiftcheck.measuring.passes import Passes
from shiftcheck.measuring.plan import Plan
from shiftcheck.tracing.modules import in_dtype, modules_of
from shiftcheck.tracing.precision import SINGLE, eps_of, exact_products
from shiftcheck.tracing.restoring.state import preserved

Measured = TypeVar("Measured")

EPS = 2.0**-52
"""The epsilon of float64."""


def in_float64(plan: Plan, measure: Callable[[Passes], Measured]) -> Measured | None:
    """What is measured in float64; None where the model does not run in that alone."""
    measured = _in_type(plan, torch.float64, measure)
    if measured is None or any(eps_of(t) > EPS for t in measured[1].dtypes):
        return None
    return measured[0]


def in_float32(plan: Plan, measure: Callable[[Passes], Measured]) -> Measured | None:
    """What is measured in float32; None where the model does not run in that alone."""
    with exact_products():
        measured = _in_type(plan, torch.float32, measure)
    if measured is None or any(eps_of(t) not in (0.0, SINGLE) for t in measured[1].dtypes):
        return None
    return measured[0]


def _in_type(
    plan: Plan, dtype: torch.dtype, measure: Callable[[Passes], Measured]
) -> tuple[Measured, Passes] | None:
    try:
        model, inputs = in_dtype(plan.model, dtype), plan.inputs.in_dtype(dtype)
        again = replace(plan, model=model, inputs=inputs, progress=False)
        with preserved(modules_of(model), [], training=plan.training, model=model) as originals:
            passes = Passes(again, originals)
            return measure(passes), passes
    except Exception:  # a model that cannot be copied or run in that type stays unconfirmed
        return None
