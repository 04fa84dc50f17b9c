"""A size that depends on values is known to Python: it is read, as a number is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import shiftcheck
from shiftcheck import Verdict
from shiftcheck.tracing.leaving.sized_by_values import deciding

Size = Callable[[torch.Tensor], int]


def image() -> torch.Tensor:
    return 2 * torch.randn(1, 1, 12, 13, generator=torch.Generator().manual_seed(0))


def counts(y: torch.Tensor) -> torch.Tensor:
    return y[0, 0, 0].abs().long()


SIZES: dict[str, Size] = {
    "nonzero": lambda y: (y > 2).nonzero().shape[0],
    "nonzero as a tuple": lambda y: (y > 2).nonzero(as_tuple=True)[0].shape[0],
    "never nonzero": lambda y: (y > 1e6).nonzero().shape[0],
    "a boolean selection": lambda y: y[y > 2].numel(),
    "a selection of rows": lambda y: y[:, :, y[0, 0, :, 0] > 0].shape[2],
    "where of one argument": lambda y: torch.where(y > 2)[0].numel(),
    "argwhere": lambda y: torch.argwhere(y > 2).shape[0],
    "unique": lambda y: torch.unique(y.round()).shape[0],
    "unique along a dimension": lambda y: torch.unique(y[0, 0].round(), dim=0).shape[0],
    "unique_consecutive": lambda y: len(torch.unique_consecutive(y.round())),
    "masked_select": lambda y: torch.masked_select(y, y > 2).nelement(),
    "bincount": lambda y: torch.bincount(counts(y)).shape[0],
    "one_hot": lambda y: F.one_hot(counts(y)).shape[-1],
    "repeat_interleave of repeats": lambda y: torch.repeat_interleave(counts(y)).shape[0],
    "repeat_interleave": lambda y: torch.ones(13).repeat_interleave(counts(y)).shape[0],
    "tensor_split": lambda y: len(torch.ones(9).tensor_split(counts(y)[:1])[0]),
    "combinations": lambda y: torch.combinations(y[y > 4]).shape[0],
    "an iteration": lambda y: sum(1 for _ in (y > 2).nonzero()),
}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("shifts", [None, [(1, 0), (0, 1)]], ids=["chosen", "given"])
def test_a_size_that_is_read_is_a_leak(size: Size, shifts: list[tuple[int, int]] | None) -> None:
    report = shiftcheck.check_equivariance(lambda y: y / (1 + size(y)), image(), shifts=shifts)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "values leave torch")
    assert report.guilty is not None
    assert "size" in report.guilty.detail


def test_a_way_that_depends_on_a_size() -> None:
    def model(y: torch.Tensor) -> torch.Tensor:
        return torch.relu(y) if len((y > 3).nonzero()) % 2 else torch.tanh(y).flip(-1)

    report = shiftcheck.check_equivariance(model, image())
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "values leave torch")


MASK = torch.tensor([True, False, True])

KNOWN: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "a constant mask of channels": lambda y: y.expand(-1, 3, -1, -1)[:, MASK],
    "masked_select of a constant": lambda y: y + torch.ones(3).masked_select(MASK).numel(),
    "nonzero of a constant": lambda y: y[:, MASK.nonzero()[:1, 0]],
    "a list of indices": lambda y: y.expand(-1, 3, -1, -1)[:, [0, 2]],
    "one_hot of so many classes": lambda y: (
        F.one_hot((y > 0).long(), 2).float().movedim(-1, 1)[:, 0]
    ),
    "a write by a mask": lambda y: torch.where(y > 0, y, torch.zeros(())),
    "repeats of a constant": lambda y: y.repeat_interleave(torch.tensor([2]), 1),
}


@pytest.mark.parametrize("model", KNOWN.values(), ids=KNOWN)
def test_a_size_that_constants_decide_is_none(
    model: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    assert shiftcheck.check_equivariance(model, image()).verdict is Verdict.EQUIVARIANT


@torch.library.custom_op("shiftcheck_tests::larger_than_two", mutates_args=())
def larger_than_two(x: torch.Tensor) -> torch.Tensor:
    """What torch is not told the size of."""
    return x[x > 2]


def test_an_operation_of_unknown_law_and_unknown_size() -> None:
    def model(y: torch.Tensor) -> torch.Tensor:
        return y / (1 + larger_than_two(y).numel())

    report = shiftcheck.check_equivariance(model, image())
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "unsupported operation")


def test_an_operation_of_unknown_law_and_known_size() -> None:
    report = shiftcheck.check_equivariance(lambda y: y / len(torch.histc(y, 5)), image())
    assert report.verdict is Verdict.EQUIVARIANT


def tagged(tag: torch.Tag) -> list[Any]:
    packets = [getattr(torch.ops.aten, name) for name in dir(torch.ops.aten)]
    named = [p for p in packets if hasattr(p, "overloads")]
    return [op for p in named for o in p.overloads() if tag in (op := getattr(p, o)).tags]


def test_every_operation_of_such_a_size_is_known() -> None:
    sized = tagged(torch.Tag.dynamic_output_shape)
    assert len(sized) > 10
    assert all(deciding(op) is not None for op in sized)
    assert deciding(torch.ops.aten.relu.default) is None


def test_every_other_operation_that_reads_gives_no_tensor() -> None:
    reading = tagged(torch.Tag.data_dependent_output)
    assert reading
    assert not any("Tensor" in str(r.type) for op in reading for r in op._schema.returns)
