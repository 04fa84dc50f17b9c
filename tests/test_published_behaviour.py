"""What the papers measured, found again on networks written from them, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from tests.networks.polyphase import Classifier, Down, PolyphaseDown, Residual, UNet, polyphase_up
from tests.networks.resnet import ResNet
from torch import nn

import shiftcheck
from shiftcheck import Report, Verdict

RING: dict[str, Any] = {"boundary": "circular"}


def image(*size: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 1, *size, generator=generator, dtype=torch.float64).to(dtype)


def seeded(make: Callable[[], nn.Module], seed: int, dtype: torch.dtype = torch.float64) -> Any:
    torch.manual_seed(seed)
    return make().to(dtype).eval()


# -- adaptive polyphase sampling -------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_adaptive_polyphase_sampling_is_exact_at_every_shift(levels: int, seed: int) -> None:
    model = seeded(lambda: UNet(levels, aps=True), seed)
    report = shiftcheck.assert_equivariant(model, image(16, 24, seed=seed), **RING)
    assert any(v % 2**levels for shift in report.shifts for v in shift)
    output = report.outputs[0]
    assert output.measured
    assert output.period == (2**levels, 2**levels)
    assert output.relative_error is not None
    assert output.relative_error < 1e-12
    assert "marked as measured" in str(report)
    assert any(c.kind == "DATA_DEPENDENT" for c in report.causes)


def test_it_is_exact_in_float32_as_well() -> None:
    model = seeded(lambda: UNet(2, aps=True), 0, torch.float32)
    report = shiftcheck.assert_equivariant(model, image(16, 24, dtype=torch.float32), **RING)
    assert report.outputs[0].relative_error is not None
    assert report.outputs[0].relative_error < 1e-5


@pytest.mark.parametrize("size", [30, 33, 36])
def test_it_is_not_exact_where_the_size_is_no_multiple(size: int) -> None:
    model = seeded(lambda: UNet(3, aps=True), 0)
    report = shiftcheck.check_equivariance(model, image(size, 32), **RING)
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert report.guilty.kind in ("STRIDE", "INDEX", "PADDING")
    assert report.relative_error is not None
    assert report.relative_error > 1e-3


class DownUp(nn.Module):
    """One component is kept and put back."""

    def __init__(self, choice: Literal["index", "gather", "mask"], wrong: bool = False) -> None:
        super().__init__()
        self.down, self.wrong = PolyphaseDown(choice), wrong

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        low, mask = self.down(x)
        return polyphase_up(low, mask.flip(1) if self.wrong else mask)


@pytest.mark.parametrize("choice", ["index", "gather", "mask"])
def test_however_the_component_is_taken(choice: Literal["index", "gather", "mask"]) -> None:
    shiftcheck.assert_equivariant(seeded(lambda: DownUp(choice), 0), image(8, 12), **RING)
    down = shiftcheck.check_equivariance(PolyphaseDown(choice), image(8, 12), **RING)
    assert [str(s) for s in down.outputs[0].stride] == ["2", "2"]


def test_put_back_at_another_place_it_breaks() -> None:
    report = shiftcheck.check_equivariance(DownUp("mask", wrong=True), image(8, 12), **RING)
    assert report.verdict is Verdict.BROKEN


class Fixed(nn.Module):
    """A choice from the data that has nothing to do with which component is kept."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gain = x.flatten(2).norm(dim=2).argmax(1).view(-1, 1, 1, 1)
        kept = x[..., ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3)
        return kept * (1 + gain)


def test_a_choice_elsewhere_excuses_no_stride() -> None:
    report = shiftcheck.check_equivariance(Fixed(), image(8, 12).expand(2, 3, 8, 12), **RING)
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert report.guilty.kind == "STRIDE"


def test_on_the_plane_a_choice_from_the_whole_axis_has_no_valid_region() -> None:
    report = shiftcheck.check_equivariance(DownUp("mask"), image(8, 12))
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "no valid region")


def test_in_bfloat16_ties_choose_otherwise() -> None:
    broken = 0
    for seed in range(12):
        model = seeded(lambda: UNet(2, aps=True), seed, torch.bfloat16)
        x = image(16, 24, seed=seed, dtype=torch.bfloat16)
        with torch.no_grad():
            moved, rolled = model(x.roll((1, 1), (2, 3))), model(x).roll((1, 1), (2, 3))
        report: Report = shiftcheck.check_equivariance(model, x, **RING)
        far = bool((moved - rolled).abs().max() > 0.25 * rolled.abs().max())
        broken += far
        if far:
            assert report.verdict is not Verdict.EQUIVARIANT
    assert broken


# -- how much a classifier's logits move -----------------------------------------------------------

DOWNS: tuple[Down, ...] = ("max", "blur3", "blur5", "blur7", "aps")
SHIFTS = [(1, 0), (0, 1), (3, 2), (2, 2), (5, 4)]


def logit_errors(down: Down, seeds: range) -> tuple[float, float]:
    """How far the logits move, relative, over seeds and shifts; how often the class stays."""
    errors, same = [], []
    for seed in seeds:
        model, x = seeded(lambda: Classifier(down), seed), image(32, 32, seed=seed)
        with torch.no_grad():
            logits = model(x)
            for shift in SHIFTS:
                moved = model(x.roll(shift, (2, 3)))
                errors.append(float((moved - logits).norm() / logits.norm()))
                same.append(bool((moved.argmax(1) == logits.argmax(1)).all()))
    return sum(errors) / len(errors), sum(same) / len(same)


def test_a_stronger_blur_moves_the_logits_less_and_polyphase_sampling_not_at_all() -> None:
    found = [logit_errors(down, range(6)) for down in DOWNS]
    errors = [error for error, _ in found]
    assert errors[0] > errors[1] > errors[2] > errors[3] > 1e-4
    assert errors[4] < 1e-14
    assert [agreement for _, agreement in found] == [1.0] * 5, "which is no evidence, then"


# -- U-Nets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_a_u_net_is_exact_at_multiples_of_its_period_alone(levels: int) -> None:
    model, x = seeded(lambda: UNet(levels, aps=False), 0), image(32, 48)
    period = 2**levels
    good = [(period, 0), (0, -period), (period, 2 * period)]
    report = shiftcheck.assert_equivariant(model, x, shifts=good, **RING)
    assert report.relative_error == 0.0
    for shift in [(1, 0), (0, period // 2), (period, 1)]:
        broken = shiftcheck.check_equivariance(model, x, shifts=[shift], **RING)
        assert broken.verdict is Verdict.BROKEN
        assert broken.guilty is not None
        assert (broken.guilty.kind, broken.outputs[0].period) == ("STRIDE", (period, period))


# -- padding ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "even"), [(224, False), (193, True), (225, True), (257, True)])
def test_padding_of_a_resnet_is_uneven_at_224(size: int, even: bool) -> None:
    report = shiftcheck.geometry(ResNet((3, 4), width=8), (1, 3, size, size))
    sides = [
        (row.valid[0][0][0], row.shape[2] - row.valid[0][-1][1])
        for row in report.layers
        if row.valid[0]
    ]
    assert len(sides) > 20
    assert all(left == right for left, right in sides) == even


def test_the_break_of_a_residual_net_ends_at_its_halo() -> None:
    model = seeded(Residual, 0)
    canvas = image(120, 120)
    with torch.no_grad():
        whole = model(canvas)[..., 30:90, 30:90]
        cut = model(canvas[..., 30:90, 30:90].clone())
    gap = (whole - cut).abs().amax((0, 1, 3)) / whole.abs().max()
    row = shiftcheck.geometry(model, (1, 1, 60, 60)).outputs[0]
    assert row.halo == ((20.0, 20.0), (20.0, 20.0))
    assert row.valid[0] == ((20, 40),)
    middle = (whole - cut).abs()[..., 20:40, 20:40]
    assert float(middle.max()) == 0.0
    along = (whole - cut).abs()[..., 20:40].amax((0, 1, 3)) / whole.abs().max()
    assert float(gap[0]) > 1e-2
    assert 1e-8 < float(along[10]) < 1e-3
    assert float(along[19]) > 0.0
    assert float(along[20]) == 0.0
