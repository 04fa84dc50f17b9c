"""What the library says of networks with windows, tokens, skips and transforms, from shapes alone.

A claimed sample that differs between two windows onto one plane, or anywhere on the torus, is
wrong, and so are a stride that is off and a period that is too short. A longer period than need be,
and a layout that was lost, are faults whose share is bounded.
"""

from collections import Counter
from fractions import Fraction

import pytest
import torch
from hypothesis import HealthCheck, given, seed, settings

import shiftcheck

from .crops import TOLERANCE, Claim, Views
from .mixed_networks import built, mixed_networks

SETTINGS = settings(
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
BOUNDARIES = {1: ("valid", "circular"), 2: ("valid", "circular", ("valid", "circular"))}
KEPT = 0.7  # of the networks
LEAST = 0.95  # of the claimed periods


def claims_of(network, boundary):
    """For each axis what is claimed, None where the layout was lost."""
    x = torch.zeros(network.shape, dtype=torch.float64)
    row = shiftcheck.geometry(network, x, boundary=boundary).outputs[0]
    found = []
    for stride, period, runs, size in zip(
        row.stride, row.period, row.valid, row.shape[2:], strict=True
    ):
        if stride is None:
            found.append(None)
            continue
        mask = [False] * size
        for start, stop in runs:
            mask[start:stop] = [True] * (stop - start)
        found.append(Claim(stride, period, tuple(mask)))
    return found


def promised(claim, pixels, circular):
    """Whether anything is claimed of an axis: on a circle, all samples or nothing."""
    if claim is None or claim.period is None:
        return False
    if not circular:
        return any(claim.mask)
    return all(claim.mask) and (pixels / abs(claim.stride)).denominator == 1


def multiples(claim, pixels, circular, draw):
    """Multiples of the period that leave something to compare."""
    most = max(1, (pixels - 1) // claim.period)
    some = {1, -1, 2, -2, most, draw % most + 1}
    return [k * claim.period for k in sorted(some) if circular or abs(k * claim.period) < pixels]


def compare(network, boundary, counts):
    """Assert every claim under one boundary, and count what was seen."""
    dims = len(network.shape) - 2
    kinds = (boundary,) * dims if isinstance(boundary, str) else boundary
    circular = [kind == "circular" for kind in kinds]
    claims = claims_of(network, boundary)
    counts["runs"] += 1
    counts["kept"] += None not in claims
    views = Views(network, network.shape, circular, seed=network.seed)
    for axis, claim in enumerate(claims):
        counts["axes"] += 1
        pixels = network.shape[2 + axis]
        if claim is None:
            counts["lost"] += 1
            continue
        expected = network.stride[axis]
        assert expected in (0, claim.stride), f"axis {axis}: stride {claim.stride}, not {expected}"
        if claim.period is None:
            counts["broken"] += 1
        if not promised(claim, pixels, circular[axis]):
            continue
        compare_axis(network, views, claims, axis, circular[axis], counts)
    if dims == 2 and all(
        promised(c, n, o) for c, n, o in zip(claims, network.shape[2:], circular, strict=True)
    ):
        shift = tuple(c.period for c in claims)
        if all(o or v < n for v, n, o in zip(shift, network.shape[2:], circular, strict=True)):
            found = views.gap(shift, claims)
            assert found is None or found[0] <= TOLERANCE, f"{boundary}: {shift}: {found}"


def compare_axis(network, views, claims, axis, circular, counts):
    claim, pixels = claims[axis], network.shape[2 + axis]
    compared = False

    def gap(v):
        return views.gap(tuple(v if a == axis else 0 for a in range(len(claims))), claims)

    for v in multiples(claim, pixels, circular, network.seed):
        found = gap(v)
        if found is None:
            continue
        compared = compared or found[1] > 1e-6
        assert found[0] <= TOLERANCE, f"axis {axis}, shift {v}: gap {found[0]}, {claim}"
    if not compared:
        counts["nothing seen"] += 1
        return
    counts["claims"] += 1
    smaller = [claim.period // q for q in range(2, claim.period + 1) if claim.period % q == 0]
    whole = [v for v in smaller if (v / claim.stride).denominator == 1]
    least = all(gap(v) is None or gap(v)[0] > TOLERANCE for v in whole)
    counts["least" if least else "longer"] += 1


def compare_many(dims, chunk, count):
    """Compare ``count`` networks under every boundary."""
    counts, seen = Counter(), {}

    @seed(chunk)
    @settings(SETTINGS, max_examples=count)
    @given(mixed_networks(dims))
    def the_claims_hold(network):
        if repr(network) in seen:
            return
        for boundary in BOUNDARIES[dims]:
            compare(network, boundary, counts)
        seen[repr(network)] = True

    the_claims_hold()
    counts["networks"] = len(seen)
    return counts


def summary(counts):
    kept = counts["kept"] / counts["runs"]
    return f"{kept:.0%} kept their layout; {dict(counts)}"


QUICK = {1: 65, 2: 35}
SWEEP = {1: 120, 2: 65}


@pytest.mark.parametrize("dims", QUICK)
def test_claims_hold_on_crops_and_on_the_torus(dims, record_property):
    counts = compare_many(dims, 0, QUICK[dims])
    record_property("cases", counts["networks"])
    assert counts["kept"] >= KEPT * counts["runs"], summary(counts)


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(200, 208))
@pytest.mark.parametrize("dims", SWEEP)
def test_claims_hold_on_crops_and_on_the_torus_for_many_networks(dims, chunk, record_property):
    counts = compare_many(dims, chunk, SWEEP[dims])
    record_property("cases", counts["networks"])
    assert counts["kept"] >= KEPT * counts["runs"], summary(counts)
    assert counts["least"] >= LEAST * counts["claims"], summary(counts)
    assert counts["networks"] >= 0.7 * SWEEP[dims], summary(counts)
    print(summary(counts))


SHAPE = (1, 3, 12)
ATTENDED = {"width": (4,), "inner": "products", "heads": 1, "folded": True, "biased": False}
KNOWN = {
    "windows": [("Windows", {**ATTENDED, "shift": 0, "masked": False})],
    "windows, rolled": [("Windows", {**ATTENDED, "shift": 2, "masked": False})],
    "a running mean": [("Sum", {"axis": 0})],
    "a flip": [("Places", {"kind": "flip", "by": 1, "axis": 0, "indexed": False})],
    "zero padding": [
        ("Conv", {"kernel": 3, "step": 1, "axis": 0, "padded": "zeros", "residual": False})
    ],
}
WRONG = {
    "too short a period": ("windows", "valid", Claim(Fraction(1), 2, (True,) * 12)),
    "too short a period on the torus": ("windows", "circular", Claim(Fraction(1), 2, (True,) * 12)),
    "the seam of a roll": ("windows, rolled", "valid", Claim(Fraction(1), 4, (True,) * 12)),
    "the past of a running mean": ("a running mean", "valid", Claim(Fraction(1), 1, (True,) * 12)),
    "padding": ("zero padding", "valid", Claim(Fraction(1), 1, (True,) * 12)),
    "padding on the torus": ("zero padding", "circular", Claim(Fraction(1), 1, (True,) * 12)),
    "the wrong way": ("a flip", "valid", Claim(Fraction(1), 1, (True,) * 12)),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_claim_that_is_wrong_is_told(fault, monkeypatch):
    name, boundary, claim = WRONG[fault]
    network = built(SHAPE, 1, KNOWN[name])
    compare(network, boundary, Counter())
    monkeypatch.setattr(f"{__name__}.claims_of", lambda *_: [claim])
    with pytest.raises(AssertionError, match=r"gap|stride"):
        compare(network, boundary, Counter())


def test_a_longer_period_than_need_be_is_counted(monkeypatch):
    claim = Claim(Fraction(1), 8, (True,) * 12)
    monkeypatch.setattr(f"{__name__}.claims_of", lambda *_: [claim])
    counts = Counter()
    compare(built(SHAPE, 1, KNOWN["windows"]), "valid", counts)
    assert (counts["claims"], counts["longer"]) == (1, 1)


@pytest.mark.parametrize("dims", QUICK)
def test_a_network_is_printed_as_the_call_that_builds_it(dims):
    @settings(SETTINGS, max_examples=20)
    @given(mixed_networks(dims))
    def same_outputs(network):
        again = eval(repr(network), {"built": built})
        x = torch.randn(network.shape, dtype=torch.float64)
        with torch.no_grad():
            assert torch.equal(again(x), network(x))

    same_outputs()
