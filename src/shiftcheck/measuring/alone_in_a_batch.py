"""Whether x gives the same in a batch with its copies as by itself."""

from __future__ import annotations

import torch

from shiftcheck.measuring.measurements import Doubt
from shiftcheck.measuring.passes import Passes
from shiftcheck.measuring.unbatched import Alone, compare_alone
from shiftcheck.report.reasons import Reason


def doubt_in_a_batch(passes: Passes, alone: Alone) -> Doubt:
    """Whether x gives something else in a batch; its copies then tell nothing."""
    plan = passes.plan
    chunk = plan.chunks()[0]
    copies = len(chunk) + 1
    with plan.inputs.without_gradients():
        values = plan.inputs.stacked(chunk, plan.seed)
        tensors = None if alone.traced is None else passes.run_again(alone.traced, values)
        if tensors is None:
            traced = passes.run(values, lambda row, tensor: None, copies=copies, geometry=False)
            tensors = [tensor for _, tensor, _ in traced.outputs]
        if len(tensors) != len(alone.outputs):
            return Doubt(Reason.BATCH_COUPLED)
        pairs = zip(alone.outputs, tensors, strict=True)
        bases = [_first(tensor, base, copies) for base, tensor in pairs]
        return compare_alone(passes, alone.outputs, bases, Reason.BATCH_COUPLED)


def _first(tensor: torch.Tensor, base: torch.Tensor, copies: int) -> torch.Tensor:
    """The first of the copies, which lead the one dimension that is larger than alone."""
    if tensor.layout != torch.strided or tensor.ndim != base.ndim:
        return tensor
    sizes = enumerate(zip(base.shape, tensor.shape, strict=True))
    larger = [dim for dim, (one, other) in sizes if one != other]
    if len(larger) != 1 or tensor.shape[larger[0]] != copies * base.shape[larger[0]]:
        return tensor
    return tensor.narrow(larger[0], 0, base.shape[larger[0]])
