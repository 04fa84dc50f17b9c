"""Which dimensions of a tensor hold the batch, the spatial axes and the rest.

A dimension is a product of factors, as in ``(batch, H*W, channels)``: factors follow a spatial axis
through views and permutations. An axis may be split over several factors, as in a partition into
windows, and a dimension may hold pieces one after another, as a class token and its patches. No
tensor is ever seen here, only shapes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal

from shiftcheck.axis import Axis, GeometryError, Taps, globalise, join, resample, window
from shiftcheck.report import Cause


@dataclass(frozen=True)
class Factor:
    """One factor of a dimension.

    ``copies``: the stacked copies. ``axis``: a spatial axis, or one factor of it, whose neighbours
    are ``step`` samples of the axis apart. ``key``: the same of the positions that each sample is
    related to, as along the last dimension of attention scores, with the ``stride`` that they have.
    ``frequency``: the frequencies of an axis. ``joined``: ``pieces`` one after another.
    ``uniform``: one value for every index, as after a size of 1 was expanded. ``plain``: anything
    else.
    """

    kind: Literal["copies", "axis", "key", "frequency", "joined", "uniform", "plain"]
    size: int
    axis: int = -1
    step: int = 1
    pieces: tuple[tuple[Factor, ...], ...] = ()
    stride: Fraction = Fraction(0)


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


@dataclass(frozen=True, eq=False)
class Waves:
    """An axis that was transformed to frequencies.

    ``axis``: the geometry that the signal would have if it was transformed back at once. ``bins``:
    the frequency of each sample, in turns of the circle; None where it is zero for any signal.
    """

    axis: Axis
    bins: tuple[int | None, ...]


AxisState = Axis | Gone | Lost | Waves | None
"""None: the tensor does not depend on the axis."""


@dataclass(frozen=True, eq=False)
class Slice:
    """Where the values of a tensor come from: the samples ``chosen`` of a dimension of another."""

    whole: Signal
    dim: int
    chosen: range


@dataclass(frozen=True, eq=False)
class Signal:
    """What is known of a tensor that depends on the input: its dimensions, axes and causes.

    ``source``: of which tensor it is a slice, while its values are still the same.
    """

    dims: tuple[Dim, ...]
    axes: tuple[AxisState, ...]
    causes: tuple[Cause, ...] = ()
    source: Slice | None = field(default=None, init=False, repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor."""
        return tuple(size_of(dim) for dim in self.dims)

    def axis_in(self, dim: int) -> int | None:
        """The spatial axis that all of dimension ``dim`` is, None where it is anything else."""
        factors = self.dims[dim]
        if len(factors) != 1 or factors[0].kind != "axis":
            return None
        axis = factors[0].axis
        return axis if factors[0].size == self.geometry(axis).size else None

    def axes_in(self, dims: Iterable[int]) -> tuple[int, ...]:
        """Every spatial axis with a factor in one of the dimensions, each once."""
        found = [f.axis for dim in dims for f in flat(self.dims[dim]) if f.kind in SPATIAL]
        return tuple(dict.fromkeys(found))

    def factors_of(self, axis: int, dims: Iterable[int] | None = None) -> list[Factor]:
        """The factors of a spatial axis in ``dims`` (all of them by default), coarsest first."""
        inside = range(len(self.dims)) if dims is None else dims
        found = [f for dim in inside for f in flat(self.dims[dim])]
        mine = [f for f in found if f.kind == "axis" and f.axis == axis]
        return sorted(mine, key=lambda f: -f.step)

    def splits(self, axis: int) -> bool:
        """Whether a spatial axis is spread over several factors."""
        return len(self.factors_of(axis)) > 1

    def holds_copies(self, dims: Iterable[int]) -> bool:
        """Whether one of the dimensions holds the stacked copies."""
        return any(f.kind == "copies" for dim in dims for f in self.dims[dim])

    def geometry(self, axis: int) -> Axis:
        """The geometry of a present axis."""
        state = self.axes[axis]
        if not isinstance(state, Axis):
            raise GeometryError(f"axis {axis} has no geometry")
        return state


SPATIAL = ("axis", "key", "frequency")
SPLIT = ("axis", "key")


def flat(dim: Dim) -> list[Factor]:
    """The factors of a dimension, those of joined pieces included."""
    found = []
    for factor in dim:
        inner = [f for piece in factor.pieces for f in flat(piece)]
        found += inner if factor.kind == "joined" else [factor]
    return found


def mapped(dim: Dim, change: Callable[[Factor], Factor]) -> Dim:
    """A dimension with every factor changed, those of joined pieces included."""
    return canonical(
        replace(f, pieces=tuple(mapped(piece, change) for piece in f.pieces))
        if f.kind == "joined"
        else change(f)
        for f in dim
    )


def as_slice(signal: Signal, whole: Signal, dim: int, chosen: range) -> Signal:
    """The same signal, known to be a slice of another; whatever is made of it is none any more."""
    out = replace(signal)
    object.__setattr__(out, "source", Slice(whole, dim, chosen))
    return out


def plain(size: int) -> Dim:
    """A dimension that is neither batch nor axis."""
    return () if size == 1 else (Factor("plain", size),)


def uniform(size: int) -> Dim:
    """A dimension along which all values are the same."""
    return () if size == 1 else (Factor("uniform", size),)


def no_longer_uniform(signal: Signal, dims: Iterable[int] | None = None) -> Signal:
    """The same signal, of whose ``dims`` (all by default) it is not known that they are uniform."""
    chosen = set(range(len(signal.dims)) if dims is None else dims)

    def faded(factor: Factor) -> Factor:
        return Factor("plain", factor.size) if factor.kind == "uniform" else factor

    found = [d for d in sorted(chosen) if any(f.kind == "uniform" for f in flat(signal.dims[d]))]
    new = [mapped(dim, faded) if d in found else dim for d, dim in enumerate(signal.dims)]
    return replace(signal, dims=tuple(new)) if found else signal


def size_of(dim: Dim) -> int:
    """The size of a dimension."""
    return math.prod(f.size for f in dim)


def canonical(factors: Iterable[Factor]) -> Dim:
    """The same product, with neighbours merged that are one plain factor or one stretch of an axis.

    Plain factors of size 1 are dropped, and pieces that are all plain are one plain factor.
    """
    out: list[Factor] = []
    for given in factors:
        plain_pieces = given.kind == "joined" and all(f.kind == "plain" for f in flat((given,)))
        factor = Factor("plain", given.size) if plain_pieces else given
        if factor.kind == "plain" and factor.size == 1:
            continue
        last = out[-1] if out else None
        if last is not None and last.kind == factor.kind == "plain":
            out[-1] = Factor("plain", last.size * factor.size)
        elif last is not None and _continues(last, factor):
            out[-1] = replace(factor, size=last.size * factor.size)
        else:
            out.append(factor)
    return tuple(out)


def _continues(outer: Factor, inner: Factor) -> bool:
    of_one = (outer.kind, outer.axis, outer.stride) == (inner.kind, inner.axis, inner.stride)
    return of_one and outer.kind in SPLIT and outer.step == inner.size * inner.step


def with_dims(signal: Signal, dims: Sequence[Dim]) -> Signal:
    """The same values with other dimensions; an axis without a factor left is gone.

    Raises GeometryError where only some of the factors of a split axis are left.
    """
    out = replace(signal, dims=tuple(dims))
    axes = list(signal.axes)
    for a, state in enumerate(signal.axes):
        if isinstance(state, Waves) and not _frequencies(dims, a):
            raise GeometryError(f"the frequencies of axis {a} are reduced")
        if not isinstance(state, Axis):
            continue
        factors = out.factors_of(a)
        if not factors:
            axes[a] = reduced(state)
        elif math.prod(f.size for f in factors) != state.size:
            raise GeometryError(f"only a part of the split axis {a} is left")
    keys = [f for dim in dims for f in flat(dim) if f.kind == "key"]
    if any(not out.factors_of(f.axis) for f in keys):
        raise GeometryError("only the positions that something was related to are left")
    return replace(out, axes=tuple(axes))


def _frequencies(dims: Iterable[Dim], axis: int) -> bool:
    return any(f.kind == "frequency" and f.axis == axis for dim in dims for f in flat(dim))


def at_frequencies(signal: Signal, dim: int, places: Iterable[int]) -> Signal | None:
    """The samples at ``places`` of a dimension of frequencies; None where it holds no such."""
    factors = signal.dims[dim]
    if len(factors) != 1 or factors[0].kind != "frequency":
        return None
    axis = factors[0].axis
    waves = signal.axes[axis]
    assert isinstance(waves, Waves)
    kept = replace(waves, bins=tuple(waves.bins[p] for p in places))
    axes = tuple(kept if a == axis else state for a, state in enumerate(signal.axes))
    factor = replace(factors[0], size=len(kept.bins))
    dims = tuple((factor,) if d == dim else f for d, f in enumerate(signal.dims))
    return Signal(dims, axes, signal.causes)


def more_frequencies(signal: Signal, dim: int, before: int, after: int) -> Signal:
    """The layout after zeros were put beside a dimension of frequencies, or some were cropped."""
    bins = signal.shape[dim]
    kept = range(max(-before, 0), bins - max(-after, 0))
    out = at_frequencies(signal, dim, kept)
    assert out is not None
    factor = out.dims[dim][0]
    waves = out.axes[factor.axis]
    assert isinstance(waves, Waves)
    whole = (None,) * max(before, 0) + waves.bins + (None,) * max(after, 0)
    axes = tuple(
        replace(waves, bins=whole) if a == factor.axis else state
        for a, state in enumerate(out.axes)
    )
    wide = (replace(factor, size=len(whole)),)
    return Signal(
        tuple(wide if d == dim else f for d, f in enumerate(out.dims)), axes, signal.causes
    )


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
    """The same signal with another geometry of one axis; its size may change where it is whole.

    Raises GeometryError where the size of a split axis changes.
    """
    factors = signal.factors_of(axis)
    if state.size != math.prod(f.size for f in factors) and len(factors) > 1:
        raise GeometryError(f"the split axis {axis} gets another size")

    def resized(factor: Factor) -> Factor:
        mine = factor.kind == "axis" and factor.axis == axis and len(factors) == 1
        return replace(factor, size=state.size) if mine else factor

    dims = tuple(tuple(resized(f) for f in dim) for dim in signal.dims)
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
    lost = sorted(set(axes))
    out = _without_geometry(signal, dict.fromkeys(lost, Lost(cause.kind)))
    for axis in lost:
        out = with_cause(out, replace(cause, axis=axis))
    return out


def _without_geometry(signal: Signal, lost: Mapping[int, Lost]) -> Signal:

    def faded(factor: Factor) -> Factor:
        return Factor("plain", factor.size) if factor.axis in lost else factor

    dims = tuple(mapped(dim, faded) for dim in signal.dims)
    states: list[AxisState] = list(signal.axes)
    for axis, state in lost.items():
        if not isinstance(states[axis], Lost):
            states[axis] = state
    return Signal(dims, tuple(states), signal.causes)


def lost_alike(signals: Sequence[Signal]) -> list[Signal]:
    """The signals, each without the geometry of every axis that another one has lost before.

    What is made of them has lost it too, for the cause that the other one holds.
    """
    states = [(a, state) for s in signals for a, state in enumerate(s.axes)]
    lost = {a: state for a, state in reversed(states) if isinstance(state, Lost)}
    return [_without_geometry(s, lost) if lost else s for s in signals]


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
        and not any(f.kind in SPATIAL for f in flat(lead))
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
    signal = contracted(signal, dims)
    left = [
        () if d in dims else dim for d, dim in enumerate(signal.dims) if keepdim or d not in dims
    ]
    return with_dims(signal, left), reduced


def contracted(signal: Signal, dims: Sequence[int], *, related: bool = False) -> Signal:
    """The layout after everything along ``dims`` went into each result; they keep size 1.

    An axis that is all in ``dims`` is gone. One of which they hold the innermost factors becomes
    coarser: each sample then sees a whole window. Raises GeometryError for any other factors,
    unless the result is ``related`` to a signal that has them: then the outermost may be in
    ``dims``, which every sample sees at all windows, and so at the whole axis.
    """
    out = signal
    for axis in signal.axes_in(dims):
        inside, every = signal.factors_of(axis, dims), signal.factors_of(axis)
        if not inside or len(inside) == len(every):
            continue
        if related and inside == every[: len(inside)]:
            out = _seen_whole(out, axis, dims)
            continue
        width = math.prod(f.size for f in inside)
        if inside != every[len(every) - len(inside) :]:
            raise GeometryError(f"windows of axis {axis} are combined, not samples of a window")
        out = _coarser(out, axis, dims, window(width, range(width)))
    return with_dims(out, [() if d in dims else dim for d, dim in enumerate(out.dims)])


def _seen_whole(signal: Signal, axis: int, dims: Sequence[int]) -> Signal:
    state = reduced(signal.geometry(axis))
    kept = [
        tuple(f for f in dim if f.axis != axis or f.kind != "axis") if d in dims else dim
        for d, dim in enumerate(signal.dims)
    ]
    axes = tuple(state if a == axis else old for a, old in enumerate(signal.axes))
    return Signal(tuple(kept), axes, signal.causes)


def _coarser(signal: Signal, axis: int, dims: Sequence[int], taps: Taps) -> Signal:
    """The signal with the innermost factors of ``axis``, those in ``dims``, turned into taps."""

    def coarse(factor: Factor) -> Factor:
        mine = factor.axis == axis and factor.kind == "axis"
        return replace(factor, step=factor.step // taps.num) if mine else factor

    kept = [
        tuple(f for f in dim if f.axis != axis or f.kind != "axis") if d in dims else dim
        for d, dim in enumerate(signal.dims)
    ]
    state = signal.geometry(axis)
    axes = list(signal.axes)
    axes[axis] = resample(state, taps, state.size // taps.num)
    return Signal(tuple(mapped(dim, coarse) for dim in kept), tuple(axes), signal.causes)


def picked(signal: Signal, dim: int, index: int) -> Signal | None:
    """The layout after taking sample ``index`` of each window along ``dim``, which stays as 1.

    None where the dimension is no innermost factor of a split axis.
    """
    factors = signal.dims[dim]
    if len(factors) != 1 or factors[0].kind != "axis" or factors[0].step != 1:
        return None
    if not signal.splits(factors[0].axis):
        return None
    width = factors[0].size
    taps = Taps(num=width, phases=((index % width,),))
    return _coarser(signal, factors[0].axis, [dim], taps)


def refined(signal: Signal, axis: int, width: int) -> Signal:
    """The layout where each sample of ``axis`` stands for ``width`` samples of a finer one.

    Only the geometry changes: the finer samples have no dimension yet, so the caller combines the
    result with a signal that has one.
    """
    if width == 1:
        return signal
    state = signal.geometry(axis)
    taps = Taps(num=1, phases=((0,),) * width)

    def finer(factor: Factor) -> Factor:
        mine = factor.axis == axis and factor.kind == "axis"
        return replace(factor, step=factor.step * width) if mine else factor

    axes = list(signal.axes)
    axes[axis] = resample(state, taps, state.size * width)
    return Signal(tuple(mapped(d, finer) for d in signal.dims), tuple(axes), signal.causes)


def settled(signal: Signal) -> Signal:
    """What the tensor is where it stands: a split axis is its windows, their samples are channels.

    Only a tensor that is looked at is settled; merging the factors again restores the axis.
    """
    signal = no_longer_uniform(signal)
    maps = len(signal.dims) == len(signal.axes) + 2
    out = interleaved(signal, range(1, len(signal.dims))) if maps else signal
    for axis in range(len(signal.axes)):
        if not signal.splits(axis):
            continue
        width = signal.factors_of(axis)[0].step
        out = _windows(out, axis, width)
    return out


def _windows(signal: Signal, axis: int, width: int) -> Signal:
    def coarse(factor: Factor) -> Factor:
        if factor.axis != axis:
            return factor
        if factor.step < width:
            return Factor("plain", factor.size)
        return replace(factor, step=factor.step // width)

    state = signal.geometry(axis)
    new = resample(state, window(width, range(width)), state.size // width)
    axes = tuple(new if a == axis else old for a, old in enumerate(signal.axes))
    out = replace(signal, dims=tuple(mapped(d, coarse) for d in signal.dims), axes=axes)
    if new.lattice == state.lattice:
        return out
    cause = Cause(
        kind="STRIDE", axis=axis, period=new.lattice, detail=f"windows of {width} samples"
    )
    return with_cause(out, cause)


def joined(dims: Sequence[Dim]) -> Dim:
    """Pieces one after another along one dimension; raises GeometryError where two hold an axis."""
    spatial = [d for d in dims if any(f.kind in SPATIAL for f in flat(d))]
    if len(spatial) > 1:
        raise GeometryError("pieces that each hold a spatial axis are joined")
    pieces = tuple(p for d in dims for p in (d[0].pieces if _is_joined(d) else (d,)))
    return canonical([Factor("joined", sum(map(size_of, dims)), pieces=pieces)])


def _is_joined(dim: Dim) -> bool:
    return len(dim) == 1 and dim[0].kind == "joined"


def main_piece(factor: Factor) -> tuple[int, Dim]:
    """Where the piece that holds a spatial axis starts in a joined factor, and its factors."""
    start = 0
    for piece in factor.pieces:
        if any(f.kind in SPATIAL for f in flat(piece)):
            return start, piece
        start += size_of(piece)
    return 0, factor.pieces[0]


def narrowed(dim: Dim) -> Dim:
    """The dimension with only the piece of each joined factor that holds a spatial axis."""
    return tuple(f for g in dim for f in (main_piece(g)[1] if g.kind == "joined" else (g,)))


def pieces_in(dim: Dim, chosen: range) -> Dim | None:
    """The whole pieces of a joined dimension that ``chosen`` takes; None where it cuts one."""
    if not _is_joined(dim) or chosen.step != 1:
        return None
    start, taken = 0, []
    for piece in dim[0].pieces:
        stop = start + size_of(piece)
        if chosen.start <= start and stop <= chosen.stop:
            taken.append(piece)
        elif chosen.start < stop and start < chosen.stop:
            return _part_of_plain(piece, range(chosen.start - start, chosen.stop - start))
        start = stop
    return taken[0] if len(taken) == 1 else joined(taken)


def _part_of_plain(piece: Dim, chosen: range) -> Dim | None:
    inside = chosen.start >= 0 and chosen.stop <= size_of(piece)
    return plain(len(chosen)) if inside and all(f.kind == "plain" for f in piece) else None


def as_keys(signal: Signal, dim: int, axes: Iterable[int] | None = None) -> Dim:
    """A dimension whose factors of ``axes`` are the positions that samples are related to.

    All axes by default. The positions keep their stride: others are not the same positions.
    """
    wanted = signal.axes_in([dim]) if axes is None else set(axes)

    def related(factor: Factor) -> Factor:
        if factor.kind != "axis" or factor.axis not in wanted:
            return factor
        return replace(factor, kind="key", stride=signal.geometry(factor.axis).stride)

    return mapped(signal.dims[dim], related)


def interleaved(signal: Signal, dims: Iterable[int]) -> Signal:
    """The same values; each of ``dims`` that is a whole axis times something plain is a finer axis.

    So a view puts the channels of a coarse sample side by side, as a pixel shuffle does.
    """
    out = signal
    for d in dims:
        dim = out.dims[d]
        if [f.kind for f in dim] != ["axis", "plain"]:
            continue
        axis, width = dim[0].axis, dim[1].size
        if dim[0].size != out.geometry(axis).size:
            continue
        fine = refined(out, axis, width)
        whole = (Factor("axis", fine.geometry(axis).size, axis),)
        out = replace(fine, dims=tuple(whole if e == d else f for e, f in enumerate(fine.dims)))
    return out


def aligned(signals: Sequence[Signal]) -> list[Signal]:
    """The signals with every axis as finely split as in the finest of them.

    A value of each window is a value of each of its samples.
    """
    out = list(signals)
    for axis in range(len(signals[0].axes) if len(out) > 1 else 0):
        widths = [_width(s, axis) for s in out]
        finest = max((w for w in widths if w), default=1)
        for i, width in enumerate(widths):
            if width and finest % width == 0:
                out[i] = refined(out[i], axis, finest // width)
    return out


def _width(signal: Signal, axis: int) -> int:
    """How many samples the coarsest factor of an axis steps over; 0 where there is none."""
    factors = signal.factors_of(axis)
    return factors[0].step if factors and isinstance(signal.axes[axis], Axis) else 0


def broadcast(signals: Sequence[Signal], shapes: Sequence[Sequence[int]] = ()) -> Signal:
    """The layout of a pointwise operation on several signals and constants of ``shapes``.

    Raises GeometryError where their dimensions do not line up.
    """
    signals = aligned(signals)
    rank = max(len(s) for s in [*(s.shape for s in signals), *shapes])
    dims = [_broadcast_dim(signals, shapes, d - rank) for d in range(rank)]
    return _combine(signals, dims)


def _combine(signals: Sequence[Signal], dims: Sequence[Dim]) -> Signal:
    found = [f for dim in dims for f in flat(dim) if f.kind == "axis"]
    placed = {f.axis for dim in dims for f in flat(dim) if f.kind in SPATIAL}
    states = tuple(
        join_states([s.axes[a] for s in signals], present=a in placed)
        for a in range(len(signals[0].axes))
    )
    for axis, state in enumerate(states):
        sizes = [f.size for f in found if f.axis == axis]
        if sizes and isinstance(state, Axis) and math.prod(sizes) != state.size:
            raise GeometryError("one spatial axis would fill two dimensions")
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
    same = uniform(size)
    named = {d for d in given if size_of(d) == size and any(f.kind != "plain" for f in d)} - {same}
    stretched = [d for d in given if size_of(d) < size and any(f.kind in SPATIAL for f in flat(d))]
    if stretched:
        raise GeometryError("a spatial axis of size 1 is stretched")
    if len(named) > 1 or (named and size > 1 and plain(size) in given):
        raise GeometryError("dimensions of different meaning are combined")
    return next(iter(named), same if same in given and plain(size) not in given else plain(size))


def join_states(states: Sequence[AxisState], *, present: bool) -> AxisState:
    """One axis of a value made of several; ``present``: the result has a dimension for it."""
    lost = [s for s in states if isinstance(s, Lost)]
    if lost:
        if present:
            raise GeometryError("an axis without geometry meets one that has it")
        return lost[0]
    waves = [s for s in states if isinstance(s, Waves)]
    if waves:
        return _join_waves(waves, states)
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


def _join_waves(waves: Sequence[Waves], states: Sequence[AxisState]) -> Waves:
    if len({w.bins for w in waves}) > 1 or len(waves) < len(states):
        raise GeometryError("frequencies are combined with others, or with what has none")
    axis = join_states([w.axis for w in waves], present=True)
    assert isinstance(axis, Axis)
    return Waves(axis, waves[0].bins)


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
        elif head.kind in ("plain", *SPLIT) and head.size % room == 0:
            rest = head.size // room
            step = head.step * rest if head.kind in SPLIT else 1
            taken.append(replace(head, size=room, step=step))
            queue, room = [replace(head, size=rest), *queue], 1
        else:
            raise GeometryError(f"a view cuts across {_name(head)} of size {head.size}")
    return canonical(taken), queue


def _name(factor: Factor) -> str:
    names = {"copies": "the batch", "plain": "a dimension", "joined": "pieces that were joined"}
    return names.get(factor.kind, f"spatial axis {factor.axis}")


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
