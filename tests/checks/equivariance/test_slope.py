"""Models in float64: rounding there shrinks as it does from float32, and a break keeps its size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import Verdict
from shiftcheck.checks.equivariance.second_look import COARSEST, ROUNDING, most_eps
from shiftcheck.checks.equivariance.slope import ALIKE, settled_by_slope
from shiftcheck.measuring.gaps.regions import Gap
from shiftcheck.measuring.in_another_type import EPS
from shiftcheck.report import ShiftResult
from shiftcheck.rules import registry
from shiftcheck.tracing.precision import SINGLE

AGAINST, NOISE = "disagrees with the structure", "within noise of a break"
UNCONFIRMED = "gap not confirmed in float64"


def signal(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    draw = torch.Generator().manual_seed(2)
    return torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype)


# -- rounding that grows with the size ----------------------------------------------------------


@pytest.mark.parametrize("size", [96, 100, 224, 500])
@pytest.mark.parametrize("factor", [1.5, 2.5, 3, 5, 7])
def test_resizing_in_float64_is_equivariant(factor: float, size: int) -> None:
    up = nn.Upsample(scale_factor=factor, mode="linear")
    report = shiftcheck.check_equivariance(up, signal(1, 2, size))
    assert (report.verdict, report.reason) == (Verdict.EQUIVARIANT, "")
    assert report.sensitivity is not None
    assert report.sensitivity < 1e-11


@pytest.mark.parametrize(
    "model",
    [
        nn.Upsample(scale_factor=3, mode="bilinear"),
        nn.Upsample(scale_factor=3, mode="bicubic"),
        nn.Sequential(nn.Upsample(scale_factor=2.5, mode="bilinear"), nn.Sigmoid()),
        nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1), nn.Upsample(scale_factor=3, mode="bilinear")
        ).double(),
    ],
)
def test_at_a_common_size(model: nn.Module) -> None:
    shiftcheck.assert_equivariant(model, signal(1, 1, 224, 60))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_long_signal(dtype: torch.dtype) -> None:
    up = nn.Upsample(scale_factor=3, mode="linear")
    x = signal(1, 1, 2**15, dtype=dtype)
    shiftcheck.assert_equivariant(up, x, shifts=[(9000,), (-1,)])


def test_layers_may_add_up_as_many_eps_as_the_axis_is_long() -> None:
    assert most_eps(10) == 4096
    assert most_eps(10**5) == 10**5


# -- breaks -------------------------------------------------------------------------------------


@pytest.fixture
def taken_for_pointwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that is wrong: a cumulative sum does not depend on what came before."""
    entry = registry.Entry(rule=lambda x, *_, **__: x, law="", source="")
    monkeypatch.setitem(registry._table, "aten::cumsum", entry)
    monkeypatch.setitem(registry._table, "aten::flip", entry)


def leaning(strength: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """Each sample and a little of its place, which the wrong rule hides."""
    return lambda x: x + strength * (0 * x + 1).cumsum(-1) / x.shape[-1]


@pytest.mark.usefixtures("taken_for_pointwise")
@pytest.mark.parametrize("strength", [3.1, 1.0, 1e-3, 1e-5, 1e-7, 1e-9, 1e-11])
def test_a_break_that_the_structure_forbids_is_found(strength: float) -> None:
    report = shiftcheck.check_equivariance(leaning(strength), signal(1, 1, 40))
    assert (report.verdict, report.reason) == (Verdict.BROKEN, AGAINST)
    assert report.guilty is not None
    assert report.guilty.kind == "UNEXPLAINED"


@pytest.mark.usefixtures("taken_for_pointwise")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_in_both_types_it_is_the_same(dtype: torch.dtype) -> None:
    report = shiftcheck.check_equivariance(lambda x: x.flip(-1), signal(1, 2, 24, dtype=dtype))
    assert (report.verdict, report.reason) == (Verdict.BROKEN, AGAINST)


@pytest.mark.usefixtures("taken_for_pointwise")
@pytest.mark.parametrize("refuses", [True, False], ids=["refuses", "stays in float64"])
def test_where_float32_tells_nothing_a_large_gap_is_one(refuses: bool) -> None:
    kernel = torch.ones(1, 1, 3, dtype=torch.float64)

    def model(x: torch.Tensor) -> torch.Tensor:
        y = torch.nn.functional.conv1d(x if refuses else x.double(), kernel)
        return leaning(3.1)(y)

    report = shiftcheck.check_equivariance(model, signal(1, 1, 40))
    assert (report.verdict, report.reason) == (Verdict.BROKEN, AGAINST)


@pytest.mark.usefixtures("taken_for_pointwise")
def test_what_lies_below_its_sensitivity_is_said_to() -> None:
    def check(strength: float) -> Any:
        return shiftcheck.check_equivariance(leaning(strength), signal(1, 1, 40))

    report = check(1e-16)
    assert report.verdict is Verdict.EQUIVARIANT
    assert report.sensitivity < 1e-13
    assert check(200 * report.sensitivity).verdict is Verdict.BROKEN


@pytest.mark.usefixtures("taken_for_pointwise")
def test_a_break_behind_rounding_that_grows_is_found() -> None:
    up = nn.Upsample(scale_factor=3, mode="linear")
    x = signal(1, 1, 224)
    assert shiftcheck.check_equivariance(up, x).verdict is Verdict.EQUIVARIANT
    for strength in (1.0, 1e-7, 1e-9):
        report = shiftcheck.check_equivariance(lambda x, s=strength: leaning(s)(up(x)), x)
        assert (report.verdict, report.reason) == (Verdict.BROKEN, AGAINST)


# -- what decides -------------------------------------------------------------------------------


def doubtful(gap: float, reason: str = AGAINST) -> ShiftResult:
    return ShiftResult(
        shift=(1, 0),
        verdict=Verdict.BROKEN,
        reason=reason,
        error=gap,
        relative_error=gap,
        scale=1.0,
        null_error=1.0,
    )


LARGE = 2 * COARSEST * EPS
# the gap in eps, that in float32 in eps, what rounding does in eps, then the reason
DECIDED: dict[str, tuple[float, float | None, float, str]] = {
    "shrinks as rounding": (100, 100, 0, ""),
    "a little of luck": (100 * ALIKE, 100, 0, ""),
    "more than luck": (101 * ALIKE, 100, 0, AGAINST),
    "the last bits": (ROUNDING / EPS, 0, 0, ""),
    "more than them": (ROUNDING / EPS + 1, 0, 0, AGAINST),
    "keeps its size": (1e-7 / EPS, 1e-7 / SINGLE, 1, AGAINST),
    "more than layers add up": (5000, 5000, 1, UNCONFIRMED),
    "noise, though it keeps its size": (200, 1, 10, ""),
    "more than noise is excused for": (LARGE / EPS, 1, LARGE / EPS, UNCONFIRMED),
    "no float32, within noise": (200, None, 10, ""),
    "no float32, beyond noise": (200, None, 1, UNCONFIRMED),
    "no float32, far beyond": (LARGE / EPS, None, 1, AGAINST),
    "no float32, all of it noise": (LARGE / EPS, None, LARGE / EPS, UNCONFIRMED),
}


@pytest.mark.parametrize("name", DECIDED)
def test_the_slope_decides_first_and_then_the_noise(name: str) -> None:
    gap, coarse, noise, reason = DECIDED[name]
    seen = None if coarse is None else Gap(relative=coarse * SINGLE)
    found = settled_by_slope(doubtful(gap * EPS), seen, noise * EPS, 100)
    assert found.reason == reason
    verdicts = {"": Verdict.EQUIVARIANT, AGAINST: Verdict.BROKEN}
    assert found.verdict is verdicts.get(reason, Verdict.INCONCLUSIVE)


def test_rounding_of_a_break_is_none() -> None:
    found = settled_by_slope(doubtful(100 * EPS, ""), Gap(relative=100 * SINGLE), 0.0, 100)
    assert (found.verdict, found.reason) == (Verdict.INCONCLUSIVE, NOISE)
    kept = settled_by_slope(doubtful(1e-7, ""), Gap(relative=1e-7), 0.0, 100)
    assert (kept.verdict, kept.reason) == (Verdict.BROKEN, "")


@pytest.mark.parametrize("relative", [None, float("nan"), float("inf")])
def test_what_float32_cannot_hold_tells_nothing(relative: float | None) -> None:
    found = settled_by_slope(doubtful(200 * EPS), Gap(relative=relative), 0.0, 100)
    assert found.reason == UNCONFIRMED


def test_what_stays_in_float64_has_no_slope() -> None:
    """Its gap is as large whatever it is given, and rounding all the same."""
    up = nn.Upsample(scale_factor=5, mode="linear")
    report = shiftcheck.check_equivariance(lambda x: up(x.double()), signal(1, 1, 400))
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, UNCONFIRMED)
    assert "give rtol and atol" in str(report) or any(trial.works for trial in report.trials)
