"""Faults to be put after a layer: each breaks equivariance, and how the library should call it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

Change = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Site:
    """Where a fault is put: after a layer of this output, along the dimension ``dim`` of it.

    ``weakness``: hidden faults are smaller by this factor.
    """

    draw: random.Random
    shape: tuple[int, ...]
    dim: int
    magnitude: float
    weakness: float = 1.0

    @property
    def size(self) -> int:
        return self.shape[self.dim]

    def strength(self, least: float = 1e-6) -> float:
        """From ``least`` to 1, its logarithm evenly distributed."""
        return float(10 ** self.draw.uniform(math.log10(least), 0))

    def along(self, values: torch.Tensor) -> torch.Tensor:
        """Values for each place, as a tensor that broadcasts along the dimension."""
        return values.reshape(-1, *[1] * (len(self.shape) - self.dim - 1))

    def noise(self, *size: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self.draw.randrange(10**6))
        return torch.randn(*size, generator=generator)

    def window(self, size: int, other: int = 1) -> list[int]:
        """An argument for each spatial dimension: ``size`` along this one."""
        return [size if d == self.dim else other for d in range(2, len(self.shape))]


class Fault(nn.Module):
    """Changes what a layer gives; what it does so with goes to float64 as a model does."""

    def __init__(self, change: Callable[..., torch.Tensor], *constants: torch.Tensor) -> None:
        super().__init__()
        self.change = change
        for i, constant in enumerate(constants):
            self.register_buffer(f"constant{i}", constant)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.change(x, *self.buffers())


def table_added(site: Site) -> nn.Module:
    table = site.strength() * site.magnitude * site.noise(*site.shape[1:])
    return Fault(lambda x, t: x + t, table)


def ramp_added(site: Site) -> nn.Module:
    size = site.strength() * site.magnitude

    def change(x: torch.Tensor) -> torch.Tensor:
        places = torch.arange(x.shape[site.dim], dtype=x.dtype)
        return x + size * site.along(places / len(places))

    return Fault(change)


def ramp_multiplied(site: Site) -> nn.Module:
    ramp = 1 + site.strength() * site.along(torch.linspace(-1, 1, site.size, dtype=torch.float64))
    return Fault(lambda x, r: x * r.to(x.dtype), ramp)


def one_row_scaled(site: Site) -> nn.Module:
    keep = torch.ones(site.size)
    keep[site.size // 2] = 1.5
    return Fault(lambda x, k: x * k, site.along(keep))


def one_row_written(site: Site) -> nn.Module:
    def change(x: torch.Tensor) -> torch.Tensor:
        y = x.clone()
        y.narrow(site.dim, site.size // 2, 1).mul_(0.5)
        return y

    return Fault(change)


def mixed(site: Site) -> nn.Module:
    n = site.size
    weight = site.strength() * site.noise(n, n) / n**0.5
    return Fault(lambda x, w: x + (x.movedim(site.dim, -1) @ w).movedim(-1, site.dim), weight)


def flipped_beside(site: Site) -> nn.Module:
    s = site.strength()
    return Fault(lambda x: x + s * x.flip(site.dim))


def held(site: Site) -> nn.Module:
    """Every third sample, held until the next."""
    every = [slice(None)] * len(site.shape)
    every[site.dim] = slice(None, None, 3)

    def change(x: torch.Tensor) -> torch.Tensor:
        longer = x[tuple(every)].repeat_interleave(3, site.dim)
        return 0.5 * (x + longer.narrow(site.dim, 0, x.shape[site.dim]))

    return Fault(change)


def pooled(site: Site) -> nn.Module:
    """Means over three, and up again."""
    pool = {3: F.avg_pool1d, 4: F.avg_pool2d, 5: F.avg_pool3d}[len(site.shape)]

    def change(x: torch.Tensor) -> torch.Tensor:
        few = pool(x, site.window(3), ceil_mode=True, count_include_pad=False)
        many = F.interpolate(few, scale_factor=[float(n) for n in site.window(3)])
        return 0.5 * (x + many.narrow(site.dim, 0, x.shape[site.dim]))

    return Fault(change)


def one_place_gates(site: Site) -> nn.Module:
    s = site.strength()
    return Fault(lambda x: x * (1 + s * x.narrow(site.dim, site.size // 2, 1).tanh()))


def noisy(site: Site) -> nn.Module:
    s = site.strength(1e-3)
    return Fault(lambda x: x + s * torch.rand_like(x))


def sample_of_nan(site: Site) -> nn.Module:
    table = torch.zeros(site.shape[1:])
    table.view(-1)[site.draw.randrange(table.numel())] = math.nan
    return Fault(lambda x, t: x + t, table)


def wrong_seam(site: Site) -> nn.Module:
    """A neighbour around the circle, with a wrong row where it closes."""
    s = site.strength()

    def change(x: torch.Tensor) -> torch.Tensor:
        y = x.roll(1, site.dim).clone()
        y.select(site.dim, 0).copy_(x.select(site.dim, -2))
        return x + s * y

    return Fault(change)


def wrong_rows(site: Site) -> nn.Module:
    """A circular pad by hand, one row off, then a mean over three."""

    def change(x: torch.Tensor) -> torch.Tensor:
        n, d = site.size, site.dim
        wide = torch.cat([x.narrow(d, n - 2, 1), x, x.narrow(d, 0, 1)], d)
        return (wide.narrow(d, 0, n) + wide.narrow(d, 1, n) + wide.narrow(d, 2, n)) / 3

    return Fault(change)


def cut_and_padded(site: Site) -> nn.Module:
    """Off by one: a slice, and zeros in the place of what it left out."""
    pad = [0, 0] * (len(site.shape) - site.dim - 1) + [0, 1]
    s = site.strength()
    return Fault(lambda x: x + s * F.pad(x.narrow(site.dim, 1, site.size - 1), pad))


def zero_padded_mean(site: Site) -> nn.Module:
    s = site.strength()
    pool = {3: F.avg_pool1d, 4: F.avg_pool2d, 5: F.avg_pool3d}[len(site.shape)]
    return Fault(lambda x: x + s * pool(x, site.window(3), 1, site.window(1, 0)))


def global_term(site: Site) -> nn.Module:
    s = site.strength()
    return Fault(lambda x: x + s * x.mean(site.dim, keepdim=True))


@torch.library.custom_op("faults::hidden", mutates_args=())
def hidden(x: torch.Tensor, what: str, dim: int, strength: float) -> torch.Tensor:
    """An operation that the library is told is pointwise, and is not."""
    n = x.shape[dim]
    index = torch.arange(n)
    place = index.to(x.dtype).reshape(-1, *[1] * (x.ndim - dim - 1))
    if what == "a ramp":
        return x + strength * place / n
    if what == "a factor":
        return x * (1 + strength * place.cos())
    if what == "a row":
        return x * (1 + strength * (place == n // 2))
    if what == "samples in threes":
        swapped = (index // 3 * 3 + (index + 1) % 3).clamp(max=n - 1)
        return x + strength * x.index_select(dim, swapped)
    if what == "a place":
        return x * (1 + strength * x.narrow(dim, n // 2, 1).tanh())
    if what == "the mean":
        return x + strength * x.mean(dim, keepdim=True)
    if what == "a seam":
        y = x.roll(1, dim).clone()
        y.select(dim, 0).zero_()
        return x + strength * y
    assert what == "the greatest"
    others = [d for d in range(1, x.ndim) if d != dim]
    first = x.square().sum(others).argmax(1)
    moved = [one.roll(-int(k), dim - 1) for one, k in zip(x, first, strict=True)]
    return x + strength * torch.stack(moved)


@hidden.register_fake
def _(x: torch.Tensor, what: str, dim: int, strength: float) -> torch.Tensor:
    return torch.empty_like(x)


def hidden_fault(what: str) -> Callable[[Site], nn.Module]:
    def make(site: Site) -> nn.Module:
        s = site.strength(1e-3) * (site.magnitude if what == "a ramp" else 1.0) / site.weakness
        return Fault(lambda x: hidden(x, what, site.dim, s))

    return make


Fitting = tuple[Callable[[Site], nn.Module], frozenset[str]]


def _all(*entries: tuple[str, Callable[[Site], nn.Module], str]) -> dict[str, Fitting]:
    return {name: (make, frozenset(kinds.split())) for name, make, kinds in entries}


def _hidden(*names: str) -> dict[str, Fitting]:
    return _all(*((f"hidden: {n}", hidden_fault(n), "UNEXPLAINED") for n in names))


ANYWHERE = _all(
    ("table added", table_added, "POSITION"),
    ("ramp added", ramp_added, "POSITION"),
    ("ramp multiplied", ramp_multiplied, "POSITION"),
    ("one row scaled", one_row_scaled, "POSITION"),
    ("one row written", one_row_written, "POSITION"),
    ("mixed", mixed, "MIXING"),
    ("flipped beside", flipped_beside, "INDEX"),
    ("held", held, "STRIDE"),
    ("pooled", pooled, "STRIDE"),
    ("one place gates", one_place_gates, "INDEX"),
    ("noisy", noisy, "STOCHASTIC"),
) | _hidden("a ramp", "a factor", "a row", "samples in threes", "a place", "the greatest")
ON_A_CIRCLE = _all(
    ("wrong seam", wrong_seam, "INDEX"),
    ("wrong rows", wrong_rows, "INDEX"),
    ("cut and padded", cut_and_padded, "PADDING"),
    ("zero-padded mean", zero_padded_mean, "PADDING"),
) | _hidden("a seam")
ON_THE_PLANE = _all(("global term", global_term, "GLOBAL")) | _hidden("the mean")
OTHER_PADDING: dict[str, Any] = {"zeros for circular": "zeros", "reflect for circular": "reflect"}
