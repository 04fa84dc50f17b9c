"""Random linear operators are their convolutions; others are refused, for the right property."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from tests.properties.linear_operators import CONVOLUTIONS, Case, operator, relative_gap
from tests.properties.linear_operators import TRANSPOSED as TRANSPOSED_CONVOLUTIONS
from torch import nn

import shiftcheck

EPS = 2.0**-52
Record = Callable[[str, object], None]
QUICK, ALL = range(60), range(60, 500)
KINDS = (*CONVOLUTIONS, *TRANSPOSED_CONVOLUTIONS, shiftcheck.PolyphaseConvolution)


def converted(case: Case) -> tuple[Case, nn.Module]:
    """The operator's convolution, on the smallest size that is asked for where it is too small."""
    try:
        return case, shiftcheck.as_convolution(case.model, case.x, boundary=case.boundary)
    except shiftcheck.InconclusiveError:
        report = shiftcheck.check_convolution(case.model, case.x, boundary=case.boundary)
        assert report.needed is not None, str(report)
        x = torch.randn(*case.x.shape[:2], *report.needed, dtype=case.x.dtype)
        larger = Case(case.model, x, case.boundary)
        return larger, shiftcheck.as_convolution(case.model, x, boundary=case.boundary)


def on_valid(tensor: torch.Tensor, case: Case) -> torch.Tensor:
    output = shiftcheck.geometry(case.model, case.x, boundary=case.boundary).outputs[0]
    for axis, spans in enumerate(output.valid):
        assert spans
        index = torch.cat([torch.arange(*span) for span in spans])
        tensor = tensor.index_select(axis + 2, index)
    if case.boundary == "circular":
        assert tuple(tensor.shape) == output.shape
    return tensor


def check(seed: int) -> type[nn.Module]:
    case, convolution = converted(operator(seed))
    assert type(convolution) in KINDS
    draw = torch.Generator().manual_seed(10_000 + seed)
    with torch.no_grad():
        for size in (1.0, 100.0):
            f = torch.randn(case.x.shape, generator=draw, dtype=torch.float64) * size
            expected, found = case.model(f), convolution(f)
            assert expected.shape == found.shape
            expected, found = on_valid(expected, case), on_valid(found, case)
            assert relative_gap(expected, found) <= 64 * EPS
    return type(convolution)


@pytest.mark.parametrize("start", range(0, 60, 10))
def test_an_operator_is_its_convolution(start: int, record_property: Record) -> None:
    record_property("cases", 10)
    for seed in range(start, start + 10):
        check(seed)


@pytest.mark.slow
def test_500_operators_are_their_convolutions(record_property: Record) -> None:
    kinds = Counter(check(seed) for seed in (*QUICK, *ALL))
    record_property("cases", sum(kinds.values()))
    assert sum(kinds.values()) == 500
    assert all(kinds[kind] >= 5 for kind in KINDS), kinds


class Bend(nn.Module):
    """A pointwise map that is not linear."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "relu":
            return x.relu()
        if self.kind == "almost":
            return x + 1e-6 * x * x
        if self.kind == "clamp":
            return x.clamp(-1e3, 1e3)
        return torch.round(x * 256) / 256


class Places(nn.Module):
    """A gain, or a constant, of its own for each place along the last axis."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ramp = torch.linspace(1, 2, x.shape[-1], dtype=x.dtype)
        if self.kind == "gain":
            return x * ramp
        if self.kind == "constant":
            return x + ramp
        if self.kind == "mixing":
            weights = torch.linspace(0, 1, x.shape[-1] ** 2, dtype=x.dtype)
            return x @ weights.reshape(x.shape[-1], -1)
        return x.flip(-1)


def refused(seed: int) -> Counter[str]:
    """An operator with a layer that is not linear, or not equivariant, at a random place."""
    draw = random.Random(seed)
    case = operator(seed)
    linear = draw.random() < 0.5
    bad: nn.Module
    if linear:
        kind = draw.choice(("gain", "constant", "mixing", "flip"))
        bad, error = Places(kind), shiftcheck.NotEquivariantError
    else:
        kind = draw.choice(("relu", "almost", "clamp", "steps"))
        bad, error = Bend(kind), shiftcheck.NotLinearError
    layers = list(case.model)
    if kind == "mixing" and case.boundary == "valid":
        layers = []  # an axis without a stride is compared only where its size is kept
    place = draw.randint(0, len(layers))
    model = nn.Sequential(*layers[:place], bad, *layers[place:]).eval()
    with pytest.raises(error):
        shiftcheck.as_convolution(model, case.x, boundary=case.boundary)
    return Counter([kind])


@pytest.mark.parametrize("start", range(0, 30, 10))
def test_what_is_no_convolution_is_refused(start: int, record_property: Record) -> None:
    record_property("cases", 10)
    for seed in range(start, start + 10):
        refused(seed)


@pytest.mark.slow
def test_200_operators_are_refused_for_the_right_property(record_property: Record) -> None:
    kinds = sum((refused(seed) for seed in range(200)), Counter())
    record_property("cases", sum(kinds.values()))
    assert len(kinds) == 8
    assert min(kinds.values()) >= 10
