"""One of several processes that share items by a DistributedSampler; prints what all found."""

from __future__ import annotations

import json

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DistributedSampler
from torchmetrics import MetricCollection

from shiftcheck.metrics import EffectiveHalo, EquivarianceError, ShiftConsistency


class Net(nn.Module):
    """A map that depends on where things are, or class scores made of it."""

    def __init__(self, *, scores: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.place = nn.Parameter(torch.randn(3, 10, 12))
        self.scores = scores

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From images to maps ``[batch, 3, 10, 12]`` or scores ``[batch, 3]``."""
        y = self.norm(self.conv(x)).relu() * self.place
        return y.mean((2, 3)) if self.scores else y


def found(items: int, how: str) -> dict[str, float]:
    """Measure these items; ``how``: by numbers, without them, or with all in the first process."""
    torch.manual_seed(0)
    x = torch.rand(items, 1, 10, 12, dtype=torch.float64)
    maps, scores = Net(scores=False).double(), Net(scores=True).double()
    rank, size = dist.get_rank(), dist.get_world_size()
    metrics = MetricCollection(
        {
            "error": EquivarianceError(shifts=[(1, 0), (0, 2)]),
            "gap": EquivarianceError(shifts=[(1, 0), (0, 2)], figure="largest_gap"),
        }
    )
    halo, consistency = EffectiveHalo(tolerance=0.3), ShiftConsistency()
    numbers = list(DistributedSampler(range(items), num_replicas=size, rank=rank))
    if how == "first":
        numbers = list(range(items)) if rank == 0 else []
    elif how == "without":
        numbers = list(range(rank, items, size))
    for rows in torch.tensor(numbers, dtype=torch.int64).split(3):
        index = None if how == "without" else rows
        metrics.update(maps, x[rows], index=index)
        halo.update(maps, x[rows], index=index)
        consistency.update(scores, x[rows], index=index)
    figures = {name: value.item() for name, value in metrics.compute().items()}
    figures |= {"halo": halo.compute().item(), "consistency": consistency.compute().item()}
    with halo.sync_context():
        figures |= {"items": halo.items, "told": halo.told, "repeated": halo.repeated}
    with metrics["error"].sync_context():
        figures |= {"error told": metrics["error"].told}
    return figures


if __name__ == "__main__":
    dist.init_process_group("gloo")
    everything = {how: found(7, how) for how in ("numbered", "first", "without")}
    if dist.get_rank() == 0:
        print(json.dumps(everything), flush=True)
    dist.barrier()
    dist.destroy_process_group()
