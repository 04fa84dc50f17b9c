"""Circular padding by joins of slices, which is known as what torch's own circular padding is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import Report, Verdict

Change = Callable[[torch.Tensor], torch.Tensor]
torch.manual_seed(5)


def seeded(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))


def by_slices(x: torch.Tensor, dim: int, before: int, after: int) -> torch.Tensor:
    """The tensor with so many samples of its other end before and after it, and no empty slice."""
    left = [x.narrow(dim, x.shape[dim] - before, before)] if before else []
    right = [x.narrow(dim, 0, after)] if after else []
    return torch.cat([*left, x, *right], dim)


def by_indices(x: torch.Tensor, dim: int, before: int, after: int) -> torch.Tensor:
    size = x.shape[dim]
    return x.index_select(dim, torch.arange(-before, size + after) % size)


def by_torch(x: torch.Tensor, before: int, after: int) -> torch.Tensor:
    return F.pad(x, (before, after), mode="circular")


def coarse(width: int) -> nn.Module:
    """Windows that are samples; what was before them padded with zeros, and is exact nowhere."""
    return nn.Sequential(nn.Conv1d(2, 2, 3, padding=1), nn.Conv1d(2, 2, width, stride=width))


BEFORE: dict[str, tuple[Change, int]] = {
    "exact": (nn.Conv1d(2, 2, 8, stride=8), 2),
    "zeros beside it": (nn.Conv1d(2, 2, 3, padding=1), 16),
    "few samples": (coarse(8), 2),
    "four samples": (coarse(4), 4),
    "no whole number of samples": (nn.Conv1d(2, 2, 3, stride=3), 5),
    "few samples, no whole number": (nn.Conv1d(2, 2, 6, stride=6), 2),
    "one sample": (nn.Conv1d(2, 2, 16, stride=16), 1),
    "one sample with zeros beside it": (coarse(16), 1),
    "one sample, no whole number": (nn.Conv1d(2, 2, 9, stride=9), 1),
}
AMOUNTS = {
    "as much as there is, twice": lambda size: (size, size),
    "as much as there is, before": lambda size: (size, 0),
    "as much as there is, after": lambda size: (0, size),
    "one sample, twice": lambda size: (1, 1),
    "one sample before": lambda size: (1, 0),
}


def laws(report: Report) -> list[tuple[object, ...]]:
    return [(row.stride, row.period, row.shape) for row in report.outputs]


@pytest.mark.parametrize("amount", AMOUNTS)
@pytest.mark.parametrize("name", BEFORE)
def test_on_a_circle_it_is_what_torch_makes(name: str, amount: str) -> None:
    change, size = BEFORE[name]
    before, after = AMOUNTS[amount](size)
    x = seeded(1, 2, 16)
    assert change(x).shape[-1] == size
    expected = shiftcheck.check_equivariance(
        lambda y: by_torch(change(y), before, after), x, boundary="circular"
    )
    found = shiftcheck.check_equivariance(
        lambda y: by_slices(change(y), 2, before, after), x, boundary="circular"
    )
    assert laws(found) == laws(expected)
    assert (found.verdict, found.reason) == (expected.verdict, expected.reason)
    assert [c.layer for c in found.causes if c.kind == "INDEX"] == []


@pytest.mark.parametrize("times", [2, 3])
@pytest.mark.parametrize("name", [n for n, (_, size) in BEFORE.items() if size > 1])
def test_more_than_there_is_by_indices_and_by_repetitions(name: str, times: int) -> None:
    change, size = BEFORE[name]
    ways: list[Change] = [
        lambda x: by_indices(change(x), 2, size, (times - 2) * size),
        lambda x: change(x).repeat(1, 1, times),
        lambda x: torch.cat([change(x)] * 1 + [by_slices(change(x), 2, size, 0)], 2)[..., size:],
    ]
    single = shiftcheck.geometry(change, (1, 2, 16), boundary="circular").outputs[0]
    for way in ways:
        row = shiftcheck.geometry(way, (1, 2, 16), boundary="circular").outputs[0]
        assert (row.stride, row.period) == (single.stride, single.period)


def windows(x: torch.Tensor) -> torch.Tensor:
    """Windows of 2 x 2 in the batch, something done in each, and back to where they were."""
    b, c, h, w = x.shape
    parts = x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1)
    mixed = parts.reshape(-1, 4, c).mean(1, keepdim=True) + parts.reshape(-1, 4, c)
    back = mixed.view(b, h // 2, w // 2, 2, 2, c)
    return back.permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)


def from_end_to_end(x: torch.Tensor) -> torch.Tensor:
    for dim in range(x.ndim):
        x = x.narrow(dim, 0, x.shape[dim])
    return x


HISTORIES: dict[str, Change] = {
    "nothing": lambda x: x,
    "slices from end to end": from_end_to_end,
    "one slice from end to end": lambda x: x.narrow(3, 0, x.shape[3]),
    "copies": lambda x: x.clone().contiguous(),
    "another dimension cropped": lambda x: x[..., 1:],
    "another dimension cropped, and copied": lambda x: x[..., 1:].clone(),
    "another dimension padded": lambda x: F.pad(x, (1, 2, 0, 0), mode="circular"),
    "another dimension padded by hand": lambda x: by_slices(x, 3, 2, 2),
    "reshaped": lambda x: x.flatten(2).view(x.shape),
    "moved": lambda x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    "windows": windows,
    "padded and cropped": lambda x: by_slices(x, 2, 2, 2)[:, :, 2:-2],
}


def joined_again(change: Change, before: int, after: int) -> Change:
    def model(x: torch.Tensor) -> torch.Tensor:
        return by_slices(change(x), 2, before, after)

    return model


@pytest.mark.parametrize(("before", "after"), [(4, 0), (4, 4), (1, 2), (0, 4)])
@pytest.mark.parametrize("name", HISTORIES)
def test_whatever_was_done_before(name: str, before: int, after: int) -> None:
    x, change = seeded(1, 2, 4, 6), HISTORIES[name]
    model = joined_again(change, before, after)
    plain = shiftcheck.check_equivariance(change, x, boundary="circular")
    report = shiftcheck.check_equivariance(model, x, boundary="circular")
    assert [(r.stride, r.period) for r in report.outputs] == [
        (r.stride, r.period) for r in plain.outputs
    ]
    assert (report.verdict, report.causes) == (plain.verdict, plain.causes)


@pytest.mark.parametrize("name", ["slices from end to end", "another dimension cropped", "windows"])
def test_pieces_that_are_sliced_and_copied_on_their_own(name: str) -> None:
    change = HISTORIES[name]

    def model(x: torch.Tensor) -> torch.Tensor:
        y = change(x)
        pieces = [y.narrow(2, 0, 4).clone(), from_end_to_end(y), y[:, :, :3].contiguous()]
        return torch.cat(pieces, 2)

    x = seeded(1, 2, 4, 6)
    plain = shiftcheck.check_equivariance(change, x, boundary="circular")
    report = shiftcheck.check_equivariance(model, x, boundary="circular")
    assert (report.verdict, report.causes) == (plain.verdict, plain.causes)


@pytest.mark.parametrize("size", [(8,), (4, 6, 8)], ids=["1-D", "3-D"])
def test_along_every_dimension(size: tuple[int, ...]) -> None:
    ndim = len(size)
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[ndim - 1](2, 2, 2, stride=2)
    zeros = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[ndim - 1](2, 2, 3, padding=1)

    def all_around(x: torch.Tensor) -> torch.Tensor:
        for dim in range(2, x.ndim):
            x = by_slices(x, dim, x.shape[dim], 1)
        return x

    x = seeded(1, 2, *size)
    exact = shiftcheck.check_equivariance(
        lambda y: all_around(conv(y)), x, shifts=[(2,) * ndim], boundary="circular"
    )
    assert exact.verdict is Verdict.EQUIVARIANT
    padded = shiftcheck.check_equivariance(
        lambda y: all_around(conv(zeros(y))), x, shifts=[(2,) * ndim], boundary="circular"
    )
    assert padded.verdict is Verdict.BROKEN
    assert {(c.kind, c.layer) for c in padded.causes if c.kind != "STRIDE"} == {
        ("PADDING", "zeros")
    }
    assert padded.outputs[0].stride == (2,) * ndim


def a_slice_from_before_a_write(x: torch.Tensor) -> torch.Tensor:
    y = x * 1
    whole = y.narrow(-1, 0, y.shape[-1]).clone()
    y.mul_(2)
    return torch.cat([whole, y], -1)


def a_slice_of_a_written_copy(x: torch.Tensor) -> torch.Tensor:
    whole = x[:, :, 1:].clone()
    whole.mul_(2)
    return torch.cat([whole, x[:, :, 1:]], -1)


SEAMS: dict[str, Change] = {
    "a sample twice": lambda x: torch.cat([x[..., 1:], x[..., 1:]], -1),
    "more of it after a gap": lambda x: torch.cat([x, x[..., 2:]], -1),
    "another crop": lambda x: torch.cat([x[:, :, 1:], x[:, :, :-1]], -1),
    "another crop of a crop": lambda x: torch.cat(
        [x[:, :, 1:][:, :, 1:], x[:, :, 1:][:, :, :-1]], -1
    ),
    "the same crop of another": lambda x: torch.cat([x[:, :, 1:], (2 * x)[:, :, 1:]], -1),
    "every other": lambda x: torch.cat([x[..., ::2], x[..., 1::2]], -1),
    "from before a write": a_slice_from_before_a_write,
    "of a written copy": a_slice_of_a_written_copy,
}


@pytest.mark.parametrize("name", SEAMS)
def test_what_is_in_another_order_is_no_pass(name: str) -> None:
    report = shiftcheck.check_equivariance(SEAMS[name], seeded(1, 2, 6, 8), boundary="circular")
    assert report.verdict is not Verdict.EQUIVARIANT
    assert report.guilty is not None
    assert {c.kind for c in report.causes if c.layer == "cat"} & {"PADDING", "INDEX"}


def test_the_same_crop_twice_is_one_tensor() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[:, :, 1:][..., -3:], x[:, :, 1:]], -1)

    report = shiftcheck.check_equivariance(model, seeded(1, 2, 6, 8), boundary="circular")
    assert (report.verdict, report.causes) == (Verdict.EQUIVARIANT, ())


def test_a_crop_of_a_crop_has_its_place_in_the_whole() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[..., 2:][..., 1:], x[..., :3]], -1)

    report = shiftcheck.check_equivariance(model, seeded(1, 2, 6, 8), boundary="circular")
    assert (report.verdict, report.causes) == (Verdict.EQUIVARIANT, ())
