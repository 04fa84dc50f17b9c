"""Axes that share a dimension, windows folded into the batch, and axes of a single sample."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from tests.properties.oracle import truth
from torch import nn

import shiftcheck
from shiftcheck import Verdict

Model = Callable[[torch.Tensor], torch.Tensor]


def seeded(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(11)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def made(kind: Callable[..., nn.Module], *sizes: int, **options: object) -> nn.Module:
    torch.manual_seed(2)
    return kind(*sizes, **options).double().eval()


def over_tokens(layer: Model) -> Model:
    return lambda x: layer(x.flatten(2)).unflatten(2, x.shape[2:])


POINT = made(nn.Conv1d, 4, 4, 1)
THREE = made(nn.Conv1d, 4, 4, 3, padding=1)
IDLE: dict[str, Model] = {
    "a convolution of one tap": POINT,
    "grouped": made(nn.Conv1d, 4, 4, 1, groups=2),
    "transposed": made(nn.ConvTranspose1d, 4, 4, 1),
    "in two dimensions": lambda t: made(nn.Conv2d, 4, 4, 1)(t[..., None])[..., 0],
    "between others": nn.Sequential(POINT, nn.GELU(), made(nn.BatchNorm1d, 4), POINT),
    "a pool of one sample": lambda t: F.max_pool1d(F.avg_pool1d(t, 1), 1),
}


@pytest.mark.parametrize("name", IDLE)
def test_one_tap_takes_any_dimension_as_it_is(name: str) -> None:
    model = over_tokens(IDLE[name])
    report = shiftcheck.check_equivariance(model, seeded(1, 4, 12, 14))
    assert report.verdict is Verdict.EQUIVARIANT, report.guilty
    assert report.outputs[0].period == (1, 1)
    assert report.causes == ()


def test_one_tap_beside_several() -> None:
    """Time is a dimension of its own, rows and columns are one."""
    layer = made(nn.Conv2d, 4, 4, (3, 1), padding=(1, 0))
    out = shiftcheck.geometry(
        lambda x: layer(x.flatten(3)).unflatten(3, x.shape[3:]), seeded(1, 4, 9, 6, 8)
    ).outputs[0]
    assert out.period == (1, 1, 1)
    assert out.valid == (((1, 8),), ((0, 6),), ((0, 8),))


def test_one_tap_with_a_stride_is_another_matter() -> None:
    report = shiftcheck.check_equivariance(
        lambda x: F.conv1d(x.flatten(2), torch.ones(4, 4, 1).double(), stride=2).unflatten(
            2, (12, 7)
        ),
        seeded(1, 4, 12, 14),
    )
    assert report.verdict is not Verdict.EQUIVARIANT


def in_windows(layer: Model, width: int = 8) -> Model:
    def model(x: torch.Tensor) -> torch.Tensor:
        windows = x.unflatten(-1, (-1, width)).movedim(-2, 1)
        out = layer(windows.flatten(0, 1)).unflatten(0, windows.shape[:2])
        return out.movedim(1, -2).flatten(-2)

    return model


WINDOWS: dict[str, Model] = {
    "a padded convolution": THREE,
    "without padding": made(nn.Conv1d, 4, 4, 3),
    "strided": made(nn.Conv1d, 4, 4, 4, stride=2, padding=1),
    "around the window": made(nn.Conv1d, 4, 4, 3, padding=1, padding_mode="circular"),
    "reflected": made(nn.Conv1d, 4, 4, 5, padding=2, padding_mode="reflect"),
    "transposed": made(nn.ConvTranspose1d, 4, 4, 4, stride=2, padding=1),
    "a pool": nn.MaxPool1d(2),
    "resized": lambda t: F.interpolate(t, scale_factor=1.5, mode="linear"),
    "padded": lambda t: F.pad(t, (1, 3)),
    "two in a row": nn.Sequential(THREE, nn.Tanh(), THREE),
    "with a norm of the window": nn.Sequential(THREE, nn.InstanceNorm1d(4)),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_in_the_batch(name: str) -> None:
    model = in_windows(WINDOWS[name])
    x = seeded(1, 4, 48)
    seen = truth(model, tuple(x.shape), 0, 8)
    report = shiftcheck.check_equivariance(model, x, shifts=[8, -16])
    out = report.outputs[0]
    assert report.verdict is Verdict.EQUIVARIANT, report.guilty
    assert (out.stride, out.period) == ((seen.stride,), (8,))
    assert 8 % seen.period == 0
    assert out.valid == (((0, out.shape[-1]),),)
    assert all(seen.mask)
    assert out.halo[0] is not None
    assert all(c >= float(s) - 1e-9 for c, s in zip(out.halo[0], seen.halo, strict=True))
    if seen.period == 8:
        off = shiftcheck.check_equivariance(model, x, shifts=[4])
        assert off.verdict is not Verdict.EQUIVARIANT


def test_windows_of_two_axes_and_on_the_torus() -> None:
    layer = made(nn.Conv2d, 4, 4, 3, padding=1)

    def model(x: torch.Tensor) -> torch.Tensor:
        b, c, h, w = x.shape
        t = x.view(b, c, h // 4, 4, w // 8, 8).permute(0, 2, 4, 1, 3, 5)
        y = layer(t.reshape(-1, c, 4, 8)).view(b, h // 4, w // 8, c, 4, 8)
        return y.permute(0, 3, 1, 4, 2, 5).reshape(x.shape)

    for boundary in ("valid", "circular"):
        report = shiftcheck.check_equivariance(
            model, seeded(1, 4, 16, 24), shifts=[(4, 0), (0, 8), (4, -8)], boundary=boundary
        )
        assert report.verdict is Verdict.EQUIVARIANT, report.guilty
        assert report.outputs[0].period == (4, 8)
    broken = shiftcheck.check_equivariance(model, seeded(1, 4, 16, 24), shifts=[(1, 0), (0, 4)])
    assert broken.verdict is Verdict.BROKEN
    assert broken.guilty is not None
    assert (broken.guilty.kind, broken.guilty.period) == ("STRIDE", 4)


def test_behind_a_padded_layer_the_windows_that_see_it_are_not_valid() -> None:
    model = nn.Sequential(made(nn.Conv1d, 4, 4, 3, padding=1), _Windows())
    out = shiftcheck.geometry(model, seeded(1, 4, 48)).outputs[0]
    seen = truth(model, (1, 4, 48), 0, 8)
    assert out.valid[0] is not None
    claimed = [any(a <= i < b for a, b in out.valid[0]) for i in range(48)]
    assert all(really or not said for said, really in zip(claimed, seen.mask, strict=True))
    assert sum(claimed) >= 32


class _Windows(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return in_windows(THREE)(x)


def test_every_fourth_sample_in_the_batch_is_a_dilated_convolution() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        t = x.unflatten(-1, (-1, 4)).movedim(-1, 1)
        y = THREE(t.flatten(0, 1)).unflatten(0, t.shape[:2])
        return y.movedim(1, -1).flatten(-2)

    report = shiftcheck.check_equivariance(model, seeded(1, 4, 48), shifts=[4, -8])
    assert report.verdict is Verdict.EQUIVARIANT, report.guilty
    assert report.outputs[0].valid == (((4, 44),),)


SINGLE: dict[str, Model] = {
    "flipped": lambda x: x.flip(2),
    "both flipped twice": lambda x: x.flip(2, 3).sin().flip(3),
    "rolled": lambda x: x.roll(3, 2),
    "turned": lambda x: x.rot90(2, (2, 3)).flip(3),
    "a list of one": lambda x: x[:, :, [0]],
    "repeated once": lambda x: x.repeat(1, 1, 1, 1),
}


@pytest.mark.parametrize("name", SINGLE)
def test_a_row_alone_is_where_it_was(name: str) -> None:
    report = shiftcheck.check_equivariance(SINGLE[name], seeded(1, 2, 1, 24), shifts=[(0, 3)])
    assert report.verdict is Verdict.EQUIVARIANT, report.guilty
    assert report.outputs[0].stride == (1, 1)
    assert "INDEX" not in {c.kind for c in report.causes}


@pytest.mark.parametrize(
    "model",
    [
        lambda x: x[..., :1].expand(-1, -1, 24),
        lambda x: x + x[..., :1].expand(-1, -1, 24),
        lambda x: x * x[..., 5:6].expand_as(x),
    ],
    ids=["alone", "added", "from the middle"],
)
def test_one_sample_for_the_whole_axis_is_an_index(model: Model) -> None:
    report = shiftcheck.check_equivariance(model, seeded(1, 2, 24))
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert report.guilty.kind == "INDEX"


def views_tokens_as_channels(x: torch.Tensor) -> torch.Tensor:
    """As a position attention that was published: tokens are viewed as a map without a turn."""
    tokens = x.flatten(2).transpose(1, 2)
    related = (tokens @ tokens.transpose(1, 2)).flatten(1).softmax(1).view(len(x), 16, 16)
    return x + (related @ tokens).reshape(x.shape)


CLASHES: dict[str, tuple[Model, tuple[int, ...]]] = {
    "rows beside columns": (lambda x: x + x.mT, (1, 4, 12, 12)),
    "rows of another tensor beside columns": (
        lambda x: x * x.mean(1, keepdim=True).sigmoid().transpose(2, 3),
        (1, 4, 12, 12),
    ),
    "channels beside places": (lambda x: x + x.transpose(1, 2), (1, 12, 12)),
    "tokens viewed as channels": (views_tokens_as_channels, (1, 16, 4, 4)),
}


@pytest.mark.parametrize("name", CLASHES)
def test_an_axis_that_meets_another_one_is_an_index(name: str) -> None:
    model, shape = CLASHES[name]
    report = shiftcheck.check_equivariance(model, seeded(*shape))
    assert report.verdict is Verdict.BROKEN
    assert "INDEX" in {c.kind for c in report.causes}
    assert "UNSUPPORTED_OP" not in {c.kind for c in report.causes}


def test_every_place_related_to_every_other_is_no_index() -> None:
    """The sum of all pairs is exact on the torus: such a model is never called broken."""
    model: Model = lambda x: (x[..., None] + x[..., None, :]).sum(-1)  # noqa: E731
    for boundary in ("valid", "circular"):
        report = shiftcheck.check_equivariance(model, seeded(1, 2, 24), boundary=boundary)
        assert report.verdict is Verdict.INCONCLUSIVE


BY_HAND: dict[str, Model] = {
    "expanded": lambda x: torch.cat([x[..., :1].expand(*x.shape[:-1], 3), x], -1),
    "repeated at both ends": lambda x: torch.cat(
        [x[..., :1].repeat(1, 1, 3), x, x[..., -1:].repeat(1, 1, 2)], -1
    ),
    "one after another": lambda x: torch.cat([x[..., :1].repeat_interleave(3, -1), x], -1),
    "a list of one index": lambda x: torch.cat([x, x[..., [-1, -1, -1]]], -1),
    "then a convolution": lambda x: THREE(torch.cat([x[..., :1].expand_as(x[..., :3]), x], -1)),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_an_edge_repeated_in_front_or_behind_is_padding(name: str) -> None:
    model, x = BY_HAND[name], seeded(1, 4, 48)
    report = shiftcheck.check_equivariance(model, x)
    assert report.verdict is Verdict.EQUIVARIANT, report.guilty
    assert {c.kind for c in report.causes} == {"PADDING"}


def test_an_edge_in_the_middle_is_none() -> None:
    report = shiftcheck.check_equivariance(
        lambda x: torch.cat([x[..., :20], x[..., :1].expand(1, 4, 3), x[..., 23:]], -1),
        seeded(1, 4, 48),
    )
    assert report.verdict is Verdict.BROKEN
