"""Geometry stays with its tensor: random programs with writes in place against pure ones.

Each program is run twice: with writes in place, views, slices of a canvas and temporaries that are
freed, and with the same values computed without any write.
"""

from __future__ import annotations

import gc
import random
import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import shiftcheck
from shiftcheck import Verdict

SIZE = (1, 2, 24, 26)
STEPS = ("add", "scale", "pool", "frame", "channel", "mask", "ramp", "fold", "garbage", "alias")


def steps_of(seed: int) -> list[tuple[str, int]]:
    """What the model of a seed does."""
    draw = random.Random(seed)
    return [(draw.choice(STEPS), draw.randint(1, 3)) for _ in range(6)]


def program(seed: int, *, in_place: bool) -> Any:
    """A model of random steps; both kinds compute the same."""

    def model(x: torch.Tensor) -> torch.Tensor:
        y = x * 1
        for name, n in steps_of(seed):
            y = (_written if in_place else _pure)(name, n, y)
        return y * 1

    return model


def _pure(name: str, n: int, y: torch.Tensor) -> torch.Tensor:
    kept = torch.ones(y.shape[3])
    kept[y.shape[3] // 2] = 0
    found: dict[str, Any] = {
        "add": lambda: y + n,
        "scale": lambda: torch.relu(y) * n,
        "pool": lambda: F.avg_pool2d(y, 3, 1, 1),
        "frame": lambda: F.pad(y, (n, 1, 0, n)),
        "channel": lambda: torch.cat([y[:, :1] * 2, y[:, 1:]], 1),
        "mask": lambda: y * kept if n == 3 else y,
        "ramp": lambda: y + torch.linspace(0, 1, y.shape[2])[:, None] if n == 2 else y,
        "fold": lambda: y + F.avg_pool2d(y, (1, 3), 1, (0, 1)),
    }
    return found[name]() if name in found else y  # type: ignore[no-any-return]


def _written(name: str, n: int, y: torch.Tensor) -> torch.Tensor:
    if name == "add":
        y.view(y.shape).add_(n)
    elif name == "scale":
        torch.relu_(y).mul_(n)
    elif name == "pool":
        y.copy_(F.avg_pool2d(y, 3, 1, 1))
    elif name == "frame":
        out = torch.zeros(*y.shape[:2], y.shape[2] + n, y.shape[3] + n + 1)
        out[:, :, :-n, n:-1] = y
        return out
    elif name == "channel":
        y[:, :1] *= 2
    elif name == "mask" and n == 3:
        y[..., y.shape[3] // 2] = 0
    elif name == "ramp" and n == 2:
        y += torch.linspace(0, 1, y.shape[2])[:, None]
    elif name == "fold":
        y.narrow(3, 0, y.shape[3]).add_(F.avg_pool2d(y, (1, 3), 1, (0, 1)))
    elif name == "garbage":
        _garbage(y)
    elif name == "alias":
        y = y.unsqueeze(0)[0]
    return y


def _garbage(y: torch.Tensor) -> None:
    """Many tensors that come and go, some with a signal, some of them written to."""
    seen = []
    for i in range(20):
        constant = torch.ones(y.shape)
        constant[..., i % 3] = i
        temporary = (y * constant).add_(1)
        seen.append(weakref.ref(temporary))
        del temporary, constant
    gc.collect(0)
    assert all(ref() is None for ref in seen)


def facts(report: shiftcheck.Report) -> Any:
    out = report.outputs[0]
    return out.stride, out.period, out.valid, out.halo, out.shape


@pytest.mark.parametrize("seed", range(24))
def test_writes_in_place_have_the_geometry_of_the_same_without(seed: int) -> None:
    x = torch.randn(SIZE, generator=torch.Generator().manual_seed(seed))
    written, pure = program(seed, in_place=True), program(seed, in_place=False)
    assert torch.allclose(written(x.clone()), pure(x.clone()))
    masked = ("mask", 3) in steps_of(seed)  # written, only these samples are different
    same = facts(shiftcheck.geometry(written, x)) == facts(shiftcheck.geometry(pure, x))
    assert same or masked
    shifts = [(1, 0), (0, -2)]
    one, two = (shiftcheck.check_equivariance(m, x, shifts=shifts) for m in (written, pure))
    assert facts(one) == facts(two) or masked
    assert (one.verdict, one.reason) == (two.verdict, two.reason)
    assert one.verdict in (Verdict.EQUIVARIANT, Verdict.BROKEN)


def test_thousands_of_temporaries() -> None:
    reused = set()

    def model(x: torch.Tensor) -> torch.Tensor:
        total = x * 1
        for i in range(1500):
            temporary = x * (i + 1.0)
            reused.add(id(temporary))
            del temporary
            constant = torch.full((1,), 0.5)
            reused.add(id(constant))
            total = total * constant if i % 300 == 0 else total
        return total

    report = shiftcheck.geometry(model, SIZE)
    assert len(reused) < 3000 - 500  # of 3000 temporaries, many had the id of an earlier one
    assert report.outputs[0].halo == ((0.0, 0.0), (0.0, 0.0))
    assert not report.causes
