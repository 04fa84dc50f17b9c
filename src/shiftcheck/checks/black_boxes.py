"""Callables that are no networks of torch: when they are looked at from outside alone."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from shiftcheck.measuring.model_errors import LEAVES_TORCH
from shiftcheck.measuring.plan import Model
from shiftcheck.measuring.signals.arguments import Inputs, Leaf
from shiftcheck.report.causes import CauseForm
from shiftcheck.report.equivariance import Report
from shiftcheck.tracing.black_box import BlackBox, returns_arrays
from shiftcheck.tracing.modules import modules_of
from shiftcheck.tracing.restoring.state import preserved


def seen_as(model: Model, inputs: Inputs, x: Any, *, training: bool) -> Model:
    """The model, or the same as a function of arrays where it is one.

    It is one where ``x`` is an array, and the model cannot do with a tensor or returns an array.
    """
    if isinstance(model, torch.nn.Module) or not _holds_arrays(x):
        return model
    black_box = BlackBox(model, arrays=True)
    with preserved(modules_of(model), inputs.tensors, training=training, model=model):
        returned = _tried(model, inputs)
        if returned is not None and not returns_arrays(returned):
            return model
        return model if _tried(black_box, inputs) is None else black_box


def _holds_arrays(x: Any) -> bool:
    values = x.values() if isinstance(x, Mapping) else x if isinstance(x, tuple) else (x,)
    return any(isinstance(value, np.ndarray) for value in values)


def _tried(model: Model, inputs: Inputs) -> Any:
    """What a callable returns on copies of the caller's values; None where it raises."""
    values = [v.dressed(v.tensor.clone()) if isinstance(v, Leaf) else v for v in inputs.leaves]
    args, kwargs = inputs.call(values)
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", DeprecationWarning)  # NumPy's, of a tensor
            return model(*args, **kwargs)
    except Exception:  # the check shows it, if it is not for a reason that arrays do away with
        return None


def leaves_torch(report: Report) -> bool:
    """Whether a check failed because values went to another library and came back."""
    guilty = report.guilty
    return guilty is not None and guilty.form is CauseForm.LEAK and guilty.op in LEAVES_TORCH


def note(line: str) -> str:
    """What a report says that was made from outside; ``line``: where the values leave."""
    where = f" ({line})" if line else ""
    what = "it was probed as a whole, as one operation"
    return f"values leave torch inside the callable: {what}{where}"
