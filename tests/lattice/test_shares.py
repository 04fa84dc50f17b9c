"""A comparison of a single row tells nothing: enough must be compared along every axis."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import InconclusiveError, Report, Verdict
from shiftcheck.checks.equivariance.judge import judge_layer
from shiftcheck.lattice.shares import is_fair
from shiftcheck.report import ShiftResult
from shiftcheck.report.reasons import Reason

CONV = nn.Conv2d(1, 1, 3, padding=1)
WIDE = nn.Conv2d(1, 1, 15, padding=7)


def check(model: Any, *shape: int, **options: Any) -> Report:
    draw = torch.Generator().manual_seed(0)
    return shiftcheck.check_equivariance(model, torch.randn(shape, generator=draw), **options)


def corners(size: int | None = None, *, mode: str = "bilinear") -> nn.Module:
    factor = None if size else 2
    return nn.Upsample(size=size, scale_factor=factor, mode=mode, align_corners=True)


@pytest.mark.parametrize(
    ("compared", "valid", "fair"),
    [(2, 2, True), (2, 8, True), (2, 9, False), (1, 1, False), (1, 4, False), (0, 0, False)],
)
def test_a_quarter_and_two(compared: int, valid: int, fair: bool) -> None:
    assert is_fair(compared, valid) is fair


# -- a lattice that comes from the size ---------------------------------------------------------

ALIGNED: dict[str, tuple[Any, tuple[int, ...], str, tuple[str, ...]]] = {
    "twice": (nn.UpsamplingBilinear2d(scale_factor=2), (1, 1, 32, 32), "", ("32 to 63",)),
    "behind a padded convolution": (
        nn.Sequential(CONV, corners()), (1, 1, 32, 32), "1", ("32 to 63",),
    ),
    "before one": (nn.Sequential(corners(), CONV), (1, 1, 32, 32), "0", ("32 to 63",)),
    "in a net that goes down and up": (
        nn.Sequential(CONV, nn.MaxPool2d(2), corners(), CONV), (1, 1, 32, 32), "2", ("16 to 31",),
    ),
    "down": (corners(32), (1, 1, 64, 64), "", ("63 to 32",)),
    "a line": (corners(mode="linear"), (1, 1, 50), "", ("50 to 99",)),
    "bicubic": (corners(mode="bicubic"), (1, 1, 20, 24), "", ("20 to 39",)),
    "a volume": (corners(mode="trilinear"), (1, 1, 8, 9, 10), "", ("8 to 15",)),
}  # fmt: skip


@pytest.mark.parametrize("name", ALIGNED)
def test_a_lattice_from_the_size_is_named(name: str) -> None:
    model, shape, layer, sizes = ALIGNED[name]
    report = check(model, *shape)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, Reason.TOO_LITTLE)
    assert report.guilty is not None
    assert report.guilty.kind == "RESIZE"
    assert not layer or report.guilty.layer == layer
    text = " ".join(str(report).split())
    assert all(size in text for size in sizes)
    assert "align_corners" in text
    assert "pad circularly" not in text


@pytest.mark.parametrize(("given", "made"), [(33, 65), (32, 63), (65, 33), (31, 61), (10, 16)])
def test_a_plain_fraction_is_a_real_resizing(given: int, made: int) -> None:
    assert check(corners(made), 1, 1, given, given).verdict is Verdict.EQUIVARIANT
    assert check(nn.Sequential(CONV, corners(made)), 1, 1, 33, given).verdict is not (
        Verdict.BROKEN
    )


def test_the_size_in_the_hint_does() -> None:
    text = " ".join(str(check(corners(), 1, 1, 20, 20)).split())
    assert "from 20 to 39 it is 1/2" in text
    assert check(corners(39), 1, 1, 20, 20).verdict is Verdict.EQUIVARIANT


def test_sizes_without_a_common_factor_are_named_too() -> None:
    for model in (nn.Upsample(size=64, mode="bilinear"), nn.AdaptiveAvgPool2d(7)):
        report = check(model, 1, 1, 31, 31)
        assert report.verdict is Verdict.INCONCLUSIVE
        assert report.guilty is not None
        assert report.guilty.kind in ("RESIZE", "STRIDE")


# -- few valid samples --------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"shifts": [(1, 1)]}, {"shifts": [(1, 0)]}])
def test_one_row_shows_nothing(options: Any) -> None:
    report = check(WIDE, 1, 1, 16, 16, **options)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, Reason.TOO_LITTLE)
    assert report.guilty is not None
    assert report.guilty.kind == "PADDING"
    assert report.needed is not None
    assert max(report.needed) == 17
    assert f"at least {report.needed[0]} x {report.needed[1]}" in str(report)
    assert check(WIDE, 1, 1, *report.needed, **options).verdict is Verdict.EQUIVARIANT


@pytest.mark.parametrize(
    ("model", "sizes", "needed"),
    [
        (nn.MaxPool2d(16), (40, 40), (48, 48)),
        (nn.Sequential(nn.Conv2d(1, 1, 9, padding=4), nn.AvgPool2d(4)), (18, 40), (20, 40)),
        (nn.Conv1d(1, 1, 31, padding=15), (32,), (33,)),
    ],
)
def test_a_coarse_or_padded_output_needs_three_samples(
    model: nn.Module, sizes: tuple[int, ...], needed: tuple[int, ...]
) -> None:
    report = check(model, 1, 1, *sizes)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.reason in (Reason.TOO_LITTLE, "no valid region")
    assert report.needed is not None
    assert check(model, 1, 1, *report.needed).verdict is Verdict.EQUIVARIANT
    smaller = tuple(n - (n > s) for n, s in zip(report.needed, sizes, strict=True))
    assert check(model, 1, 1, *smaller).verdict is Verdict.INCONCLUSIVE
    assert report.needed == needed


def test_on_a_circle_every_sample_is_compared() -> None:
    assert check(nn.MaxPool2d(8), 1, 1, 16, 16, boundary="circular").verdict is Verdict.EQUIVARIANT


# -- shifts of one's own ------------------------------------------------------------------------


def test_a_large_shift_counts_for_nothing_beside_fair_ones() -> None:
    fair = [(1, 0), (0, 1)]
    report = check(CONV, 1, 1, 24, 24, shifts=[*fair, (20, 0), (0, 22)])
    assert report.verdict is Verdict.EQUIVARIANT
    assert [s.reason for s in report.outputs[0].shifts] == [
        "",
        "",
        Reason.TOO_LITTLE,
        Reason.TOO_LITTLE,
    ]
    assert "compared 2 shifts (2 more left too little), at least 88%" in str(report)


@pytest.mark.parametrize("shifts", [[(20, 0)], [(1, 0), (0, 20)], [(1, 20), (20, 1)], [(0, 22)]])
def test_alone_it_shows_nothing_and_smaller_ones_are_the_remedy(shifts: Any) -> None:
    report = check(CONV, 1, 1, 24, 24, shifts=shifts)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, Reason.TOO_LITTLE)
    text = " ".join(str(report).split())
    assert "remedy: give smaller shifts: shiftcheck.assert_equivariant(model, x, shifts=[(" in text
    smaller = next(trial.change.shifts for trial in report.trials if trial.works)
    assert check(CONV, 1, 1, 24, 24, shifts=smaller).verdict is Verdict.EQUIVARIANT
    with pytest.raises(InconclusiveError, match=Reason.TOO_LITTLE):
        shiftcheck.assert_equivariant(CONV, torch.randn(1, 1, 24, 24), shifts=shifts)


def test_a_gap_is_one_however_few_samples_show_it() -> None:
    ramp = torch.linspace(0, 1, 24)[:, None]
    report = check(lambda x: CONV(x) * ramp, 1, 1, 24, 24, shifts=[(20, 0)])
    assert report.verdict is Verdict.BROKEN


def test_chosen_shifts_leave_a_fair_share() -> None:
    for size in (18, 20, 24, 40):
        report = check(WIDE, 1, 1, size, size)
        assert report.verdict is Verdict.EQUIVARIANT
        assert all(s.verdict is Verdict.EQUIVARIANT for s in report.outputs[0].shifts)


def test_between_pixels_too() -> None:
    smooth = F.avg_pool2d(torch.randn(1, 1, 32, 32), 5, stride=1)
    options: dict[str, Any] = {"rtol": 0.5, "atol": 0.0, "interpolation": "linear"}
    report = shiftcheck.check_equivariance(CONV, smooth, shifts=[(21.5, 0)], **options)
    assert report.verdict is not Verdict.EQUIVARIANT


# -- over the shifts of a layer -----------------------------------------------------------------


def thin(*shift: int) -> ShiftResult:
    return ShiftResult(
        shift=shift, verdict=Verdict.INCONCLUSIVE, reason=Reason.TOO_LITTLE, error=0.0
    )


def good(*shift: int) -> ShiftResult:
    return ShiftResult(shift=shift, verdict=Verdict.EQUIVARIANT, error=0.0)


@pytest.mark.parametrize("strict", [True, False])
def test_along_every_axis_one_shift_has_to_tell(strict: bool) -> None:
    def judged(*results: ShiftResult) -> str:
        return judge_layer(results, [0, 1], strict=strict)[1]

    assert judged(good(1, 0), good(0, 1), thin(9, 0)) == ""
    assert judged(good(1, 0), thin(0, 9)) == Reason.TOO_LITTLE
    assert judged(thin(9, 0), thin(0, 9)) == Reason.TOO_LITTLE
    assert judged(good(1, 0)) == "axis never moved"
    assert judged(thin(1, 0)) == "axis never moved"


def test_a_convolution_is_not_asked_at_sizes_that_tell_nothing() -> None:
    with pytest.raises(InconclusiveError, match="at least 17 x 17"):
        shiftcheck.as_convolution(WIDE, torch.randn(1, 1, 16, 16))
