"""How work and memory grow with layers and shifts: counted, not timed."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.measuring import layer_gaps
from shiftcheck.measuring.gaps.compare import asked_gap
from shiftcheck.measuring.passes import Passes


def mean_of(channels: int) -> nn.Conv2d:
    """Whose result is as large as what it is given, so that no deep network fades."""
    layer = nn.Conv2d(channels, 1, 1, bias=False)
    nn.init.constant_(layer.weight, 1 / channels)
    return layer


class Dense(nn.Module):
    """Every layer takes all that came before it, joined anew or kept joined."""

    def __init__(self, layers: int, *, anew: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(mean_of(1 + i) for i in range(layers))
        self.anew = anew

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = [x]
        for layer in self.layers:
            kept.append(layer(torch.cat(kept, 1)))
            if not self.anew:
                kept = [torch.cat(kept, 1)]
        return torch.cat(kept, 1)


class Chain(nn.Module):
    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(mean_of(1) for _ in range(layers)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.layers(x)
        return y


def calls(work: Callable[[], Any]) -> int:
    """How many functions of Python are called."""
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def operands(model: nn.Module) -> int:
    """How many signals the layers take: a join of n takes n."""
    joined = model.layers if isinstance(model, Dense) and model.anew else ()
    return len(model.layers) + sum(i + 1 for i in range(len(joined)))


MODELS: dict[str, Callable[[int], nn.Module]] = {
    "one after the other": Chain,
    "joined anew": lambda n: Dense(n, anew=True),
    "kept joined": lambda n: Dense(n, anew=False),
}
WORK: dict[str, Callable[[nn.Module], Any]] = {
    "geometry": lambda m: shiftcheck.geometry(m, (1, 1, 16, 16)),
    "report": lambda m: shiftcheck.check_equivariance(
        m, torch.ones(1, 1, 12, 12).triu(), shifts=[(0, 1), (1, 0)], measure="layers"
    ),
}


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("name", MODELS)
def test_work_grows_linearly_with_what_layers_take(name: str, work: str) -> None:
    sizes = (3, 6, 12)
    WORK[work](MODELS[name](2))  # what is only done once
    taken = [operands(MODELS[name](n)) for n in sizes]
    made = [calls(lambda n=n: WORK[work](MODELS[name](n))) for n in sizes]
    before, after = (
        (made[i + 1] - made[i]) / (taken[i + 1] - taken[i]) for i in range(len(sizes) - 1)
    )
    assert after <= 1.25 * before, f"{made} calls for {taken} operands"


def memory_at_most(work: Callable[[], Any]) -> int:
    """The bytes of tensors that are there at the same time, beyond those before.

    Nothing is collected meanwhile: a tensor that only a collection would free counts.
    """
    activities = [torch.profiler.ProfilerActivity.CPU]
    gc.collect()
    gc.disable()
    try:
        # torch 2.10 warns that events end with their cycle, unless they are kept
        with torch.profiler.profile(
            activities=activities, profile_memory=True, acc_events=True
        ) as profile:
            work()
    finally:
        gc.enable()
    assert profile.profiler is not None
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


def shifts_of(count: int) -> list[tuple[int, ...]]:
    return list(product(range(1, 9), repeat=2))[:count]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU()).eval()


def checked(model: nn.Module, count: int, measure: str, **options: Any) -> shiftcheck.Report:
    x = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    return shiftcheck.check_equivariance(
        model, x, shifts=shifts_of(count), measure=measure, max_batch=5, **options
    )


@pytest.mark.parametrize("measure", ["failing", "layers", "outputs"])
def test_memory_does_not_grow_with_shifts(measure: str) -> None:
    model = network()
    checked(model, 5, measure)  # what is only done once
    few, many = (memory_at_most(lambda n=n: checked(model, n, measure)) for n in (20, 60))
    one = 4 * 4 * 64 * 64
    assert few > 4 * one  # the layers of a batch were counted
    assert many <= few


@pytest.fixture(name="counted")
def counting(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The signals that went through the model, and the copies of layers that were compared."""
    found = {"signals": 0, "comparisons": 0}

    def counts(name: str, method: Any, place: int) -> Any:
        def run(*args: Any, **options: Any) -> Any:
            found["signals"] += args[place][0].shape[0]
            return method(*args, **options)

        monkeypatch.setattr(Passes, name, run)

    def compared(*args: Any, **options: Any) -> Any:
        found["comparisons"] += 1
        return asked_gap(*args, **options)

    counts("run", Passes.run, 1)
    counts("run_again", Passes.run_again, 2)
    monkeypatch.setattr(layer_gaps, "asked_gap", compared)
    return found


@pytest.mark.parametrize(("measure", "layers"), [("failing", 1), ("layers", 5), ("outputs", 1)])
def test_work_grows_linearly_with_shifts(
    counted: dict[str, int], measure: str, layers: int
) -> None:
    besides = set()
    for count in (10, 20, 40):
        counted.update(signals=0, comparisons=0)
        assert checked(network(), count, measure).verdict is shiftcheck.Verdict.EQUIVARIANT
        assert counted["comparisons"] == layers * count
        besides.add(counted["signals"] - count)
    assert len(besides) == 1  # x alone, and beside a first batch
    assert max(besides) <= 1 + 5
