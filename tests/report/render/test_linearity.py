"""What is said of linearity and of the theorem."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from shiftcheck.report import (
    ConvolutionReport,
    Linearity,
    LinearityReport,
    LinearOutput,
    Superposition,
    Theorem,
)
from shiftcheck.report.reasons import Reason
from shiftcheck.report.render import explain_convolution, explain_linearity
from shiftcheck.report.render.linearity import contents_of_convolution

LAW = Superposition(
    law="phi(f + g) = phi(f) + phi(g) - phi(0)",
    error=0.25,
    allowance=1e-14,
    index=(0, 1, 2),
    together=0.5,
    apart=0.75,
)


def linearity(verdict: Linearity, reason: str = "", error: float = 0.25) -> LinearityReport:
    law = Superposition(
        law=LAW.law, error=error, allowance=1e-14, index=(0, 1, 2), together=0.5, apart=0.75
    )
    output = LinearOutput(
        name="output",
        shape=(1, 2, 8),
        verdict=verdict,
        reason=reason,
        superpositions=(law,),
        constant=0.5,
        scale=2.0,
    )
    return LinearityReport(
        verdict=verdict,
        reason=reason,
        outputs=(output,),
        model="Net",
        input_shape=(1, 1, 8),
        precision="float64",
        amplitudes=(0.5, 2.0),
        sensitivity=1e-14,
    )


def test_a_map_that_is_not_linear_shows_the_two_numbers() -> None:
    assert explain_linearity(linearity(Linearity.NOT_LINEAR)) == (
        "Net on 1x1x8: NOT LINEAR\n"
        "output 'output' [1, 2, 8]: phi(f + g) = phi(f) + phi(g) - phi(0) does not hold\n"
        "at output index [0, 1, 2]: left side 0.5, right side 0.75\n"
        "output 'output' [1, 2, 8]: largest gap 2.5e-01 relative to the linear part"
        " (allowed 1.0e-14)\n"
        "the smallest departure this run would have caught: 1.0e-14\n"
        "1 law: f and g are white noise of magnitude 1 (seed 0), c is constant,"
        " s is f at half of its places;\n    at 5.0e-01 to 2.0e+00 times that, compared in float64"
    )


def test_rounding_is_not_called_a_break() -> None:
    text = explain_linearity(linearity(Linearity.INCONCLUSIVE, Reason.WITHIN_ROUNDING))
    assert "does not hold" not in text
    assert "may be rounding" in text
    assert "remedy: rounding is as large as the gap" in text


def test_an_affine_map_shows_its_constant() -> None:
    text = explain_linearity(linearity(Linearity.AFFINE, error=0.0))
    assert "phi(0) reaches 5.0e-01, phi(f) - phi(0) reaches 2.0e+00" in text


@pytest.mark.parametrize(
    "reason",
    [
        *(Reason.DEAD, Reason.IGNORES, Reason.NOT_FINITE, Reason.UNREAD, Reason.UNSTEADY),
        *(Reason.SHAPES, Reason.DECIDES, Reason.WITHIN_ROUNDING, Reason.COVERED),
        *(Reason.SEVERAL_OUTPUTS, Reason.OTHER_ORDER, Reason.DIFFERS),
    ],
)
def test_every_reason_has_a_remedy(reason: Reason) -> None:
    assert reason.hints.linearity


def convolution(verdict: Theorem, reason: str = "", **more: Any) -> ConvolutionReport:
    known: dict[str, Any] = {
        "boundary": ("valid",),
        "stride": (Fraction(1, 2),),
        "period": (1,),
        "taps": (3,),
        "origin": (1,),
        "channels": (2, 1),
        "constant": 0.5,
        "error": 1e-15,
        "relative_error": 1e-16,
        "allowance": 1e-14,
        "share": 0.5,
    }
    return ConvolutionReport(
        verdict=verdict,
        reason=reason,
        linearity=linearity(Linearity.AFFINE, error=0.0),
        **(known | more),
    )


def test_the_theorem_from_its_premise_to_its_conclusion() -> None:
    assert explain_convolution(convolution(Theorem.CONVOLUTION)) == (
        "Net on 1x1x8: CONVOLUTION\n"
        "linear, but for a constant part phi(0) of up to 5.0e-01: largest gap 0, allowed 1.0e-14\n"
        "therefore a convolution: kernel 3 (1 to 2 channels), origin (1,), stride 1/2, period 1,"
        " constant\n    part 5.0e-01\n"
        "phi(f) and f * h differ by at most 1.0e-15 on random signals, relative 1.0e-16"
        " (allowed 1.0e-14),\n    over the valid region, 50% of the output"
    )


def test_what_fails_is_named_with_its_remedy() -> None:
    endless = explain_convolution(convolution(Theorem.INFINITE_SUPPORT, guilty="mean"))
    assert "support is infinite: from layer 'mean' on" in endless
    assert "remedy: check up to a layer before 'mean'" in endless
    small = convolution(Theorem.INCONCLUSIVE, Reason.TOO_SMALL, needed=(14, 16))
    assert "at least 14 x 16" in explain_convolution(small)
    unknown = convolution(Theorem.INCONCLUSIVE, Reason.TOO_SMALL)
    assert explain_convolution(unknown).endswith("remedy: give a larger signal")
    several = convolution(Theorem.INCONCLUSIVE, Reason.SEVERAL_OUTPUTS)
    assert "name a layer" in explain_convolution(several)


@pytest.mark.parametrize("verdict", Theorem)
def test_heading_and_badge_of_the_theorem_are_the_verdict_of_the_whole(verdict: Theorem) -> None:
    report = convolution(verdict)
    contents = contents_of_convolution(report)
    assert contents.headline == f"Net on 1x1x8: {verdict.upper()}"
    assert contents.verdict == verdict
    assert explain_convolution(report).splitlines()[0] == contents.headline


def test_a_theorem_that_fails_at_linearity_shows_its_evidence() -> None:
    report = replace(
        convolution(Theorem.NOT_LINEAR, reason=""), linearity=linearity(Linearity.NOT_LINEAR)
    )
    first, second, third, *_ = explain_convolution(report).splitlines()
    assert (first, second) == ("Net on 1x1x8: NOT LINEAR", "linearity: not linear")
    assert "does not hold" in third
