"""One fault in a network that is equivariant without it: caught, and at the layer where it is."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.controls.hosts import HOSTS, Host
from torch import nn

import shiftcheck
from shiftcheck import Report, Verdict

ROOM = 24
"""Pixels of the canvas around the input; no shift is larger."""

CIRCULAR_CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@torch.library.custom_op("faults::tinted", mutates_args=())
def tinted(x: torch.Tensor, strength: float) -> torch.Tensor:
    """Multiplies by a hidden ramp; the rule that it has here calls it pointwise."""
    n = x.shape[-1]
    return x * (1 + strength * torch.arange(n, dtype=x.dtype).cos())


@tinted.register_fake
def _(x: torch.Tensor, strength: float) -> torch.Tensor:
    return torch.empty_like(x)


@pytest.fixture(autouse=True)
def _wrong_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    from shiftcheck.rules import registry

    monkeypatch.setattr(registry, "_table", dict(registry._table))
    shiftcheck.register_rule("faults::tinted")(shiftcheck.rules.pointwise)


def table(x: torch.Tensor, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 1, *x.shape[2:], generator=generator, dtype=torch.float64).to(x.dtype)


def ramp(x: torch.Tensor) -> torch.Tensor:
    return torch.linspace(-1, 1, x.shape[-1], dtype=x.dtype)


def one_row(x: torch.Tensor, seed: int) -> torch.Tensor:
    keep = torch.ones(x.shape[2], dtype=x.dtype)
    keep[x.shape[2] // 2] = 1.5
    return keep.reshape(-1, *[1] * (x.ndim - 3))


def held(x: torch.Tensor, step: int) -> torch.Tensor:
    """Every so many samples, each held until the next."""
    n = x.shape[-1]
    return x[..., ::step].repeat_interleave(step, -1)[..., :n]


def seam(x: torch.Tensor) -> torch.Tensor:
    """A neighbour around the circle, with a wrong row where it closes."""
    y = x.roll(1, -1).clone()
    y[..., 0] = x[..., -2]
    return y


def mixed(x: torch.Tensor, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    n = x.shape[-1]
    weight = torch.randn(n, n, generator=generator, dtype=torch.float64).to(x.dtype)
    return F.linear(x, weight / n**0.5)


class Fault(nn.Module):
    """Changes what a layer gives."""

    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.change(x)


Change = Callable[[random.Random], Callable[[torch.Tensor], torch.Tensor]]


def strength(draw: random.Random, least: float = 1e-6) -> float:
    return float(10 ** draw.uniform(torch.tensor(least).log10().item(), 0))


def added_table(draw: random.Random) -> Callable[[torch.Tensor], torch.Tensor]:
    s, seed = strength(draw), draw.randrange(1000)
    return lambda x: x + s * table(x, seed)


def multiplied_ramp(draw: random.Random) -> Callable[[torch.Tensor], torch.Tensor]:
    s = strength(draw)
    return lambda x: x * (1 + s * ramp(x))


def row(draw: random.Random) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: x * one_row(x, 0)


def mixing(draw: random.Random) -> Callable[[torch.Tensor], torch.Tensor]:
    s, seed = strength(draw), draw.randrange(1000)
    return lambda x: x + s * mixed(x, seed)


def flipped(draw: random.Random) -> Callable[[torch.Tensor], torch.Tensor]:
    s = strength(draw)
    return lambda x: x + s * x.flip(-1)


def hidden(draw: random.Random) -> Callable[[torch.Tensor], torch.Tensor]:
    s = strength(draw, 1e-4)
    return lambda x: tinted(x, s)


def holding(draw: random.Random) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: 0.5 * (x + held(x, 3))


def wrong_seam(draw: random.Random) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: x + 0.5 * seam(x)


def zero_padded_blur(draw: random.Random) -> Callable[[torch.Tensor], torch.Tensor]:
    s = strength(draw)
    return lambda x: x + s * F.avg_pool1d(x.flatten(1, -2), 3, 1, 1).reshape(x.shape)


def global_term(draw: random.Random) -> Callable[[torch.Tensor], torch.Tensor]:
    s = strength(draw)
    return lambda x: x + s * x.mean(-1, keepdim=True)


ANYWHERE: dict[str, Change] = {
    "table added": added_table,
    "ramp multiplied": multiplied_ramp,
    "one row": row,
    "mixing": mixing,
    "flip beside": flipped,
    "wrong rule": hidden,
    "held samples": holding,
}
ON_A_CIRCLE: dict[str, Change] = {"wrong seam": wrong_seam, "zero-padded blur": zero_padded_blur}
ON_THE_PLANE: dict[str, Change] = {"global term": global_term}


@dataclass(frozen=True)
class Case:
    """A network with one fault, where it is, and the same network without."""

    name: str
    host: Host
    model: nn.Module
    layer: str
    plain: nn.Module
    x: torch.Tensor


def case_of(seed: int) -> Case:
    draw = random.Random(seed)
    name = draw.choice(sorted(HOSTS))
    host = HOSTS[name]
    models = []
    for _ in range(2):
        torch.manual_seed(seed)
        models.append(host.make().eval())
    model, plain = models
    sites = [path for path, m in model.named_modules() if isinstance(m, host.sites)]
    path = draw.choice(sites)
    where = model.get_submodule(path)
    kinds = ANYWHERE | (ON_A_CIRCLE if host.circular else ON_THE_PLANE)
    padded = isinstance(where, CIRCULAR_CONV) and where.padding_mode == "circular"
    kind = draw.choice(sorted(kinds) + ["zeros for circular"] * padded)
    if kind == "zeros for circular":
        where.padding_mode = "zeros"
        layer = path
    else:
        fault = Fault(kinds[kind](draw))
        model.set_submodule(path, nn.Sequential(where, fault))
        layer = f"{path}.1"
    x = host.x(torch.Generator().manual_seed(seed))
    return Case(f"{name}: {kind} at {path}", host, model, layer, plain, x)


def check(case: Case, model: nn.Module) -> Report:
    return shiftcheck.check_equivariance(model, case.x, **case.host.options)


def true_break(case: Case, report: Report) -> float:
    """The relative gap in float64, with what enters cut from a larger canvas, by plain torch."""
    model = case.model.double()
    x = case.x.double()
    output = report.outputs[0]
    largest = 0.0
    for result in report.shifts:
        step = [int(v / s) for v, s in zip(result, output.stride, strict=True) if s is not None]
        if len(step) != len(result):
            step = [v * n // m for v, n, m in
                    zip(result, output.shape[2:], x.shape[2:], strict=True)]  # fmt: skip
        dims = tuple(range(2, x.ndim))
        with torch.no_grad():
            if case.host.circular:
                base, moved = model(x), model(x.roll(result, dims))
                gap, region = (moved - base.roll(step, dims)).abs(), base
            else:
                canvas = torch.randn(
                    [*x.shape[:2], *(n + 2 * ROOM for n in x.shape[2:])],
                    generator=torch.Generator().manual_seed(1),
                    dtype=torch.float64,
                )
                base, moved = (
                    model(cut(canvas, x, [ROOM] * len(dims))),
                    model(cut(canvas, x, [ROOM - v for v in result])),
                )
                gap, region = inner_gap(base, moved, step, report)
        if gap.numel():
            scale = region.abs().amax(tuple(d for d in range(region.ndim) if d != 1))
            worst = gap.amax(tuple(d for d in range(gap.ndim) if d != 1))
            largest = max(largest, float((worst / scale).nan_to_num().max()))
    return largest


def cut(canvas: torch.Tensor, x: torch.Tensor, starts: list[int]) -> torch.Tensor:
    for d, start in enumerate(starts):
        canvas = canvas.narrow(2 + d, start, x.shape[2 + d])
    return canvas


def inner_gap(
    base: torch.Tensor, moved: torch.Tensor, step: list[int], report: Report
) -> tuple[torch.Tensor, torch.Tensor]:
    """Only where both samples are valid: the first to the last run of each axis."""
    here, there = moved, base
    for d, (v, spans) in enumerate(zip(step, report.outputs[0].valid, strict=True)):
        n = base.shape[2 + d]
        a, b = (spans[0][0], spans[-1][1]) if spans else (0, n)
        low, high = max(a, a + v), min(b, b + v)
        high = max(low, high)
        here, there = here.narrow(2 + d, low, high - low), there.narrow(2 + d, low - v, high - low)
    return (here - there).abs(), there


def run(seeds: range) -> None:
    missed, false_claims, elsewhere = [], [], []
    for seed in seeds:
        case = case_of(seed)
        report = check(case, case.model)
        if report.verdict is Verdict.EQUIVARIANT:
            missed.append(case.name)
            if true_break(case, report) > (report.sensitivity or 0.0):
                false_claims.append(case.name)
        elif report.guilty is None or report.guilty.layer != case.layer:
            found = report.guilty and (report.guilty.kind, report.guilty.layer)
            elsewhere.append((case.name, case.layer, str(report.verdict), report.reason, found))
    assert false_claims == []
    assert len(missed) <= 0.01 * len(seeds), missed
    assert len(elsewhere) <= 0.02 * len(seeds), elsewhere


def run_unaltered(seeds: range) -> None:
    alarms = []
    for seed in seeds:
        case = case_of(seed)
        report = check(case, case.plain)
        if report.verdict is not Verdict.EQUIVARIANT:
            alarms.append((case.name, report.reason))
    assert alarms == []


def test_some_faults_are_caught_where_they_are() -> None:
    run(range(40))


def test_some_networks_without_a_fault_pass() -> None:
    run_unaltered(range(0, 40, 2))


CHUNKS = [range(start, start + 50) for start in range(0, 500, 50)]


@pytest.mark.slow
@pytest.mark.parametrize("seeds", CHUNKS, ids=lambda s: f"{s.start}-{s.stop}")
def test_faults_are_caught_where_they_are(seeds: range) -> None:
    run(seeds)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", CHUNKS, ids=lambda s: f"{s.start}-{s.stop}")
def test_networks_without_a_fault_pass(seeds: range) -> None:
    run_unaltered(seeds)


def test_a_fault_can_be_told_from_none_by_plain_torch() -> None:
    """The oracle itself: it sees faults where there are some, and none where there is none."""
    seen: list[Any] = []
    for seed in range(12):
        case = case_of(seed)
        report = check(case, case.plain)
        altered, plain = (
            true_break(case, report),
            true_break(Case(case.name, case.host, case.plain, "", case.plain, case.x), report),
        )
        assert plain < 1e-12
        seen.append(altered > 1e-9)
    assert sum(seen) >= 10
