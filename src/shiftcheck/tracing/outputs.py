"""The tensors in whatever a model returned, and which of them count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from shiftcheck.lattice.layout import opaque
from shiftcheck.tracing.choosing import Entry, chosen, output_places
from shiftcheck.tracing.containers import leaves_of
from shiftcheck.tracing.modules import flat_outputs
from shiftcheck.tracing.passes import Traced
from shiftcheck.tracing.results import Results
from shiftcheck.tracing.subclasses import plain_of

NO_OUTPUT = (str, bytes, int, float, complex, type(None))
"""What is no tensor, and holds none."""


def traced_outputs(
    results: Results, returned: Any, wanted: Sequence[Entry], *, stopped: bool
) -> Traced:
    """The tensors that were followed, with names by their place in what the model returned."""
    outputs, ignoring, unknown = [], [], []
    leak = results.leaks.cause
    leaves, left_out = _wanted(returned, wanted)
    for path, leaf in leaves:
        if isinstance(leaf, torch.Tensor):
            layout = results.memory.layout(leaf)
            if layout is None:
                ignoring.append((path, tuple(leaf.shape)))
                continue
            if leak is not None:
                layout = opaque(leaf.shape, [layout], leak)
            layout = results.memo.settled(layout, "output", "output")
            plain = plain_of(leaf.dequantize() if leaf.is_quantized else leaf)
            outputs.append((path, plain, layout))
        elif not isinstance(leaf, NO_OUTPUT):
            unknown.append((path, type(leaf).__name__))
    return Traced(
        outputs=tuple(outputs),
        ignoring=tuple(ignoring),
        unknown=tuple(unknown),
        stopped=stopped,
        leak=leak.op if leak is not None else "",
        left_out=left_out,
    )


def _wanted(
    returned: Any, wanted: Sequence[Entry]
) -> tuple[list[tuple[str, Any]], tuple[str, ...]]:
    """The leaves of what a model returned that count, by their paths, and the paths of others.

    Raises InputError where one was asked for that is not there.
    """
    if not wanted:
        return flat_outputs(returned), ()
    leaves = leaves_of(returned, hidden=True)
    leaves = [(steps, leaf) for steps, leaf in leaves if not isinstance(leaf, NO_OUTPUT)]
    places = output_places([steps for steps, _ in leaves], returned)
    kept, left_out = [], []
    for counts, place, (_, leaf) in zip(
        chosen("outputs", wanted, places), places, leaves, strict=True
    ):
        path = place.name.removeprefix("output")
        if counts:
            kept.append((path, leaf))
        else:
            left_out.append(path)
    return kept, tuple(left_out)
