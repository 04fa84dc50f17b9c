"""What a report says that it would have caught, it catches; what it says nothing of, it names."""

from __future__ import annotations

import pytest
import torch

import shiftcheck
from shiftcheck import Report, Verdict
from shiftcheck.rules import registry

X = torch.randn(2, 3, 16, 18, generator=torch.Generator().manual_seed(0))
NOISE = 64 * 2.0**-23
SIZES = torch.tensor([1.0, 1e-2, 3e-4]).view(3, 1, 1)


@torch.library.custom_op("sensitivity::ramp", mutates_args=())
def ramp(x: torch.Tensor, strength: float, channel: int) -> torch.Tensor:
    """A ramp in one channel, which the library is told is pointwise."""
    out = x.clone()
    out[:, channel] *= 1 + strength * torch.linspace(0, 1, x.shape[-1]).to(x.dtype)
    return out


@ramp.register_fake
def _(x: torch.Tensor, strength: float, channel: int) -> torch.Tensor:
    return torch.empty_like(x)


@pytest.fixture(autouse=True, name="_pointwise")
def pointwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_table", dict(registry._table))
    shiftcheck.register_rule("sensitivity::ramp")(shiftcheck.rules.pointwise)


def peak_of(x: torch.Tensor) -> torch.Tensor:
    return x.abs().amax((2, 3)).flatten()


def checked(strength: float, channel: int) -> Report:
    return shiftcheck.check_equivariance(lambda x: ramp(x * SIZES, strength, channel), X)


def true_break(strength: float, channel: int, shifts: tuple[tuple[float, ...], ...]) -> float:
    """In float64, on the samples that overlap, relative to the channel."""
    x = X.double() * SIZES.double()
    place = torch.linspace(0, 1, 18, dtype=torch.float64)
    worst = 0.0
    for m, n in shifts:
        factor = strength * (place - place.roll(int(n)))[max(int(n), 0) : 18 + min(int(n), 0)]
        moved = x[:, channel].roll((int(m), int(n)), (1, 2))
        rows = slice(max(int(m), 0), 16 + min(int(m), 0))
        gap = (moved[:, rows, max(int(n), 0) : 18 + min(int(n), 0)] * factor).abs()
        worst = max(worst, float((gap.amax((1, 2)) / x[:, channel].abs().amax((1, 2))).max()))
    return worst


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_whatever_passes_is_smaller(channel: int) -> None:
    verdicts = set()
    for power in range(-28, -1):
        report = checked(10 ** (power / 4), channel)
        verdicts.add(report.verdict)
        if report.verdict is Verdict.EQUIVARIANT:
            assert report.sensitivity is not None
            broken = true_break(10 ** (power / 4), channel, report.shifts)
            assert broken <= report.sensitivity
    assert verdicts == {Verdict.EQUIVARIANT, Verdict.BROKEN}


def test_it_is_that_of_the_faintest_channel() -> None:
    report = shiftcheck.check_equivariance(lambda x: x * SIZES, X)
    peaks = peak_of(X * SIZES)
    least = 4 * 2.0**-23 * float(peaks.max() / peaks.min())
    assert report.sensitivity == pytest.approx(NOISE + least, rel=0.2)
    assert least > 100 * NOISE
    alike = shiftcheck.check_equivariance(lambda x: x * 2, X)
    assert alike.sensitivity == pytest.approx(2 * NOISE)


def test_in_float64_it_is_that_of_float64() -> None:
    report = shiftcheck.check_equivariance(lambda x: x * 2, X.double())
    assert report.sensitivity == pytest.approx(128 * 2.0**-52)


def test_with_tolerances_it_is_theirs_and_rounding() -> None:
    report = shiftcheck.check_equivariance(lambda x: x * SIZES, X, rtol=1e-3, atol=1e-5)
    peaks = peak_of(X * SIZES)
    least = 4 * 2.0**-23 * float(peaks.max() / peaks.min())
    expected = 1e-3 + 1e-5 / float(peaks.min()) + least
    assert report.sensitivity == pytest.approx(expected, rel=0.2)


FAINT = [
    ([1.0, 1e-2, 3e-4], None),
    ([1.0, 0.0, 3e-4], "2 of 6"),
    ([1.0, 0.0, 1e-7], "4 of 6"),
]


@pytest.mark.parametrize(("sizes", "told"), FAINT)
def test_channels_that_are_not_told_of_are_counted(sizes: list[float], told: str | None) -> None:
    scale = torch.tensor(sizes).view(3, 1, 1)
    report = shiftcheck.check_equivariance(lambda x: x * scale, X)
    assert report.verdict is Verdict.EQUIVARIANT
    notes = [note for note in report.notes if "nothing is told of them" in note]
    if told is None:
        assert notes == []
    else:
        assert notes == [
            f"{told} channels of 'output' are zero, or rounding beside the largest: nothing is told"
            " of them"
        ]


def test_of_nothing_but_zeros_the_verdict_tells() -> None:
    report = shiftcheck.check_equivariance(lambda x: x * 0, X)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "dead output")
    assert report.notes == ()


def test_where_only_the_shifted_signal_has_values() -> None:
    x = X.clone()
    x[..., 8:] = 0
    kept = torch.arange(18) > 8
    report = shiftcheck.check_equivariance(lambda x: x * kept, x, shifts=[(0, 3)])
    assert report.verdict is Verdict.BROKEN
    assert report.sensitivity == pytest.approx(NOISE)  # and the rounding of float64
