"""Writes are told before they happen."""

from __future__ import annotations

import torch
from torch import nn

from shiftcheck.tracing.writes import WatchedWrites


def test_each_tensor_is_told_before_it_is_written_to() -> None:
    x, told = torch.zeros(3), []
    with WatchedWrites(lambda tensor: told.append((tensor, tensor.clone()))):
        x += 1
        x[1:].mul_(2)
        torch.add(x, 1)
    assert [before.tolist() for _, before in told] == [[0, 0, 0], [1, 1]]
    assert x.tolist() == [1, 2, 2]


def test_running_statistics_are_told_though_they_are_not_declared() -> None:
    norm, told = nn.BatchNorm1d(2), []
    with torch.no_grad(), WatchedWrites(told.append):
        norm(torch.randn(4, 2))
    assert any(tensor is norm.running_mean for tensor in told)
