"""The figures, group by group: each a work, what it is compared with, and its bound."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from benchmarks import instead, startup
from benchmarks.cases import CASES, STRUCTURES, Case, without_values
from benchmarks.heap import usual
from benchmarks.measure import CLOCKS, Clock, Figure, Work, child, in_turn, ratio
from benchmarks.networks import FAILING, Classifier
from hypothesis import HealthCheck, settings
from torch import nn

import shiftcheck

PASSING, REPORT, STATIC = 1.05, 1.4, 1.5
"""Times the bare pass."""

TIMES, AT_LEAST, STATIC_PASSES = 4, 1.5, 12
"""What a check that does not pass may cost: bare passes or seconds, and static passes."""

FIRST_CHECK, IMPORT, EXAMPLE, HELP, INVARIANCE = 0.3, 0.1, 0.05, 0.3, 2.0
"""Seconds."""

STATIC_MEMORY = 200.0
"""Megabytes that reading a structure may take beyond the model."""

COPIES = 9
EXAMPLES = 20


@dataclass(frozen=True, kw_only=True)
class How:
    """How often each work runs, by which clock, and where."""

    rounds: int
    clock: str
    device: str

    @property
    def time(self) -> Clock:
        """The clock."""
        return CLOCKS[self.clock]


def passing(how: How) -> Iterator[Figure]:
    """Checks that pass, and what people would use instead, all in turn."""
    for key, make in CASES.items():
        case = make().to(how.device)
        checks = {"assertion": case.asserted, "report": case.reported}
        rivals = instead.works(case.trunk, case.x, case.shifts)
        yield from against_bare("passing", case, checks, rivals, how)
        yield memory_of_report(key, case, how)
        tracers = instead.tracers(case.trunk, case.x)
        if tracers:
            yield from against_bare("instead", case, {}, tracers, how)
            instead.without_wrappers()


def against_bare(
    group: str, case: Case, checks: Mapping[str, Work], rivals: Mapping[str, Work], how: How
) -> Iterator[Figure]:
    """Works in turn with a bare pass before and after them."""
    works = {"bare": case.bare, **checks, **rivals, "bare again": case.bare}
    took = in_turn(works, how.rounds, how.time)
    bare = [(a + b) / 2 for a, b in zip(took["bare"], took["bare again"], strict=True)]
    bounds = {"assertion": PASSING, "report": REPORT}
    for name in (*checks, *rivals):
        yield Figure(
            group=group if name in checks else "instead",
            network=case.name,
            what=name,
            value=ratio(took[name], bare),
            unit="times the bare pass",
            bound=bounds.get(name),
            seconds=median(took[name]),
            reference=median(bare),
            runs=how.rounds,
        )


def memory_of_report(key: str, case: Case, how: How) -> Figure:
    """How far a report makes the memory grow, against the bare pass and x alone kept."""
    report, bare = (memory(key, work, how.device) / 1000 for work in ("reported", "bare"))
    return Figure(
        group="passing",
        network=case.name,
        what="report, growth of memory",
        value=report,
        unit="MB",
        bound=bare + case.kept() / 1e6,
        reference=bare,
    )


def memory(key: str, work: str, device: str) -> int:
    """The growth of memory at its largest, in a process of its own, in kilobytes."""
    bench = Path(__file__).with_name("bench.py")
    command = [sys.executable, str(bench), "--device", device, "--memory", key, work]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=usual())
    return int(done.stdout)


def failing(how: How) -> Iterator[Figure]:
    """Checks that do not pass, against the bare pass of nine copies and passes without values."""
    for key, (name, make, shape) in FAILING.items():
        if key == "convnext" and not importlib.util.find_spec("transformers"):
            continue
        if key == "monai" and not importlib.util.find_spec("monai"):
            continue
        torch.manual_seed(0)
        model = make().eval()
        x = torch.randn(shape).to(how.device)
        works = {
            "bare": partial(bare_pass, model.to(how.device), x.repeat(COPIES, *[1] * (x.ndim - 1))),
            "check": partial(not_passing, model, x),
        }
        took = in_turn(works, how.rounds, how.time)
        static = in_turn({"static": partial(without_values, model.cpu(), shape)}, 5, how.time)
        bare = median(took["bare"])
        yield Figure(
            group="failing",
            network=name,
            what="assertion that does not pass",
            value=median(took["check"]),
            unit="s",
            bound=max(TIMES * bare, AT_LEAST) + STATIC_PASSES * median(static["static"]),
            seconds=median(took["check"]),
            reference=bare,
            runs=how.rounds,
        )


def bare_pass(model: nn.Module, batch: torch.Tensor) -> None:
    """A pass without any check."""
    with torch.inference_mode():
        model(batch)


def not_passing(model: nn.Module, x: torch.Tensor) -> None:
    """The default assertion on a network for which it does not pass."""
    try:
        shiftcheck.assert_equivariant(model, x)
    except AssertionError:
        return
    raise RuntimeError("the check passes: it does not measure what it should")


def static(how: How) -> Iterator[Figure]:
    """The geometry against the same pass on fake tensors without rules, and its memory."""
    for key, chosen in STRUCTURES.items():
        if key == "vit" and not importlib.util.find_spec("transformers"):
            continue
        works = {"bare": chosen.bare, "geometry": chosen.ruled}
        took = in_turn(works, how.rounds, how.time)
        yield Figure(
            group="static",
            network=chosen.name,
            what="geometry",
            value=ratio(took["geometry"], took["bare"]),
            unit="times the bare pass",
            bound=STATIC,
            seconds=median(took["geometry"]),
            reference=median(took["bare"]),
            runs=how.rounds,
        )
        yield Figure(
            group="static",
            network=chosen.name,
            what="geometry, memory beyond the model",
            value=memory(key, "ruled", "cpu") / 1000,
            unit="MB",
            bound=STATIC_MEMORY,
        )


def starting(how: How) -> Iterator[Figure]:
    """Processes of their own: always the seconds that they compute, not those that pass."""
    with tempfile.TemporaryDirectory() as bytecode:
        environment = {**usual(), "PYTHONPYCACHEPREFIX": bytecode}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        command = [sys.executable, "-m", "shiftcheck", "--help"]
        startup.measured(environment)
        helped, runs = [], []
        for _ in range(how.rounds + 1):
            runs.append(startup.measured(environment))
            helped.append(child(command, env=environment))
    bounds = {"import": IMPORT, "first check": FIRST_CHECK, "second check": None}
    for name, bound in bounds.items():
        value = median(run[name] for run in runs[1:])
        yield alone("starting", "a convolution", name, value, how.rounds, bound)
    helping = median(helped[1:])
    yield alone("starting", "-", "shiftcheck --help, the whole process", helping, how.rounds, HELP)


def others(how: How) -> Iterator[Figure]:
    """An example of a property test, and a check of invariance."""
    torch.manual_seed(0)
    classifier, x = Classifier().eval(), torch.randn(1, 3, 32, 32)
    works = {
        "property": partial(property_test, small_network()),
        "invariance": partial(shiftcheck.check_invariance, classifier, x),
    }
    took = {name: median(times) for name, times in in_turn(works, how.rounds, how.time).items()}
    example = took["property"] / EXAMPLES
    name = "two convolutions"
    yield alone("others", name, "property test, per example", example, how.rounds, EXAMPLE)
    invariance = took["invariance"]
    what = "invariance of its scores"
    yield alone("others", "small ResNet", what, invariance, how.rounds, INVARIANCE)


def alone(
    group: str, network: str, what: str, value: float, rounds: int, bound: float | None = None
) -> Figure:
    """Seconds that are compared with nothing."""
    return Figure(
        group=group,
        network=network,
        what=what,
        value=value,
        unit="s",
        bound=bound,
        seconds=value,
        runs=rounds,
    )


def small_network() -> nn.Module:
    """Two convolutions with what stands between them."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1)
    ).eval()


def property_test(model: nn.Module) -> Any:
    """A property test of a network, with as many examples as are asked for."""
    few = settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )

    @shiftcheck.strategies.equivariant(model, channels=1, settings=few)
    def test() -> None: ...

    return test()


GROUPS = {
    "passing": passing,
    "failing": failing,
    "static": static,
    "starting": starting,
    "others": others,
}
