"""How often a check reads values where they are: it may not depend on how many shifts there are."""

from __future__ import annotations

import json
from collections import Counter
from itertools import product
from typing import Any

import pytest
import torch
from tests.measuring.accelerator import Accelerator, accelerator
from torch import nn

import shiftcheck
from shiftcheck import Report
from shiftcheck.measuring.gaps import compare_stacked, read

FEW, MANY = ([v for v in product(range(n), repeat=2) if any(v)] for n in (2, 4))
BEFORE = 2
"""Whether x is finite, and whether the output varies."""


class Shelf(nn.Module):
    """Adds a constant that varies over the image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0, 1, 26))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.weight


def network(layers: int = 3, *, exact: bool = True, broken: bool = False) -> nn.Module:
    torch.manual_seed(0)
    made: list[nn.Module] = []
    for _ in range(layers):
        made.append(nn.Conv2d(2, 2, 1) if exact else nn.Conv2d(2, 2, 3, padding=1))
        if exact:  # whole numbers, which no order of adding rounds
            nn.init.constant_(made[-1].weight, 1.0)
            nn.init.constant_(made[-1].bias, 1.0)
    return nn.Sequential(*made, *([Shelf()] if broken else [])).eval()


def image(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(-4, 5, (1, 2, 24, 26), generator=generator).to(dtype)


def checked(model: nn.Module, shifts: list[Any], **options: Any) -> tuple[Report, Counter[str]]:
    x = image().to(next(model.parameters()).dtype)
    options = {"max_batch": 64, **options}
    with accelerator(model, x) as device:
        report = shiftcheck.check_equivariance(model, x, shifts=shifts, **options)
    return report, device.reads


@pytest.mark.parametrize("shifts", [FEW, MANY], ids=len)
def test_a_passing_assertion_reads_the_output_once(shifts: list[Any]) -> None:
    model, x = network(), image()
    with accelerator(model, x) as device:
        shiftcheck.assert_equivariant(model, x, shifts=shifts, max_batch=64)
    assert device.reads == {"cpu": 1, "_local_scalar_dense": BEFORE}


@pytest.mark.parametrize("shifts", [FEW, MANY], ids=len)
@pytest.mark.parametrize("layers", [2, 6])
def test_a_report_reads_every_layer_once_where_it_agrees_to_the_bit(
    shifts: list[Any], layers: int
) -> None:
    report, reads = checked(network(layers), shifts)
    assert len(report.layers) == layers
    assert reads == {"cpu": layers + 1, "_local_scalar_dense": BEFORE}


@pytest.mark.parametrize("shifts", [FEW, MANY], ids=len)
def test_rounding_costs_at_most_one_read_more(shifts: list[Any]) -> None:
    report, reads = checked(network(exact=False), shifts)
    assert reads["cpu"] <= 2 * (len(report.layers) + 1)
    assert reads["_local_scalar_dense"] == BEFORE


KINDS: dict[str, tuple[torch.dtype, float, dict[str, Any]]] = {
    "on a plane": (torch.float32, 1, {}),
    "on circles": (torch.float32, 1, {"boundary": "circular"}),
    "bfloat16": (torch.bfloat16, 1, {}),
    "between pixels": (torch.float64, 0.25, {}),
    "tolerances": (torch.float32, 1, {"rtol": 1e-3, "atol": 1e-6}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_breaks_is_read_as_often_for_more_shifts(kind: str) -> None:
    dtype, step, options = KINDS[kind]
    made = []
    for shifts in (FEW, MANY):
        model = network(broken=True).to(dtype)
        moved = [tuple(step * v for v in shift) for shift in shifts]
        made.append(checked(model, moved, effort="full", **options))
    (few, reads), (many, other) = made
    assert few.outputs[0].error
    assert other == reads, f"{len(many.shifts)} shifts, and {len(few.shifts)}"
    assert sum(reads.values()) < 12 * (len(few.layers) + 1)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_together_says_the_same(kind: str) -> None:
    dtype, step, options = KINDS[kind]
    moved = [tuple(step * v for v in shift) for shift in MANY]
    for broken in (False, True):
        model = network(exact=False, broken=broken).to(dtype)
        report, _ = checked(model, moved, **options)
        options = {"max_batch": 64, **options}
        plain = shiftcheck.check_equivariance(model, image().to(dtype), shifts=moved, **options)
        assert json.loads(report.to_json()) == json.loads(plain.to_json())


def test_large_layers_are_compared_in_parts_and_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_stacked, "ROOM", 300)
    monkeypatch.setattr(compare_stacked, "BLOCK", 75)
    _, reads = checked(network(2), MANY)
    assert reads["cpu"] == 2 + 1


def test_the_accelerator_counts_and_keeps_devices_apart() -> None:
    model, x = network(1), image()
    with accelerator(model, x) as device:
        assert device.is_away(x.narrow(2, 1, 3) + 1)
        assert float(x.sum()) == float((x * 1).sum())
        near = x.cpu()
        assert not device.is_away(near + 1)
        assert device.is_away(near.to(x.device))
        with pytest.raises(AssertionError, match="two devices"):
            near + x
        with pytest.raises(AssertionError, match="numpy"):
            (x + 1).numpy()
    assert device.reads == {"_local_scalar_dense": 2, "cpu": 1}
    assert isinstance(device, Accelerator)
    assert not read.waits(x)
