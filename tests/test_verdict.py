"""From structure and measurement to a verdict: every row of the table, and every guard."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import pytest

from shiftcheck.compare import Gap
from shiftcheck.report import Cause, LayerResult, ShiftResult, Verdict
from shiftcheck.verdict import Tolerance, find_guilty, judge, judge_layer, judge_model

EPS = 2.0**-23
FINE = Gap(error=0.0, relative=0.0, null=1.0, scale=1.0, share=0.5)
NOISE = Tolerance(eps=EPS)

TABLE: dict[str, tuple[Gap, Verdict, str]] = {
    "proven and agrees": (FINE, Verdict.EQUIVARIANT, ""),
    "proven, rounding": (replace(FINE, relative=4 * EPS), Verdict.EQUIVARIANT, ""),
    "proven, a gap": (
        replace(FINE, error=0.1, relative=0.1),
        Verdict.BROKEN,
        "disagrees with the structure",
    ),
    "a break, a gap": (
        replace(FINE, predicted=False, error=0.1, relative=0.1),
        Verdict.BROKEN,
        "",
    ),
    "a break, no gap": (
        replace(FINE, predicted=False),
        Verdict.INCONCLUSIVE,
        "within noise of a break",
    ),
    "off the lattice": (Gap(onto_lattice=False), Verdict.INCONCLUSIVE, "off the lattice"),
    "not spatial": (Gap(spatial=False), Verdict.INCONCLUSIVE, "not spatial"),
    "nothing valid": (Gap(border=1.0), Verdict.INCONCLUSIVE, "no valid region"),
    "nan": (replace(FINE, error=math.nan, relative=math.nan), Verdict.INCONCLUSIVE, "not finite"),
    "invisible": (replace(FINE, null=0.0), Verdict.INCONCLUSIVE, "shift not visible"),
    "hardly visible": (replace(FINE, null=100 * EPS), Verdict.INCONCLUSIVE, "shift not visible"),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_table(name: str) -> None:
    gap, verdict, reason = TABLE[name]
    result = judge(gap, (1, 0), (), 1.0, NOISE)
    assert (result.verdict, result.reason) == (verdict, reason)


@pytest.mark.parametrize(
    ("peak", "reason"), [(0.0, "dead output"), (math.nan, "not finite"), (math.inf, "not finite")]
)
def test_peaks(peak: float, reason: str) -> None:
    assert judge(FINE, (1, 0), (), peak, NOISE).reason == reason


def test_the_zero_shift_counts_for_nothing() -> None:
    assert judge(FINE, (0, 0), (), 1.0, NOISE).reason == "identity shift"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("UNSUPPORTED_OP", "unsupported operation"),
        ("STOCHASTIC", "nondeterministic"),
        ("BATCH_COUPLED", "batch coupled"),
    ],
)
def test_what_is_not_understood_never_passes(kind: str, reason: str) -> None:
    assert judge(FINE, (1, 0), (Cause(kind=kind),), 1.0, NOISE).reason == reason


def test_the_users_tolerances_replace_the_noise_but_not_the_guards() -> None:
    loose = Tolerance(eps=EPS, rtol=0.2, atol=0.0)
    gap = replace(FINE, error=0.1, relative=0.1, excess=0.5, null_excess=10.0)
    assert judge(gap, (1, 0), (), 1.0, loose).verdict is Verdict.EQUIVARIANT
    assert judge(replace(gap, excess=1.1), (1, 0), (), 1.0, loose).verdict is Verdict.BROKEN
    assert judge(replace(gap, null_excess=2.5), (1, 0), (), 1.0, loose).reason == (
        "tolerance larger than the signal"
    )
    blind = replace(gap, null=0.0, null_excess=0.0)
    assert judge(blind, (1, 0), (), 1.0, loose).reason == "shift not visible"
    absolute = Tolerance(eps=EPS, rtol=0.0, atol=0.5)
    assert absolute.relative(10.0) == 0.05


def result(shift: tuple[int, ...], verdict: Verdict, reason: str = "") -> ShiftResult:
    return ShiftResult(shift=shift, verdict=verdict, reason=reason, error=0.0)


GOOD, OPEN, BAD = Verdict.EQUIVARIANT, Verdict.INCONCLUSIVE, Verdict.BROKEN


def test_over_shifts_broken_beats_inconclusive_beats_equivariant() -> None:
    good, also = result((1, 0), GOOD), result((0, 1), GOOD)
    off = result((1, 1), OPEN, "off the lattice")
    nothing = result((2, 0), OPEN, "no valid region")
    bad = result((0, 2), BAD)
    assert judge_layer([good, also], [0, 1], strict=True) == (GOOD, "")
    assert judge_layer([good, also, nothing, bad], [0, 1], strict=True) == (BAD, "")
    assert judge_layer([good, also, nothing], [0, 1], strict=True) == (OPEN, "no valid region")
    assert judge_layer([good, also, off], [0, 1], strict=True) == (OPEN, "off the lattice")
    assert judge_layer([good, also, off], [0, 1], strict=False) == (GOOD, "")
    assert judge_layer([off], [0], strict=False) == (OPEN, "off the lattice")
    assert judge_layer([good], [0, 1], strict=True) == (OPEN, "axis never moved")
    gone = result((0, 1), OPEN, "not spatial")
    assert judge_layer([good, gone], [0, 1], strict=False) == (OPEN, "axis never moved")
    assert judge_layer([good, gone], [0], strict=False) == (GOOD, "")
    lost = judge_layer([good, gone], [0], strict=False, reduced=False)
    assert lost == (OPEN, "not spatial")
    assert judge_layer([result((0, 0), OPEN, "identity shift")], [], strict=True) == (
        OPEN,
        "identity shift",
    )


def layer(name: str, verdict: Verdict, reason: str = "", *shifts: ShiftResult) -> LayerResult:
    return LayerResult(
        name=name,
        op="conv",
        shape=(1, 1, 8, 8),
        stride=(Fraction(1), Fraction(1)),
        period=(1, 1),
        receptive_field=(1.0, 1.0),
        halo=((0.0, 0.0), (0.0, 0.0)),
        valid=(((0, 8),), ((0, 8),)),
        verdict=verdict,
        reason=reason,
        shifts=shifts,
    )


def test_over_outputs() -> None:
    good, bad = layer("a", GOOD), layer("b", BAD)
    flat = replace(layer("c", OPEN, "not spatial"), reduced=True)
    nothing = layer("d", OPEN, "no valid region")
    assert judge_model([good, flat]) == (GOOD, "")
    assert judge_model([good, replace(flat, reduced=False)]) == (OPEN, "not spatial")
    assert judge_model([flat]) == (OPEN, "not spatial")
    assert judge_model([good, nothing]) == (OPEN, "no valid region")
    assert judge_model([good, nothing, bad]) == (BAD, "")


def guilty(causes: list[Cause], shift: tuple[int, int], verdict: Verdict, reason: str) -> str:
    output = layer("out", verdict, reason, result(shift, verdict, reason))
    found = find_guilty(verdict, reason, output, causes, (False, False), [])
    return found.layer if found else ""


def test_the_first_cause_that_explains_the_shift_is_guilty() -> None:
    causes = [
        Cause(kind="PADDING", axis=0, layer="pad"),
        Cause(kind="POSITION", axis=0, layer="latent", latent=True),
        Cause(kind="STRIDE", axis=0, layer="pool", period=2),
        Cause(kind="STRIDE", axis=0, layer="pool2", period=4),
        Cause(kind="POSITION", axis=1, layer="embedding"),
        Cause(kind="UNSUPPORTED_OP", layer="unknown"),
    ]
    assert guilty(causes, (1, 0), BAD, "") == "pool"
    assert guilty(causes, (2, 0), BAD, "") == "pool2"
    assert guilty(causes, (4, 1), BAD, "") == "embedding"
    assert guilty(causes, (1, 0), OPEN, "unsupported operation") == "unknown"
    assert guilty(causes, (1, 0), OPEN, "no valid region") == "pad"
    assert guilty(causes, (0, 0), BAD, "") == ""
    assert guilty(causes, (4, 0), GOOD, "") == ""


def test_a_disagreement_with_the_structure_blames_the_first_layer_that_differs() -> None:
    reason = "disagrees with the structure"
    output = layer("out", BAD, reason, result((1, 0), BAD, reason))
    rows = [
        layer("fine", GOOD, "", result((1, 0), GOOD)),
        layer("first", BAD, reason, result((1, 0), BAD, reason)),
        output,
    ]
    found = find_guilty(BAD, reason, output, [], (False, False), rows)
    assert found is not None
    assert (found.layer, found.kind) == ("first", "UNEXPLAINED")
