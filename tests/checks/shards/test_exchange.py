"""An exchange written by hand that follows the plan gives the whole, and with less it does not."""

from __future__ import annotations

import pytest
import torch
from tests.checks.shards.exchange import Exchange, drawn_network
from torch import nn

import shiftcheck
from shiftcheck.errors import InputError
from shiftcheck.report import ShardingPlan

EPS = torch.finfo(torch.float64).eps
Drawn = tuple[nn.Sequential, torch.Tensor, ShardingPlan]


def drawn(seed: int, parts: int = 3) -> Drawn:
    """A network with its plan, in as many parts as there can be up to three."""
    net, shape = drawn_network(seed)
    x = torch.randn(shape, dtype=torch.float64)
    try:
        return net, x, shiftcheck.sharding(net, x, parts)
    except InputError:
        return drawn(seed, parts - 1)


def shards_of(x: torch.Tensor, plan: ShardingPlan) -> list[torch.Tensor]:
    return list(x.split(plan.widths, -1))


def gap(net: nn.Sequential, x: torch.Tensor, out: list[torch.Tensor]) -> float:
    whole, joined = net(x), torch.cat(out, -1)
    assert joined.shape == whole.shape
    return float((joined - whole).abs().max() / whole.abs().max())


@torch.no_grad()
def exact(seed: int) -> None:
    net, x, plan = drawn(seed)
    assert plan.exact
    assert gap(net, x, Exchange(net, plan)(shards_of(x, plan))) <= 64 * EPS


@pytest.mark.parametrize("seed", range(8))
def test_the_exchange_is_exact(seed: int) -> None:
    exact(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8, 112))
def test_the_exchange_is_exact_for_a_hundred_networks(seed: int) -> None:
    exact(seed)


@torch.no_grad()
def lacking(seeds: range) -> tuple[int, int]:
    """How often a halo that is smaller by one sample gives something else at its layer, of all.

    At the end of the network a later stride may pass over it, and a ReLU may hide it.
    """
    wrong = halos = 0
    for seed in seeds:
        net, x, plan = drawn(seed)
        for number, _ in enumerate(net):
            up_to = net[: number + 1]
            for i, shard in enumerate(plan[str(number)].shards):
                for side in (0, 1):
                    if shard.halo[side]:
                        exchange = Exchange(up_to, plan, (number, i, side))
                        halos += 1
                        wrong += gap(up_to, x, exchange(shards_of(x, plan))) > 64 * EPS
    return wrong, halos


def test_any_halo_that_is_smaller_by_one_is_wrong() -> None:
    wrong, halos = lacking(range(6))
    assert wrong == halos > 30


@pytest.mark.slow
def test_any_halo_of_a_hundred_networks_that_is_smaller_by_one_is_wrong() -> None:
    wrong, halos = lacking(range(100))
    assert wrong == halos > 800


@torch.no_grad()
def test_shards_off_the_grid_may_exchange_too() -> None:
    """What a layer needs is exact for any samples, not for those on the grid alone."""
    net = nn.Sequential(nn.Conv1d(2, 2, 3, stride=2, padding=1), nn.ConvTranspose1d(2, 2, 4, 2, 1))
    net = net.double()
    x = torch.randn(1, 2, 50, dtype=torch.float64)
    layer = shiftcheck.sharding(net, x, 1)["0"]
    for cut in range(1, 49):
        split = -(-cut // 2)
        whole = net[0](x)
        for gives in ((0, split), (split, 25)):
            read = layer.needs(*gives)
            part = torch.nn.functional.pad(
                x[..., read.start : read.stop], (read.before, read.after)
            )
            out = torch.nn.functional.conv1d(part, net[0].weight, net[0].bias, stride=2)
            assert torch.allclose(out, whole[..., slice(*gives)], rtol=0, atol=1e-14)
