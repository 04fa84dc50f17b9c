"""Which word a row shows for its verdict, reason by reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import Verdict
from shiftcheck.report import LayerResult, Reason
from shiftcheck.report.equivariance import ShiftResult
from shiftcheck.report.render.cells import cells_of, cells_of_group, common_word, verdict_word
from shiftcheck.report.render.folding import Group

OF_THE_TEST = {
    Reason.IDENTITY,
    Reason.OFF_LATTICE,
    Reason.NO_REGION,
    Reason.TOO_LITTLE,
    Reason.NEVER_MOVED,
}
OF_THE_MODEL = [
    reason
    for reason in Reason
    if reason.hints.equivariance is not None and reason not in {*OF_THE_TEST, Reason.NOT_SPATIAL}
]
FINE = ShiftResult(shift=(4, 0), verdict=Verdict.EQUIVARIANT, error=0.0, relative_error=0.0)


def row(reason: Reason, *shifts: ShiftResult, reduced: bool = False) -> LayerResult:
    """An inconclusive row."""
    blank = shiftcheck.geometry(nn.Conv2d(1, 1, 3), (1, 1, 8, 9)).layers[0]
    verdict = Verdict.INCONCLUSIVE
    return replace(blank, verdict=verdict, reason=reason, shifts=shifts, reduced=reduced)


def absent(reason: Reason, error: float | None = None) -> ShiftResult:
    return ShiftResult(shift=(1, 0), verdict=Verdict.INCONCLUSIVE, reason=reason, error=error)


@pytest.mark.parametrize("reason", sorted(OF_THE_TEST))
def test_what_no_shift_could_tell_of_was_not_compared(reason: Reason) -> None:
    assert verdict_word(row(reason, absent(reason))) == "not compared"
    assert verdict_word(row(reason, absent(reason), FINE)) == "partly compared"


@pytest.mark.parametrize("reason", OF_THE_MODEL)
def test_what_lies_in_the_model_stays_inconclusive(reason: Reason) -> None:
    assert len(OF_THE_MODEL) > 15
    for error in (None, 0.0):
        assert verdict_word(row(reason, absent(reason, error))) == "inconclusive"
        hidden = row(Reason.NO_REGION, absent(Reason.NO_REGION), absent(reason, error))
        assert verdict_word(hidden) == "inconclusive"
    assert verdict_word(row(reason)) == "inconclusive"


def test_too_little_that_agrees_was_partly_compared() -> None:
    assert verdict_word(row(Reason.TOO_LITTLE, absent(Reason.TOO_LITTLE, 0.0))) == "partly compared"


def test_a_mean_has_nothing_to_compare_and_a_linear_layer_has_lost_it() -> None:
    gone = absent(Reason.NOT_SPATIAL)
    assert verdict_word(row(Reason.NOT_SPATIAL, gone, reduced=True)) == "not compared"
    assert verdict_word(row(Reason.NOT_SPATIAL, gone)) == "inconclusive"


def test_other_verdicts_stay() -> None:
    for verdict in (Verdict.EQUIVARIANT, Verdict.BROKEN):
        assert verdict_word(replace(row(Reason.NONE, FINE), verdict=verdict)) == verdict
    assert verdict_word(replace(row(Reason.NONE), verdict=None)) == "not compared"


def test_several_rows_show_the_worst_of_them() -> None:
    unseen = row(Reason.OFF_LATTICE, absent(Reason.OFF_LATTICE))
    dead = row(Reason.DEAD, absent(Reason.DEAD, 0.0))
    good = replace(row(Reason.NONE, FINE), verdict=Verdict.EQUIVARIANT)
    broken = replace(good, verdict=Verdict.BROKEN)
    assert common_word([good, good]) == "equivariant"
    assert common_word([unseen, unseen]) == "not compared"
    assert common_word([good, unseen]) == "partly compared"
    assert common_word([good, unseen, dead]) == "inconclusive"
    assert common_word([dead, unseen, broken]) == "broken"
    assert cells_of_group(Group("a", (unseen, dead, good)))["cause"] == "dead output"


def test_the_record_stays_as_it_is() -> None:
    pool = nn.Sequential(nn.MaxPool2d(2), nn.Upsample(scale_factor=2))
    report = shiftcheck.check_equivariance(pool, torch.randn(1, 1, 16, 16), shifts=[(1, 0)])
    assert (report["0"].verdict, report["0"].reason) == ("inconclusive", "off the lattice")
    assert cells_of(report["0"])["verdict"] == "not compared"
    assert cells_of(report["1"])["verdict"] == "broken"


@pytest.mark.parametrize(
    ("model", "word"),
    [
        (lambda x: x * 0, "inconclusive"),
        (lambda x: x * float("nan"), "inconclusive"),
        (lambda x: torch.linalg.qr(x).Q, "inconclusive"),
        (nn.InstanceNorm2d(2), "not compared"),
        (nn.AdaptiveAvgPool2d(1), "not compared"),
        (nn.Sequential(nn.Flatten(), nn.Linear(512, 2)), "inconclusive"),
    ],
    ids=["dead", "not finite", "unsupported", "global", "mean", "mixing"],
)
def test_layers_of_each_kind(model: nn.Module, word: str) -> None:
    report = shiftcheck.check_equivariance(model, torch.randn(1, 2, 16, 16))
    assert report.layers[-1].verdict == "inconclusive"
    assert cells_of(report.layers[-1])["verdict"] == word
