"""An output that moves against its input is broken; a layer inside may do so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import NotEquivariantError, Verdict

Change = Callable[[torch.Tensor], Any]

CONV = nn.Conv2d(4, 4, 3, padding=1)
BACKWARDS = torch.arange(23, -1, -1)


def image(*shape: int) -> torch.Tensor:
    return torch.randn(*shape or (1, 4, 24, 24), generator=torch.Generator().manual_seed(3))


MIRRORED: dict[str, tuple[Change, str]] = {
    "flip": (lambda x: CONV(x).flip(-1), "flip"),
    "flip of the rows": (lambda x: CONV(x).flip(2), "flip"),
    "flip of both axes": (lambda x: CONV(x).flip((-1, -2)), "flip"),
    "flip of the input": (lambda x: CONV(x.flip(-1)), "flip"),
    "half a turn": (lambda x: torch.rot90(CONV(x), 2, (2, 3)), "rot90"),
    "a list of indices": (lambda x: CONV(x)[..., BACKWARDS], "index"),
    "a selection": (lambda x: CONV(x).index_select(2, BACKWARDS), "index_select"),
    "a gather": (lambda x: CONV(x).gather(-1, BACKWARDS.expand(len(x), 4, 24, 24)), "gather"),
    "then coarser": (lambda x: F.max_pool2d(CONV(x).flip(-1), 2), "flip"),
    "then finer": (lambda x: F.interpolate(x.flip(-1), scale_factor=2), "flip"),
    "two that meet": (lambda x: CONV(x.flip(-1)) * x.flip(-1).relu(), "flip"),
    "the last of three": (lambda x: CONV(CONV(x.flip(-1)).flip(-1)).flip(-1), "flip_2"),
    "beside one that moves": (lambda x: (CONV(x), CONV(x).flip(-2)), "flip"),
}


@pytest.mark.parametrize("name", MIRRORED)
def test_an_output_that_moves_against_its_input_is_broken(name: str) -> None:
    change, layer = MIRRORED[name]
    report = shiftcheck.check_equivariance(change, image())
    assert report.verdict is Verdict.BROKEN
    assert report.reason == ""
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.layer) == ("INDEX", layer)
    assert "mirrored" in report.guilty.detail
    assert "mirrored" in str(report)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: CONV(x.flip(-1)).flip(-1),
        lambda x: CONV(x) + CONV(x.flip(-1)).flip(-1),
        lambda x: torch.rot90(CONV(torch.rot90(x, 2, (2, 3))), 2, (2, 3)),
        lambda x: CONV(x[..., BACKWARDS]).index_select(3, BACKWARDS),
        lambda x: (
            F.interpolate(F.avg_pool2d(x.flip(2), 2).flip(2), scale_factor=2).sin()
            + F.interpolate(F.avg_pool2d(x, 2), scale_factor=2)
        ),
    ],
)
def test_an_even_number_of_flips_is_none(change: Change) -> None:
    report = shiftcheck.assert_equivariant(change, image(), shifts=[(2, 0), (0, -4)])
    assert not any(cause.kind == "INDEX" for cause in report.causes)


def test_a_layer_inside_may_move_against_the_input() -> None:
    report = shiftcheck.check_equivariance(lambda x: CONV(x.flip(-1)).flip(-1), image())
    assert [row.stride[1] for row in report] == [-1, -1, 1]
    assert all(row.verdict is Verdict.EQUIVARIANT for row in report)


def test_up_to_a_layer_inside_it_is_the_output() -> None:
    def there_and_back(x: torch.Tensor) -> torch.Tensor:
        return x.flip(-1).exp().flip(-1)

    assert shiftcheck.check_equivariance(there_and_back, image(), layer="exp").verdict is (
        Verdict.BROKEN
    )
    shiftcheck.assert_equivariant(there_and_back, image())


def test_along_the_other_axis_a_flip_does_nothing() -> None:
    shifts = [(1, 0), (-3, 0)]
    shiftcheck.assert_equivariant(lambda x: x.flip(-1), image(), shifts=shifts)
    with pytest.raises(NotEquivariantError, match="mirrored"):
        shiftcheck.assert_equivariant(lambda x: x.flip(-1), image(), shifts=[*shifts, (0, 1)])


def test_on_a_circle_it_is_broken_as_well() -> None:
    for boundary in ("circular", ("valid", "circular")):
        report = shiftcheck.check_equivariance(lambda x: x.flip(-1), image(), boundary=boundary)
        assert report.verdict is Verdict.BROKEN
        assert report.guilty is not None
        assert report.guilty.kind == "INDEX"


def test_between_pixels_it_does_not_pass_a_tolerance() -> None:
    def check(change: Change) -> Verdict | None:
        smooth = F.avg_pool2d(image(1, 4, 32, 32), 5, stride=1)
        return shiftcheck.check_equivariance(
            change, smooth, shifts=[(0, 4.5)], rtol=0.05, atol=0.0
        ).verdict

    assert check(lambda x: x.flip(-1)) is Verdict.BROKEN
    assert check(lambda x: x.flip(-1).flip(-1)) is Verdict.EQUIVARIANT


def test_one_copy_at_a_time() -> None:
    """Where the copies cannot travel as one batch, the same is found."""

    def in_a_row(x: torch.Tensor) -> torch.Tensor:
        return x.reshape(1, 4, 24, 24).flip(-1)

    report = shiftcheck.check_equivariance(in_a_row, image())
    assert any("one at a time" in note for note in report.notes)
    assert report.verdict is Verdict.BROKEN


def test_figures_measure_it_as_what_should_move_along() -> None:
    metrics = shiftcheck.equivariance_metrics(lambda x: x.flip(-1), image(), shifts=[(0, 3)])
    assert "inf" not in str(metrics).lower()
