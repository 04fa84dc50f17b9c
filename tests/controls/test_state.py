"""A check leaves the model and the process as they were, whatever the model does."""

import functools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import shiftcheck

MAP = (1, 2, 16, 18)


def image() -> torch.Tensor:
    return torch.randn(*MAP, generator=torch.Generator().manual_seed(5))


class SetsData(nn.Module):
    """Normalises its own weight by assigning to ``.data``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.conv.weight.data = self.conv.weight.data * 0.5
        return self.conv(x)  # type: ignore[no-any-return]


def run(how: str, model: Any) -> None:
    if how == "geometry":
        shiftcheck.geometry(model, image())
    else:
        shiftcheck.check_equivariance(model, image())


HOWS = pytest.mark.parametrize("how", ["geometry", "check"])


@HOWS
def test_data_that_was_assigned(how: str) -> None:
    model = SetsData()
    parameter, before = model.conv.weight, model.conv.weight.detach().clone()
    run(how, model)
    assert model.conv.weight is parameter
    assert model.conv.weight.device.type == "cpu"
    assert torch.equal(model.conv.weight, before)


class Keeps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.plain, self.listed = torch.zeros(1), [torch.zeros(1)]
        self.seen: list[Any] = []
        self.nested: dict[str, dict[str, int]] = {"a": {"n": 0}}
        self.array = np.zeros(2)
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.plain += 1
        self.listed[0].add_(1)
        self.seen.append(x)
        self.nested["a"]["n"] += 1
        self.array += 1
        self.weight.requires_grad_(False)
        return x * 2


@HOWS
@pytest.mark.parametrize("what", ["plain", "listed", "seen", "nested", "array", "grad"])
def test_attributes(how: str, what: str) -> None:
    model = Keeps()
    run(how, model)
    as_it_was = {
        "plain": float(model.plain) == 0,
        "listed": float(model.listed[0]) == 0,
        "seen": model.seen == [],
        "nested": model.nested == {"a": {"n": 0}},
        "array": not model.array.any(),
        "grad": model.weight.requires_grad,
    }
    assert as_it_was[what]


@functools.lru_cache
def table(size: int) -> torch.Tensor:
    return torch.ones(size)


@HOWS
def test_a_cache_outside_the_model_can_be_used_afterwards(how: str) -> None:
    table.cache_clear()
    run(how, lambda x: x * table(1))
    x = image().requires_grad_()
    (x * table(1)).sum().backward()
    assert x.grad is not None


@HOWS
def test_a_lazy_module(how: str) -> None:
    model = nn.Sequential(nn.LazyConv2d(2, 3))
    with pytest.raises(shiftcheck.ShiftcheckError):
        run(how, model)
    assert model(image()).shape == (1, 2, 14, 16)


@HOWS
def test_the_default_dtype(how: str) -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        torch.set_default_dtype(torch.float64)
        return x * 2

    try:
        run(how, model)
        assert torch.get_default_dtype() is torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


class NoCopy(nn.Module):
    def __deepcopy__(self, _: Any) -> nn.Module:
        raise ValueError("I am only one")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1e-9 * torch.linspace(0, 1, 18)


def test_a_model_that_cannot_be_copied() -> None:
    report = shiftcheck.check_equivariance(NoCopy(), image())
    assert report.verdict is shiftcheck.Verdict.INCONCLUSIVE


def test_an_empty_output() -> None:
    with pytest.raises(shiftcheck.ShiftcheckError):
        shiftcheck.assert_equivariant(lambda x: x[..., :0], image())


def test_a_sparse_output() -> None:
    with pytest.raises(shiftcheck.ShiftcheckError):
        shiftcheck.assert_equivariant(lambda x: x.to_sparse(), image())


BAD: dict[str, dict[str, Any]] = {
    "shifts are a number": {"shifts": 5},
    "shift of text": {"shifts": [("a", 1)]},
    "shift of None": {"shifts": [(None, 1)]},
    "shift of NaN": {"shifts": [(float("nan"), 0)]},
    "infinite shift": {"shifts": [(float("inf"), 0)]},
    "boundary is None": {"boundary": None},
    "boundary is a number": {"boundary": 3},
    "spatial_dims is a number": {"spatial_dims": 5},
    "seed of text": {"seed": "a"},
    "fractional seed": {"seed": 1.5},
    "max_batch of text": {"max_batch": "2"},
    "fractional max_batch": {"max_batch": 2.5},
    "rtol of text": {"rtol": "x", "atol": 0.0},
    "layer is a number": {"layer": 3},
    "measure": {"measure": "everything"},
    "big-endian array": {"x": np.zeros(MAP, dtype=">f4")},
    "array of objects": {"x": np.full((1, 1, 3), None)},
    "sparse tensor": {"x": torch.ones(MAP).to_sparse()},
    "float8": {"x": torch.ones(MAP).to(torch.float8_e4m3fn)},
}


@pytest.mark.parametrize("name", BAD)
def test_arguments_that_cannot_be_used(name: str) -> None:
    arguments: dict[str, Any] = {"x": image(), **BAD[name]}
    with pytest.raises(shiftcheck.InputError):
        shiftcheck.check_equivariance(nn.Conv2d(2, 2, 3), **arguments)


def test_a_shape_with_a_negative_size() -> None:
    with pytest.raises(shiftcheck.InputError):
        shiftcheck.geometry(nn.Conv2d(1, 1, 3), (1, 1, 32, -1))
