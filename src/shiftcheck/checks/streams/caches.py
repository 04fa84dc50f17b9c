"""What each layer has to keep from chunk to chunk, when each has a state of its own.

For that the layers are followed one by one: each begins anew on what it is given, so that its
geometry is that of its own window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from shiftcheck.lattice.axis import Axis, input_axis
from shiftcheck.lattice.layout import Layout
from shiftcheck.lattice.tiles import NOWHERE, dims_of
from shiftcheck.measuring.call import call, faked, home_of
from shiftcheck.measuring.plan import Plan
from shiftcheck.report.streams import Memory, StreamLayer
from shiftcheck.tracing.modules import modules_of
from shiftcheck.tracing.restoring.state import preserved
from shiftcheck.tracing.torch_internals import fake_mode
from shiftcheck.tracing.traced import Row
from shiftcheck.tracing.without_values import quiet


@dataclass(frozen=True, kw_only=True, eq=False)
class Met:
    """A layer that was followed by itself, and the bytes of a number of its output."""

    row: Row
    width: int

    @property
    def given(self) -> tuple[Layout, ...]:
        """The signals that it was given."""
        return tuple(s for s in self.row.entering if s is not None)


def layers_by_themselves(plan: Plan) -> list[Met]:
    """Every layer with the geometry that it has on its own input; raises what the model raises."""
    found: list[Met] = []

    def on_row(row: Row, tensor: torch.Tensor) -> Layout | None:
        width = tensor.element_size() // (2 if tensor.is_complex() else 1)
        found.append(Met(row=row, width=width))
        return _anew(row.layout)

    fake, inputs = fake_mode(), plan.inputs
    with (
        preserved(
            modules_of(plan.model), inputs.tensors, training=False, model=plan.model
        ) as originals,
        inputs.without_gradients(),
        fake,
        quiet(),
    ):
        home = home_of(plan.model)
        values: list[Any] = [faked(leaf, fake, home) for leaf in inputs.leaves]
        call(plan, values, copies=1, originals=originals, on_row=on_row)
    return found


def _anew(layout: Layout) -> Layout | None:
    """A layout that is an input itself; None where an axis has no dimension of its own."""
    out = Layout(layout.dims, layout.axes)
    for axis, (state, dim) in enumerate(zip(layout.axes, dims_of(layout), strict=True)):
        if not isinstance(state, Axis):
            continue
        if dim == NOWHERE:
            return None
        out = out.with_state(axis, input_axis(state.size, circular=False))
    return out


def windows(met: Sequence[Met], axis: int) -> list[StreamLayer]:
    """What the layers keep that read a window of finite length."""
    found = []
    for layer in met:
        samples = _kept(layer.row.layout.axes[axis])
        if samples:
            found.append(_record(layer, axis, samples, Memory.WINDOW, layer.given[:1]))
    return found


def _kept(state: object) -> int:
    """Samples of its input that a layer reads beyond those that a step of it takes."""
    if not isinstance(state, Axis) or not all(map(math.isfinite, state.halo)):
        return 0
    seen = state.first <= state.last
    if not seen.any():
        return 0
    extent = state.last[seen].max() - state.first[seen].min() + 1
    return max(0, int(extent) - state.lattice)


def delays(rows: Sequence[Row], met: Sequence[Met], axis: int) -> list[StreamLayer]:
    """What is held back where branches meet that look ahead by different numbers of samples."""
    found = []
    for row, layer in zip(rows, met, strict=False):
        signals = [s for s in row.entering if s is not None]
        states = [s.axes[axis] for s in signals]
        along = [(s, a) for s, a in zip(signals, states, strict=True) if isinstance(a, Axis)]
        reaches = [_ahead(a) for _, a in along]
        if len(reaches) < 2 or not all(map(math.isfinite, reaches)):
            continue
        for (signal, state), reach in zip(along, reaches, strict=True):
            samples = math.ceil((max(reaches) - reach) / abs(state.stride))
            if samples:
                found.append(_record(layer, axis, samples, Memory.DELAY, (signal,)))
    return found


def _ahead(axis: Axis) -> float:
    return axis.halo[1]


def recurrent(layer: Met, met: Sequence[Met], axis: int) -> StreamLayer:
    """The state of a layer that sees all of the past: what it returns without a time axis.

    Where it returns none such, the last sample of its output is enough.
    """
    own = [m for m in met if m.row.path == layer.row.path and m.row.op == layer.row.op]
    states = [m.row.layout for m in own if not m.row.layout.axes_in(range(len(m.row.layout.dims)))]
    if states:
        elements = sum(math.prod(s.shape) for s in states)
        return _sized(layer, Memory.RECURRENT, 1, elements)
    return _record(layer, axis, 1, Memory.RECURRENT, (layer.row.layout,))


def _record(
    layer: Met, axis: int, samples: int, memory: Memory, of: Sequence[Layout]
) -> StreamLayer:
    each = [_per_sample(signal, axis) for signal in of]
    known = [n for n in each if n is not None]
    elements = samples * sum(known) if known and len(known) == len(each) else None
    return _sized(layer, memory, samples, elements)


def _sized(layer: Met, memory: Memory, samples: int, elements: int | None) -> StreamLayer:
    return StreamLayer(
        layer=layer.row.path or layer.row.name,
        op=layer.row.op,
        memory=memory,
        samples=samples,
        elements=elements,
        bytes=None if elements is None else elements * layer.width,
    )


def _per_sample(layout: Layout, axis: int) -> int | None:
    """How many numbers a signal has at one place along an axis."""
    dim = dims_of(layout)[axis]
    if dim == NOWHERE:
        return None
    return math.prod(n for d, n in enumerate(layout.shape) if d != dim)


def merged(layers: Sequence[StreamLayer]) -> tuple[StreamLayer, ...]:
    """Each layer once for each kind of memory, with all that it keeps."""
    found: dict[tuple[str, Memory], StreamLayer] = {}
    for layer in layers:
        key = layer.layer, layer.memory
        known = found.get(key)
        if known is not None and layer.memory is Memory.DELAY:
            layer = replace(
                layer,
                samples=max(known.samples or 0, layer.samples or 0),
                elements=(known.elements or 0) + (layer.elements or 0),
                bytes=(known.bytes or 0) + (layer.bytes or 0),
            )
        found[key] = layer
    return tuple(found.values())
