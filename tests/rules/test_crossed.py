"""Axes that lie along one dimension in one tensor and along another in what it is combined with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import Verdict

Model = Callable[[torch.Tensor], torch.Tensor]
SQUARE = (1, 16, 8, 8)
BOUNDARIES = ["valid", "circular"]


def check(model: Model, shape: tuple[int, ...], **options: Any) -> shiftcheck.Report:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(8))
    return shiftcheck.check_equivariance(model, x, **options)


def kinds(report: shiftcheck.Report) -> set[str]:
    return {cause.kind for cause in report.causes}


class Attention(nn.Module):
    """Attention over all places; what it found is laid out as it came, or with channels first."""

    def __init__(self, turned: bool) -> None:
        super().__init__()
        self.query, self.key = nn.Conv2d(16, 4, 1), nn.Conv2d(16, 4, 1)
        self.turned = turned

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, _, h, w = x.shape
        scores = self.query(x).flatten(2).mT @ self.key(x).flatten(2)
        shares = scores.view(n, -1).softmax(1).view(n, h * w, h * w)
        found = shares @ x.flatten(2).mT
        return x + (found if self.turned else found.mT).reshape(x.shape)


CROSSED: dict[str, tuple[Model, tuple[int, ...]]] = {
    "its transpose": (lambda x: x + 0.1 * x.mT, SQUARE),
    "its transpose, in channels of its own": (lambda x: torch.cat([x, x.mT], 1), SQUARE),
    "channels and rows exchanged": (lambda x: x + x.transpose(1, 2), (1, 12, 12, 9)),
    "rows where columns are": (lambda x: x + x.mean(3, keepdim=True).mT, SQUARE),
    "places read as channels": (lambda x: x + x.flatten(2).mT.reshape(x.shape), SQUARE),
    "a gate of its transpose": (lambda x: x * x.mT.sigmoid(), SQUARE),
    "attention laid out as channels": (Attention(turned=True), SQUARE),
}


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("name", CROSSED)
def test_what_lies_along_another_dimension_is_broken(name: str, boundary: str) -> None:
    model, shape = CROSSED[name]
    report = check(model, shape, boundary=boundary)
    assert (report.verdict, report.guilty and report.guilty.kind) == (Verdict.BROKEN, "INDEX")
    assert "UNSUPPORTED_OP" not in kinds(report)


def test_attention_that_is_laid_out_as_it_came() -> None:
    report = check(Attention(turned=False), SQUARE, boundary="circular")
    assert report.verdict is Verdict.EQUIVARIANT, report
    assert check(Attention(turned=False), SQUARE).reason == "no valid region"


def test_a_transposed_sum_is_never_a_pass_along_the_diagonal() -> None:
    report = check(lambda x: x + x.mT, SQUARE, boundary="circular", shifts=[(2, 2)])
    assert report.verdict is not Verdict.BROKEN  # it does move along there
    assert report.verdict is Verdict.INCONCLUSIVE


def test_means_of_rows_that_meet_means_of_columns() -> None:
    report = check(lambda x: x.mean(3) + x.mean(2), SQUARE, boundary="circular")
    assert report.verdict is not Verdict.EQUIVARIANT
    assert "INDEX" in kinds(report)
    assert "UNSUPPORTED_OP" not in kinds(report)
