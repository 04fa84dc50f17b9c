"""The plan of shards: what every layer needs of other shards, and where shards may begin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from shiftcheck.checks.at_other_sizes import AtOtherSizes
from shiftcheck.checks.circumstances import circumstances
from shiftcheck.checks.explained import explaining_errors
from shiftcheck.checks.prepare import dims_without_channels
from shiftcheck.checks.read_geometry import structure_plan
from shiftcheck.checks.shards.cutting import (
    Cut,
    Placed,
    cut_of,
    even_cut,
    least_width,
    most_parts,
    nearest,
    off_grid,
    placed,
    read_cut,
    too_narrow,
    with_shards,
)
from shiftcheck.checks.shards.laws import UNKNOWN, Law, is_piece, is_unused, law_of
from shiftcheck.checks.shards.reducible import reducible_modules
from shiftcheck.checks.size_as_number import DETAIL, first_sized
from shiftcheck.errors import InputError, ModelError
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.factors import size_of
from shiftcheck.lattice.layout import Gone, Layout, Lost
from shiftcheck.lattice.tiles import NOWHERE, dims_of
from shiftcheck.measuring.plan import Model, Plan
from shiftcheck.measuring.signals.arguments import Inputs
from shiftcheck.measuring.structure_pass import read_structure
from shiftcheck.report.shards import BorderMode, Exchange, ShardedOutput, ShardingPlan
from shiftcheck.tracing.traced import Row


@explaining_errors
def sharding(
    model: Model,
    x: Any,
    parts: int,
    axis: int = -1,
    *,
    bounds: Sequence[int] | None = None,
    spatial_dims: Sequence[int] | None = None,
) -> ShardingPlan:
    """What every layer needs of other shards when an image is split over devices along one axis.

    All of it comes from the structure, and nothing is computed. Each layer is looked at alone: what
    it reads of its own input, whether it belongs to a module or is a function.

    Args:
        model: any module or callable; it is looked at in eval mode, and left as it was found.
        x: the input ``[batch, channels, *spatial]``, a tuple or dict of arguments, or its shape.
        parts: how many shards there are, at least 1.
        axis: the dimension of x that is cut, a spatial one, such as 3 or -1.
        bounds: where each shard begins, in pixels, the first at 0. When left out, as evenly as the
            period allows: the last shard has what is left behind the last whole period.
        spatial_dims: the spatial dimensions; all from the third on when left out.

    Returns:
        The plan, which holds what each shard needs of the other ones.

    Raises:
        InputError: for arguments that cannot be used: an axis that is not spatial, bounds off the
            grid, parts that leave a shard narrower than its halo.
        ModelError: where the model raises.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.MaxPool2d(2), torch.nn.Conv2d(4, 1, 5)
        ... )
        >>> plan = shiftcheck.sharding(net, (1, 1, 64, 50), 2, axis=3)
        >>> plan.bounds, plan.period, plan.least, [layer.halo for layer in plan.halos]
        ((0, 24, 50), 2, 8, [(1, 1), (0, 4)])
        >>> plan["2"].needs(12, 21)
        Reading(start=12, stop=25, before=0, after=0)
    """
    question = read_question(model, x, parts, axis, spatial_dims)
    cut = question.legal_cut(parts, bounds)
    return question.plan(cut)


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """What was asked, and what the structure says of every layer.

    ``along``: the spatial axis, ``dim``: the dimension of the input that holds it.
    """

    model: Model
    inputs: Inputs
    along: int
    dim: int
    layers: tuple[Placed, ...]
    outputs: tuple[Row, ...]
    period: int
    coarsest: str
    notes: tuple[str, ...]

    @property
    def pixels(self) -> int:
        """The size of the input along the axis."""
        return self.inputs.pixels[self.along]

    @property
    def least(self) -> int:
        """The least width of a shard."""
        return least_width(self.layers, self.period)

    @property
    def most(self) -> int:
        """So many shards there are at most."""
        return most_parts(self.layers, self.pixels, self.period, self.least)

    def legal_cut(self, parts: int, bounds: Sequence[int] | None) -> Cut:
        """The cut that was asked for, or an even one; raises InputError where it cannot be used."""
        if bounds is None:
            cut = even_cut(self.pixels, parts, self.period)
            if len(set(cut)) < len(cut) or too_narrow(self.layers, cut) is not None:
                raise self._too_many(parts, cut)
            return cut
        cut = read_cut(bounds, self.pixels, parts)
        off = off_grid(cut, self.period)
        if off:
            near = " or ".join(map(str, nearest(off[0], self.period, self.pixels)))
            raise InputError(
                f"bounds={tuple(bounds)}: {off[0]} is off the grid, on which shards begin at"
                f" multiples of {self.period}{self._by_whom}: give {near or 'fewer shards'}"
            )
        narrow = too_narrow(self.layers, cut)
        if narrow is not None:
            raise InputError(
                f"bounds={tuple(bounds)}: {narrow.told('has')}: each shard has at least"
                f" {self.least} pixels, and {self.most} shards are the most"
            )
        return cut

    @property
    def _by_whom(self) -> str:
        return f" (the stride of {self.coarsest!r})" if self.coarsest else ""

    def _too_many(self, parts: int, cut: Cut) -> InputError:
        narrow = too_narrow(self.layers, cut) if len(set(cut)) == len(cut) else None
        why = (
            narrow.told("would have")
            if narrow
            else f"shards begin at multiples of {self.period}{self._by_whom}"
        )
        return InputError(
            f"parts={parts}: {why}; the least width of a shard is {self.least} of {self.pixels}"
            f" pixels, and {self.most} {'shard is' if self.most == 1 else 'shards are'} the most:"
            f" give parts={self.most}" + (" or fewer" if self.most > 1 else ", or a larger input")
        )

    def plan(self, cut: Cut) -> ShardingPlan:
        """The plan for a cut, on the grid or not."""
        told = circumstances(Plan(model=self.model, inputs=self.inputs))
        names = ("model", "input_shape", "spatial_dims", "dtype", "versions")
        return ShardingPlan(
            axis=self.dim,
            pixels=self.pixels,
            period=self.period,
            bounds=cut,
            least=self.least,
            most=self.most,
            layers=tuple(with_shards(one, cut) for one in self.layers),
            outputs=tuple(self._output(row, cut) for row in self.outputs),
            notes=self.notes,
            **{name: told[name] for name in names},
        )

    def single(self, name: str) -> Placed:
        """The whole model as one layer of some name, for one that is a layer itself."""
        row, state = self.outputs[0], self.outputs[0].layout.axes[self.along]
        kinds = [one.layer.exchange for one in self.layers]
        gravest = max(kinds, key=list(Exchange).index, default=Exchange.NOTHING)
        borders = [one.layer.border for one in self.layers]
        law = Law(
            row=replace(row, name=name, op=name),
            state=state,
            exchange=gravest,
            border=next(filter(None, borders), BorderMode.NONE),
        )
        return placed(law, state, 0, _dim(row.layout, self.along))

    def _output(self, row: Row, cut: Cut) -> ShardedOutput:
        state, dim, inner = row.layout.axes[self.along], *_outermost(row.layout, self.along)
        bounds: Cut = ()
        if isinstance(state, Axis) and dim is not None:
            bounds = tuple(inner * b for b in cut_of(cut, abs(state.stride), state.size))
        return ShardedOutput(
            name=row.name,
            shape=row.layout.shape,
            dim=dim if bounds else None,
            bounds=bounds,
        )


def read_question(
    model: Model, x: Any, parts: Any, axis: Any, spatial_dims: Sequence[int] | None
) -> Question:
    """Both passes: the whole model, and each layer alone."""
    if not isinstance(parts, int) or isinstance(parts, bool) or parts < 1:
        raise InputError(f"parts={parts!r}: give the number of shards, at least 1")
    x = _without_values(x)
    plan = structure_plan(
        model,
        x,
        layer=None,
        boundary="valid",
        spatial_dims=dims_without_channels(x, spatial_dims),
        training=False,
        fixed=(),
        outputs=None,
    )
    inputs = plan.inputs
    dim, along = _read_axis(axis, inputs)
    how: dict[str, Any] = {"layer": None, "training": False}
    whole, outputs, notes = read_structure(plan.model, inputs, **how)
    alone, _, _ = read_structure(plan.model, inputs, **how, alone=True)
    if [row.name for row in whole] != [row.name for row in alone]:
        raise ModelError("the model did not do the same in two passes: switch off what is random")
    reducible = reducible_modules(plan.model, inputs, along)
    layers = _layers(whole, alone, outputs, along, reducible, _itemsize(inputs))
    if not any(one.layer.exchange.blocks for one in layers):
        layers += tuple(_not_understood(row, along) for row in outputs if _hidden(row, along))
    period, coarsest = _period([*whole, *outputs], along, inputs.pixels[along])
    layers += _sized(plan.model, inputs, along, whole, parts, period)
    return Question(
        model=plan.model,
        inputs=inputs,
        along=along,
        dim=dim,
        layers=layers,
        outputs=tuple(outputs),
        period=period,
        coarsest=coarsest,
        notes=tuple(notes),
    )


def _sized(
    model: Model, inputs: Inputs, along: int, whole: Sequence[Row], parts: int, period: int
) -> tuple[Placed, ...]:
    """The layer that is given the size of the whole as a number, if there is one."""
    pixels = inputs.pixels[along]
    part = pixels // parts // period * period
    others = AtOtherSizes(model, inputs, along)
    row = first_sized(others, whole, (2 * pixels, *[part] * (0 < part < pixels)))
    if row is None:
        return ()
    return (placed(Law(row=row, state=None, exchange=Exchange.SIZE, detail=DETAIL), None, 0),)


def _without_values(x: Any) -> Any:
    """An image of which only the shape and the type are looked at."""
    if isinstance(x, np.ndarray):
        dtype = torch.from_numpy(np.empty(0, dtype=x.dtype)).dtype
        return torch.empty(x.shape, dtype=dtype, device="meta")
    return x


def _read_axis(axis: Any, inputs: Inputs) -> tuple[int, int]:
    """The dimension that is cut, and which of the spatial axes it holds."""
    spatial, rank = inputs.main.spatial, inputs.main.tensor.ndim
    whole = isinstance(axis, int) and not isinstance(axis, bool)
    dim = axis + rank if whole and axis < 0 else axis
    if not whole or dim not in spatial:
        names = " or ".join(map(str, spatial))
        raise InputError(
            f"axis={axis!r} is no spatial dimension of x, which has shape"
            f" {tuple(inputs.main.tensor.shape)}: give {names}"
        )
    return dim, spatial.index(dim)


def _layers(
    whole: Sequence[Row],
    alone: Sequence[Row],
    outputs: Sequence[Row],
    along: int,
    reducible: frozenset[str],
    itemsize: int,
) -> tuple[Placed, ...]:
    laws = [
        (row, law_of(single, along, reducible))
        for row, single in zip(whole, alone, strict=True)
        if not (is_piece(single, alone, along) or is_unused(single, alone, outputs, along))
    ]
    return tuple(
        placed(
            law,
            row.layout.axes[along],
            _slice(law.row.entering, along) * itemsize,
            _dim(law.row.layout, along),
        )
        for row, law in laws
        if law is not None
    )


def _hidden(row: Row, along: int) -> str:
    """Why an output is not understood, by what came before it; empty where it is."""
    causes = [c for c in row.layout.causes if not c.latent and c.axis in (None, along)]
    hidden = [c for c in causes if c.kind in UNKNOWN]
    if hidden:
        return f"{hidden[0].layer}: {hidden[0].detail or hidden[0].kind.meaning}"
    state = row.layout.axes[along]
    return f"its geometry is lost ({state.kind})" if isinstance(state, Lost) else ""


def _not_understood(row: Row, along: int) -> Placed:
    detail = _hidden(row, along)
    law = Law(row=row, state=None, exchange=Exchange.UNKNOWN, detail=detail)
    return placed(law, None, 0)


def _outermost(layout: Layout, along: int) -> tuple[int | None, int]:
    """The dimension that shards of the axis are put together along, and samples for each of it.

    As a flattened map may be, of which the first axis was cut. None where there is no such one.
    """
    dim = _dim(layout, along)
    if dim is not None:
        return dim, 1
    holding = [d for d in range(len(layout.dims)) if along in layout.axes_in([d])]
    if len(holding) != 1 or layout.splits(along):
        return None, 1
    factors = [f for f in layout.dims[holding[0]] if size_of((f,)) > 1]
    first = factors[0] if factors else None
    if first is None or first.kind != "axis" or first.axis != along:
        return None, 1
    return holding[0], math.prod(size_of((f,)) for f in factors[1:])


def _dim(layout: Layout, along: int) -> int | None:
    dim = dims_of(layout)[along]
    return None if dim == NOWHERE else dim


def _slice(fed: Sequence[Layout | None], along: int) -> int:
    """The values of one sample of all tensors that hold the axis."""
    held = [(s, a) for s in fed if s is not None and isinstance(a := s.axes[along], Axis)]
    return sum(math.prod(s.shape) // max(1, a.size) for s, a in held)


def _itemsize(inputs: Inputs) -> int:
    return inputs.dtype.itemsize


def _period(rows: Sequence[Row], along: int, pixels: int) -> tuple[int, str]:
    """The grid on which shards begin, and the layer that makes it as coarse as it is."""
    period, coarsest = 1, ""
    for row in rows:
        state = row.layout.axes[along]
        lattice = state.lattice if isinstance(state, Axis | Gone) else 1
        common = math.lcm(period, lattice)
        if common > period:
            period, coarsest = common, row.name
    return period, coarsest
