"""What it takes to run a model on a stream, from its structure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from shiftcheck.checks.at_other_sizes import AtOtherSizes
from shiftcheck.checks.circumstances import circumstances
from shiftcheck.checks.explained import explaining_errors
from shiftcheck.checks.prepare import Prepared, dims_without_channels, dtype_of, is_shape, prepared
from shiftcheck.checks.size_as_number import DETAIL, first_sized
from shiftcheck.checks.streams.caches import (
    Met,
    delays,
    layers_by_themselves,
    merged,
    recurrent,
    windows,
)
from shiftcheck.checks.streams.ends import filled_ends
from shiftcheck.checks.streams.lengths import Lengths, another_length
from shiftcheck.checks.streams.obstacles import needs_of
from shiftcheck.checks.streams.time_axis import time_axis
from shiftcheck.checks.tiles.fingerprint import fingerprint
from shiftcheck.errors import InputError, ModelError
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.tiles import NOWHERE, dims_of
from shiftcheck.measuring.plan import Model, Plan
from shiftcheck.measuring.structure_pass import read_structure
from shiftcheck.report.streams import (
    Memory,
    StreamedOutput,
    Streaming,
    StreamingPlan,
    StreamLayer,
)
from shiftcheck.tracing.torch_internals import uncompiled
from shiftcheck.tracing.traced import Row

KEPT = ("model", "input_shape", "spatial_dims", "dtype", "versions")


@explaining_errors
def streaming(
    model: Model,
    x: Any,
    axis: int = -1,
    *,
    spatial_dims: Sequence[int] | None = None,
) -> StreamingPlan:
    """What a model has to remember to run on a stream, chunk by chunk, as it does on the whole.

    Everything is read off the structure: how far each output looks back and ahead, on which grid
    chunks may begin, how late an output can be there, and what each layer has to keep. Where no
    finite state is enough, the layers that make it so are named. Where a layer fills in something
    else than zeros or what is near, the model is run on short inputs, to see whether one end
    depends on the other.

    Args:
        model: any module or callable; it is looked at in eval mode, and left as it was found.
        x: the input, an array or tensor ``[batch, channels, *spatial]`` or ``[batch, time]``, a
            tuple or dict of arguments, or the shape alone.
        axis: the dimension of x that is time.
        spatial_dims: the spatial dimensions of x, time among them; all from the third on when left
            out. For ``[batch, time, features]`` give ``axis=1, spatial_dims=(1,)``.

    Returns:
        The plan, which holds what has to be remembered and how late outputs come.

    Raises:
        InputError: for arguments that cannot be used, such as an axis that is not time.
        ModelError: where the model raises.

    Example:
        >>> import torch, shiftcheck
        >>> plan = shiftcheck.streaming(torch.nn.Conv1d(1, 1, 7, padding=3), (1, 1, 16_000))
        >>> plan.lookback, plan.lookahead, plan.latency, plan.state_elements
        (3.0, 3.0, 3, 6)
    """
    if is_shape(x):
        if min(x) < 1:
            raise InputError(f"x={tuple(x)}: a shape of a stream has sizes of at least 1")
        x = torch.empty(tuple(x), dtype=dtype_of(uncompiled(model)), device="meta")
    dims = dims_without_channels(x, spatial_dims)
    given = prepared(model, x, spatial_dims=dims, whole_numbers=True, values=False)
    return plan_of(given.seen(given.inputs, x), axis)


def plan_of(given: Prepared, axis: int) -> StreamingPlan:
    """The plan for a model and arguments that were read."""
    at = time_axis(given.inputs, axis)
    rows, outputs, notes = read_structure(given.model, given.inputs, layer=None, training=False)
    plan = Plan(model=given.model, inputs=given.inputs)
    met, more = _met(plan)
    pixels = given.inputs.pixels[at]
    others = AtOtherSizes(given.model, given.inputs, at)
    sized = first_sized(others, rows, (2 * pixels, pixels // 2))
    told = _Told(
        rows=tuple(rows),
        outputs=tuple(outputs),
        met=tuple(met),
        axis=at,
        sized=sized,
        lengths=another_length(others, rows, outputs),
        ends=lambda timed: filled_ends(given.model, given.inputs, at, timed),
    )
    how = circumstances(plan)
    return told.plan(
        fingerprint=fingerprint(given.model),
        axis=given.inputs.main.spatial[at],
        notes=(*notes, *more),
        **{name: how[name] for name in KEPT},
    )


def _met(plan: Plan) -> tuple[list[Met], list[str]]:
    try:
        return layers_by_themselves(plan), []
    except Exception as error:  # a model that needs values, or whatever it raises without them
        if isinstance(error, InputError):
            raise
        why = str(error).splitlines()[:1] or [type(error).__name__]
        return [], [f"what each layer keeps is not known, as without values it raised {why[0]}"]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Told:
    """What the structure says: all layers, the outputs, each layer by itself; along an axis.

    ``sized``: a layer that is given the length of the whole as a number; ``lengths``: what another
    length tells; ``ends``: what some outputs need of the other end.
    """

    rows: tuple[Row, ...]
    outputs: tuple[Row, ...]
    met: tuple[Met, ...]
    axis: int
    sized: Row | None
    lengths: Lengths
    ends: Callable[[Sequence[Row]], list[StreamLayer]]

    def plan(self, notes: Sequence[str], **how: Any) -> StreamingPlan:
        """The plan; ``how`` it was made."""
        if not self.outputs:
            raise ModelError("the model returned no tensor that depends on x: nothing streams")
        lasting = [row for row in self.outputs if _has_time(row, self.axis)] or [*self.outputs]
        steady = self.lengths.steady is True
        needs = needs_of(self.rows, lasting, [m.row for m in self.met], self.axis, steady=steady)
        if self.sized is not None:
            name = self.sized.path or self.sized.name
            length = StreamLayer(layer=name, op=self.sized.op, memory=Memory.LENGTH, detail=DETAIL)
            needs = [*needs, length]
        if self.lengths.fixed is not None and all(n.memory.finite is not False for n in needs):
            needs = [*needs, self.lengths.fixed]
        if all(n.memory.finite is True for n in needs):
            needs = [*needs, *self.ends(lasting)]
        obstacles = tuple(n for n in needs if n.memory.finite is not True)
        states = [row.layout.axes[self.axis] for row in lasting]
        axes = [s for s in states if isinstance(s, Axis)]
        period = math.lcm(*(a.lattice for a in axes)) if axes and not obstacles else None
        outputs = tuple(self._output(row, period) for row in self.outputs)
        plan = StreamingPlan(
            streaming=_streaming(obstacles),
            period=period,
            outputs=outputs,
            layers=self._layers(needs),
            obstacles=obstacles,
            keep=None if period is None else _keep(axes, period),
            notes=(*notes, *_left_out(self.outputs, lasting), *self._one_length()),
            **how,
        )
        timed = [o for o, row in zip(outputs, self.outputs, strict=True) if row in lasting]
        each = {name: [getattr(o, name) for o in timed] for name in FIGURES}
        return replace(plan, **{name: _largest(values) for name, values in each.items()})

    def _one_length(self) -> list[str]:
        if self.lengths.steady is not None:
            return []
        return ["the model takes no longer input that was tried: on one, it may do something else"]

    def _layers(self, needs: Sequence[StreamLayer]) -> tuple[StreamLayer, ...]:
        with_state = {n.layer for n in needs if n.memory is Memory.RECURRENT}
        running = {
            m.row.path or m.row.name: recurrent(m, self.met, self.axis)
            for m in reversed(self.met)
            if (m.row.path or m.row.name) in with_state
        }
        others = [n for n in needs if n.memory is Memory.POSITION]
        counted = [replace(n, samples=1, elements=1, bytes=8) for n in others]
        found = [*windows(self.met, self.axis), *delays(self.rows, self.met, self.axis)]
        order = [m.row.path or m.row.name for m in self.met]
        every = merged([*found, *running.values(), *counted])
        return tuple(sorted(every, key=lambda n: order.index(n.layer) if n.layer in order else -1))

    def _output(self, row: Row, period: int | None) -> StreamedOutput:
        state = row.layout.axes[self.axis]
        dim = dims_of(row.layout)[self.axis]
        out = StreamedOutput(name=row.name, shape=row.layout.shape)
        if not isinstance(state, Axis) or not _has_time(row, self.axis):
            return out
        left, right = state.halo
        late = _latency(state, period or state.lattice) if math.isfinite(right) else None
        delay = None if late is None or state.stride <= 0 else math.ceil(late / state.stride)
        return replace(
            out,
            dim=None if dim == NOWHERE else dim,
            stride=state.stride,
            lookback=left,
            lookahead=right,
            latency=late,
            delay=delay,
        )


def _has_time(row: Row, axis: int) -> bool:
    """Whether an output has the time axis as a dimension."""
    return axis in row.layout.axes_in(range(len(row.layout.dims)))


def _left_out(outputs: Sequence[Row], lasting: Sequence[Row]) -> list[str]:
    names = [row.name for row in outputs if row not in lasting]
    return [f"{', '.join(names)}: there when the stream has ended, and left out"] if names else []


FIGURES = ("lookback", "lookahead", "latency")
"""What a plan has of each output, and the largest of all."""


def _largest(values: Sequence[Any]) -> Any:
    """The largest; None where one is not known."""
    return None if None in values or not values else max(values)


def _streaming(obstacles: Sequence[StreamLayer]) -> Streaming:
    if any(n.memory.finite is False for n in obstacles):
        return Streaming.ENDLESS
    return Streaming.UNKNOWN if obstacles else Streaming.FINITE


def _places(axis: Axis, period: int) -> Any:
    """The samples that stand in one period, from the first on."""
    return torch.arange(int(period / abs(axis.stride)), device="cpu").numpy()


def _latency(axis: Axis, period: int) -> int:
    """Input samples beyond the end of a chunk that its own samples see."""
    return max(0, int(axis.last_of(_places(axis, period)).max()) - (period - 1))


def _keep(axes: Sequence[Axis], period: int) -> int | None:
    """Input samples before a chunk, from the grid on, and held back, from which all is computed."""
    firsts = [float(a.first_of(_places(a, period)).min()) for a in axes]
    lates = [float(a.last_of(_places(a, period)).max()) for a in axes]
    if not all(map(math.isfinite, (*firsts, *lates))):
        return None
    back = max(0.0, *(-first for first in firsts))
    late = max(0.0, *(last - (period - 1) for last in lates))
    return math.ceil(back / period) * period + math.ceil(late)
