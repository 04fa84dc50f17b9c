"""Pads that crop on one side and fill on the other, against a larger canvas and on the torus."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import Verdict

Model = Callable[[torch.Tensor], torch.Tensor]
SIZE = 24
MIXED = [(-2, 2), (2, -2), (3, -1), (-1, 3), (-4, 4), (5, -2), (-3, 1)]
CROPS = [(-2, -1), (0, -3), (-1, 0)]


def seeded(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def really_valid(pad: tuple[int, int], mode: str, x: torch.Tensor) -> list[bool]:
    """Which samples go on being what they are when the signal goes on: seen on a canvas."""
    more = 8
    left, right = seeded(1, 3, more) * 5, seeded(1, 3, more) * 7
    alone = F.pad(x, pad, mode=mode)
    amid = F.pad(torch.cat([left, x, right], -1), pad, mode=mode)
    amid = amid[..., more : more + alone.shape[-1]]
    return (alone == amid).all(1)[0].tolist()  # type: ignore[no-any-return]


def claimed(model: Model, x: torch.Tensor, boundary: str = "valid") -> list[bool]:
    out = shiftcheck.geometry(model, x, boundary=boundary).outputs[0]
    assert out.stride == (1,)
    assert out.valid[0] is not None
    return [any(a <= i < b for a, b in out.valid[0]) for i in range(out.shape[-1])]


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate", "constant"])
@pytest.mark.parametrize("pad", [*MIXED, *CROPS])
def test_a_pad_that_crops_is_valid_where_a_canvas_says_so(pad: tuple[int, int], mode: str) -> None:
    x = seeded(1, 3, SIZE)
    assert claimed(lambda x: F.pad(x, pad, mode=mode), x) == really_valid(pad, mode, x)


@pytest.mark.parametrize("pad", MIXED)
def test_what_was_cropped_does_not_come_back_around_the_circle(pad: tuple[int, int]) -> None:
    x = seeded(1, 3, SIZE)
    report = shiftcheck.check_equivariance(
        lambda x: F.pad(x, pad, mode="circular"), x, boundary="circular"
    )
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert report.guilty.kind == "PADDING"


DIMS: dict[str, tuple[Model, tuple[int, ...]]] = {
    "rows only": (lambda x: F.pad(x, (0, 0, -2, 2), mode="circular"), (1, 2, 14, 16)),
    "both": (lambda x: F.pad(x, (2, -2, -1, 3), mode="circular"), (1, 2, 14, 16)),
    "one of three": (lambda x: F.pad(x, (1, 1, -2, 2, 0, 0), mode="circular"), (1, 2, 8, 9, 10)),
    "a module": (nn.CircularPad2d((1, 1, 3, -1)), (1, 2, 14, 16)),
    "then a convolution": (
        nn.Sequential(nn.CircularPad2d((-1, 3, 1, 1)), nn.Conv2d(2, 2, 3).double()),
        (1, 2, 14, 16),
    ),
}


@pytest.mark.parametrize("name", DIMS)
def test_in_more_dimensions(name: str) -> None:
    model, shape = DIMS[name]
    report = shiftcheck.check_equivariance(model, seeded(*shape), boundary="circular")
    assert report.verdict is Verdict.BROKEN
    assert {c.kind for c in report.causes} == {"PADDING"}


@pytest.mark.parametrize("pad", [(2, 2), (1, 3), (0, 2), (3, 0)])
def test_a_pad_that_only_wraps_is_exact(pad: tuple[int, int]) -> None:
    report = shiftcheck.check_equivariance(
        lambda x: F.pad(x, pad, mode="circular"), seeded(1, 3, SIZE), boundary="circular"
    )
    assert report.verdict is Verdict.EQUIVARIANT, report.guilty


def test_more_than_a_turn_cropped_to_a_turn_is_a_turn() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        longer = F.pad(x, (3, 3), mode="circular")
        return F.pad(longer, (-6, 6), mode="circular")

    report = shiftcheck.check_equivariance(model, seeded(1, 3, SIZE), boundary="circular")
    assert report.verdict is Verdict.EQUIVARIANT, report.guilty


@pytest.mark.parametrize(
    ("mode", "remedy"),
    [
        ("circular", "pad circularly first and crop then"),
        ("constant", "pad circularly"),
        ("reflect", "pad circularly"),
    ],
)
def test_padding_before_the_crop_is_what_mends_it(mode: str, remedy: str) -> None:
    report = shiftcheck.check_equivariance(
        lambda x: F.pad(x, (-2, 3), mode=mode), seeded(1, 3, SIZE), boundary="circular"
    )
    assert report.verdict is Verdict.BROKEN
    assert [t.change.circular_padding for t in report.trials if t.works] == [True]
    assert f"remedy: {remedy}" in str(report)
