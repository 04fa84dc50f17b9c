"""Models in another floating type, those that are plain functions included."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from shiftcheck.tracing.black_box import BlackBox
from shiftcheck.tracing.modules import in_dtype, modules_of, named_modules_of


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x))


def types_and_places(net: nn.Module) -> list[tuple[torch.dtype, int]]:
    return [(t.dtype, t.data_ptr()) for t in (*net.parameters(), *net.buffers())]


@pytest.mark.parametrize("whole", [False, True])
def test_a_function_computes_in_the_other_type(whole: bool) -> None:
    net = Net().eval()
    before = types_and_places(net)

    def function(x: torch.Tensor, *, twice: bool = False) -> torch.Tensor:
        return net(x) * (2 if twice else 1)

    exact = in_dtype(BlackBox(function, arrays=False) if whole else function, torch.float64)
    assert isinstance(exact, BlackBox) == whole
    x = torch.randn(1, 2, 8, 9, dtype=torch.float64)
    with torch.no_grad():
        found = exact(x, twice=True)
        assert found.dtype is torch.float64
        assert torch.equal(found, 2 * in_dtype(net, torch.float64)(x))
    assert types_and_places(net) == before
    assert modules_of(exact) == modules_of(function)
    assert named_modules_of(exact) == named_modules_of(function)


def test_the_modules_are_put_back_where_the_function_raises() -> None:
    net = Net().eval()
    before = types_and_places(net)

    def function(x: torch.Tensor) -> Any:
        net(x)
        raise ArithmeticError("never mind")

    with pytest.raises(ArithmeticError):
        in_dtype(function, torch.float64)(torch.randn(1, 2, 8, 9, dtype=torch.float64))
    assert types_and_places(net) == before


def test_what_has_no_modules_is_its_own_copy() -> None:
    assert in_dtype(torch.relu, torch.float64) is torch.relu
    net = Net()
    copy = in_dtype(net, torch.float16)
    assert copy is not net
    assert {t.dtype for t in copy.parameters()} == {torch.float16}
    assert {t.dtype for t in net.parameters()} == {torch.float32}
