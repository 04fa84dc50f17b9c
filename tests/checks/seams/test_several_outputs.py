"""Two outputs that are put together in different ways: each is named by its own fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shiftcheck
from shiftcheck.report import TilingFault

Tensor = torch.Tensor
Both = Callable[[Tensor], tuple[Tensor, ...]]


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


class Heads(nn.Module):
    """Two convolutions that see ``left`` and ``right`` pixels, behind a stride."""

    def __init__(self, left: int, right: int, stride: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.sides = left, right
        kernel = left + right + 1
        self.one = nn.Conv1d(2, 3, kernel, stride=stride)
        self.other = nn.Conv1d(2, 3, kernel, stride=stride)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.pad(x, self.sides)
        return self.one(x), self.other(x)


def each_by_itself(model: Any, overlaps: tuple[int, int], stride: int = 1, tile: int = 16) -> Both:
    """The model is run on each tile once for each output, with the overlap of that one."""

    def tiled(x: Tensor) -> tuple[Tensor, ...]:
        size, outputs = x.shape[-1], []
        for number, overlap in enumerate(overlaps):
            cuts = []
            for start in range(0, size, tile):
                first = max(0, start - overlap)
                y = model(x[..., first : start + tile + overlap])[number]
                skipped = (start - first) // stride
                cuts.append(y[..., skipped : skipped + tile // stride])
            outputs.append(torch.cat(cuts, -1))
        return tuple(outputs)

    return tiled


@pytest.mark.parametrize("sides", [(1, 1), (2, 2), (4, 4), (1, 3), (4, 0), (0, 4)])
@pytest.mark.parametrize("overlaps", [(4, 0), (0, 8), (8, 0)])
def test_an_output_cropped_without_overlap_is_named_for_that(
    sides: tuple[int, int], overlaps: tuple[int, int]
) -> None:
    model = Heads(*sides)
    found = shiftcheck.compare_tiled(model, each_by_itself(model, overlaps), noise(1, 2, 64))
    wrong, right = sorted(found.outputs, key=lambda output: not output.faults)
    assert (right.faults, wrong.faults) == ((), (TilingFault.OVERLAP,))
    assert {seam.missing for seam in wrong.axes[0].seams} == {sides[::-1]}


@pytest.mark.parametrize("overlap", [1, 2, 3])
def test_an_overlap_that_is_too_small_beside_a_larger_one_is_told_with_what_lacks(
    overlap: int,
) -> None:
    model = Heads(4, 4)
    found = shiftcheck.compare_tiled(model, each_by_itself(model, (4, overlap)), noise(1, 2, 64))
    assert found.faults == (TilingFault.OVERLAP,)
    assert found.missing == ((4 - overlap, 4 - overlap),)


def test_behind_a_stride_too() -> None:
    model = Heads(3, 2, stride=2)
    tiled = each_by_itself(model, (4, 0), stride=2)
    found = shiftcheck.compare_tiled(model, tiled, noise(1, 2, 64))
    assert found.faults == (TilingFault.OVERLAP,)


@pytest.mark.parametrize("sides", [(2, 2), (4, 0)])
def test_margins_that_are_written_over_each_other_stay_what_they_are(
    sides: tuple[int, int],
) -> None:
    model = Heads(*sides)

    def pasted(x: Tensor) -> tuple[Tensor, ...]:
        outputs = [torch.zeros_like(y) for y in model(x)]
        for start in range(0, x.shape[-1], 16):
            first = max(0, start - 4)
            for out, tile in zip(outputs, model(x[..., first : start + 20]), strict=True):
                out[..., first : first + tile.shape[-1]] = tile
        return tuple(outputs)

    found = shiftcheck.compare_tiled(model, pasted, noise(1, 2, 64))
    assert found.faults == (TilingFault.BLENDED,)


def test_in_two_dimensions_too() -> None:
    torch.manual_seed(0)
    one, other = nn.Conv2d(1, 2, 5, padding=2), nn.Conv2d(1, 2, 5, padding=2)

    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return one(x), other(x)

    model = Two()

    def tiled(x: Tensor) -> tuple[Tensor, ...]:
        outputs = []
        for number, overlap in enumerate((4, 0)):
            rows = []
            for i in range(0, 48, 16):
                row, a = [], max(0, i - overlap)
                for j in range(0, 48, 16):
                    b = max(0, j - overlap)
                    y = model(x[..., a : i + 16 + overlap, b : j + 16 + overlap])[number]
                    row.append(y[..., i - a : i - a + 16, j - b : j - b + 16])
                rows.append(torch.cat(row, -1))
            outputs.append(torch.cat(rows, -2))
        return tuple(outputs)

    found = shiftcheck.compare_tiled(model, tiled, noise(1, 1, 48, 48))
    assert [output.faults for output in found.outputs] == [(), (TilingFault.OVERLAP,)]
    assert found.missing == ((2, 2), (2, 2))
