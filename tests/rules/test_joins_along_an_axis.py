"""Pieces joined along a spatial axis: slices of one tensor, padding by hand, and strangers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import Verdict

Model = Callable[[torch.Tensor], torch.Tensor]
CONV = nn.Conv2d(2, 3, 3)
NORM = nn.BatchNorm2d(2).eval()
assert NORM.running_var is not None
NORM.running_var.fill_(4.0)


def seeded(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))


def around(x: torch.Tensor) -> torch.Tensor:
    x = torch.cat([x[..., -1:], x, x[..., :1]], dim=-1)
    return torch.cat([x[:, :, -1:], x, x[:, :, :1]], dim=2)


def around_by_split(x: torch.Tensor) -> torch.Tensor:
    first, middle, last = x.split([2, x.shape[-1] - 4, 2], dim=-1)
    return torch.cat([last, first, middle, last, first], dim=-1)


def every(x: torch.Tensor) -> torch.Tensor:
    """A slice from end to end along each dimension, as older versions of torch take them."""
    for dim in range(x.ndim):
        x = torch.ops.aten.slice.Tensor(x, dim, 0, x.shape[dim])
    return x


WHOLE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "all of it": every,
    "narrowed to all": lambda x: x.narrow(0, 0, x.shape[0]).narrow(2, 0, x.shape[2]),
    "again": lambda x: x[:],
    "detached": lambda x: x.detach(),
    "copied": lambda x: x.clone().contiguous(),
}


def rolled(change: Callable[[torch.Tensor], torch.Tensor]) -> Model:
    """A roll of slices, before and after which nothing is changed."""
    return lambda x: torch.cat([change(change(x)[..., 3:]), change(change(x)[..., :3])], dim=-1)


def after_a_write(x: torch.Tensor) -> torch.Tensor:
    y = x * 1
    edge = y[..., -1:].clone()
    y.mul_(2)
    return torch.cat([edge, y, y[..., :1]], dim=-1)


EXACT: dict[str, Model] = {
    "padding by hand": lambda x: CONV(around(x)),
    "padding by split": lambda x: F.max_pool2d(around_by_split(x), (1, 5), 1),
    "a roll by hand": lambda x: torch.cat([x[..., 3:], x[..., :3]], dim=-1),
    "halves back together": lambda x: torch.cat(x.chunk(2, dim=-1), dim=-1),
    "halves exchanged": lambda x: torch.cat(x.chunk(2, dim=-1)[::-1], dim=-1),
    **{f"a roll by hand, {name}": rolled(change) for name, change in WHOLE.items()},
}
SEAMS: dict[str, Model] = {
    "the edge is scaled": lambda x: torch.cat([2 * x[..., -1:], x, x[..., :1]], dim=-1),
    "the edge is normalised": lambda x: torch.cat([NORM(x[..., -1:]), x, x[..., :1]], dim=-1),
    "the wrong edges": lambda x: torch.cat([x[..., :1], x, x[..., -1:]], dim=-1),
    "zeros by hand": lambda x: torch.cat(
        [x.new_zeros(*x.shape[:-1], 1), x, x.new_zeros(*x.shape[:-1], 1)], dim=-1
    ),
    "an edge from before a write": after_a_write,
    "an edge of another copy": lambda x: torch.cat(
        [x[..., -1:], (x.clone().mul_(2))[..., :], x[..., :1]], dim=-1
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_slices_of_one_tensor_on_the_circle(name: str) -> None:
    report = shiftcheck.check_equivariance(EXACT[name], seeded(1, 2, 12, 10), boundary="circular")
    assert report.verdict is Verdict.EQUIVARIANT, report.guilty


@pytest.mark.parametrize("name", SEAMS)
def test_other_pieces_leave_a_seam_on_the_circle(name: str) -> None:
    report = shiftcheck.check_equivariance(SEAMS[name], seeded(1, 2, 12, 10), boundary="circular")
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert report.guilty.kind in ("PADDING", "INDEX")
    assert report.guilty.layer == "cat"


@pytest.mark.parametrize("name", [*EXACT, *SEAMS])
def test_on_the_plane_the_rest_of_the_axis_is_valid(name: str) -> None:
    model = {**EXACT, **SEAMS}[name]
    report = shiftcheck.check_equivariance(model, seeded(1, 2, 12, 10))
    assert report.verdict is Verdict.EQUIVARIANT, report.guilty
    assert report.outputs[0].period == (1, 1)


def test_the_seam_of_halves_that_are_exchanged() -> None:
    row = shiftcheck.geometry(EXACT["halves exchanged"], (1, 2, 12, 10)).outputs[0]
    assert row.stride == (1, 1)
    assert row.valid[1] is not None
    assert sum(stop - start for start, stop in row.valid[1]) == 5
