"""The remedy of a message is an answer: what is printed was tried, and mends what is meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shiftcheck
from shiftcheck.report.causes import Cause
from shiftcheck.report.equivariance import Report, Verdict

PASTED = "shiftcheck.assert_equivariant(model, x,"

Model = Callable[[torch.Tensor], torch.Tensor]
WEIGHT = torch.randn(4, 4, 3, 3, generator=torch.Generator().manual_seed(1))


def image(*size: int) -> torch.Tensor:
    return torch.randn(1, 4, *size, generator=torch.Generator().manual_seed(0))


def check(model: Model, x: torch.Tensor, **options: Any) -> Report:
    return shiftcheck.check_equivariance(model, x, **options)


def guilty(report: Report) -> Cause:
    assert report.guilty is not None
    return report.guilty


# -- shifts that are zero ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "size", "shifts"),
    [
        (nn.ReLU(), (16, 18), ((1, 0), (0, 1), (1, 1))),
        (nn.MaxPool2d(2), (16, 18), ((2, 0), (0, 2), (2, 2))),
        (nn.AvgPool1d(4), (16,), ((4,),)),
    ],
)
def test_in_the_place_of_zero_shifts_one_step_of_the_output_is_tried(
    model: Model, size: tuple[int, ...], shifts: tuple[tuple[int, ...], ...]
) -> None:
    report = check(model, image(*size), shifts=[(0,) * len(size)])
    assert report.reason == "identity shift"
    assert [(t.change.shifts, t.works) for t in report.trials] == [(shifts, True)]
    text = " ".join(str(report).split())
    assert f"remedy: give shifts that are not zero: {PASTED} shifts={list(shifts)}" in text
    assert "multiples" not in str(report)


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (nn.MaxPool2d(24), (24, 24)),
        (nn.Conv2d(4, 4, 2, 16), (16, 20)),
        (nn.Conv1d(4, 4, 8, 8), (8,)),
    ],
)
def test_where_no_shift_fits_a_larger_input_is_named(model: Model, size: tuple[int, ...]) -> None:
    report = check(model, image(*size))
    assert report.reason in ("identity shift", "axis never moved")
    assert report.needed is not None
    text = str(report)
    assert f"give a larger input: at least {' x '.join(map(str, report.needed))}" in text
    assert "multiples" not in text
    again = check(model, image(*report.needed))
    assert again.verdict is Verdict.EQUIVARIANT


def test_an_axis_that_was_reduced_wants_no_larger_input() -> None:
    report = check(lambda x: x.mean(-1, keepdim=True), image(24, 24))
    assert report.needed is None


# -- one sample that is left -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "layer"),
    [
        (lambda x: x[..., -1:], "slice"),
        (lambda x: x[..., :1], "slice"),
        (lambda x: x[:, :, 7:8], "slice"),
        (lambda x: x.narrow(-1, 3, 1), "narrow"),
        (lambda x: x.split([5, 1, 18], -1)[1], "split_with_sizes[1]"),
        (lambda x: F.conv2d(x, WEIGHT, padding=1)[..., -1:], "slice"),
        (lambda x: F.conv2d(x[..., 4:5], WEIGHT[..., 1:2]), "slice"),
    ],
)
def test_a_slice_that_leaves_one_sample_takes_a_fixed_place(model: Model, layer: str) -> None:
    report = check(model, image(24, 24))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert (guilty(report).kind, guilty(report).layer) == ("INDEX", layer.partition("[")[0])
    text = " ".join(str(report).split())
    assert "one sample at a fixed place is all that is left of the axis" in text
    assert "larger input" not in text
    assert "alone, given" not in text


@pytest.mark.parametrize(
    "model",
    [
        lambda x: torch.cat([x[..., -1:], x, x[..., :1]], -1),
        lambda x: x[..., ::24],
        lambda x: x[..., 3:5],
        lambda x: x[:, :1],
    ],
)
def test_other_slices_take_none(model: Model) -> None:
    report = shiftcheck.geometry(model, image(24, 24), boundary="circular")
    assert "INDEX" not in {cause.kind for cause in report.causes}


def test_what_is_too_small_is_still_the_fault_of_the_padding() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 9, padding=4), nn.Conv2d(4, 4, 1))
    assert guilty(check(model, image(8, 8))).kind == "PADDING"


# -- a size at which the joins fit -----------------------------------------------------------------


class Joins(nn.Module):
    """A U-Net that resizes to whatever its skip has, so that every size runs."""

    def __init__(self, levels: int, mode: str = "nearest", ndim: int = 2) -> None:
        super().__init__()
        torch.manual_seed(0)
        conv = (nn.Conv1d, nn.Conv2d)[ndim - 1]
        self.pool = (F.max_pool1d, F.max_pool2d)[ndim - 1]
        self.c = nn.ModuleList(conv(4, 4, 3, padding=1) for _ in range(levels + 1))
        self.u = nn.ModuleList(conv(8, 4, 1) for _ in range(levels))
        self.mode = mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for layer in self.c:
            x = layer(x if not skips else self.pool(x, 2)).relu()
            skips.append(x)
        for layer, skip in zip(self.u, skips[-2::-1], strict=True):
            up = F.interpolate(x, size=skip.shape[2:], mode=self.mode)
            x = layer(torch.cat([skip, up], 1))
        return x


def printed(report: Report) -> dict[str, Any]:
    """What the remedy says, as arguments of another check."""
    change = next(t.change for t in report.trials if t.works)
    assert change.size
    assert f"give an input of {' x '.join(map(str, change.size))}" in str(report)
    steps = change.multiples
    if not steps:
        return {"x": image(*change.size), "shifts": report.shifts}
    along = [tuple(v if a == b else 0 for b in range(len(steps))) for a, v in enumerate(steps)]
    amount = " x ".join(map(str, dict.fromkeys(steps)))
    assert f"multiples of {amount} " in str(report)
    return {"x": image(*change.size), "shifts": along}


@pytest.mark.parametrize(
    ("levels", "mode", "size", "fits"),
    [
        (3, "nearest", (61, 61), (64, 64)),
        (2, "nearest", (50, 61), (52, 64)),
        (2, "bilinear", (45, 45), (48, 48)),
        (1, "nearest", (31,), (32,)),
        (3, "linear", (99,), (104,)),
    ],
)
def test_an_odd_size_is_told_the_next_one_that_the_strides_fit(
    levels: int, mode: str, size: tuple[int, ...], fits: tuple[int, ...]
) -> None:
    model = Joins(levels, mode, len(size)).eval()
    report = check(model, image(*size))
    again = printed(report)
    assert again["x"].shape[2:] == fits
    assert check(model, **again).verdict is Verdict.EQUIVARIANT


def test_the_shifts_that_were_given_are_kept_where_they_are_multiples() -> None:
    model = Joins(2).eval()
    report = check(model, image(45, 45), shifts=[(4, 0), (0, 8)])
    assert guilty(report).kind == "RESIZE"
    again = printed(report)
    assert again["shifts"] == ((4, 0), (0, 8))
    assert check(model, **again).verdict is Verdict.EQUIVARIANT
    other = check(model, image(45, 45), shifts=[(3, 0)])
    assert printed(other)["shifts"] == [(4, 0), (0, 4)]


def test_where_no_size_helps_none_is_named() -> None:
    report = check(lambda x: x[..., ::2] + x[..., :12], image(24, 24))
    assert guilty(report).kind == "RESIZE"
    assert not any(t.change.size for t in report.trials)


def test_the_error_alone_is_that_of_shifts_that_the_layer_is_guilty_at() -> None:
    """At the others the layer does nothing wrong, which would be printed as its error."""
    model = Joins(1).eval()
    report = check(model, image(32, 32), shifts=[(1, 0), (2, 0)])
    assert guilty(report).kind == "STRIDE"
    assert report[guilty(report).layer].local_interior == 0.0
    assert "alone, given inputs that move exactly" not in str(report)
