"""Causal and not quite causal networks: each is judged right, and for the right reason."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
import torch
from tests.networks.causal import CASES, Case

import shiftcheck
from shiftcheck.checks.causality.ahead import Blocks

Tensor = torch.Tensor


def seen_ahead(model: Any, x: Tensor, axis: int, block: Fraction | None) -> int | None:
    """How far ahead an output sees, found by replacing one input sample after the other.

    It knows nothing of the structure: an output of K samples for N is due by its index alone.
    """
    x = x.double()
    size = x.shape[axis]
    with torch.no_grad():
        base = model(x)
        found: list[int] = []
        for time in range(size):
            other = x.clone()
            other.select(axis, time).normal_(generator=torch.Generator().manual_seed(time))
            changed = (model(other) - base).abs() > 1e-9 * base.abs().max()
            along = changed.movedim(axis, -1).flatten(0, -2).any(0)
            stride = Fraction(size, len(along))
            due = Blocks(stride=stride, size=block or stride).due(torch.arange(len(along)).numpy())
            found += [time - int(due[k]) for k in along.nonzero().flatten()]
    return max(found, default=None)


def made(case: Case) -> tuple[Any, Tensor]:
    torch.manual_seed(0)
    model = case.make()
    return model, torch.randn(case.shape)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_is_judged_right_and_for_the_right_reason(case: Case) -> None:
    model, x = made(case)
    report = shiftcheck.check_causality(model, x, **case.given)
    (output,) = report.outputs
    if not case.kind:
        assert report.verdict == "causal", str(report)
        assert report.guilty is None
        assert output.lookahead == (case.ahead if case.known else None)
        assert output.proven_by_nan is not case.known
        return
    assert report.verdict == "not causal", str(report)
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.name) == (case.kind, case.layer or report.guilty.name)
    assert output.lookahead in (case.ahead, None)
    assert report.leak is not None
    assert report.leak.due + report.leak.ahead == report.leak.time + 1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_verdict_is_that_of_single_samples(case: Case) -> None:
    model, x = made(case)
    if isinstance(model, torch.nn.Module):
        model = model.double().eval()
    block, axis = case.given.get("block"), case.given.get("axis", -1)
    ahead = seen_ahead(model, x, axis, None if block is None else Fraction(block))
    assert ahead is not None
    assert (ahead <= case.given.get("lookahead", 0)) == (not case.kind)
    if math.isfinite(case.ahead) and case.kind and case.ahead > 0:
        assert ahead == case.ahead
