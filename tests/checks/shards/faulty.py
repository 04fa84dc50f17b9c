"""Ways to run a model on shards, right ones and wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

Shards = Sequence[torch.Tensor]
Sharded = Callable[[Shards], Shards]


def with_halo(shards: Shards, left: int, right: int) -> list[torch.Tensor]:
    """Each shard with samples of its neighbours, as many as there are."""
    out = []
    for i, shard in enumerate(shards):
        before = shards[i - 1][..., shards[i - 1].shape[-1] - left :] if i and left else None
        behind = shards[i + 1][..., :right] if i + 1 < len(shards) and right else None
        out.append(torch.cat([p for p in (before, shard, behind) if p is not None], -1))
    return out


def cropped(out: Shards, left: int, right: int) -> list[torch.Tensor]:
    """The same without what the halo added, one sample for each."""
    last = len(out) - 1
    return [
        y[..., (left if i else 0) : y.shape[-1] - (right if i < last else 0)]
        for i, y in enumerate(out)
    ]


def two_layers() -> nn.Sequential:
    """A halo of 1 and one of 2, so that the whole has 3."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.Tanh(), nn.Conv1d(4, 2, 5, padding=2))


def layer_by_layer(net: nn.Sequential, first: tuple[int, int], second: tuple[int, int]) -> Sharded:
    """Two convolutions of that net, each with an exchange before it."""

    def run(shards: Shards) -> Shards:
        held = [net[1](net[0](x)) for x in with_halo(shards, *first)]
        held = with_halo(cropped(held, *first), *second)
        return cropped([net[2](x) for x in held], *second)

    return run


def as_functions(net: nn.Sequential, halo: int) -> Sharded:
    """One exchange at the input; the weights are used, and the modules are not."""

    def run(shards: Shards) -> Shards:
        out = []
        for x in with_halo(shards, halo, halo):
            y = F.conv1d(x, net[0].weight, net[0].bias, padding=1).tanh()
            out.append(F.conv1d(y, net[2].weight, net[2].bias, padding=2))
        return cropped(out, halo, halo)

    return run


def averaged(net: nn.Module, overlap: int) -> Sharded:
    """Two shards that overlap, with the margins of both averaged."""

    def run(shards: Shards) -> Shards:
        whole, size = torch.cat(list(shards), -1), shards[0].shape[-1]
        a, b = net(whole[..., : size + overlap]), net(whole[..., size - overlap :])
        middle = (a[..., -2 * overlap :] + b[..., : 2 * overlap]) / 2
        y = torch.cat([a[..., : -2 * overlap], middle, b[..., 2 * overlap :]], -1)
        return [y[..., :size], y[..., size:]]

    return run


def half_the_receptive_field(conv: nn.Conv1d) -> Sharded:
    """The halo that is half the receptive field on either side, whatever the stride."""

    def run(shards: Shards) -> Shards:
        half, last = conv.kernel_size[0] // 2, len(shards) - 1
        padding = conv.padding[0]
        out = []
        for i, x in enumerate(with_halo(shards, half, half)):
            padded = F.pad(x, (0 if i else padding, 0 if i < last else padding))
            out.append(F.conv1d(padded, conv.weight, conv.bias, stride=conv.stride))
        return out

    return run
