"""What the rules say of random networks, against what probing finds of each as a whole.

Probing knows no operation: it only runs the network. What the rules claim must be inside of what it
finds. Where it gives no answer nothing is compared, and the share of these is bounded. Resizing is
left out: the weights of aligned corners are rounded, which probing takes for a longer period.
"""

from collections import Counter

import pytest
import torch
from hypothesis import HealthCheck, given, seed, settings

import shiftcheck
from shiftcheck.tracing.black_box import BlackBox

from .networks import example
from .strategies import WEIGHTS, networks

KINDS = tuple(kind for kind in WEIGHTS if kind != "resize")
QUICK = {1: 12, 2: 4}
SWEEP = {1: 600, 2: 300}
ANSWERED = 0.6  # of the axes: the rest has a long period, other sizes, or no answer

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")


def samples(spans):
    return {p for start, stop in spans for p in range(start, stop)}


def compare(network, counts):
    x = example(network)
    derived = shiftcheck.geometry(network, x).outputs[0]
    measured = shiftcheck.geometry(BlackBox(network, arrays=False), x).outputs[0]
    for axis, stride in enumerate(derived.stride):
        if stride is None or derived.period[axis] is None:
            continue
        counts["axes"] += 1
        if measured.stride[axis] is None or measured.period[axis] is None:
            counts["no answer"] += 1
            continue
        assert stride == measured.stride[axis], axis
        assert derived.period[axis] % measured.period[axis] == 0, axis
        assert samples(derived.valid[axis]) <= samples(measured.valid[axis]), axis
        counts["compared"] += 1
        counts["least"] += derived.period[axis] == measured.period[axis]


def compare_many(dims, chunk, count):
    counts = Counter()

    @seed(chunk)
    @settings(
        deadline=None,
        derandomize=True,
        print_blob=True,
        max_examples=count,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(networks(dims, KINDS))
    def the_claims_are_inside(network):
        compare(network, counts)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        the_claims_are_inside()
    finally:
        torch.set_num_threads(threads)
    return counts


@pytest.mark.parametrize("dims", QUICK)
def test_claims_are_inside_what_probing_finds(dims, record_property):
    counts = compare_many(dims, 0, QUICK[dims])
    record_property("cases", QUICK[dims])
    assert counts["compared"] > 0, dict(counts)


@pytest.mark.slow
@pytest.mark.parametrize("dims", SWEEP)
def test_claims_are_inside_what_probing_finds_for_many_networks(dims, record_property):
    counts = compare_many(dims, 300, SWEEP[dims])
    record_property("cases", SWEEP[dims])
    assert counts["compared"] >= ANSWERED * counts["axes"], dict(counts)
    assert counts["least"] >= 0.95 * counts["compared"], dict(counts)
