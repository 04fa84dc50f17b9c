"""What the library says of random networks, from shapes alone, against what they do.

A claimed sample that is not valid, a stride that is off, a period that is too short and a halo that
is too narrow are wrong. A mask that claims too little, and a halo that claims too much, are faults
as well: these networks are drawn so that whatever a sample depends on shows in its value. Only of
a period a multiple is allowed, where weights cancel a phase by chance; its share is bounded.
"""

import math
from dataclasses import dataclass, replace

import pytest
import torch

import shiftcheck

from .networks import WEIGHTS, Network, build, example
from .oracle import truths
from .pieces import Slice

CHUNK = 10
QUICK = range(0, 200)
SWEEP = range(200, 2600)
WITH_UPSAMPLING = range(10_000, 10_060)

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using padding='same'"),
    pytest.mark.usefixtures("_one_thread"),
]


@pytest.fixture
def _one_thread():
    """Small tensors gain nothing from more threads, and lose much when others wait for them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Claim:
    """What the library says of one axis of the output."""

    stride: object
    period: int
    mask: tuple
    halo: tuple


def claims(network):
    """The claim for each axis; None where the library says that it cannot tell."""
    output = shiftcheck.geometry(network, example(network)).outputs[0]
    rows = zip(output.stride, output.period, output.valid, output.halo, strict=True)
    sizes = output.shape[2:]
    return [
        None if stride is None else Claim(stride, period, mask_of(runs, size), halo)
        for (stride, period, runs, halo), size in zip(rows, sizes, strict=True)
    ]


def mask_of(runs, size):
    inside = [False] * size
    for start, stop in runs:
        inside[start:stop] = [True] * (stop - start)
    return tuple(inside)


def faults(claim, truth):
    """Every way in which a claim is not the truth."""
    if claim.stride != truth.stride:
        yield f"stride {claim.stride}, observed {truth.stride}"
    if claim.period is None or claim.period % truth.period:
        yield f"period {claim.period}, observed {truth.period}"
    pairs = list(zip(claim.mask, truth.mask, strict=True))
    if (True, False) in pairs:
        yield f"claims samples that are not valid: {bits(claim.mask)}, observed {bits(truth.mask)}"
    if (False, True) in pairs:
        yield f"misses samples that are valid: {bits(claim.mask)}, observed {bits(truth.mask)}"
    sides = zip(("left", "right"), claim.halo, truth.halo, strict=True)
    for side, claimed, seen in sides:
        if not math.isclose(claimed, seen, abs_tol=1e-9):
            how = "too narrow" if claimed < seen else "too wide"
            yield f"{side} halo {how}: {claimed}, observed {float(seen)}"


def bits(mask):
    return "".join("01"[inside] for inside in mask)


def compare(network, *, may_be_lost=False):
    """Assert every claim; the number of axes whose period is the least one, and of all axes."""
    observed = truths(network, network.shape, network.sampling)
    least = total = 0
    for axis, (claim, truth) in enumerate(zip(claims(network), observed, strict=True)):
        if claim is None and may_be_lost:
            continue
        found = ["no geometry"] if claim is None else list(faults(claim, truth))
        assert not found, f"axis {axis}: {'; '.join(found)}\n{network}"
        total += 1
        least += claim.period == truth.period
    return least, total


def compare_all(seeds):
    counts = [compare(build(seed)) for seed in seeds]
    least, total = (sum(column) for column in zip(*counts, strict=True))
    assert least >= 0.8 * total, f"only {least} of {total} periods are the least ones"


def chunks(seeds, length):
    starts = range(seeds.start, seeds.stop, length)
    return [range(start, min(start + length, seeds.stop)) for start in starts]


@pytest.mark.parametrize("seeds", chunks(QUICK, CHUNK), ids=str)
def test_the_rules_agree_with_the_oracle(seeds):
    compare_all(seeds)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", chunks(SWEEP, 4 * CHUNK), ids=str)
def test_the_rules_agree_with_the_oracle_on_many_networks(seeds):
    compare_all(seeds)


@pytest.mark.parametrize("seeds", chunks(WITH_UPSAMPLING, 3 * CHUNK), ids=str)
def test_networks_that_interpolate_are_claimed_rightly_or_not_at_all(seeds):
    for seed in seeds:
        compare(build(seed, tuple(WEIGHTS)), may_be_lost=True)


def test_a_step_counts_even_where_the_axis_holds_one_sample():
    body = torch.nn.Sequential(Slice((0,), (0,), (2,)), torch.nn.ConvTranspose1d(2, 2, 3, 2))
    compare(Network(0, (1, 2, 1), body.double(), (2,)))


def test_most_of_the_networks_have_valid_and_invalid_samples():
    masks = [mask for seed in range(60) for mask in observed_masks(build(seed))]
    mixed = sum(any(mask) and not all(mask) for mask in masks)
    assert mixed > 0.4 * len(masks)


def observed_masks(network):
    return [axis.mask for axis in truths(network, network.shape, network.sampling)]


WRONG = {
    "claims samples": lambda t: replace(t, mask=(True, *t.mask[1:])),
    "misses samples": lambda t: replace(t, mask=(*t.mask[:3], False, *t.mask[4:])),
    "stride": lambda t: replace(t, stride=t.stride / 2),
    "period": lambda t: replace(t, period=t.period // 2),
    "left halo too narrow": lambda t: replace(t, halo=(t.halo[0] - 1, t.halo[1])),
    "right halo too wide": lambda t: replace(t, halo=(t.halo[0], t.halo[1] + 1)),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_claim_that_is_wrong_is_told(fault):
    layer = torch.nn.Conv1d(2, 2, 3, stride=2, padding=1, dtype=torch.float64)
    (found,) = truths(layer, (1, 2, 13), (2,))
    assert list(faults(Claim(**vars(found)), found)) == []
    (told,) = faults(Claim(**vars(WRONG[fault](found))), found)
    assert told.startswith(fault)
