"""Indices that come from the data: what is chosen for each element of the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import shiftcheck
from shiftcheck import Report, Verdict

RING: dict[str, Any] = {"boundary": "circular"}
X = torch.randn(3, 2, 8, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Function = Callable[[torch.Tensor], torch.Tensor]


def norms(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(2).norm(dim=2)


def by_index(x: torch.Tensor) -> torch.Tensor:
    return x[torch.arange(len(x)), norms(x).argmax(1)][:, None]


def by_sort(x: torch.Tensor) -> torch.Tensor:
    return x[torch.arange(len(x)), norms(x).sort(1)[1][:, 0]][:, None]


def by_topk(x: torch.Tensor) -> torch.Tensor:
    return x[torch.arange(len(x)), norms(x).topk(1, 1)[1][:, 0]][:, None]


def by_max(x: torch.Tensor) -> torch.Tensor:
    return x[torch.arange(len(x)), norms(x).max(1)[1]][:, None]


def by_gather(x: torch.Tensor) -> torch.Tensor:
    at = norms(x).argmax(1).view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
    return x.gather(1, at)


def by_take_along(x: torch.Tensor) -> torch.Tensor:
    return torch.take_along_dim(x, norms(x).argmax(1).view(-1, 1, 1, 1), 1)


def by_mask(x: torch.Tensor) -> torch.Tensor:
    return (x * F.one_hot(norms(x).argmax(1), 2).view(-1, 2, 1, 1)).sum(1, keepdim=True)


CHOICES: dict[str, Function] = {
    f.__name__: f for f in (by_index, by_sort, by_topk, by_max, by_gather, by_take_along, by_mask)
}


def check(model: Function, x: torch.Tensor = X, **options: Any) -> Report:
    return shiftcheck.check_equivariance(model, x, **(RING | options))


@pytest.mark.parametrize("name", CHOICES)
def test_a_channel_that_is_chosen_moves_with_the_signal(name: str) -> None:
    report = check(CHOICES[name])
    assert report.verdict is Verdict.EQUIVARIANT
    assert report.outputs[0].period == (1, 1)
    assert report.outputs[0].shape == (3, 1, 8, 12)
    assert [c.kind for c in report.causes] == ["DATA_DEPENDENT"]
    assert report.outputs[0].measured


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_sees_all_of_the_plane(name: str) -> None:
    report = check(CHOICES[name], boundary="valid")
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "no valid region")


def test_the_best_class_of_each_place_is_no_choice_of_a_place() -> None:
    report = check(lambda x: x.argmax(1, keepdim=True) + 0.0)
    assert report.verdict is Verdict.EQUIVARIANT
    assert report.causes == ()
    assert not report.outputs[0].measured


REFUSED: dict[str, Function] = {
    "another order of the batch": lambda x: x[torch.tensor([1, 0, 2]), norms(x).argmax(1)],
    "one element for all": lambda x: x[torch.zeros(len(x), dtype=torch.long), norms(x).argmax(1)],
    "along an axis": lambda x: x[torch.arange(len(x)), :, norms(x).argmax(1)],
    "two choices": lambda x: x[norms(x).argmax(1), norms(x).argmin(1)],
    "random elements": lambda x: x[torch.randperm(len(x)), norms(x).argmax(1)],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_not_passed(name: str) -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return REFUSED[name](x)

    report = check(model)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.reason in ("unsupported operation", "batch coupled", "nondeterministic")


def test_a_constant_index_says_nothing_of_uniformity() -> None:
    index = torch.arange(12).remainder(2).expand(3, 1, 8, 12)

    def model(x: torch.Tensor) -> torch.Tensor:
        wide = x.mean((2, 3), keepdim=True).expand(-1, -1, 8, 12)
        return wide.gather(1, index) + x[:, :1]

    assert check(model, shifts=[(0, 1)]).verdict is not Verdict.EQUIVARIANT


def test_with_tolerances_of_the_user_the_gap_alone_decides() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        parts = torch.stack([x[..., ::2], x[..., 1::2]], 1)
        mask = F.one_hot(parts.flatten(2).norm(dim=2).argmax(1), 2).view(-1, 2, 1, 1, 1)
        kept = (parts * mask).sum(1, keepdim=True) * mask
        return kept.permute(0, 2, 3, 4, 1).flatten(3)

    report = check(model, shifts=[(0, 1), (0, 2)], rtol=1e-9, atol=0.0)
    assert report.verdict is Verdict.EQUIVARIANT
    assert report.outputs[0].period == (1, 2)
    assert all(s.float64_error is None for s in report.outputs[0].shifts)
