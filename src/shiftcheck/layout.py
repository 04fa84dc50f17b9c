"""Which dimensions of a tensor hold the batch, the spatial axes and the rest.

A dimension is a product of factors, as in ``(batch, H*W, channels)``: factors follow a spatial axis
through views and permutations. No tensor is ever seen here, only shapes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from shiftcheck.axis import Axis, GeometryError, globalise, join
from shiftcheck.report import Cause


@dataclass(frozen=True)
class Factor:
    """One factor of a dimension: the stacked copies, a spatial axis, or anything else."""

    kind: Literal["copies", "axis", "plain"]
    size: int
    axis: int = -1


Dim = tuple[Factor, ...]


@dataclass(frozen=True)
class Gone:
    """An axis over which the tensor was reduced.

    ``exact``: shifts by multiples of ``lattice`` pixels change nothing, unless it is ``broken``.
    """

    exact: bool
    lattice: int = 1
    broken: bool = False


@dataclass(frozen=True)
class Lost:
    """An axis whose geometry was lost, and the kind of the cause."""

    kind: str


AxisState = Axis | Gone | Lost | None
"""None: the tensor does not depend on the axis."""


@dataclass(frozen=True, eq=False)
class Signal:
    """What is known of a tensor that depends on the input: its dimensions, axes and causes."""

    dims: tuple[Dim, ...]
    axes: tuple[AxisState, ...]
    causes: tuple[Cause, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor."""
        return tuple(size_of(dim) for dim in self.dims)

    def axis_in(self, dim: int) -> int | None:
        """The spatial axis that dimension ``dim`` is, None where it is anything else."""
        factors = self.dims[dim]
        return factors[0].axis if len(factors) == 1 and factors[0].kind == "axis" else None

    def axes_in(self, dims: Iterable[int]) -> tuple[int, ...]:
        """Every spatial axis with a factor in one of the dimensions."""
        found = [f.axis for dim in dims for f in self.dims[dim] if f.kind == "axis"]
        return tuple(found)

    def holds_copies(self, dims: Iterable[int]) -> bool:
        """Whether one of the dimensions holds the stacked copies."""
        return any(f.kind == "copies" for dim in dims for f in self.dims[dim])

    def geometry(self, axis: int) -> Axis:
        """The geometry of a present axis."""
        state = self.axes[axis]
        if not isinstance(state, Axis):
            raise GeometryError(f"axis {axis} has no geometry")
        return state


def plain(size: int) -> Dim:
    """A dimension that is neither batch nor axis."""
    return () if size == 1 else (Factor("plain", size),)


def size_of(dim: Dim) -> int:
    """The size of a dimension."""
    return math.prod(f.size for f in dim)


def canonical(factors: Iterable[Factor]) -> Dim:
    """The same product with neighbouring plain factors merged and plain ones of size 1 dropped."""
    out: list[Factor] = []
    for factor in factors:
        if factor.kind == "plain" and factor.size == 1:
            continue
        if factor.kind == "plain" and out and out[-1].kind == "plain":
            out[-1] = Factor("plain", out[-1].size * factor.size)
        else:
            out.append(factor)
    return tuple(out)


def with_dims(signal: Signal, dims: Sequence[Dim]) -> Signal:
    """The same values with other dimensions; an axis without a factor left is gone."""
    kept = {f.axis for dim in dims for f in dim if f.kind == "axis"}
    axes = tuple(
        reduced(state) if isinstance(state, Axis) and a not in kept else state
        for a, state in enumerate(signal.axes)
    )
    return replace(signal, dims=tuple(dims), axes=axes)


def reduced(axis: Axis) -> Gone:
    """The state of an axis after a reduction over it."""
    return Gone(exact=axis.one_turn, lattice=axis.lattice, broken=axis.broken)


def _common(gone: Sequence[Gone]) -> Gone:
    return Gone(
        exact=all(g.exact for g in gone),
        lattice=math.lcm(*(g.lattice for g in gone)),
        broken=any(g.broken for g in gone),
    )


def with_axis(signal: Signal, axis: int, state: Axis) -> Signal:
    """The same signal with another geometry, and size, of one axis."""
    dims = tuple(
        tuple(replace(f, size=state.size) if f.axis == axis else f for f in dim)
        for dim in signal.dims
    )
    axes = tuple(state if a == axis else old for a, old in enumerate(signal.axes))
    return replace(signal, dims=dims, axes=axes)


def with_dim(signal: Signal, dim: int, new: Dim) -> Signal:
    """The same signal with one dimension replaced."""
    dims = list(signal.dims)
    dims[dim] = new
    return with_dims(signal, dims)


def with_cause(signal: Signal, cause: Cause) -> Signal:
    """The same signal with one more cause, unless it is known already."""
    known = any(
        (c.kind, c.axis, c.period, c.latent) == (cause.kind, cause.axis, cause.period, cause.latent)
        for c in signal.causes
    )
    return signal if known else replace(signal, causes=(*signal.causes, cause))


def lose(signal: Signal, axes: Iterable[int], cause: Cause) -> Signal:
    """The same signal without the geometry of ``axes``: their factors become plain."""
    lost = set(axes)
    dims = tuple(
        canonical(Factor("plain", f.size) if f.axis in lost else f for f in dim)
        for dim in signal.dims
    )
    states: list[AxisState] = list(signal.axes)
    for axis in sorted(lost):
        if not isinstance(states[axis], Lost):
            states[axis] = Lost(cause.kind)
    out = Signal(dims, tuple(states), signal.causes)
    for axis in sorted(lost):
        out = with_cause(out, replace(cause, axis=axis))
    return out


def opaque(shape: Sequence[int], parents: Sequence[Signal], cause: Cause) -> Signal:
    """A signal of which nothing is known but its shape and what went into it.

    The stacked copies are taken to stay in front where the first dimension still has their size.
    """
    dims: list[Dim] = [plain(n) for n in shape]
    lead = next((p.dims[0] for p in parents if p.dims and p.holds_copies([0])), None)
    if (
        lead is not None
        and shape
        and size_of(lead) == shape[0]
        and not any(f.kind == "axis" for f in lead)
    ):
        dims[0] = lead
    states: tuple[AxisState, ...] = tuple(Lost(cause.kind) for _ in parents[0].axes)
    out = Signal(tuple(dims), states, merge_causes(parents))
    for axis in range(len(states)):
        out = with_cause(out, replace(cause, axis=axis))
    return out


def reduce_dims(signal: Signal, dims: Sequence[int], *, keepdim: bool) -> tuple[Signal, list[int]]:
    """The layout after a reduction over ``dims``, and the axes that it reduced."""
    reduced = list(signal.axes_in(dims))
    left = [
        () if d in dims else dim for d, dim in enumerate(signal.dims) if keepdim or d not in dims
    ]
    return with_dims(signal, left), reduced


def broadcast(signals: Sequence[Signal], shapes: Sequence[Sequence[int]] = ()) -> Signal:
    """The layout of a pointwise operation on several signals and constants of ``shapes``.

    Raises GeometryError where their dimensions do not line up.
    """
    rank = max(len(s) for s in [*(s.shape for s in signals), *shapes])
    dims = [_broadcast_dim(signals, shapes, d - rank) for d in range(rank)]
    return _combine(signals, dims)


def _combine(signals: Sequence[Signal], dims: Sequence[Dim]) -> Signal:
    placed = [f.axis for dim in dims for f in dim if f.kind == "axis"]
    if len(placed) != len(set(placed)):
        raise GeometryError("one spatial axis would fill two dimensions")
    states = tuple(
        _join_states([s.axes[a] for s in signals], present=a in placed)
        for a in range(len(signals[0].axes))
    )
    return Signal(tuple(dims), states, merge_causes(signals))


def merge_causes(signals: Sequence[Signal]) -> tuple[Cause, ...]:
    """The causes of all the signals, each kind once."""
    out = Signal((), (), ())
    for signal in signals:
        for cause in signal.causes:
            out = with_cause(out, cause)
    return out.causes


def _broadcast_dim(
    signals: Sequence[Signal], shapes: Sequence[Sequence[int]], position: int
) -> Dim:
    given = [s.dims[position] for s in signals if len(s.dims) >= -position]
    sizes = [shape[position] for shape in shapes if len(shape) >= -position]
    size = max([1, *(size_of(d) for d in given), *sizes])
    if 0 in [*(size_of(d) for d in given), *sizes]:
        raise GeometryError("a dimension is empty")
    named = {d for d in given if size_of(d) == size and any(f.kind != "plain" for f in d)}
    stretched = [d for d in given if size_of(d) < size and any(f.kind == "axis" for f in d)]
    if stretched:
        raise GeometryError("a spatial axis of size 1 is stretched")
    if len(named) > 1 or (named and size > 1 and plain(size) in given):
        raise GeometryError("dimensions of different meaning are combined")
    return next(iter(named), plain(size))


def _join_states(states: Sequence[AxisState], *, present: bool) -> AxisState:
    lost = [s for s in states if isinstance(s, Lost)]
    if lost:
        if present:
            raise GeometryError("an axis without geometry meets one that has it")
        return lost[0]
    axes = [s for s in states if isinstance(s, Axis)]
    gone = [s for s in states if isinstance(s, Gone)]
    if not axes:
        return _common(gone) if gone else None
    out = axes[0]
    for other in axes[1:]:
        out = join(out, other)
    if not gone:
        return out
    common = _common(gone)
    return globalise(out, exact=common.exact, lattice=common.lattice, broken=common.broken)


def regroup(signal: Signal, shape: Sequence[int]) -> Signal:
    """The layout after a view to ``shape``; raises GeometryError where it cuts across a factor."""
    queue = [f for dim in signal.dims for f in dim]
    dims: list[Dim] = []
    for size in shape:
        taken, queue = _take(queue, size)
        dims.append(taken)
    trailing = [f for f in queue if f.size != 1]
    if trailing:
        raise GeometryError(f"a view to {tuple(shape)} leaves factors over")
    return with_dims(signal, dims)


def _take(queue: list[Factor], size: int) -> tuple[Dim, list[Factor]]:
    taken: list[Factor] = []
    room = size
    while room > 1 or (not taken and size == 1 and queue and queue[0].size == 1):
        if not queue:
            raise GeometryError("a view needs more factors than there are")
        head, queue = queue[0], queue[1:]
        if room % head.size == 0:
            taken.append(head)
            room //= head.size
        elif head.kind == "plain" and head.size % room == 0:
            taken.append(Factor("plain", room))
            queue, room = [Factor("plain", head.size // room), *queue], 1
        else:
            raise GeometryError(f"a view cuts across {_name(head)} of size {head.size}")
    return canonical(taken), queue


def _name(factor: Factor) -> str:
    names = {"copies": "the batch", "axis": f"spatial axis {factor.axis}", "plain": "a dimension"}
    return names[factor.kind]


def map_axes(
    signal: Signal, dims: Sequence[int], change: Callable[[Axis, int], Axis], sizes: Sequence[int]
) -> Signal:
    """Apply ``change(axis, i)`` to the axis in each of ``dims``; plain ones just get their size.

    Raises GeometryError where a dimension holds an axis together with something else.
    """
    out = signal
    for i, dim in enumerate(dims):
        axis = signal.axis_in(dim)
        if axis is not None:
            out = with_axis(out, axis, change(signal.geometry(axis), i))
        elif all(f.kind == "plain" for f in signal.dims[dim]):
            out = with_dim(out, dim, plain(sizes[i]))
        else:
            raise GeometryError(f"dimension {dim} holds more than one axis")
    return out
