"""Thirty models with a planted bug, and a brute-force search for the smallest shift that shows it.

The search knows nothing of the library: a model is run on both windows of a larger scene (or on the
rolled signal, on a circle), and the samples far from the border are compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

CIRCLE = "circular"


class Layer(nn.Module):
    """A function as a layer, between two convolutions of width one."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor], ndim: int = 2) -> None:
        super().__init__()
        kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[ndim]
        self.before, self.after, self.function = kind(1, 2, 1), kind(2, 1, 1), function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(self.function(self.before(x)))


def between(layer: nn.Module, ndim: int = 2) -> nn.Module:
    """A layer between two convolutions of width one."""
    kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[ndim]
    return nn.Sequential(kind(1, 2, 1), layer, kind(2, 1, 1))


@dataclass(frozen=True, kw_only=True)
class Bug:
    """A model with a bug; ``margin``: pixels at the border that the oracle leaves out."""

    make: Callable[[], nn.Module]
    ndim: int = 2
    boundary: Any = "valid"
    lattice: Any = 1
    margin: int = 3

    def steps(self) -> tuple[int, ...]:
        return self.lattice if isinstance(self.lattice, tuple) else (self.lattice,) * self.ndim

    def circles(self) -> tuple[bool, ...]:
        several = isinstance(self.boundary, tuple)
        kinds = self.boundary if several else (self.boundary,) * self.ndim
        return tuple(kind == CIRCLE for kind in kinds)


def ramp(n: int) -> torch.Tensor:
    return torch.linspace(0.0, 1.0, n)


class DownUp(nn.Module):
    """Pool, and repeat samples up to the size at the start, as far as they go."""

    def __init__(self, pool: nn.Module, *factor: int) -> None:
        super().__init__()
        self.pool, self.factor = pool, factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.pool(x)
        for dim, times in enumerate(self.factor, 2):
            y = y.repeat_interleave(times, dim)
        return y


class Coordinates(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        column = ramp(x.shape[-1]).to(x).expand(x.shape[0], 1, *x.shape[2:])
        return self.conv(torch.cat([x, column], 1))


def if_size(condition: Callable[[int], bool], bad: Any, good: Any) -> Any:
    return lambda x: bad(x) if condition(x.shape[-1]) else good(x)


def same(x: torch.Tensor) -> torch.Tensor:
    return x


def add_ramp(x: torch.Tensor) -> torch.Tensor:
    return x + ramp(x.shape[-1]).to(x)


def add_tall_ramp(x: torch.Tensor) -> torch.Tensor:
    return x + ramp(x.shape[-2]).to(x)[:, None]


def fixed_embedding() -> nn.Module:
    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.place = nn.Conv2d(1, 2, 1), nn.Parameter(torch.randn(1, 2, 9, 11))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x) + self.place

    return Embedded()


def first_channel(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([add_ramp(x[:, :1]), x[:, 1:]], 1)


def windows(width: int, turn: int = 0) -> Callable[[torch.Tensor], torch.Tensor]:
    """The mean over windows of ``width`` columns, as far as they go."""

    def function(x: torch.Tensor) -> torch.Tensor:
        n = x.shape[-1] // width * width
        y = x.roll(turn, -1)[..., :n].unflatten(-1, (n // width, width))
        return (y + y.mean(-1, keepdim=True)).flatten(-2).roll(-turn, -1)

    return function


def pooled_and_resized(x: torch.Tensor) -> torch.Tensor:
    return x + F.interpolate(F.max_pool2d(x, 2), size=x.shape[2:], mode="bilinear")


def checkerboard(x: torch.Tensor) -> torch.Tensor:
    return x + (torch.arange(x.shape[-1]) % 4 == 0).to(x)


def conv(**options: Any) -> nn.Module:
    return nn.Conv2d(2, 2, 3, **options)


def twice_then_zeros() -> nn.Module:
    def ring() -> nn.Module:
        return conv(padding=1, padding_mode="circular")

    return between(nn.Sequential(ring(), nn.ReLU(), ring(), nn.ReLU(), conv(padding=1)))


def half_ring(x: torch.Tensor) -> torch.Tensor:
    """Padded around along the columns, with zeros along the rows."""
    return F.avg_pool2d(F.pad(F.pad(x, (1, 1, 0, 0), "circular"), (0, 0, 1, 1)), 3, 1)


def one_short(x: torch.Tensor) -> torch.Tensor:
    """Padded around by one column too few for a width of five, then by one too many for three."""
    y = F.avg_pool2d(F.pad(x, (2, 1, 1, 1), "circular"), (3, 5), 1)
    return F.avg_pool2d(F.pad(y, (2, 1, 1, 1), "circular"), 3, 1)


def edge(mode: str, ndim: int = 2) -> Callable[[torch.Tensor], torch.Tensor]:
    pool = {1: F.avg_pool1d, 2: F.avg_pool2d}[ndim]
    return lambda x: pool(F.pad(x, (1, 1) * ndim, mode), 3, 1)


BUGS = {
    # strides
    "stride 2": Bug(make=lambda: between(DownUp(nn.MaxPool2d(2), 2, 2))),
    "stride 2 along the columns": Bug(make=lambda: between(DownUp(nn.MaxPool2d((1, 2)), 1, 2))),
    "stride 3": Bug(make=lambda: between(DownUp(nn.AvgPool2d(3), 3, 3)), margin=4),
    "stride 4 where 2 is promised": Bug(
        make=lambda: between(DownUp(nn.MaxPool2d(4), 4, 4)), lattice=2, margin=5
    ),
    "stride 6 where (3, 2) is promised": Bug(
        make=lambda: between(DownUp(nn.AvgPool2d(6), 6, 6)), lattice=(3, 2), margin=7
    ),
    "stride 2 in audio": Bug(
        make=lambda: between(DownUp(nn.Conv1d(2, 2, 4, stride=2, padding=1), 2), 1), ndim=1
    ),
    "stride 2 in a volume": Bug(
        make=lambda: between(DownUp(nn.AvgPool3d((1, 1, 2)), 1, 1, 2), 3), ndim=3, margin=2
    ),
    "stride 2 on a circle": Bug(
        make=lambda: between(DownUp(nn.MaxPool2d(2), 2, 2)), boundary=CIRCLE
    ),
    # pads
    "zeros on a circle": Bug(make=lambda: between(conv(padding=1)), boundary=CIRCLE),
    "zeros on half a circle": Bug(make=lambda: Layer(half_ring), boundary=CIRCLE),
    "zeros after rings": Bug(make=twice_then_zeros, boundary=CIRCLE),
    "edge repeated on a circle": Bug(make=lambda: Layer(edge("replicate")), boundary=CIRCLE),
    "mirror on a circle": Bug(make=lambda: Layer(edge("reflect")), boundary=CIRCLE),
    "zeros on a ring of audio": Bug(
        make=lambda: between(nn.Conv1d(2, 2, 5, padding=2), 1), ndim=1, boundary=CIRCLE
    ),
    "zeros along the closed axis": Bug(
        make=lambda: between(conv(padding=1)), boundary=("valid", CIRCLE)
    ),
    "zeros at odd sizes of a circle": Bug(
        make=lambda: Layer(
            if_size(lambda n: n % 2 == 1, edge("constant"), edge("circular")),
        ),
        boundary=CIRCLE,
    ),
    # positions
    "ramp": Bug(make=lambda: Layer(add_ramp)),
    "ramp along the rows": Bug(make=lambda: Layer(add_tall_ramp)),
    "small ramp": Bug(make=lambda: Layer(lambda x: x + 1e-4 * ramp(x.shape[-1]).to(x))),
    "ramp as a factor": Bug(make=lambda: Layer(lambda x: x * (1 + ramp(x.shape[-1]).to(x)))),
    "coordinates": Bug(make=Coordinates),
    "ramp in one channel": Bug(make=lambda: Layer(first_channel)),
    "embedding of one size": Bug(make=fixed_embedding),
    "ramp in wide images": Bug(make=lambda: Layer(if_size(lambda n: n > 12, add_ramp, same))),
    "comb of four where two is promised": Bug(make=lambda: Layer(checkerboard), lattice=2),
    # off by one
    "ring one short": Bug(make=lambda: Layer(one_short), boundary=CIRCLE),
    "resized to odd sizes": Bug(make=lambda: Layer(pooled_and_resized), lattice=2, margin=4),
    "corners aligned": Bug(
        make=lambda: Layer(
            lambda x: (
                x
                + F.interpolate(
                    x, size=[n + 1 for n in x.shape[2:]], mode="bilinear", align_corners=True
                )[..., :-1, :-1]
            )
        )
    ),
    "last column cleared": Bug(
        make=lambda: Layer(lambda x: torch.cat([x[..., :-1], torch.zeros_like(x[..., -1:])], -1)),
        boundary=CIRCLE,
    ),
    "windows one too far": Bug(
        make=lambda: Layer(windows(4, 1)), lattice=(1, 2), boundary=("valid", CIRCLE), margin=1
    ),
}


def smallest_offence(bug: Bug, sizes: range, most: int = 8) -> int | None:
    """The smallest entry of a shift with a single one that breaks the model at one of ``sizes``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = bug.make().double().eval()
    found = [
        length
        for n, axis in itertools.product(sizes, range(bug.ndim))
        for length in range(bug.steps()[axis], min(most, n - 1) + 1, bug.steps()[axis])
        if offends(bug, model, n, axis, length)
    ]
    return min(found, default=None)


def offends(bug: Bug, model: nn.Module, n: int, axis: int, length: int) -> bool:
    """Whether the interior of both runs differs; False at sizes that the model does not take."""
    shift = tuple(length if a == axis else 0 for a in range(bug.ndim))
    here, there = windows_of(bug, n, shift)
    try:
        with torch.no_grad():
            base, moved = model(here), model(there)
    except RuntimeError:
        return False
    if base.numel() == 0:
        return False
    ring = bug.circles()[axis]
    dim = 2 + axis
    if ring:
        expected, kept = base.roll(length, dim), slice(None)
    else:
        expected, kept = base.roll(length, dim), slice(bug.margin + length, n - bug.margin)
    gap = (moved - expected).movedim(dim, -1)[..., kept]
    return gap.numel() > 0 and float(gap.abs().max()) > 1e-7 * float(base.abs().max())


def windows_of(bug: Bug, n: int, shift: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Two windows onto one scene, the second of them where the content has moved by ``shift``."""
    size = (9, 11) if "embedding" in bug.make.__name__ else (n,) * bug.ndim
    draw = torch.Generator().manual_seed(n)
    here = torch.randn(1, 1, *size, generator=draw, dtype=torch.float64)
    there = here.roll(shift, tuple(range(2, 2 + bug.ndim)))
    for axis, v in enumerate(shift):
        if v and not bug.circles()[axis]:
            fresh = torch.randn(there.shape, generator=draw, dtype=torch.float64)
            place = torch.arange(size[axis]).reshape(-1, *(1,) * (bug.ndim - 1 - axis))
            there = torch.where(place < v, fresh, there)
    return here, there
