"""From structure and measurement to a verdict: every row of the table, and every guard."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import pytest

from shiftcheck.checks.equivariance.judge import (
    find_guilty,
    judge,
    judge_layer,
    judge_model,
    unproven,
    why_constant,
)
from shiftcheck.measuring.gaps.regions import Gap
from shiftcheck.measuring.tolerance import Tolerance
from shiftcheck.report.causes import Cause
from shiftcheck.report.equivariance import LayerResult, ShiftResult, Verdict

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


def test_every_number_has_its_place() -> None:
    gap = Gap(
        error=0.5,
        relative=0.25,
        border=3.0,
        scale=2.0,
        null=0.75,
        share=0.125,
        worst=(0, 1, 2),
        differing=0.375,
    )
    assert judge(gap, (1, 0), (), 4.0, NOISE) == ShiftResult(
        shift=(1, 0),
        verdict=BAD,
        reason="disagrees with the structure",
        error=0.5,
        relative_error=0.25,
        border_error=3.0,
        relative_border_error=0.75,
        scale=2.0,
        allowance=64 * EPS,
        null_error=0.75,
        share=0.125,
        worst=(0, 1, 2),
        differing=0.375,
    )
    for peak in (0.0, math.nan):
        assert judge(gap, (1, 0), (), peak, NOISE).relative_border_error is None
    given = Tolerance(eps=EPS, rtol=0.1, atol=0.5)
    assert judge(replace(gap, excess=0.1), (1, 0), (), 4.0, given).allowance == 0.1 + 0.5 / 2


@pytest.mark.parametrize(
    ("eps", "units"), [(2.0**-52, 64), (2.0**-23, 64), (2.0**-10, 16), (2.0**-7, 16), (0.5, 64)]
)
def test_what_is_noise_in_each_type(eps: float, units: float) -> None:
    tolerance = Tolerance(eps=eps)
    assert not tolerance.given
    assert tolerance.relative(None) == tolerance.relative(3.0) == units * eps
    limit, gap = units * eps, replace(FINE, null=1e9)
    assert judge(replace(gap, relative=limit), (1, 0), (), 1.0, tolerance).verdict is GOOD
    above = math.nextafter(limit, math.inf)
    assert judge(replace(gap, relative=above), (1, 0), (), 1.0, tolerance).verdict is BAD


def test_the_users_tolerances_are_relative_to_the_scale() -> None:
    tolerance = Tolerance(eps=EPS, rtol=0.25, atol=2.0)
    assert tolerance.given
    assert [tolerance.relative(scale) for scale in (4.0, 0.0, None)] == [0.75, 0.25, 0.25]
    assert Tolerance(eps=EPS, rtol=0.25).relative(4.0) == 64 * EPS
    assert Tolerance(eps=EPS, atol=2.0).relative(4.0) == 64 * EPS


CLEARLY = 8.0
CHOOSES = (Cause(kind="DATA_DEPENDENT"),)
STRIDED = (Cause(kind="STRIDE", period=2),)


def test_a_gap_that_is_just_allowed_and_a_shift_that_is_just_visible() -> None:
    given = Tolerance(eps=EPS, rtol=0.1, atol=0.0)
    gap = replace(FINE, excess=1.0, null_excess=math.nextafter(CLEARLY, math.inf))
    assert judge(gap, (1, 0), (), 1.0, given).verdict is GOOD
    over = replace(gap, excess=math.nextafter(1.0, math.inf))
    assert judge(over, (1, 0), (), 1.0, given).verdict is BAD
    hidden = judge(replace(gap, null_excess=CLEARLY), (1, 0), (), 1.0, given)
    assert (hidden.verdict, hidden.reason) == (OPEN, "tolerance larger than the signal")
    seen = math.nextafter(CLEARLY * 64 * EPS, math.inf)
    assert judge(replace(FINE, null=seen), (1, 0), (), 1.0, NOISE).verdict is GOOD
    found = judge(replace(FINE, null=CLEARLY * 64 * EPS), (1, 0), (), 1.0, NOISE)
    assert (found.verdict, found.reason) == (OPEN, "shift not visible")
    unknown = judge(replace(FINE, null=None), (1, 0), (), 1.0, NOISE)
    assert (unknown.verdict, unknown.reason) == (GOOD, "")
    assert (
        judge(replace(gap, null=math.nan, null_excess=math.nan), (1, 0), (), 1.0, given).verdict
        is OPEN
    )


@pytest.mark.parametrize("tolerance", [NOISE, Tolerance(eps=EPS, rtol=0.1, atol=0.1)])
def test_an_output_that_does_not_vary_is_constant(tolerance: Tolerance) -> None:
    hidden = replace(FINE, null=0.0, excess=0.0, null_excess=0.0)
    noise = CLEARLY * 64 * EPS
    for variation, reason in (
        (None, "shift not visible"),
        (0.5, "shift not visible"),
        (math.nextafter(noise, math.inf), "shift not visible"),
        (noise, "constant output"),
        (0.0, "constant output"),
    ):
        found = judge(replace(hidden, variation=variation), (1, 0), (), 1.0, tolerance)
        assert (found.verdict, found.reason) == (OPEN, reason)


def test_dead_is_only_what_is_zero_in_both_runs() -> None:
    gap = replace(FINE, error=1.0, relative=1.0)
    assert judge(gap, (1, 0), (), 0.0, NOISE).verdict is BAD
    assert judge(FINE, (1, 0), (), 0.0, NOISE).verdict is OPEN
    for bad in (replace(FINE, error=math.inf), replace(FINE, relative=math.nan)):
        assert judge(bad, (1, 0), (), 1.0, NOISE).reason == "not finite"
    for bad in (replace(FINE, error=None), replace(FINE, relative=None)):
        assert judge(bad, (1, 0), (), 1.0, NOISE).reason == "no valid region"


def test_a_choice_from_the_data_excuses_the_period_alone() -> None:
    agrees = replace(FINE, predicted=False, off_period=True)
    found = judge(agrees, (1, 0), CHOOSES, 1.0, NOISE)
    assert (found.verdict, found.reason) == (OPEN, "chosen from the data")
    given = Tolerance(eps=EPS, rtol=0.1, atol=0.0)
    exact = replace(agrees, excess=0.0, null_excess=100.0)
    found = judge(exact, (1, 0), CHOOSES, 1.0, given)
    assert (found.verdict, found.reason) == (GOOD, "")
    noise = "within noise of a break"
    for tolerance in (NOISE, given):
        assert judge(exact, (1, 0), STRIDED, 1.0, tolerance).reason == noise
        assert (
            judge(replace(exact, off_period=False), (1, 0), CHOOSES, 1.0, tolerance).reason == noise
        )
    broken = replace(agrees, error=0.1, relative=0.1)
    assert judge(broken, (1, 0), CHOOSES, 1.0, NOISE).reason == ""


def test_what_comes_first_is_told() -> None:
    """Each of the reasons wins over those after it."""
    blind = (Cause(kind="PADDING"), Cause(kind="STOCHASTIC"), Cause(kind="BATCH_COUPLED"))
    gap = Gap(spatial=False, onto_lattice=False)
    assert judge(gap, (0, 0), blind, 1.0, NOISE).reason == "identity shift"
    assert judge(gap, (1, 0), blind, 1.0, NOISE).reason == "nondeterministic"
    assert judge(gap, (1, 0), (), 1.0, NOISE).reason == "not spatial"
    gap = replace(gap, spatial=True)
    assert judge(gap, (1, 0), (), 1.0, NOISE).reason == "off the lattice"
    assert judge(replace(gap, onto_lattice=True), (1, 0), (), math.nan, NOISE).reason == (
        "no valid region"
    )
    for found in (judge(gap, (0, 0), blind, 1.0, NOISE), judge(gap, (1, 0), (), 1.0, NOISE)):
        assert found.verdict is OPEN


MEASURED_GAP, AGAINST = "gap where the geometry was measured", "disagrees with the structure"


@pytest.mark.parametrize(
    ("shift", "reason", "circular", "stays"),
    [
        ((1, 0), "", (False, False), False),
        ((1, 0), "", (True, False), True),
        ((1, 0), "", (False, True), False),
        ((1, 2), "", (True, False), False),
        ((1, 2), "", (True, True), True),
        ((1, 2), AGAINST, (True, True), False),
    ],
)
def test_a_gap_where_the_geometry_was_measured(
    shift: tuple[int, int], reason: str, circular: tuple[bool, bool], stays: bool
) -> None:
    broken = result(shift, BAD, reason)
    unsure = replace(broken, verdict=OPEN, reason=MEASURED_GAP)
    assert unproven(broken, circular) == (broken if stays else unsure)
    for other in (result(shift, GOOD), result(shift, OPEN, "no valid region")):
        assert unproven(other, circular) is other


def test_a_layer_over_the_zero_shift_and_what_is_off_the_lattice() -> None:
    zero = result((0, 0), OPEN, "identity shift")
    off, good = result((1, 1), OPEN, "off the lattice"), result((1, 0), GOOD)
    gone = result((0, 1), OPEN, "not spatial")
    for strict in (False, True):
        assert judge_layer([zero, good], [0], strict=strict) == (GOOD, "")
        assert judge_layer([zero], [], strict=strict) == (OPEN, "identity shift")
        assert judge_layer([gone, zero], [0], strict=strict) == (OPEN, "not spatial")
    assert judge_layer([zero, off], [0], strict=False) == (OPEN, "off the lattice")
    assert judge_layer([off, zero], [0], strict=False) == (OPEN, "off the lattice")
    assert judge_layer([gone, off], [0], strict=False) == (OPEN, "not spatial")
    assert judge_layer([], [], strict=True) == (OPEN, "identity shift")
    diagonal = result((1, -1), GOOD)
    assert judge_layer([diagonal], iter([0, 1]), strict=True) == (GOOD, "")
    bad = result((1, 0), BAD, AGAINST)
    assert judge_layer([good, bad, result((2, 0), BAD)], [0], strict=True) == (BAD, AGAINST)


def with_op(row: LayerResult, op: str) -> LayerResult:
    return replace(row, op=op)


@pytest.mark.parametrize("reason", ["constant output", "dead output"])
def test_why_an_output_is_constant(reason: str) -> None:
    still = result((1, 0), OPEN, reason)
    other = result((0, 1), OPEN, "no valid region")
    output, early = layer("out", OPEN, reason, still, other), layer("a", GOOD)
    flat = layer("b", OPEN, reason)

    def told(layers: list[LayerResult], constant_input: bool = False) -> LayerResult:
        return why_constant(output, layers, constant_input)

    assert told([early, flat]) == output
    assert told([]) == output
    for op in ("Sigmoid", "LogSoftmax", "Tanh", "ReLU6", "clamp", "clip", "erf", "Softsign"):
        found = told([with_op(early, "Tanh"), with_op(flat, op), with_op(flat, "conv")])
        assert found == replace(
            output,
            reason="saturated output",
            shifts=(replace(still, reason="saturated output"), other),
        )
    assert told([with_op(flat, "conv"), with_op(flat, "Sigmoid")]) == output
    assert told([with_op(early, "Sigmoid"), flat]) == output
    found = told([with_op(flat, "Sigmoid")], constant_input=True)
    assert (found.reason, [s.reason for s in found.shifts]) == (
        "constant input",
        ["constant input", "no valid region"],
    )


def test_only_a_constant_output_is_asked_why() -> None:
    fine = layer("out", OPEN, "no valid region", result((1, 0), OPEN, "no valid region"))
    assert why_constant(fine, [with_op(layer("a", OPEN, "constant output"), "Tanh")], True) is fine


def test_the_first_output_of_the_worst_verdict_is_told() -> None:
    first, second = layer("a", BAD), layer("b", BAD, "disagrees with the structure")
    assert judge_model([layer("c", OPEN, "dead output"), first, second]) == (BAD, "")
    flat = replace(layer("d", OPEN, "not spatial"), reduced=True)
    assert judge_model([flat, first]) == (BAD, "")
    lost = replace(flat, reduced=False)
    assert judge_model([lost]) == judge_model([lost, flat]) == (OPEN, "not spatial")
    assert judge_model([replace(flat, reason="no valid region"), layer("e", GOOD)]) == (
        OPEN,
        "no valid region",
    )


ONE, OTHER = (
    Cause(kind="POSITION", axis=0, layer="one"),
    Cause(kind="POSITION", axis=1, layer="two"),
)


def found_guilty(
    causes: list[Cause],
    verdict: Verdict,
    reason: str,
    *shifts: ShiftResult,
    circular: tuple[bool, bool] = (False, False),
    layers: tuple[LayerResult, ...] = (),
) -> str:
    output = layer("out", verdict, reason, *shifts)
    found = find_guilty(verdict, reason, output, causes, circular, layers)
    return found.layer if found else ""


def test_only_the_shifts_that_show_the_verdict_are_looked_at() -> None:
    calm, zero = result((1, 0), GOOD), result((0, 0), BAD)
    other, bad = result((1, 0), BAD, AGAINST), result((0, 1), BAD)
    assert found_guilty([ONE, OTHER], BAD, "", calm, zero, other, bad) == "two"
    assert found_guilty([ONE, OTHER], BAD, "", calm, zero, other) == ""
    assert found_guilty([ONE, OTHER], BAD, "", result((1, 0), OPEN), bad) == "two"


def test_who_is_blamed_where_nothing_is_valid_or_the_axes_are_gone() -> None:
    pad = Cause(kind="PADDING", axis=0, layer="pad")
    whole = Cause(kind="GLOBAL", axis=0, layer="mean")
    select = Cause(kind="INDEX", axis=0, layer="select")
    stride = Cause(kind="STRIDE", axis=0, layer="pool", period=2)
    none, gone = "no valid region", "not spatial"
    for causes in ([pad, whole, select], [whole, pad, select]):
        assert found_guilty(causes, OPEN, none, result((1, 0), OPEN, none)) == "mean"
    assert found_guilty([select, stride, pad], OPEN, none, result((1, 0), OPEN, none)) == "pad"
    assert found_guilty([select], OPEN, none, result((1, 0), OPEN, none)) == ""
    moved = result((1, 0), OPEN, gone)
    assert found_guilty([pad, stride, select], OPEN, gone, moved) == "select"
    assert found_guilty([pad, stride, whole, select], OPEN, gone, moved) == "mean"


def test_on_a_circle_padding_and_global_values_break() -> None:
    for kind in ("PADDING", "GLOBAL"):
        cause, bad = Cause(kind=kind, layer="it"), result((1, 0), BAD)
        assert found_guilty([cause], BAD, "", bad, circular=(True, False)) == "it"
        assert found_guilty([cause], BAD, "", bad, circular=(False, True)) == ""
        cause = replace(cause, axis=1)
        both = result((1, 1), BAD)
        assert found_guilty([cause], BAD, "", both, circular=(True, False)) == ""
        assert found_guilty([cause], BAD, "", both, circular=(False, True)) == "it"
        latent = replace(cause, latent=True)
        assert found_guilty([latent], BAD, "", both, circular=(True, True)) == ""


def test_a_stride_is_guilty_off_its_period_only() -> None:
    stride = Cause(kind="STRIDE", layer="pool", period=2)
    for shift, name in (((1, 0), "pool"), ((2, 0), ""), ((2, 3), "pool"), ((0, 4), "")):
        assert found_guilty([stride], BAD, "", result(shift, BAD)) == name
    first = replace(stride, axis=0)
    assert found_guilty([first], BAD, "", result((2, 3), BAD)) == ""


def test_a_measured_geometry_is_blamed_last_and_for_its_own_gap_only() -> None:
    measured = Cause(kind="MEASURED", layer="custom")
    moved = result((1, 0), OPEN, MEASURED_GAP)
    assert found_guilty([measured, ONE], OPEN, MEASURED_GAP, moved) == "one"
    assert found_guilty([OTHER, measured], OPEN, MEASURED_GAP, moved) == "custom"
    assert found_guilty([measured], BAD, "", result((1, 0), BAD)) == ""


def test_a_choice_from_the_data_is_blamed_after_the_others() -> None:
    chooses = Cause(kind="DATA_DEPENDENT", axis=0, layer="argmax")
    assert found_guilty([chooses, ONE], BAD, "", result((1, 0), BAD)) == "one"
    assert found_guilty([chooses], BAD, "", result((1, 0), BAD)) == "argmax"
    unclear = result((1, 0), OPEN, "within noise of a break")
    assert found_guilty([chooses, ONE], OPEN, "within noise of a break", unclear) == "argmax"


QUIET = 1e-13


def fed(
    name: str, shift: tuple[int, int], inner: float | None, border: float | None
) -> LayerResult:
    """A layer that was fed with exact shifts."""
    own = replace(result(shift, BAD), local_interior=inner, local_border=border)
    return layer(name, BAD, "", own)


@pytest.mark.parametrize("name", ["one", "one[1]"])
def test_a_cause_that_does_nothing_is_blamed_after_the_others(name: str) -> None:
    second = replace(ONE, layer="second")
    both, bad = [ONE, second], result((1, 0), BAD)
    quiet, loud = fed(name, (1, 0), QUIET, 1.0), fed(name, (1, 0), math.nextafter(QUIET, 1), 0.0)
    assert found_guilty(both, BAD, "", bad, layers=(quiet,)) == "second"
    assert (
        found_guilty(both, BAD, "", bad, layers=(fed("second", (1, 0), 1.0, 1.0), quiet))
        == "second"
    )
    for rows in ((loud,), (quiet, loud), (fed(name, (1, 0), None, 0.0),), ()):
        assert found_guilty(both, BAD, "", bad, layers=rows) == "one"
    elsewhere = (fed(name, (2, 0), 0.0, 0.0), fed("one2", (1, 0), 0.0, 0.0))
    assert found_guilty(both, BAD, "", bad, layers=elsewhere) == "one"
    second_quiet = fed("second", (1, 0), 0.0, 0.0)
    assert found_guilty(both, BAD, "", bad, layers=(quiet, second_quiet)) == "one"


def test_padding_does_nothing_where_its_border_is_quiet() -> None:
    pads = [Cause(kind="PADDING", axis=0, layer=name) for name in ("one", "second")]
    bad, rings = result((1, 0), BAD), (True, True)
    for inner, border, name in ((1.0, 0.0, "second"), (0.0, 1.0, "one")):
        rows = (fed("one", (1, 0), inner, border),)
        assert found_guilty(pads, BAD, "", bad, circular=rings, layers=rows) == name


def test_the_layer_where_a_disagreement_begins() -> None:
    """The first that breaks what it is fed with by itself, else the first with any gap."""

    def row(name: str, verdict: Verdict, local: float | None, allowed: float | None) -> LayerResult:
        own = replace(result((1, 0), verdict), local_interior=local, allowance=allowed)
        return layer(name, verdict, "", replace(own, shift=(0, 1), local_interior=9.0), own)

    output, shift = layer("out", BAD, AGAINST, result((1, 0), BAD, AGAINST)), (1, 0)
    calm, gap = row("calm", GOOD, 0.5, 0.5), row("gap", BAD, None, 0.5)
    own, later = row("own", GOOD, 0.6, 0.5), row("later", BAD, 0.1, None)
    for rows, name in (
        ((calm, gap, own, later), "own"),
        ((later, own), "later"),
        ((calm, gap), "gap"),
        ((calm, row("zero", GOOD, 0.0, None), gap), "gap"),
    ):
        found = find_guilty(BAD, AGAINST, output, [ONE], (False, False), rows)
        assert found is not None
        assert found == Cause(
            kind="UNEXPLAINED",
            layer=name,
            op="conv",
            detail="the rules promise agreement here: one of them is wrong, or the model is",
        )
        assert rows[0].shifts[1].shift == shift
    assert find_guilty(BAD, AGAINST, output, [ONE], (False, False), [calm]) is None


def test_nobody_is_guilty_of_a_pass_and_who_is_blind_is_named_first() -> None:
    blind = Cause(kind="STOCHASTIC", layer="dropout")
    also = Cause(kind="STOCHASTIC", layer="noise")
    reason = "nondeterministic"
    assert found_guilty([ONE, blind, also], OPEN, reason, result((1, 0), OPEN, reason)) == "dropout"
    assert found_guilty([ONE, blind], OPEN, "batch coupled") == ""
    assert found_guilty([ONE, blind], GOOD, "", result((1, 0), GOOD)) == ""
