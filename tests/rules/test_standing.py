"""A value of the whole axis that a constant spreads along it: known, GLOBAL and at its place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shiftcheck
from shiftcheck.lattice.axis import input_axis
from shiftcheck.lattice.factors import Dim, Factor, plain, uniform
from shiftcheck.lattice.layout import AxisState, Gone, Layout, Lost
from shiftcheck.report.equivariance import Verdict
from shiftcheck.rules.standing import standing_still

SIZE = 24
RAMP = torch.linspace(-1, 1, SIZE)
PLACES = torch.randn(1, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
Model = Callable[[torch.Tensor], torch.Tensor]


def image() -> torch.Tensor:
    return torch.randn(1, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def whole(x: torch.Tensor) -> torch.Tensor:
    return x.mean((2, 3), keepdim=True)


def token_with_places(x: torch.Tensor) -> torch.Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    tokens = tokens + (tokens.mean(1, keepdim=True) + PLACES.flatten(2).transpose(1, 2))
    return tokens.transpose(1, 2).unflatten(2, (SIZE, SIZE))


class RowFromMean(nn.Module):
    """A linear layer makes the value for every column from the mean of the image."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.columns = nn.Linear(4, SIZE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.columns(x.mean((2, 3)))[:, None, None, :]


AT_PLACES: dict[str, Model] = {
    "amax times ramp": lambda x: x + 0.1 * x.abs().amax((1, 2, 3), keepdim=True) * RAMP,
    "mean of a row times ramp": lambda x: x * (x.mean(-1, keepdim=True) * RAMP),
    "expanded mean times table": lambda x: x + whole(x).expand_as(x) * PLACES,
    "ramp, then ones": lambda x: x + (RAMP * whole(x)) * torch.ones(SIZE),
    "sigmoid gate": lambda x: x * torch.sigmoid(whole(x) + PLACES),
    "token with a table": token_with_places,
    "joined channels": lambda x: torch.cat([x, whole(x) * PLACES], 1),
    "chosen by it": lambda x: torch.where(whole(x) * PLACES > 0, x, -x),
    "a row from the mean": RowFromMean(),
}


@pytest.mark.parametrize("name", AT_PLACES)
def test_it_is_global_on_the_plane_and_at_its_place_everywhere(name: str) -> None:
    plane = shiftcheck.check_equivariance(AT_PLACES[name], image())
    kinds = {cause.kind for cause in plane.causes}
    assert {"GLOBAL", "POSITION"} <= kinds
    assert "UNSUPPORTED_OP" not in kinds
    assert plane.reason == "no valid region"
    assert plane.guilty is not None
    assert plane.guilty.kind == "GLOBAL"
    assert "also: cause POSITION" in str(plane)
    ring = shiftcheck.check_equivariance(AT_PLACES[name], image(), boundary="circular")
    assert ring.verdict is Verdict.BROKEN
    assert ring.guilty is not None
    assert ring.guilty.kind == "POSITION"


SPREAD: dict[str, Model] = {
    "repeated": lambda x: x + whole(x).repeat(1, 1, SIZE, SIZE),
    "times ones": lambda x: x + whole(x) * torch.ones(SIZE, SIZE),
    "times ones like": lambda x: x + torch.ones_like(x) * whole(x),
    "added to zeros": lambda x: x + (torch.zeros(1, 4, SIZE, SIZE) + whole(x)),
    "one value divides": lambda x: x / (x.std() * torch.ones(1, 1, 1, SIZE)),
    "resized": lambda x: torch.cat([x, F.interpolate(whole(x), size=(SIZE, SIZE))], 1),
    "a gate for each channel": lambda x: x * (whole(x) * PLACES[..., :1, :1]),
}


@pytest.mark.parametrize("name", SPREAD)
def test_a_value_that_is_the_same_everywhere_is_exact_on_the_circle(name: str) -> None:
    ring = shiftcheck.check_equivariance(SPREAD[name], image(), boundary="circular")
    assert (ring.verdict, ring.causes) == (Verdict.EQUIVARIANT, ())
    plane = shiftcheck.geometry(SPREAD[name], image())
    assert {cause.kind for cause in plane.causes} == {"GLOBAL"}


def test_along_an_axis_that_a_value_never_had_it_is_only_at_its_place() -> None:
    """A value for every row that lost its columns, and another for every column, by the batch."""
    model = nn.Sequential(nn.Conv2d(4, 4, 1), RowFromMean())
    report = shiftcheck.geometry(model, image(), boundary=("circular", "circular"))
    assert [(c.kind, c.axis) for c in report.causes] == [("POSITION", 1)]
    assert report.outputs[0].period == (1, None)


def test_two_axes_that_cross_do_not_stand_still() -> None:
    square = shiftcheck.geometry(lambda x: x + x.transpose(2, 3), image())
    assert {cause.kind for cause in square.causes} == {"INDEX"}


def test_windows_meet_a_pattern_of_their_own_size() -> None:
    """What stands still within every window repeats with it: the period is that of the window."""

    def model(x: torch.Tensor) -> torch.Tensor:
        windows = x.unflatten(-1, (SIZE // 4, 4))
        return (windows * (x.mean((2, 3))[..., None, None, None] * RAMP[:4])).flatten(-2)

    report = shiftcheck.geometry(model, image(), boundary="circular")
    assert report.outputs[0].period == (1, 4)
    assert {cause.kind for cause in report.causes} <= {"POSITION", "STRIDE"}


def test_only_what_has_no_such_axis_stands_still() -> None:
    column, row = (Factor("axis", 24, 0),), (Factor("axis", 24, 1),)
    state, gone = input_axis(24, circular=False), Gone(exact=True)
    x = Layout((column, row), (state, state))

    def stands(dim: Dim, last: AxisState, met: Dim = row) -> bool:
        other = Layout((column, met), x.axes)
        moving, still = standing_still([other, Layout(((), dim), (gone, last))])
        assert moving[0] is other
        assert moving[1].dims[1] == (uniform(24) if still else dim)
        return bool(still)

    assert stands(plain(24), gone)
    assert stands(plain(24), None)
    assert not stands(plain(1), gone)
    assert not stands(uniform(24), gone)
    assert not stands(plain(24), Lost("INDEX"))
    assert not stands(plain(24), state)
    assert not stands(plain(24), gone, met=plain(24))
    assert not stands(plain(24), gone, met=(Factor("copies", 2), Factor("axis", 12, 1)))
    assert not stands(plain(24), gone, met=(Factor("frequency", 24, 1),))


def test_what_stands_still_is_a_constant_that_never_repeats() -> None:
    x = Layout((plain(3), (Factor("axis", 24, 0),)), (input_axis(24, circular=False),))
    still = standing_still([x, Layout((plain(24),), (None,))])[1]
    assert [(c.shape, c.repeats(1, 24, 1)) for c in still] == [((24,), 24)]
