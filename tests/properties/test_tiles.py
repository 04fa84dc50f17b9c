"""Random networks in tiles: as the whole where the plan is exact, and not with less.

A halo that is one pixel smaller, and a grid that is off by one, have to show: else the plan would
ask for more than need be.
"""

import math
from collections import Counter

import pytest
import torch
from hypothesis import HealthCheck, assume, given, seed, settings

import shiftcheck
from shiftcheck.checks.tiles.run import largest_gap

from .strategies import networks

SETTINGS = settings(
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
ROUNDING = 64 * torch.finfo(torch.float64).eps
LARGER = {1: 60, 2: 24, 3: 14}
"""Pixels that are added to what a network was drawn for, so that there is room for tiles."""

MINIMAL = 0.95

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")


def image_for(network, room):
    """An image of a size that the network takes, larger than what it was drawn for."""
    shape = list(network.shape)
    for axis, down in enumerate(network.sampling):
        shape[2 + axis] += down * math.ceil(room / down)
    generator = torch.Generator().manual_seed(1)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def small_tiles(network, shape):
    """A plan of the smallest tiles that write more than one period along each axis."""
    empty = torch.empty(shape, dtype=torch.float64, device="meta")
    plan = shiftcheck.tiling(network, empty)
    if not plan.exact:
        return plan
    tile = tuple(min(axis.least + axis.step, axis.pixels) for axis in plan.axes)
    return shiftcheck.tiling(network, empty, tile=tile)


def gap_of_a_tile(network, plan, x, whole, axis, *, less=(0, 0), off=0):
    """The gap of one tile that ends inside of the image, between its margins.

    ``less``: by how many pixels the halo is smaller on each side; ``off``: by how many pixels the
    tile begins later than its place says. None where no such tile is inside.
    """
    tiled, margins = plan.axes[axis], plan.outputs[0].margins[axis]
    dim, stride = plan.outputs[0].dims[axis], margins.stride
    begin = tiled.starts[1]
    size = tiled.tile
    if begin + off + size >= tiled.pixels:
        return None
    with torch.no_grad():
        part = network(x.narrow(plan.spatial_dims[axis], begin + off, size))
    before, after = (h - n for h, n in zip(tiled.halo, less, strict=True))
    first = math.ceil(before / stride)
    last = math.ceil((size - after) / stride)
    if last > part.shape[dim]:
        return math.inf  # the tile does not have the sample at all
    place = int(begin / stride) + int(off / stride)
    count = min(last - first, whole.shape[dim] - place - first)
    one = whole.narrow(dim, place + first, count)
    return largest_gap(one, part.narrow(dim, first, count))


def compare(network, dims, counts):
    """Hold tiles against the whole, as planned, with less halo, and off the grid."""
    x = image_for(network, LARGER[dims])
    plan = small_tiles(network, x.shape)
    counts["networks"] += 1
    if not plan.exact or plan.tiles == 1:
        counts["inexact" if not plan.exact else "one tile"] += 1
        return
    counts["tiled"] += 1
    with torch.no_grad():
        whole = network(x)
    gap = largest_gap(whole, shiftcheck.tiled(network, plan)(x))
    assert gap <= ROUNDING, f"{gap} off the whole: {plan}"
    for axis, tiled in enumerate(plan.axes):
        if len(tiled.starts) < 3:
            continue
        alone = (network, plan, x, whole, axis)
        gap = gap_of_a_tile(*alone)
        if gap is None:
            continue
        assert gap <= ROUNDING, f"{gap} off the whole between the halos: {plan}"
        for side in (0, 1):
            if tiled.halo[side] > 0:
                counts["halos"] += 1
                gap = gap_of_a_tile(*alone, less=(1 - side, side))
                counts["least halos"] += gap > ROUNDING
        gap = gap_of_a_tile(*alone, off=1) if tiled.step > 1 else None
        if gap is not None:
            counts["grids"] += 1
            counts["on the grid"] += gap > ROUNDING


def compare_many(dims, chunk, count):
    """Compare ``count`` networks, each another one."""
    counts, known = Counter(), set()

    @seed(chunk)
    @settings(SETTINGS, max_examples=count)
    @given(networks(dims))
    def tiles_give_the_whole(network):
        assume(repr(network) not in known)
        compare(network, dims, counts)
        known.add(repr(network))

    tiles_give_the_whole()
    return counts


QUICK = {1: 14, 2: 10, 3: 6}
SLOW = {1: 15, 2: 12, 3: 5}


@pytest.mark.parametrize("dims", QUICK)
def test_tiles_give_the_whole(dims, record_property):
    counts = compare_many(dims, 0, QUICK[dims])
    record_property("cases", counts["tiled"])
    assert counts["tiled"] >= 0.5 * QUICK[dims], counts
    assert counts["on the grid"] == counts["grids"], counts


@pytest.mark.slow
def test_tiles_of_many_networks_give_the_whole_and_no_less_would_do(record_property):
    counts = Counter()
    for dims, count in SLOW.items():
        for chunk in range(300, 310):
            counts += compare_many(dims, chunk, count)
    print(counts)
    record_property("cases", counts["tiled"])
    assert counts["networks"] == 10 * sum(SLOW.values())
    assert counts["tiled"] >= 0.7 * counts["networks"], counts
    assert counts["least halos"] >= MINIMAL * counts["halos"], counts
    assert counts["on the grid"] >= MINIMAL * counts["grids"], counts


def test_a_halo_that_is_too_small_and_a_wrong_grid_show():
    network = torch.nn.Sequential(
        torch.nn.Conv1d(1, 2, 5, stride=2, padding=2), torch.nn.ConvTranspose1d(2, 1, 2, stride=2)
    ).double()
    x = torch.randn(1, 1, 60, dtype=torch.float64)
    plan = shiftcheck.tiling(network, x, tile=20)
    with torch.no_grad():
        whole = network(x)
    alone = (network, plan, x, whole, 0)
    assert gap_of_a_tile(*alone) <= ROUNDING
    assert gap_of_a_tile(*alone, less=(1, 0)) > ROUNDING
    assert gap_of_a_tile(*alone, less=(0, 1)) > ROUNDING
    assert gap_of_a_tile(*alone, off=1) > ROUNDING
