"""The page of the costs, as it is written from stored results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.measure import Figure, Results

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "benchmarks" / "results" / "costs.json"
PAGE = ROOT / "docs" / "costs.md"
README = ROOT / "README.md"
MARKS = "<!-- written by benchmarks/bench.py -->\n", "<!-- end -->\n"

BEGIN = """\
# What a check costs

The figures on this page are written by `benchmarks/bench.py` from results that are kept in
`benchmarks/results/costs.json`. What is compared takes turns in one process, {rounds} times, and
medians are shown. A time in another process is never compared with one in this.

- Processor: {processor}, {threads}; device: {device}.
- torch {torch}, Python {python}, {date}.
- {clock}
"""

CLOCKS = {
    "wall": "Times are what a clock on the wall shows.",
    "process": "Times are what the process computed itself: others on the machine count less.",
}

TITLES = {
    "passing": """\
## A check that passes

Beside the forward pass of the same batch without any check: x and all its shifted copies. The
assertion looks at one output, the report at every layer. Its memory may grow by what the bare pass
takes, and what every layer gives for x alone.
""",
    "failing": """\
## A check that does not pass

All are the default assertion, whose message names the layer, the cause and a remedy. At most: four
times the bare pass of nine copies, or 1.5 seconds where that is more, and twelve passes without
values. The first network is written by hand as `segmentation_models_pytorch` has it, which cannot
be installed beside the torch that is used here.
""",
    "static": """\
## The structure alone

`geometry` against the same pass on fake tensors, which has no rules and computes nothing.
""",
    "starting": """\
## Starting

Each in fresh processes, in seconds that they compute. The import is that of `shiftcheck` after
`torch`.
""",
    "others": """\
## Property tests and invariance

The search for sizes is shared among the {examples} examples of the property test.
""",
    "instead": """\
## What one would use instead

In the same turns as the checks above, beside the same bare pass. None of these tells which samples
can be compared at all, or which layer is the first to break, and two forwards tell of one shift
only. `torchlens`
records every operation and finds receptive fields; it compares nothing. It wraps the functions of
torch for the whole process, so it follows after the checks, in turn with a bare pass of its own.
""",
}
"""The groups in the order of the page, and what stands above each."""

OWN = """\
## A figure of your own

A check runs the model without gradients, so the bare pass beside it should, too:

```python
import time

import torch

import shiftcheck

model, x = torch.nn.Conv2d(3, 8, 5, padding=2).eval(), torch.randn(1, 3, 64, 80)
start = time.perf_counter()
report = shiftcheck.assert_equivariant(model, x)
checked = time.perf_counter() - start

with torch.inference_mode():
    start = time.perf_counter()
    model(x.repeat(len(report.shifts) + 1, 1, 1, 1))
bare = time.perf_counter() - start
```

The first check of a process takes longer than the next, as the table above tells.
"""

EXAMPLES = 20


def value_of(figure: Figure) -> str:
    """What was measured, with its unit."""
    return _number(figure.value, figure.unit)


def bound_of(figure: Figure) -> str:
    """What it should be at most, if that was set."""
    return "" if figure.bound is None else _number(figure.bound, figure.unit)


def _number(value: float, unit: str) -> str:
    if unit == "MB":
        return f"{value:.0f} MB"
    if unit == "s":
        return _seconds(value)
    return f"{value:.2f} times"


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f} s" if value >= 0.995 else f"{1000 * value:.3g} ms"


def page(results: Results) -> str:
    """The page, in Markdown."""
    begin = BEGIN.format(
        rounds=results.rounds,
        processor=results.processor,
        threads="one thread" if results.threads == 1 else f"{results.threads} threads",
        device=results.device,
        torch=results.torch,
        python=results.python,
        date=results.date,
        clock=" ".join(filter(None, (CLOCKS[results.clock], results.note))),
    )
    parts = [begin, *_parts(results.figures), _missed(results), OWN]
    return "\n".join(parts)


SHORT = {
    "two forwards, hooks, allclose (one shift)": "two forwards, hooks and `allclose`; one shift",
    "a loop over the shifts (the output)": "a loop over the shifts; the output alone",
    "torchlens, receptive fields of x alone": "`torchlens`: receptive fields; nothing is compared",
    "assertion": "`assert_equivariant`: compares what can be compared, names layer and cause",
    "report": "`check_equivariance`: the same for every layer",
}
"""What the README shows, and how it calls it."""


def readme(results: Results, text: str) -> str:
    """The README ``text`` with the table of the results between its marks."""
    begin, end = MARKS
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return "".join((before, begin, *(f"{line}\n" for line in _short(results.figures)), end, after))


def _short(figures: Sequence[Figure]) -> Iterator[str]:
    shown = {(f.what, f.network): f for f in figures if f.what in SHORT}
    networks = list(dict.fromkeys(network for _, network in shown))
    yield f"| what | {' | '.join(networks)} |"
    yield f"| --- |{' ---: |' * len(networks)}"
    for what, name in SHORT.items():
        cells = (value_of(shown[what, network]) for network in networks)
        yield f"| {name} | {' | '.join(cells)} |"


def _parts(figures: Sequence[Figure]) -> Iterator[str]:
    for group, title in TITLES.items():
        chosen = [f for f in figures if f.group == group]
        if chosen:
            yield title.format(examples=EXAMPLES)
            yield "".join(f"{line}\n" for line in _table(chosen))


def _table(figures: Sequence[Figure]) -> Iterator[str]:
    yield "| network | what | measured | at most | time | bare pass |"
    yield "| --- | --- | ---: | ---: | ---: | ---: |"
    for f in figures:
        bound = f"**{bound_of(f)}, missed**" if f.missed else bound_of(f)
        reference = "" if f.unit == "MB" else _seconds(f.reference)
        cells = (f.network, f.what, value_of(f), bound, _seconds(f.seconds), reference)
        yield f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


def _missed(results: Results) -> str:
    bounded = sum(f.bound is not None for f in results.figures)
    lines = [f"- {name}" for name in results.missed]
    told = f"Of {bounded} bounds, this run missed {len(lines)}{':' if lines else '.'}"
    return "\n".join(["## Bounds that were missed", "", told, *([""] if lines else []), *lines, ""])
