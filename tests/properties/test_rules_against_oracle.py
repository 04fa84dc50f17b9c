"""What the library says of random networks, from shapes alone, against what they do.

A claimed sample that is not valid, a stride that is off, a period that is too short and a halo that
is too narrow are wrong. A mask that claims too little, and a halo that claims too much, are faults
as well: these networks are drawn so that whatever a sample depends on shows in its value. Only of
a period a multiple is allowed, where phases stay apart or weights cancel them by chance; its share
is bounded.
"""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import HealthCheck, assume, find, given, seed, settings
from torch import nn

import shiftcheck

from . import pieces
from .networks import Network, example
from .oracle import truths
from .pieces import Resize, Slice
from .strategies import networks

REPRODUCIBLE = settings(
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
QUICK = {1: 30, 2: 27, 3: 10}
SWEEP = {1: 150, 2: 110, 3: 30}

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


def compare(network):
    """Assert every claim; the number of axes whose period is the least one, and of all axes."""
    observed = truths(network, network.shape, network.sampling)
    claimed = claims(network)
    for axis, (claim, truth) in enumerate(zip(claimed, observed, strict=True)):
        found = ["no geometry"] if claim is None else list(faults(claim, truth))
        assert not found, f"axis {axis}: {'; '.join(found)}"
    least = sum(c.period == t.period for c, t in zip(claimed, observed, strict=True))
    return least, len(claimed)


def compare_many(dims, chunk, count):
    """Compare ``count`` networks; the periods that are the least ones, and all periods."""
    counts = {}

    @seed(chunk)
    @settings(REPRODUCIBLE, max_examples=count)
    @given(networks(dims))
    def the_rules_agree_with_the_oracle(network):
        assume(repr(network) not in counts)
        counts[repr(network)] = compare(network)

    the_rules_agree_with_the_oracle()
    assert len(counts) == count
    return [sum(column) for column in zip(*counts.values(), strict=True)]


@pytest.mark.parametrize("chunk", range(3))
@pytest.mark.parametrize("dims", QUICK)
def test_the_rules_agree_with_the_oracle(dims, chunk, record_property):
    compare_many(dims, chunk, QUICK[dims])
    record_property("cases", QUICK[dims])


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(100, 107))
@pytest.mark.parametrize("dims", SWEEP)
def test_the_rules_agree_with_the_oracle_on_many_networks(dims, chunk, record_property):
    least, total = compare_many(dims, chunk, SWEEP[dims])
    record_property("cases", SWEEP[dims])
    assert least >= 0.95 * total, f"only {least} of {total} periods are the least ones"


SMALLEST = {
    "Conv1d": "weighted(1, nn.Conv1d(2, 2, 1, bias=False))",
    "AvgPool1d": "nn.AvgPool1d(1, stride=1, count_include_pad=False)",
}


@pytest.mark.parametrize("kind", SMALLEST)
def test_networks_shrink_to_one_simple_piece(kind):
    def found(network):
        return any(type(m).__name__ == kind for m in network.modules())

    network = find(networks(1), found, settings=settings(REPRODUCIBLE, max_examples=200))
    assert network.shape == (1, 2, 6)
    assert network.body.code == SMALLEST[kind]


@pytest.mark.parametrize("dims", QUICK)
def test_a_network_is_printed_as_the_code_that_makes_it(dims):
    @settings(REPRODUCIBLE, max_examples=20)
    @given(networks(dims))
    def same_outputs(network):
        names = {**vars(pieces), "nn": nn, "Network": Network}
        again = eval(repr(network), names)
        assert again.sampling == network.sampling
        with torch.no_grad():
            assert torch.equal(again(example(network)), network(example(network)))

    same_outputs()


MODES = {
    **{mode: {} for mode in ("nearest", "nearest-exact", "area")},
    **{
        f"{mode}{', corners' * corners}{', smooth' * smooth}": {
            "align_corners": corners,
            "antialias": smooth,
        }
        for mode in ("bilinear", "bicubic")
        for corners in (False, True)
        for smooth in (False, True)
    },
}


@pytest.mark.parametrize(
    "factor", [(1, 1), (2, 1), (3, 2), (2, 3), (1, 2), (1, 3), (4, 3)], ids=str
)
@pytest.mark.parametrize("name", MODES)
def test_every_interpolation(name, factor):
    mode = name.split(",")[0]
    size = 13 if "corners" in name else 12
    body = Resize(mode, ((1, 1), factor), "size", **MODES[name])
    least, total = compare(Network((1, 2, 5, size), (1, factor[1]), body))
    assert least == total


def test_a_step_counts_even_where_the_axis_holds_one_sample():
    body = nn.Sequential(Slice((0,), (0,), (2,)), nn.ConvTranspose1d(2, 2, 3, 2))
    compare(Network((1, 2, 1), (2,), body.double()))


def test_most_of_the_networks_have_valid_and_invalid_samples():
    masks = []

    @settings(REPRODUCIBLE, max_examples=100)
    @given(networks(1))
    def keep(network):
        masks.extend(axis.mask for axis in truths(network, network.shape, network.sampling))

    keep()
    mixed = sum(any(mask) and not all(mask) for mask in masks)
    assert mixed > 0.4 * len(masks)


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
    layer = nn.Conv1d(2, 2, 3, stride=2, padding=1, dtype=torch.float64)
    (found,) = truths(layer, (1, 2, 13), (2,))
    assert list(faults(Claim(**vars(found)), found)) == []
    (told,) = faults(Claim(**vars(WRONG[fault](found))), found)
    assert told.startswith(fault)
