"""Run by two processes: convolutions on spatially sharded DTensors, against the whole and judged.

Prints a line of JSON for each on rank 0: whether DTensor is right, asked without this library, and
what the check says.
"""

from __future__ import annotations

import copy
import json
import os
import sys
import warnings
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_module, distribute_tensor

import shiftcheck

warnings.simplefilter("ignore")

MODELS = {
    "kernel 3 padding 1": lambda: nn.Conv2d(2, 3, 3, padding=1),
    "kernel 3 padding 0": lambda: nn.Conv2d(2, 3, 3),
    "stride 2": lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1),
    "dilation 2": lambda: nn.Conv2d(2, 3, 3, padding=2, dilation=2),
    "kernel 2 stride 2": lambda: nn.Conv2d(2, 3, 2, stride=2),
    "kernel 1": lambda: nn.Conv2d(2, 3, 1),
    "kernel 5 padding 2": lambda: nn.Conv2d(2, 3, 5, padding=2),
}


def is_right(net: nn.Module, on_mesh: nn.Module, x: torch.Tensor, mesh: object) -> str:
    """Whether DTensor gives the whole: asked of torch alone."""
    with torch.no_grad():
        whole = net(x)
        try:
            given = on_mesh(distribute_tensor(x, mesh, [Shard(3)])).to_local()
        except Exception as error:
            given = type(error).__name__
        every: list[object] = [None, None]
        dist.all_gather_object(every, given)
    if any(isinstance(part, str) for part in every):
        return "raised"
    joined = torch.cat(every, 3)
    same = joined.shape == whole.shape and torch.allclose(joined, whole, rtol=1e-5, atol=1e-5)
    return "right" if same else "wrong"


def judged(net: nn.Module, on_mesh: nn.Module, x: torch.Tensor, mesh: object) -> dict[str, object]:
    def sharded(shard: torch.Tensor) -> torch.Tensor:
        return on_mesh(DTensor.from_local(shard, mesh, [Shard(3)], run_check=False))

    given = x if dist.get_rank() == 0 else None
    try:
        found = shiftcheck.check_sharded(net, sharded, given, 2, axis=3, distributed=True)
    except shiftcheck.ModelError as error:
        return {"verdict": "raised", "text": str(error)}
    return {"verdict": found.verdict, "faults": found.faults, "text": str(found)}


def by_messages(net: nn.Conv2d, *, left: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    """A halo of one column, sent to the other rank and received from it."""

    def run(shard: torch.Tensor) -> torch.Tensor:
        first = dist.get_rank() == 0
        mine = shard[..., -1:] if first else shard[..., :1]
        every = [torch.empty_like(mine) for _ in range(2)]
        dist.all_gather(every, mine.contiguous())
        if first:
            return net(torch.cat([shard, every[1]], -1))[..., :-1]
        return net(torch.cat([every[0] if left else 0 * every[0], shard], -1))[..., 1:]

    return run


def raising(shard: torch.Tensor) -> torch.Tensor:
    if dist.get_rank() == 1:
        raise ValueError("no")
    return shard


def gathered(text: str) -> list[str]:
    every: list[str] = ["", ""]
    dist.all_gather_object(every, text)
    return every


def say(line: dict[str, object]) -> None:
    if dist.get_rank() == 0:
        print(json.dumps(line), flush=True)


def convolutions() -> None:
    mesh = init_device_mesh("cpu", (2,))
    for name, make in MODELS.items():
        torch.manual_seed(0)
        net = make()
        x = torch.randn(1, 2, 12, 32)
        on_mesh = distribute_module(copy.deepcopy(net), mesh)
        line = {"name": name, "torch": is_right(net, on_mesh, x, mesh)}
        say(line | judged(net, on_mesh, x, mesh))


def exchanges() -> None:
    torch.manual_seed(0)
    net, x = nn.Conv2d(2, 3, 3, padding=1), torch.randn(1, 2, 12, 32)
    for name, left in (("exchange by messages", True), ("exchange without the left side", False)):
        found = shiftcheck.check_sharded(net, by_messages(net, left=left), x, 2, distributed=True)
        say({"name": name, "verdict": gathered(str(found.verdict))})
    for name, sharded, parts in (("raises on rank 1", raising, 2), ("three parts", raising, 3)):
        try:
            shiftcheck.check_sharded(net, sharded, x, parts, distributed=True)
        except shiftcheck.ShiftcheckError as error:
            say({"name": name, "text": gathered(str(error))})


def main() -> None:
    dist.init_process_group("gloo")
    convolutions()
    exchanges()
    dist.barrier()
    dist.destroy_process_group()
    # the threads of a mesh outlive its groups, and torch aborts where they end with the interpreter
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
