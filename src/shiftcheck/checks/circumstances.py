"""What a report says beside its verdict: the causes on the way, and how it was made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from shiftcheck.measuring.plan import Plan
from shiftcheck.report.causes import Cause
from shiftcheck.tracing.traced import Row


def causes_of(rows: Sequence[Row]) -> tuple[Cause, ...]:
    """The causes on the way to the rows, each once."""
    return tuple(dict.fromkeys(c for row in rows for c in row.layout.causes))


def circumstances(plan: Plan) -> dict[str, Any]:
    """How a report was made, for its record."""
    inputs = plan.inputs
    x = inputs.main.tensor
    names = ("valid", "circular")
    return {
        "model": getattr(plan.model, "__name__", type(plan.model).__name__),
        "boundary": tuple(names[c] for c in inputs.circular),
        "input_shape": tuple(x.shape),
        "spatial_dims": inputs.main.spatial,
        "layer": plan.layer,
        "fixed": inputs.fixed,
        "chosen_outputs": inputs.outputs,
        "dtype": str(x.dtype).removeprefix("torch."),
        "device": str(x.device),
        "seed": plan.seed,
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }
