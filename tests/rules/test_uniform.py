"""A value of a whole axis, laid out over the axis again, and axes that were lost before.

Whether a pass is due is known of each of these models: on the torus the mean does not move.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import Verdict
from shiftcheck.lattice.axis import input_axis
from shiftcheck.lattice.broadcasting import broadcast
from shiftcheck.lattice.factors import Factor, plain, uniform
from shiftcheck.lattice.layout import Layout, no_longer_uniform

Model = Callable[[torch.Tensor], torch.Tensor]
SHAPE = (1, 4, 12, 16)
PLACES = torch.linspace(-1, 1, 16, dtype=torch.float64)


def seeded(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def mean_map(x: torch.Tensor) -> torch.Tensor:
    return x.mean((2, 3), keepdim=True).expand(-1, -1, *x.shape[2:])


def tokens_with_their_mean(x: torch.Tensor) -> torch.Tensor:
    t = x.flatten(2).transpose(1, 2)
    return (
        torch.cat([t, t.mean(1, keepdim=True).expand_as(t)], -1)
        .transpose(1, 2)
        .unflatten(2, x.shape[2:])
    )


def pyramid(mode: str, size: int = 1) -> Model:
    def model(x: torch.Tensor) -> torch.Tensor:
        pooled = F.relu(F.adaptive_avg_pool2d(x, size))
        corners = {} if mode == "nearest" else {"align_corners": False}
        return torch.cat([x, F.interpolate(pooled, size=x.shape[2:], mode=mode, **corners)], 1)

    return model


UNIFORM: dict[str, Model] = {
    "a mean beside the map": lambda x: torch.cat([x, mean_map(x)], 1),
    "a mean beside the tokens": tokens_with_their_mean,
    "a mean through functions": lambda x: x * torch.sigmoid(2 * mean_map(x)) - mean_map(x).clone(),
    "one resized sample, linear": pyramid("bilinear"),
    "one resized sample, nearest": pyramid("nearest"),
    "one resized sample, cubic": pyramid("bicubic"),
}


@pytest.mark.parametrize("name", UNIFORM)
def test_exact_on_the_torus_and_global_on_the_plane(name: str) -> None:
    x = seeded(*SHAPE)
    torus = shiftcheck.check_equivariance(UNIFORM[name], x, boundary="circular")
    assert torus.verdict is Verdict.EQUIVARIANT, torus.guilty
    plane = shiftcheck.check_equivariance(UNIFORM[name], x)
    assert (plane.verdict, plane.reason) == (Verdict.INCONCLUSIVE, "no valid region")
    assert plane.guilty is not None
    assert plane.guilty.kind == "GLOBAL"


ROWS = torch.linspace(-1, 1, 12, dtype=torch.float64)[:, None]
KERNEL = seeded(4, 4, 3, 3)
VARYING: dict[str, Model] = {
    "times places": lambda x: x + mean_map(x) * PLACES,
    "plus places": lambda x: x + (mean_map(x) + PLACES),
    "a padded convolution": lambda x: x + F.conv2d(mean_map(x), KERNEL, padding=1),
    "summed up": lambda x: x + mean_map(x).cumsum(-1),
    "padded and cut": lambda x: x + F.pad(mean_map(x), (1, 0))[..., :-1],
    "normed over places": lambda x: x + F.layer_norm(mean_map(x), (16,), PLACES),
    "written over": lambda x: x + mean_map(x).clone().index_fill(3, torch.tensor([2]), 1.0),
    "a triangle": lambda x: x + mean_map(x).tril(),
    "rows on a mean of rows": lambda x: x + x.mean(2, keepdim=True).expand_as(x) * ROWS,
    "places of its own": lambda x: torch.cat([x, mean_map(x) * PLACES], 1),
}


@pytest.mark.parametrize("name", VARYING)
def test_what_no_longer_is_the_same_everywhere_never_passes(name: str) -> None:
    report = shiftcheck.check_equivariance(VARYING[name], seeded(*SHAPE), boundary="circular")
    assert report.verdict is not Verdict.EQUIVARIANT
    assert report.reason != "disagrees with the structure"
    kinds = {cause.kind for cause in report.causes}
    assert kinds & {"UNSUPPORTED_OP", "POSITION", "INDEX"}, report.causes


def test_places_along_a_mean_do_not_concern_the_other_axis() -> None:
    report = shiftcheck.check_equivariance(
        lambda x: x.mean(2, keepdim=True).expand_as(x) * ROWS, seeded(*SHAPE), shifts=[(0, 3)]
    )
    assert report.verdict is Verdict.EQUIVARIANT, report.guilty
    assert report.outputs[0].period == (None, 1)


def test_uniform_gives_way_to_whatever_it_is_combined_with() -> None:
    axis = Layout((plain(3), (Factor("axis", 8, 0),)), (input_axis(8, circular=False),))
    same = Layout((plain(3), uniform(8)), (None,))
    other = Layout((plain(3), plain(8)), (None,))
    assert broadcast([axis, same]).dims == axis.dims
    assert broadcast([same, same]).dims == same.dims
    assert broadcast([same, other]).dims == other.dims
    assert no_longer_uniform(same).dims == other.dims
    assert no_longer_uniform(axis) is axis
    assert uniform(1) == ()


class LostBefore(nn.Module):
    """Corners of two strides are added, then a map that moves as it should."""

    def __init__(self, *, first: bool) -> None:
        super().__init__()
        self.first = first
        self.fine, self.coarse = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        coarse = self.coarse(x)
        corner = self.fine(x)[..., : coarse.shape[2], : coarse.shape[3]]
        lost = corner + coarse
        return coarse * lost if self.first else lost * coarse


@pytest.mark.parametrize("first", [True, False])
def test_an_axis_that_was_lost_before_is_lost_for_its_first_cause(first: bool) -> None:
    model = LostBefore(first=first).double()
    report = shiftcheck.check_equivariance(model, seeded(*SHAPE))
    assert {(c.kind, c.layer) for c in report.causes} >= {("RESIZE", "add")}
    assert "UNSUPPORTED_OP" not in {c.kind for c in report.causes}
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.layer) == ("RESIZE", "add")
