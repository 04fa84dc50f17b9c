"""Checks at shifts between pixels: measured, and judged only by the user's tolerances."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import InconclusiveError, NotEquivariantError, Report, Verdict

ONLY = "measured between pixels"


def check(model: Any, x: torch.Tensor, *shifts: Any, **options: Any) -> Report:
    return shiftcheck.check_equivariance(model, x, shifts=list(shifts), **options)


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=dtype)


def band(sizes: tuple[int, ...], highest: int, channels: int = 2) -> torch.Tensor:
    """Noise without frequencies above ``highest`` turns, ``[1, channels, *sizes]``."""
    x = noise(1, channels, *sizes)
    for dim, n in enumerate(sizes, 2):
        spectrum = torch.fft.fft(x, dim=dim)
        turns = (torch.fft.fftfreq(n) * n).abs().round()
        keep = (turns <= highest).reshape(-1, *(1,) * (x.ndim - 1 - dim))
        x = torch.fft.ifft(spectrum * keep, dim=dim).real
    return x.contiguous()


def net(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, **options),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(4, 3, 5, padding=2, **options),
    ).double()


def worst(report: Report) -> float:
    assert report.relative_error is not None
    return report.relative_error


# -- what is compared -------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_convolution_moves_by_any_part_of_a_pixel(axes: int) -> None:
    torch.manual_seed(1)
    make = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
    conv = make(2, 3, 3, padding=1, padding_mode="zeros").double()
    shift = (0.5, -1.25, 0.75)[:axes]
    x = noise(1, 2, *(17, 20, 18)[:axes])
    for how in ("lanczos", "linear"):
        report = check(conv, x, shift, rtol=1e-12, atol=0.0, interpolation=how)
        assert report.verdict is Verdict.EQUIVARIANT
        assert f"interpolated, {how} on the plane" in report.notes[0]
    ring = make(2, 3, 3, padding=1, padding_mode="circular").double()
    report = check(ring, x, shift, rtol=1e-12, atol=0.0, boundary="circular")
    assert report.verdict is Verdict.EQUIVARIANT
    assert report.outputs[0].shifts[0].share == 1.0
    assert "Fourier on circles" in report.notes[0]


@pytest.mark.parametrize("v", [0.5, -0.5, 3.25])
def test_a_strided_layer_moves_by_part_of_a_sample_in_the_same_direction(v: float) -> None:
    pixels = torch.arange(64, dtype=torch.float64)
    x = torch.cos(2 * math.pi * pixels / 32).reshape(1, 1, -1)
    conv = nn.Conv1d(1, 1, 4, stride=2, bias=False).double()
    assert worst(check(conv, x, (v,))) < 0.01
    assert worst(check(conv, x, (v,), interpolation="linear")) < 0.02
    ring = nn.Conv1d(1, 1, 3, stride=2, padding=1, padding_mode="circular").double()
    low = torch.cos(2 * math.pi * (3 * pixels / 64 + 0.1)).reshape(1, 1, -1)
    assert worst(check(ring, low, (v,), boundary="circular")) < 1e-12


def test_an_upsampled_layer_moves_by_more_than_a_sample() -> None:
    up = nn.ConvTranspose1d(1, 1, 4, stride=2, bias=False).double()
    x = torch.cos(2 * math.pi * torch.arange(64, dtype=torch.float64) / 32).reshape(1, 1, -1)
    with torch.no_grad():
        up.weight.copy_(torch.tensor([0.25, 0.75, 0.75, 0.25]).reshape(1, 1, 4))
    assert worst(check(up, x, (0.25,))) < 0.01
    assert worst(check(up, x, (0.5,))) < 0.01  # one whole sample of the output


def test_what_enters_from_outside_is_not_compared() -> None:
    x = noise(1, 2, 40, 44)
    shifts = [(0.5, 0), (-2.75, 1.5), (0, 0.25), (3.5, -3)]
    one, two = (check(net(), x, *shifts, seed=seed) for seed in (0, 1))
    assert one.relative_error == pytest.approx(two.relative_error, abs=1e-13)
    for a, b in zip(one.outputs[0].shifts, two.outputs[0].shifts, strict=True):
        assert a.share is not None
        assert 0.1 < a.share < 0.9
        assert a.error == pytest.approx(b.error, abs=1e-13)
    for row in one:
        for a, b in zip(row.shifts, two[row.name].shifts, strict=True):
            assert (a.error is None) == (b.error is None)
            assert a.error is None or a.error == pytest.approx(b.error, abs=1e-13)


NETS = {
    "stride 1": lambda: nn.Sequential(nn.Conv1d(2, 3, 5, padding=2), nn.Tanh()),
    "stride 2": lambda: nn.Sequential(
        nn.Conv1d(2, 4, 3, padding=1), nn.Tanh(), nn.AvgPool1d(2), nn.Conv1d(4, 3, 3, padding=1)
    ),
    "stride 1/2": lambda: nn.Sequential(
        nn.Conv1d(2, 3, 3, padding=1), nn.Tanh(), nn.ConvTranspose1d(3, 2, 4, stride=2, padding=1)
    ),
    "turned around": lambda: nn.Sequential(nn.Conv1d(2, 3, 4, padding=1, stride=2), Flip()),
}


class Flip(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flip(-1)


@pytest.mark.parametrize("how", ["lanczos", "linear"])
@pytest.mark.parametrize("v", [0.5, -0.5, 2.25, -3.5, 1.5])
@pytest.mark.parametrize("name", NETS)
def test_what_is_compared_is_what_a_larger_canvas_has(name: str, v: float, how: Any) -> None:
    """A sample counts if what lies around the window changes neither side of the comparison."""
    torch.manual_seed(0)
    model = NETS[name]().double()
    x = noise(1, 2, 48)

    def sides(around: int) -> torch.Tensor:
        """The two sides inside of the window, on a canvas of other content."""
        draw = torch.Generator().manual_seed(around)
        canvas = torch.randn(1, 2, 48 * 3, generator=draw, dtype=torch.float64)
        canvas[..., 48:96] = x
        with torch.no_grad():
            there = model(shiftcheck.shift(canvas, (v,), fill="zeros", interpolation=how))
            here = model(canvas)
        n = here.shape[-1] // 3
        by = v * here.shape[-1] / 144 * (-1 if name == "turned around" else 1)
        moved = shiftcheck.shift(here, (by,), fill="zeros", interpolation=how)
        return torch.cat([there, moved])[..., n : 2 * n]

    clean = (sides(1) - sides(2)).abs().amax((0, 1)) < 1e-12
    report = check(model, x, (v,), interpolation=how)
    found = report.layers[-1].shifts[0]  # as an output, what is turned around is broken
    gap = (sides(1)[0] - sides(1)[1]).abs().amax(0)
    assert found.share is not None
    assert found.error is not None
    assert 0.5 * int(clean.sum()) < found.share * len(clean) < int(clean.sum()) + 0.5
    assert found.error <= float(gap[clean].max()) + 1e-12


# -- verdicts ---------------------------------------------------------------------------------


def test_without_tolerances_nothing_passes_and_nothing_is_broken() -> None:
    conv = nn.Conv2d(2, 2, 3).double()
    report = check(conv, noise(1, 2, 20, 22), (0.5, 0))
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, ONLY)
    assert report.outputs[0].shifts[0].allowance is None
    assert report.sensitivity is None
    assert report.guilty is None
    assert "give rtol and atol to have it pass or fail" in str(report)
    with pytest.raises(InconclusiveError, match=ONLY):
        shiftcheck.assert_equivariant(conv, noise(1, 2, 20, 22), shifts=[(0.5, 0)])


def test_what_aliases_is_named() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3)).double()
    with pytest.raises(NotEquivariantError, match=r"'1' \(ReLU\), cause ALIASING") as caught:
        shiftcheck.assert_equivariant(
            model, noise(1, 2, 24, 26), shifts=[(0.5, 0)], rtol=1e-3, atol=0.0
        )
    words = " ".join(str(caught.value).split())
    assert "(its samples do not hold what it makes of the signal between them)" in words


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda x: 0.0 * x, "dead output"),
        (lambda x: x * math.nan, "not finite"),
        (lambda x: x.flatten(1), "not spatial"),
        (lambda x: F.conv2d(x, torch.ones(1, 2, 19, 19).double()), "no valid region"),
        (lambda x: x + torch.rand_like(x), "nondeterministic"),
        (lambda x: 1 + 0.0 * x, "constant output"),
    ],
)
@pytest.mark.parametrize("tolerances", [{}, {"rtol": 1e-3, "atol": 0.0}])
def test_what_tells_nothing_never_passes(model: Any, reason: str, tolerances: Any) -> None:
    report = check(model, noise(1, 2, 20, 22), (0.5, 0.5), **tolerances)
    assert report.verdict is not Verdict.EQUIVARIANT
    told = {reason, "tolerance larger than the signal"} if reason == "constant output" else {reason}
    assert report.reason in told or (report.reason == "shift not visible" and "constant" in reason)


def test_a_tolerance_larger_than_what_the_shift_changes_passes_nothing() -> None:
    x = 100 + noise(1, 2, 20, 22)
    report = check(nn.Identity(), x, (0.5, 0), rtol=0.5, atol=0.0)
    assert (report.verdict, report.reason) == (
        Verdict.INCONCLUSIVE,
        "tolerance larger than the signal",
    )


def test_whole_numbers_of_samples_go_as_ever() -> None:
    x = noise(1, 2, 20, 22)
    whole, written = (check(net(), x, v) for v in ((2, 0), (2.0, 0.0)))
    assert whole == written
    assert whole.shifts == ((2, 0),)
    assert not whole.notes
    both = check(net(), x, (2, 0), (0.5, 0))
    assert both.outputs[0].shifts[0].error == whole.outputs[0].shifts[0].error


def test_the_report_is_kept_as_json_and_the_line_to_reproduce_it_has_the_shift() -> None:
    report = check(net(), noise(1, 2, 30, 34), (0.5, 0), (0, -1.25))
    assert Report.from_json(report.to_json()) == report
    assert report.shifts == ((0.5, 0), (0, -1.25))
    assert "shifts=[(0.5, 0)]" in str(report) or "shifts=[(0, -1.25)]" in str(report)


def test_layers_of_whole_numbers_have_nothing_between_their_samples() -> None:
    report = check(lambda x: (x > 0).long(), noise(1, 2, 20, 22), (0.5, 0))
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "off the lattice")


def test_several_inputs_and_everything_is_left_as_it_was() -> None:
    model = net()
    x, y = noise(1, 2, 30, 34), noise(1, 2, 30, 34).flip(-1)
    before = x.clone(), [p.clone() for p in model.parameters()], torch.get_rng_state()
    report = check(lambda x, y: model(x + 2 * y), (x, y), (0.5, 0.25))
    assert report.reason == ONLY
    assert worst(report) < 1.0
    assert torch.equal(x, before[0])
    assert all(map(torch.equal, model.parameters(), before[1]))
    assert torch.equal(torch.get_rng_state(), before[2])


def test_one_copy_at_a_time_gives_the_same() -> None:
    x = noise(1, 2, 30, 34)
    together = check(net(), x, (0.5, 0), (0, 0.5))
    alone = check(net(), x, (0.5, 0), (0, 0.5), max_batch=2)
    assert worst(together) == pytest.approx(worst(alone), rel=1e-9)


def test_what_stays_whole_must_be_whole() -> None:
    model, x = nn.Conv2d(2, 2, 3).double(), noise(1, 2, 20, 22)
    with pytest.raises(shiftcheck.InputError, match="fractional; give whole pixels"):
        shiftcheck.check_invariance(model, x, shifts=[(0.5, 0)])
    with pytest.raises(shiftcheck.InputError, match="interpolation='cubic': give 'lanczos'"):
        check(model, x, (0.5, 0), interpolation="cubic")
    with pytest.raises(shiftcheck.InputError, match="no tuple of pixels"):
        check(model, x, (math.nan, 0))


# -- aliasing ---------------------------------------------------------------------------------


class Sampled(nn.Module):
    """A map of each value on a grid twice as fine, up and down by a periodic sinc."""

    def __init__(self, size: int, act: Any) -> None:
        super().__init__()
        self.size, self.act = size, act
        n, fine = size, 2 * size
        spectrum = torch.zeros(fine, dtype=torch.float64)
        spectrum[: n // 2] = spectrum[-(n // 2) + 1 :] = 1.0
        sinc = torch.fft.ifft(spectrum).real
        self.register_buffer("sinc", sinc.roll(n).flip(0).roll(1).reshape(1, 1, -1))
        self.register_buffer("stuff", torch.tensor([[[2.0, 0.0]]], dtype=torch.float64))

    def smooth(self, x: torch.Tensor) -> torch.Tensor:
        n = self.size
        around = F.pad(x, (n, n - 1), mode="circular")
        return F.conv1d(around, self.sinc)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine = self.smooth(F.conv_transpose1d(x, self.stuff, stride=2))
        return self.smooth(self.act(fine))[..., ::2]


def test_a_relu_aliases_at_half_a_pixel_and_not_at_whole_ones() -> None:
    """The signal: noise of at most 8 of 16 turns around 32 samples; the norm: the largest value."""
    x = band((32,), 8, channels=1)
    assert worst(check(nn.ReLU(), x, (0.5,), boundary="circular")) > 0.01
    assert worst(check(nn.ReLU(), x, (1,), boundary="circular")) == 0.0


def test_a_square_between_finer_samples_is_exact() -> None:
    """Its spectrum has twice the band, which the finer grid holds."""
    x = band((32,), 12, channels=1)
    bare = check(torch.square, x, (0.3,), boundary="circular")
    fine = check(Sampled(32, torch.square), x, (0.3,), (-1.25,), boundary="circular")
    assert worst(bare) > 0.01
    assert worst(fine) < 1e-12


def test_an_activation_without_aliases_passes() -> None:
    """A smooth map of a narrow band: what it makes beyond the finer grid is below 1e-6."""
    x = 0.2 * band((64,), 5, channels=1)
    block = Sampled(64, torch.tanh)
    report = check(block, x, (0.5,), (0.3,), boundary="circular", rtol=1e-6, atol=0.0)
    assert report.verdict is Verdict.EQUIVARIANT
    sharp = check(Sampled(64, torch.relu), x, (0.3,), boundary="circular", rtol=1e-6, atol=0.0)
    assert sharp.verdict is Verdict.BROKEN
