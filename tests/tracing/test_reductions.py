"""Statistics of parts make that of the whole, and the operation's own result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from shiftcheck.tracing import reductions
from shiftcheck.tracing.pooling_statistics import AllCollected, Pooled
from shiftcheck.tracing.reductions import Reduction, merged, statistic_of

X = 5 + torch.randn(2, 4, 9, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
W = torch.randn(4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

OPERATIONS: dict[str, Callable[[torch.Tensor], Any]] = {
    "group norm": lambda x: F.group_norm(x, 2, W, -W),
    "group norm, no weights": lambda x: F.group_norm(x, 4),
    "instance norm": lambda x: F.instance_norm(x, weight=W, bias=W),
    "batch norm": lambda x: F.batch_norm(x, None, None, W, W, training=True),
    "layer norm": lambda x: F.layer_norm(x, x.shape[2:]),
    "average": lambda x: F.adaptive_avg_pool2d(x, 1),
    "maximum": lambda x: F.adaptive_max_pool2d(x, 1),
    "mean": lambda x: x.mean((2, 3)),
    "mean, kept": lambda x: x.mean((-1, -2), keepdim=True),
    "sum": lambda x: x.sum((2, 3)),
    "largest": lambda x: x.amax((2, 3)),
    "smallest": lambda x: x.amin((2, 3), keepdim=True),
    "variance": lambda x: x.var((2, 3)),
    "deviation": lambda x: x.std((2, 3), correction=0),
    "norm": lambda x: torch.norm(x, p=2, dim=(2, 3)),
    "vector norm": lambda x: torch.linalg.vector_norm(x, 3, (2, 3), keepdim=True),
}


def nothing(tensor: torch.Tensor) -> None:
    """No tensor is watched here."""


def reduction_in(operation: Callable[[torch.Tensor], Any], x: torch.Tensor) -> Reduction:
    """The reduction that an operation is."""
    found: list[Reduction] = []
    with (
        torch.inference_mode(),
        pytest.raises(AllCollected),
        Pooled({}, {0: found.append}, nothing),
    ):
        operation(x)
    return found[0]


@pytest.mark.parametrize("name", OPERATIONS)
def test_parts_make_the_whole(name: str) -> None:
    operation = OPERATIONS[name]
    reduction = reduction_in(operation, X)
    parts = [part for rows in X.split(4, 2) for part in rows.split(5, 3)]
    known = merged([reduction.of(part) for part in parts])
    with torch.inference_mode():
        expected = operation(X)
        with Pooled({0: known}, {}, nothing):
            given = operation(X)
    assert given.shape == expected.shape
    assert torch.allclose(given, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_statistic_of_the_whole_is_used_on_a_part(name: str) -> None:
    """What a tile gives differs where it has its own statistic."""
    operation, part = OPERATIONS[name], X[..., :4, :5]
    known = reduction_in(operation, X).of(X)
    with torch.inference_mode():
        alone = operation(part)
        with Pooled({0: known}, {}, nothing):
            given = operation(part)
    assert not torch.allclose(given, alone, rtol=1e-3)


@pytest.mark.parametrize("kind", ["moments", "sum", "maximum", "minimum", "powers"])
def test_a_statistic_is_taken_a_piece_at_a_time(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = statistic_of(X, (2, 3), kind, 2.0)
    monkeypatch.setattr(reductions, "AT_ONCE", 50)
    in_pieces = statistic_of(X, (2, 3), kind, 2.0)
    assert at_once.count == in_pieces.count == 99
    assert torch.allclose(at_once.first, in_pieces.first)
    assert torch.allclose(at_once.second, in_pieces.second)


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: F.adaptive_avg_pool2d(x, 2),
        lambda x: F.batch_norm(x, W, W.abs()),
        lambda x: F.instance_norm(x, W, W.abs(), use_input_stats=False),
        lambda x: x.max(2),
        lambda x: torch.linalg.vector_norm(x, float("inf"), (2, 3)),
    ],
)
def test_what_is_no_such_reduction_is_left_alone(operation: Callable[[torch.Tensor], Any]) -> None:
    def refuse(reduction: Reduction) -> None:
        raise AssertionError(reduction.op)

    with torch.inference_mode(), Pooled({}, {0: refuse}, nothing):
        operation(X)


def test_the_place_of_a_pooled_maximum_is_not_told() -> None:
    known = reduction_in(OPERATIONS["maximum"], X).of(X)
    with torch.inference_mode(), Pooled({0: known}, {}, nothing):
        _, places = F.adaptive_max_pool2d(X[..., :3, :3], 1, return_indices=True)
    assert (places == -1).all()
