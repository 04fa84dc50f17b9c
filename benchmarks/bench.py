"""What the checks cost, and what people would use instead, in one run beside their bounds.

All that is compared takes turns in one process, and medians are taken. ``--clock process`` counts
the seconds that this process computes, for a machine that others work on, too; it is best given
``--threads 1``, as threads that wait count as well. ``--docs`` writes the page of the costs from
the results that are stored, or from those of this run where ``--json`` stores them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import shiftcheck

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import costs
from benchmarks.cases import CASES, STRUCTURES, Structure
from benchmarks.figures import GROUPS, How
from benchmarks.heap import keep_pages
from benchmarks.measure import CLOCKS, Figure, Results, here


def print_memory(case: str, work: str, device: str) -> None:
    """How far one call makes resident memory, or that of the device, grow at its largest."""
    chosen = STRUCTURES[case] if case in STRUCTURES else CASES[case]().to(device)
    if isinstance(chosen, Structure):
        assert not chosen.model.training
    small = shiftcheck.check_equivariance(nn.Conv2d(1, 1, 3), torch.rand(1, 1, 9, 9))
    assert small.verdict is not None
    if device != "cpu":
        before = torch.cuda.memory_allocated()
        getattr(chosen, work)()
        print((torch.cuda.max_memory_allocated() - before) // 1000)
        return
    Path("/proc/self/clear_refs").write_text("5")
    before = resident()["VmRSS"]
    getattr(chosen, work)()
    print(resident()["VmHWM"] - before)


def resident() -> dict[str, int]:
    """The present and the largest resident memory of this process, in kilobytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    pairs = (line.split(":") for line in lines if line.startswith(("VmRSS", "VmHWM")))
    return {name: int(value.split()[0]) for name, value in pairs}


def shown(results: Results) -> Table:
    """The figures as a table."""
    table = Table(
        "network", "what", "measured", "at most", "", title=f"{results.processor}, {results.device}"
    )
    for figure in results.figures:
        table.add_row(
            figure.network,
            figure.what,
            costs.value_of(figure),
            costs.bound_of(figure),
            "missed" if figure.missed else "",
        )
    return table


def measured(options: argparse.Namespace) -> Results:
    """The figures of the groups that are asked for, printed as they come."""
    how = How(rounds=options.rounds, clock=options.clock, device=options.device)
    figures = list(Results.load(options.json).figures) if options.add else []
    for group in options.groups or GROUPS:
        for figure in GROUPS[group](how):
            figures.append(figure)
            told = (figure.network, figure.what, costs.value_of(figure), costs.bound_of(figure))
            print(*told, sep=" | ", file=sys.stderr, flush=True)
        if options.json:  # what there is, should a later group not end
            found(options, figures).save(options.json)
    return found(options, figures)


def found(options: argparse.Namespace, figures: Sequence[Figure]) -> Results:
    """The results so far."""
    return here(
        clock=options.clock,
        rounds=options.rounds,
        device=options.device,
        note=options.note,
        figures=figures,
    )


def main() -> None:
    """Measure, and print, store or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of the runs that take turns")
    parser.add_argument("--device", default="cpu", help="where networks and inputs are")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--threads", type=int, help="of torch; its own choice when left out")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, help="all when left out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the results")
    parser.add_argument("--add", action="store_true", help="to the results that are there")
    parser.add_argument("--note", default="", help="stored with the results")
    parser.add_argument("--docs", action="store_true", help="write the page of the costs")
    parser.add_argument("--stored", action="store_true", help="measure nothing, use what is stored")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a bound is missed")
    parser.add_argument("--memory", nargs=2, metavar=("CASE", "WORK"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print_memory(*options.memory, options.device)
        return
    if not options.stored:
        keep_pages()
    if options.threads:
        torch.set_num_threads(options.threads)
    results = Results.load(costs.STORED) if options.stored else measured(options)
    Console(width=110).print(shown(results))
    if options.docs:
        costs.PAGE.write_text(costs.page(results), encoding="utf-8")
        text = costs.README.read_text(encoding="utf-8")
        costs.README.write_text(costs.readme(results, text), encoding="utf-8")
    print(f"{len(results.missed)} of {sum(f.bound is not None for f in results.figures)} missed")
    for name in results.missed:
        print(f"  {name}")
    if options.strict and results.missed:
        sys.exit(1)


if __name__ == "__main__":
    main()
