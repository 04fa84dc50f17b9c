"""Works that take turns in one process, and what is written down of them."""

from __future__ import annotations

import json
import platform
import resource
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import torch

Work = Callable[[], Any]
Clock = Callable[[], float]

CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "process": time.process_time}
"""Seconds that pass, and seconds that the threads of this process compute, whoever else does."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What was measured beside what it should be at most.

    ``value``: in ``unit``, the median over the runs. ``bound``: None where none was set.
    ``seconds``, ``reference``: medians of the work itself, and of what it is compared with.
    """

    group: str
    network: str
    what: str
    value: float
    unit: str
    bound: float | None = None
    seconds: float | None = None
    reference: float | None = None
    runs: int = 1

    @property
    def missed(self) -> bool:
        """Whether the value is above its bound."""
        return self.bound is not None and self.value > self.bound


@dataclass(frozen=True, kw_only=True)
class Results:
    """The figures of one run, and where and when it was."""

    processor: str
    threads: int
    clock: str
    rounds: int
    device: str
    torch: str
    python: str
    date: str
    note: str = ""
    figures: tuple[Figure, ...] = field(default_factory=tuple)

    @property
    def missed(self) -> list[str]:
        """The figures above their bounds."""
        return [f"{f.network}: {f.what}" for f in self.figures if f.missed]

    def save(self, path: Path) -> None:
        """Write them as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        entries = {**asdict(self), "figures": [{**asdict(f), "missed": f.missed}
                                               for f in self.figures]}  # fmt: skip
        path.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what ``save`` wrote."""
        entries = json.loads(path.read_text(encoding="utf-8"))
        figures = [{k: v for k, v in f.items() if k != "missed"} for f in entries["figures"]]
        return cls(**{**entries, "figures": tuple(Figure(**f) for f in figures)})


def here(*, clock: str, rounds: int, device: str, note: str, figures: Sequence[Figure]) -> Results:
    """Results of this process."""
    return Results(
        processor=processor(),
        threads=torch.get_num_threads(),
        clock=clock,
        rounds=rounds,
        device=torch.cuda.get_device_name() if device.startswith("cuda") else device,
        torch=torch.__version__,
        python=platform.python_version(),
        date=datetime.now(UTC).date().isoformat(),
        note=note,
        figures=tuple(figures),
    )


def processor() -> str:
    """The name of the processor, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def seconds(work: Work, clock: Clock = time.perf_counter) -> float:
    """The time of one call, with what it has left to do on an accelerator."""
    start = clock()
    work()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return clock() - start


def in_turn(works: Mapping[str, Work], rounds: int, clock: Clock) -> dict[str, list[float]]:
    """The times of some works, by their names: each once a round, after a round that is not timed.

    So whatever slows the machine for a while slows all of them.
    """
    for work in works.values():
        work()
    took: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            took[name].append(seconds(work, clock))
    return took


def ratio(own: Sequence[float], reference: Sequence[float]) -> float:
    """The median over the rounds of one time over the other."""
    return median(a / b for a, b in zip(own, reference, strict=True))


def child(command: Sequence[str], **options: Any) -> float:
    """The seconds that a process computes, in all its threads; it must end well."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, **options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
