"""What is made of other whole numbers is NaN, or the operation is noted that may have hidden it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from shiftcheck.tracing.other_numbers import NaNForOthers, Recorded

Tensor = torch.Tensor
BEFORE = torch.tensor([[0, 4, 2, 6, 8, 3]])
AFTER = torch.tensor([[0, 4, 3, 7, 9, 4]])
"""Each of the last four is the next larger number."""

TABLE = torch.arange(40.0).reshape(10, 4) + 1
PAIRED = TABLE[torch.arange(10) // 2]
"""Of which two rows are the same at a time."""


def watched(model: Callable[[Tensor], Tensor]) -> tuple[Tensor, str]:
    record = Recorded()
    with record:
        model(BEFORE)
    watch = NaNForOthers(record.met)
    with watch:
        out = model(AFTER)
    return out, " ".join(watch.swallowing)


@pytest.mark.parametrize(
    "model",
    [
        lambda t: F.embedding(t, TABLE)[..., 0],
        lambda t: F.embedding(t.flip(1).flip(1), TABLE)[..., 1],
        lambda t: t * 0.5,
        lambda t: (t + 1).float(),
        lambda t: (-t).to(torch.int32) * 1.5,
        lambda t: F.embedding((t + 1) % 10, TABLE)[..., 0],
        lambda t: TABLE[t[0]][None, :, 0],
    ],
)
def test_what_is_made_of_others_is_nan(model: Callable[[Tensor], Tensor]) -> None:
    out, swallowing = watched(model)
    assert swallowing == ""
    assert out.isnan().tolist() == [[False, False, True, True, True, True]]


@pytest.mark.parametrize(
    ("model", "op"),
    [
        (lambda t: t[:, 3:] - t[:, 2:-1], "sub"),
        (lambda t: F.embedding((t[:, 4] - t[:, 3]) % 10, TABLE), "sub"),
        (lambda t: t // 2 * 0.5, "floor_divide"),
        (lambda t: (t > 100) * 0.5, "gt"),
        (lambda t: F.embedding(t, PAIRED), "embedding"),
        (lambda t: F.embedding((torch.arange(10) // 2)[t], TABLE), "index"),
        (lambda t: (torch.arange(10) // 2).gather(0, t[0]) * 0.5, "gather"),
        (lambda t: (t - t.roll(1, 1)).cumsum(1) * 0.5, "sub"),
        (lambda t: t * torch.tensor([[1.0, 1.0, 0.0, 1.0, 1.0, 1.0]]), "mul"),
        (lambda t: t.sort(1)[0] * 0.5, "sort"),
        (lambda t: t.sum(1) * 0.5, "sum"),
        (lambda t: (t % 2).bool() | True, "bitwise_or"),
    ],
)
def test_what_may_give_the_same_for_others_is_noted(
    model: Callable[[Tensor], Tensor], op: str
) -> None:
    assert f"aten.{op}" in watched(model)[1]


@pytest.mark.parametrize(
    "model",
    [
        lambda t: torch.zeros_like(t) * 0.5,
        lambda t: t.new_ones(1, 3).float(),
        lambda t: t[:, :2] * 0.5,
    ],
)
def test_what_does_not_read_others_is_what_it_was(model: Callable[[Tensor], Tensor]) -> None:
    out, swallowing = watched(model)
    assert (bool(out.isnan().any()), swallowing) == (False, "")


def test_another_way_is_noted() -> None:
    assert "another way" in watched(lambda t: t * 2.0 if int(t[0, 3]) > 6 else t + 1)[1]
