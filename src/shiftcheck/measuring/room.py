"""Whether a pass on a larger input fits into what is free of the memory."""

from __future__ import annotations

import math
import os

import torch

from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.structure_pass import read_structure

COPIES = 2
"""An assertion runs one signal after another, at the least, and keeps the output of the first."""


def bytes_needed(plan: Plan) -> int:
    """What the activations of one signal take, if none of them were freed, in bytes."""
    inputs = plan.inputs
    rows, _, _ = read_structure(
        plan.model, inputs, layer=plan.layer, training=plan.training, computed=False
    )
    values = sum(math.prod(row.layout.shape) for row in rows) + inputs.main.tensor.numel()
    return COPIES * values * inputs.main.tensor.element_size()


def bytes_free(device: torch.device) -> int | None:
    """What is free where a model runs, in bytes; None where that is not known."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not every system tells
        return None
