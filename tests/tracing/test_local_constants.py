"""Constants that differ only where their field leaves the window, and those that differ inside."""

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
SIZE = 40
BOX = torch.ones(1, 1, 5, dtype=torch.float64)


def seeded(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def ones(x: torch.Tensor) -> torch.Tensor:
    return torch.ones(1, 1, x.shape[-1], dtype=x.dtype)


def summed_windows(x: torch.Tensor) -> torch.Tensor:
    every = torch.ones(1, 1, (x.shape[-1] - 8) // 4 + 1, dtype=x.dtype)
    return F.conv_transpose1d(every, torch.arange(1, 9.0, dtype=x.dtype)[None, None], stride=4)


class PartialConv(nn.Module):
    """A padded convolution divided by how much of each window there was."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 2, 3, stride, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        there = F.conv1d(ones(x), BOX[..., :3], stride=self.conv.stride, padding=1)
        return self.conv(x) * (3 / there.clamp(min=1e-8))


def overlap_add(x: torch.Tensor) -> torch.Tensor:
    def put_back(y: torch.Tensor) -> torch.Tensor:
        columns = F.unfold(y[:, :, None], (1, 8), stride=(1, 4))
        return F.fold(columns.sin(), (1, x.shape[-1]), (1, 8), stride=(1, 4))[:, :, 0]

    return put_back(x) / put_back(torch.ones_like(x))


def windows_summed(x: torch.Tensor) -> torch.Tensor:
    """A Hann window of 8 every 4 samples, normalised by the sum of the windows."""
    hann = torch.hann_window(8, dtype=x.dtype)
    windows = F.unfold(x[:, :, None], (1, 8), stride=(1, 4)) * hann.repeat(2)[:, None]
    summed = F.fold(windows, (1, x.shape[-1]), (1, 8), stride=(1, 4))[:, :, 0]
    every = torch.ones(1, 1, windows.shape[-1], dtype=x.dtype)
    return summed / (F.conv_transpose1d(every, hann[None, None], stride=4) + 0.1)


def windows_expanded(x: torch.Tensor) -> torch.Tensor:
    """As a vocoder does: one window, expanded for each of the frames, is put back as these are."""
    window = torch.hann_window(8, dtype=x.dtype).sqrt() + 0.1
    frames = F.unfold(x[:, :1, None], (1, 8), stride=(1, 4)) * window[:, None]
    squares = window.square().expand(1, frames.shape[-1], -1).transpose(1, 2)
    size = (1, x.shape[-1])
    added = F.fold(frames.tanh() * window[:, None], size, (1, 8), stride=(1, 4))
    return added[:, :, 0] / F.fold(squares, size, (1, 8), stride=(1, 4)).squeeze()


def two_axes(x: torch.Tensor) -> torch.Tensor:
    count = F.avg_pool2d(torch.ones_like(x), (3, 5), 1, (1, 2))
    return F.avg_pool2d(x, (3, 5), 1, (1, 2)) / count


def weight_map(x: torch.Tensor) -> torch.Tensor:
    return x / F.conv1d(ones(x), BOX, padding=2)


LEARNED = nn.Conv1d(1, 1, 3, padding=1).double()
BEFORE = torch.full((1, 1, SIZE), 0.5, dtype=torch.float64)

LOCAL: dict[str, tuple[Model, int, int]] = {
    "partial convolution": (PartialConv().double(), 1, 38),
    "partial convolution, strided": (PartialConv(2).double(), 2, 19),
    "a mean of what is there": (
        lambda x: 5 * F.avg_pool1d(x, 5, 1, 2) / F.conv1d(ones(x), BOX, padding=2),
        1,
        36,
    ),
    "a weight map": (weight_map, 1, 36),
    "a learned count": (lambda x: x * LEARNED(ones(x)), 1, 38),
    "a learned count, as a bias": (lambda x: x + LEARNED(ones(x)).sigmoid(), 1, 38),
    "a channel of ones, blurred": (
        lambda x: torch.cat([x, F.avg_pool1d(torch.ones_like(x[:, :1]), 3, 1, 1)], 1),
        1,
        38,
    ),
    "overlap-add": (overlap_add, 4, 32),
    "overlap-add of windows": (windows_summed, 4, 32),
    "a count of a count": (
        lambda x: x * F.max_pool1d(-F.avg_pool1d(ones(x), 3, 1, 1), 3, 1, 1),
        1,
        36,
    ),
    "a count in its own padding": (
        lambda x: F.conv1d(F.pad(x, (2, 2)) / (F.pad(ones(x), (2, 2)) + 1), BOX.repeat(1, 2, 1)),
        1,
        36,
    ),
    "uniform before the run": (lambda x: x * F.avg_pool1d(BEFORE, 3, 1, 1), 1, 38),
    "where it is": (
        lambda x: torch.where(F.avg_pool1d(ones(x), 3, 1, 1) > 0.9, x.sin(), x.cos()),
        1,
        38,
    ),
    "pooled both": (
        lambda x: F.avg_pool1d(x, 4, 4, 2) / F.avg_pool1d(torch.ones_like(x), 4, 4, 2),
        4,
        9,
    ),
    "windows expanded": (windows_expanded, 4, 32),
    "times a sum of windows": (lambda x: x * summed_windows(x), 4, 32),
    "turned around": (
        lambda x: x * F.avg_pool1d(F.pad(ones(x), (2, 0)), 3, 1).flip(-1),
        1,
        38,
    ),
    "resized": (
        lambda x: x * F.interpolate(F.conv1d(ones(x)[..., ::2], BOX, padding=2), scale_factor=2.0),
        1,
        32,
    ),
}


def valid_samples(model: Model, x: torch.Tensor) -> list[bool]:
    out = shiftcheck.geometry(model, x).outputs[0]
    assert out.valid[0] is not None
    return [any(a <= i < b for a, b in out.valid[0]) for i in range(out.shape[-1])]


@pytest.mark.parametrize("name", LOCAL)
def test_it_is_padding_where_the_field_leaves_the_window(name: str) -> None:
    model, period, count = LOCAL[name]
    x = seeded(1, 2, SIZE)
    report = shiftcheck.check_equivariance(model, x, shifts=[period, -3 * period])
    assert report.verdict is Verdict.EQUIVARIANT, report.guilty
    assert report.outputs[0].period == (period,)
    assert {c.kind for c in report.causes} <= {"PADDING", "STRIDE", "POSITION", "RESIZE"}
    assert all(c.period is not None for c in report.causes if c.kind == "POSITION")
    assert sum(valid_samples(model, x)) == count


ANY_SIZE = [name for name in LOCAL if name != "uniform before the run"]


@pytest.mark.parametrize("name", ANY_SIZE)
def test_the_samples_said_to_be_valid_are_those_of_a_larger_canvas(name: str) -> None:
    model, period, _ = LOCAL[name]
    seen = truth(model, (1, 2, SIZE), 0, period)
    for claimed, really in zip(valid_samples(model, seeded(1, 2, SIZE)), seen.mask, strict=True):
        assert really or not claimed


def test_both_axes() -> None:
    report = shiftcheck.check_equivariance(two_axes, seeded(1, 2, 20, 24))
    assert report.verdict is Verdict.EQUIVARIANT, report.guilty
    assert report.outputs[0].valid == (((1, 19),), ((2, 22),))


def test_too_large_to_be_made_again_without_values() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        count = F.avg_pool2d(torch.ones_like(x), 3, 1, 1)
        return F.avg_pool2d(x, 3, 1, 1) / count

    out = shiftcheck.geometry(model, (1, 1, 300, 310)).outputs[0]
    assert out.period == (1, 1)
    assert out.valid == (((1, 299),), ((1, 309),))


@pytest.mark.parametrize(
    ("model", "period"),
    [
        (
            lambda x: x * (F.avg_pool2d(torch.ones_like(x), 3, 1, 1) + torch.arange(310)),
            (1, None),
        ),
        (lambda x: x * F.avg_pool2d(torch.empty_like(x), 3, 1, 1), (None, None)),
    ],
    ids=["ones and places", "whatever was in the memory"],
)
def test_too_large_and_not_the_same_inside(
    model: Model, period: tuple[int | None, int | None]
) -> None:
    assert shiftcheck.geometry(model, (1, 1, 300, 310)).outputs[0].period == period


@pytest.mark.parametrize("name", ["partial convolution", "a weight map"])
def test_on_a_circle_it_breaks(name: str) -> None:
    report = shiftcheck.check_equivariance(LOCAL[name][0], seeded(1, 2, SIZE), boundary="circular")
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert report.guilty.kind == "PADDING"


ODD = torch.ones(SIZE, dtype=torch.float64)
ODD[-1] = 3
PARAMETER = nn.Parameter(ODD.clone())
SMALL = nn.Parameter(torch.ones(1, 1, SIZE, dtype=torch.float64))
KERNEL = seeded(1, 1, SIZE)


def written(x: torch.Tensor) -> torch.Tensor:
    m = torch.ones(SIZE, dtype=x.dtype)
    m[-1] = 5
    return x * F.avg_pool1d(m[None, None], 3, 1, 1)


def written_after(x: torch.Tensor) -> torch.Tensor:
    m = F.avg_pool1d(ones(x), 3, 1, 1)
    m[..., -1] = 5
    return x * m


def written_through_a_view(x: torch.Tensor) -> torch.Tensor:
    m = torch.ones(SIZE, dtype=x.dtype)
    m.view(2, -1)[0].mul_(2)
    return x * F.avg_pool1d(m[None, None], 3, 1, 1)


INSIDE: dict[str, Model] = {
    "an odd value at the end": lambda x: x * ODD,
    "a parameter with one": lambda x: x * PARAMETER,
    "a parameter with one, blurred": lambda x: x * F.avg_pool1d(PARAMETER[None, None], 3, 1, 1),
    "one of them is made of ones": lambda x: x * (F.avg_pool1d(ones(x), 3, 1, 1) + ODD),
    "half a mask": lambda x: x * F.pad(torch.ones(SIZE // 2, dtype=x.dtype), (0, SIZE // 2)),
    "a frame": lambda x: x * F.pad(torch.ones(SIZE - 4, dtype=x.dtype), (2, 2)),
    "a step": lambda x: x * torch.cat([ones(x)[..., :20], torch.zeros(1, 1, 20)], -1),
    "counted places": lambda x: x * torch.ones(SIZE, dtype=x.dtype).cumsum(0),
    "ones on one side": lambda x: x * torch.ones(SIZE, SIZE, dtype=x.dtype).tril().mean(1),
    "a kernel by way of one": lambda x: x * F.conv_transpose1d(ones(x)[..., :1], KERNEL),
    "a blurred ramp": lambda x: x * F.avg_pool1d(torch.arange(40.0)[None, None], 3, 1, 1),
    "written before": written,
    "written after": written_after,
    "written through a view": written_through_a_view,
    "a window that was moved": lambda x: x * F.avg_pool1d(ones(x), 3, 1, 1).roll(20, -1),
    "two windows": lambda x: (
        x
        * (F.avg_pool1d(ones(x), 3, 1, 1) * F.avg_pool1d(F.pad(ones(x)[..., 8:], (4, 4)), 3, 1, 1))
    ),
    "a padding as wide as that": lambda x: x * F.conv1d(ones(x)[..., :-8], BOX, padding=6),
}


@pytest.mark.parametrize("name", INSIDE)
def test_it_is_a_position_where_it_differs_inside(name: str) -> None:
    report = shiftcheck.check_equivariance(INSIDE[name], seeded(1, 2, SIZE))
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert report.guilty.kind == "POSITION"


def test_a_parameter_that_is_uniform_now_may_become_a_position() -> None:
    model: Model = lambda x: x * F.avg_pool1d(SMALL, 3, 1, 1)  # noqa: E731
    report = shiftcheck.check_equivariance(model, seeded(1, 2, SIZE))
    assert report.verdict is not Verdict.EQUIVARIANT
