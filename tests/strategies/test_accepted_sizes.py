"""The sizes that a model accepts, against formulas, against trying all, and against running it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shiftcheck import InputError
from shiftcheck.lattice.shares import fewest
from shiftcheck.strategies.accepted_sizes import (
    find_sizes,
    likely_channels,
    listed_sizes,
    number_of_axes,
)
from shiftcheck.strategies.question import Question


def down(*ratios: int) -> nn.Module:
    return nn.Sequential(*(nn.Conv2d(1, 1, ratio, stride=ratio) for ratio in ratios))


def smallest_of(model: nn.Module, shift: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """The size that examples shrink to, without letting hypothesis shrink them."""
    ndim = number_of_axes(model)
    question = Question(model=model, ndim=ndim, boundary=("valid",) * ndim)
    found = find_sizes(question, likely_channels(model), None)
    return found.smallest_for(shift or found.lattice)


# the receptive field and the stride by the usual formula: each further sample needs one stride more
@pytest.mark.parametrize(
    ("model", "smallest"),
    [
        (nn.Conv2d(1, 1, 3, padding=1), 3 + 2),
        (nn.Conv2d(1, 1, 3, dilation=4), 9 + 2),
        (down(2, 3), 6 + 2 * 6),
        (nn.Sequential(nn.Conv2d(1, 1, 3), nn.MaxPool2d(2), nn.Conv2d(1, 1, 3)), 8 + 2 * 2),
    ],
)
def test_sizes_shrink_to_three_samples_that_see_no_padding(model: nn.Module, smallest: int) -> None:
    assert smallest_of(model) == (smallest, smallest)


def test_sizes_of_unlike_axes() -> None:
    model = nn.Conv2d(2, 1, (3, 21))
    assert smallest_of(model) == (5, 23)
    assert smallest_of(model, (5, 0)) == (3 + fewest(5) - 1, 23)


def test_sizes_of_one_and_of_three_axes() -> None:
    assert smallest_of(nn.Conv1d(2, 2, 7)) == (9,)
    assert smallest_of(nn.Conv3d(1, 1, 2)) == (4, 4, 4)


def question(model: nn.Module, ndim: int = 2) -> Question:
    return Question(model=model, ndim=ndim, boundary=("valid",) * ndim)


@pytest.mark.parametrize(
    ("model", "channels"),
    [
        (nn.Conv2d(3, 1, 3), (3,)),
        (nn.MaxPool2d(2), (1, 2, 3, 4)),
        (nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 1, 1)), (3,)),
        (nn.InstanceNorm2d(3), (3,)),  # it takes others with a warning
    ],
)
def test_channel_counts(model: nn.Module, channels: tuple[int, ...]) -> None:
    assert find_sizes(question(model), likely_channels(model), None).channels == channels


def test_the_lattice_is_the_stride_of_the_output() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 3, stride=(2, 3)), nn.MaxPool2d((2, 1)))
    assert find_sizes(question(model), (1,), None).lattice == (4, 3)


def test_sizes_reach_far_enough_for_a_large_shift() -> None:
    found = find_sizes(question(nn.Conv2d(1, 1, 3)), (1,), (100, 0))
    assert found.has_room((100, 0))
    assert found.smallest_for((100, 0)) == (3 + fewest(100) - 1, 5)  # a field of three


def test_sizes_that_are_given() -> None:
    found = listed_sizes(question(nn.Conv2d(1, 1, 3)), (1,), [(9, 8), (3, 20), (12, 4)])
    assert found.whole_for((4, 0)) == [(9, 8), (12, 4)]
    assert not found.has_room((0, 19))


class Counts(nn.Module):
    """Decides by a value, which shapes alone do not have."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if float(x.sum()) > 0 else x * 3


def test_a_model_that_looks_at_values_is_really_run() -> None:
    assert find_sizes(question(Counts()), (1,), None).base == (64, 64)


def test_a_model_that_accepts_nothing_is_named_with_its_error() -> None:
    class Refuses(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = []

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls.append(1)
            raise RuntimeError("never")

    with pytest.raises(InputError, match=r"accepts none of .*(?s:.*)never"):
        find_sizes(question(Refuses()), (1, 2), None)


def test_layers_tell_the_number_of_axes() -> None:
    assert number_of_axes(nn.Sequential(nn.ReLU(), nn.BatchNorm3d(1))) == 3
    assert number_of_axes(nn.AdaptiveAvgPool1d(1)) == 1
    with pytest.raises(InputError, match="layers for 1 or 2 axes"):
        number_of_axes(nn.Sequential(nn.Conv1d(1, 1, 1), nn.Conv2d(1, 1, 1)))


class UNet(nn.Module):
    """So many pools and skip connections: only multiples of two to their number fit together."""

    def __init__(self, pools: int) -> None:
        super().__init__()
        self.conv, self.pools = nn.Conv2d(1, 1, 3, padding=1), pools

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for _ in range(self.pools):
            skips.append(self.conv(x))
            x = nn.functional.max_pool2d(skips[-1], 2)
        for skip in reversed(skips):
            x = skip + nn.functional.interpolate(x, scale_factor=2.0)
        return x


NETWORKS: dict[str, tuple[nn.Module, str]] = {
    "convolutions": (nn.Sequential(nn.Conv2d(1, 1, 5), nn.Conv2d(1, 1, 3, padding=1)), "valid"),
    "strides": (nn.Sequential(nn.Conv2d(1, 1, 3, stride=2, padding=1), nn.MaxPool2d(2)), "valid"),
    "unlike axes": (nn.Conv2d(1, 1, (3, 9), stride=(2, 3)), "valid"),
    "one pool and back": (UNet(1), "valid"),
    "two pools and back": (UNet(2), "valid"),
    "two pools on a circle": (UNet(2), "circular"),
    "repeated as far as it goes": (
        nn.Sequential(nn.AvgPool2d(3), nn.Upsample(scale_factor=3), nn.Conv2d(1, 1, 3)),
        "valid",
    ),
}
MOST = {"two pools and back": 48}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_sizes_are_those_of_trying_every_one(name: str) -> None:
    model, boundary = NETWORKS[name]
    asked = Question(model=model, ndim=2, boundary=(boundary,) * 2)
    found = find_sizes(asked, (1,), None)
    looks = len(asked.known)
    start, lattice, most = found.smallest.sizes, found.lattice, MOST.get(name, 34)

    def works(axis: int, n: int, v: int) -> bool:
        sizes = tuple(n if a == axis else start[a] for a in range(2))
        return v < n and asked.leaves(1, sizes, axis, v)

    for axis, step in enumerate(lattice):
        tried = {n for n in range(1, most) if works(axis, n, step)}
        assert min(tried) == found.lengths[axis][0] == start[axis]
        assert {n for n in found.lengths[axis] if n < most} <= tried
        for times in (2, 3, 5):
            fitting = [n for n in found.lengths[axis] if n < most and works(axis, n, times * step)]
            claimed = [n for n in found.lengths_for(axis, times * step) if n < most]
            assert claimed == fitting
    assert looks <= 16


def test_a_step_that_is_promised_has_room() -> None:
    found = find_sizes(question(UNet(2)), (1,), None, (8, 8))
    assert found.farthest(0, 8, 16) == 16
    assert all(len(lengths) > 3 for lengths in found.lengths)


def test_a_size_is_looked_for_that_leaves_something() -> None:
    model = nn.Sequential(*(nn.Conv2d(1, 1, 41, padding=20) for _ in range(4)))
    asked = question(model)
    found = find_sizes(asked, (1,), None)
    assert found.comparable
    assert found.smallest_for((1, 0)) == (1 + 4 * 40 + 2,) * 2
    assert len(asked.known) <= 10
