"""Which dimensions of a tensor hold the batch, the spatial axes and the rest.

A dimension is a product of factors, as in ``(batch, H*W, channels)``: factors follow a spatial axis
through views and permutations. An axis may be split over several factors, as in a partition into
windows, and a dimension may hold pieces one after another, as a class token and its patches. No
tensor is ever seen here, only shapes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shiftcheck.lattice.axis import Axis, GeometryError, all_valid, scaled_axis
from shiftcheck.report.causes import Cause


@dataclass(frozen=True)
class Factor:
    """One factor of a dimension.

    ``copies``: the stacked copies. ``axis``: a spatial axis, or one factor of it, whose neighbours
    are ``step`` samples of the axis apart. ``key``: the same of the positions that each sample is
    related to, as along the last dimension of attention scores, with the ``stride`` that they have.
    ``frequency``: the frequencies of an axis. ``joined``: ``pieces`` one after another.
    ``uniform``: one value for every index, as after a size of 1 was expanded. ``plain``: anything
    else.

    Example:
        >>> from shiftcheck.rules import Factor
        >>> tokens = (Factor("axis", 4, axis=0), Factor("axis", 6, axis=1))  # one dimension of 24
        >>> [factor.size for factor in tokens]
        [4, 6]
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
    ``anchored``: not all places count alike, or not all that there are.

    Example:
        >>> import shiftcheck
        >>> report = shiftcheck.geometry(lambda x: x.mean(2), (1, 1, 12, 13))
        >>> report.outputs[0].stride  # the first axis is gone
        (None, Fraction(1, 1))
    """

    exact: bool
    lattice: int = 1
    broken: bool = False
    anchored: bool = False


@dataclass(frozen=True)
class Lost:
    """An axis whose geometry was lost, and the kind of the cause.

    Example:
        >>> import torch, shiftcheck
        >>> report = shiftcheck.geometry(torch.nn.Linear(13, 13), (1, 1, 12, 13))
        >>> [(cause.kind, cause.axis) for cause in report.causes]  # the second axis is lost
        [('MIXING', 1)]
    """

    kind: str


@dataclass(frozen=True, eq=False)
class Waves:
    """An axis that was transformed to frequencies.

    ``axis``: the geometry that the signal would have if it was transformed back at once. ``bins``:
    the frequency of each sample, in turns of the circle; None where it is zero for any signal.

    Example:
        >>> import torch, shiftcheck
        >>> def low_pass(x):
        ...     return torch.fft.irfft(torch.fft.rfft(x) * (torch.arange(9) < 4), n=16)
        >>> report = shiftcheck.geometry(low_pass, (1, 1, 16), boundary="circular")
        >>> report.outputs[0].period
        (1,)
    """

    axis: Axis
    bins: tuple[int | None, ...]


AxisState = Axis | Gone | Lost | Waves | None
"""None: the tensor does not depend on the axis."""


@dataclass(frozen=True, eq=False)
class Slice:
    """Where the values of a tensor come from: the samples ``chosen`` of a dimension of another.

    Example:
        >>> import shiftcheck
        >>> report = shiftcheck.geometry(lambda x: x[..., 2:], (1, 1, 16))
        >>> report.outputs[0].valid
        (((0, 14),),)
    """

    whole: Layout
    dim: int
    chosen: range


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Which pairs of places a tensor of scores or weights relates, by two of its dimensions.

    ``places``: those two, that of the places and that of what they are related to. They are made of
    the ``axes``, whole ones, of the given ``sizes``. ``asking`` and
    ``asked``: the geometry of what each pair is made of, axis by axis, before anything was summed
    over; ``causes``: theirs. ``codes``: a number for each pair, 0 where it is hidden, and the same
    for pairs that constants treat alike; None while they treat all alike. ``bias``: what was added
    to ``scores``, which a softmax turns into ``weights``; the ``products`` of a hidden pair are 0.
    ``latent``: parameters that treat pairs alike now, and need not. ``measured``: that scores
    depend on the distance of a pair alone comes from experiments.

    Example:
        >>> import torch, shiftcheck
        >>> here = torch.arange(12)
        >>> ahead = here - here[:, None]
        >>> hidden = (ahead > 0) | (ahead < -5)
        >>> def causal(x):
        ...     t = x.transpose(1, 2)
        ...     scores = (t @ x).masked_fill(hidden, -torch.inf)
        ...     return (scores.softmax(-1) @ t).transpose(1, 2)
        >>> shiftcheck.geometry(causal, (1, 3, 12)).outputs[0].valid
        (((5, 12),),)
    """

    places: tuple[Dim, Dim]
    axes: tuple[int, ...]
    sizes: tuple[int, ...]
    asking: tuple[AxisState, ...]
    asked: tuple[AxisState, ...]
    causes: tuple[Cause, ...]
    stage: Literal["scores", "weights", "products"] = "scores"
    codes: NDArray[np.int64] | None = None
    bias: NDArray[np.float64] | None = None
    latent: bool = False
    measured: bool = False


@dataclass(frozen=True, eq=False)
class Made:
    """How a tensor was made of others, each of its places of the same place of theirs.

    ``call`` gives it, or with an ``index`` one of several, for values in the place of what is
    ``given``, where signals and constants stand for tensors; ``untraced``, nothing is followed.

    Example:
        >>> import torch, shiftcheck
        >>> angles = 0.3 * torch.arange(12)[:, None]
        >>> band = (torch.arange(12) - torch.arange(12)[:, None]).abs() <= 2
        >>> def rotary(x):
        ...     a, b = x.transpose(1, 2).chunk(2, -1)
        ...     cos, sin = angles.cos(), angles.sin()
        ...     t = torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
        ...     scores = (t @ t.transpose(1, 2)).masked_fill(~band, -torch.inf)
        ...     return (scores.softmax(-1) @ x.transpose(1, 2)).transpose(1, 2)
        >>> shiftcheck.geometry(rotary, (1, 4, 12)).outputs[0].valid
        (((2, 10),),)
    """

    packet: str
    call: Callable[..., Any]
    untraced: Callable[[], AbstractContextManager[None]]
    given: Sequence[Any]
    named: Mapping[str, Any]
    index: int | None = None


@dataclass(frozen=True, eq=False)
class Recipe:
    """How a tensor was made of a part of another one: two tensors of one recipe obey one law.

    ``starts``: for each axis that was cut, the pixels from the first sample of ``whole`` to the
    first of this one. ``steps``: stands for the operations since, and for all their arguments.

    Example:
        >>> from shiftcheck.lattice.axis import input_axis
        >>> from shiftcheck.rules import Factor, Layout, find_rule
        >>> x = Layout(((Factor("axis", 16, axis=0),),), (input_axis(16, circular=False),))
        >>> part = find_rule("aten::slice", "Tensor")(x, 0, 4, 12)
        >>> part.recipe.whole is x, str(part.recipe.starts[0])
        (True, '4')
    """

    whole: Layout
    starts: Mapping[int, Fraction]
    steps: int = 0


@dataclass(frozen=True, eq=False)
class Layout:
    """What is known of a tensor that depends on the input: its dimensions, axes and causes.

    ``source``: of which tensor it is a slice, while its values are still the same. ``recipe``: how
    it was made of such a slice. ``is_mask``: its values are true or false. ``pairs``: what it
    relates, while nothing else was done to it than is known there. ``made``: how it was made, if
    place by place.

    Example:
        >>> from shiftcheck.lattice.axis import input_axis
        >>> dims = ((Factor("plain", 1),), (Factor("plain", 3),), (Factor("axis", 16, axis=0),))
        >>> signal = Layout(dims, (input_axis(16, circular=False),))
        >>> signal.shape, signal.axis_in(2)
        ((1, 3, 16), 0)
    """

    dims: tuple[Dim, ...]
    axes: tuple[AxisState, ...]
    causes: tuple[Cause, ...] = ()
    source: Slice | None = field(default=None, init=False, repr=False)
    recipe: Recipe | None = field(default=None, init=False, repr=False)
    is_mask: bool = field(default=False, init=False, repr=False)
    pairs: Pairs | None = field(default=None, init=False, repr=False)
    made: Made | None = field(default=None, init=False, repr=False)

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


def as_slice(layout: Layout, whole: Layout, dim: int, chosen: range) -> Layout:
    """The same signal, known to be a slice of another; whatever is made of it is none any more."""
    out = replace(layout)
    object.__setattr__(out, "source", Slice(whole, dim, chosen))
    object.__setattr__(out, "recipe", layout.recipe)
    return out


def with_other_dims(layout: Layout, dims: Sequence[Dim]) -> Layout:
    """The same values with dimensions of size 1 more or less: still what they were made of."""
    out = replace(layout, dims=tuple(dims))
    object.__setattr__(out, "recipe", layout.recipe)
    return out


def with_causes(layout: Layout, causes: Sequence[Cause]) -> Layout:
    """The same values with other causes: still what they were made of."""
    out = by_recipe(layout, layout.recipe)
    object.__setattr__(out, "causes", tuple(causes))
    return out


def by_recipe(layout: Layout, recipe: Recipe | None) -> Layout:
    """The same signal, known to be made so; whatever is made of it is so no more."""
    out = replace(layout)
    object.__setattr__(out, "source", layout.source)
    object.__setattr__(out, "recipe", recipe)
    return out


def as_mask(layout: Layout) -> Layout:
    """The same signal, known to be true or false."""
    out = by_recipe(layout, layout.recipe)
    object.__setattr__(out, "is_mask", True)
    return out


def recipe_of_part(layout: Layout, axis: int, chosen: range, stride: Fraction) -> Recipe:
    """The recipe of the samples ``chosen`` of an axis, which are ``stride`` pixels apart."""
    before = layout.recipe or Recipe(layout, {})
    start = before.starts.get(axis, Fraction(0)) + chosen.start * stride
    steps = before.steps if chosen.step == 1 else hash((before.steps, "every", chosen.step))
    return Recipe(before.whole, {**before.starts, axis: start}, steps)


def noted(layout: Layout, *, pairs: Pairs | None = None, made: Made | None = None) -> Layout:
    """The same signal, known to relate pairs, or how it was made; what is made of it is not."""
    if pairs is None and made is None and layout.pairs is None and layout.made is None:
        return layout
    out = by_recipe(layout, layout.recipe)
    object.__setattr__(out, "is_mask", layout.is_mask)
    object.__setattr__(out, "pairs", pairs)
    object.__setattr__(out, "made", made)
    return out


def plain(size: int) -> Dim:
    """A dimension that is neither batch nor axis."""
    return () if size == 1 else (Factor("plain", size),)


def uniform(size: int) -> Dim:
    """A dimension along which all values are the same."""
    return () if size == 1 else (Factor("uniform", size),)


def no_longer_uniform(layout: Layout, dims: Iterable[int] | None = None) -> Layout:
    """The same signal, of whose ``dims`` (all by default) it is not known that they are uniform."""
    chosen = set(range(len(layout.dims)) if dims is None else dims)

    def faded(factor: Factor) -> Factor:
        return Factor("plain", factor.size) if factor.kind == "uniform" else factor

    found = [d for d in sorted(chosen) if any(f.kind == "uniform" for f in flat(layout.dims[d]))]
    new = [mapped(dim, faded) if d in found else dim for d, dim in enumerate(layout.dims)]
    return replace(layout, dims=tuple(new)) if found else layout


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


def with_dims(layout: Layout, dims: Sequence[Dim]) -> Layout:
    """The same values with other dimensions; an axis without a factor left is gone.

    Raises GeometryError where only some of the factors of a split axis are left.
    """
    out = replace(layout, dims=tuple(dims))
    axes = list(layout.axes)
    for a, state in enumerate(layout.axes):
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


def reduced(axis: Axis) -> Gone:
    """The state of an axis after a reduction over it."""
    partial = not axis.one_turn if axis.circular else _is_cropped(axis)
    return Gone(
        exact=axis.one_turn,
        lattice=axis.lattice,
        broken=axis.broken,
        anchored=axis.anchored or partial or axis.different is not None,
    )


def _is_cropped(axis: Axis) -> bool:
    """Whether samples beside the stored ones are left out that see nothing beyond the input."""
    beside = np.array([-1, axis.size])
    first, last = axis.first_of(beside), axis.last_of(beside)
    inside = (first <= last) & (first >= 0) & (last <= axis.pixels - 1)
    return bool(inside.any())


def with_axis(layout: Layout, axis: int, state: Axis) -> Layout:
    """The same signal with another geometry of one axis; its size may change where it is whole.

    Raises GeometryError where the size of a split axis changes.

    Example:
        >>> from shiftcheck.lattice.axis import input_axis
        >>> from shiftcheck.rules import Factor, Layout, resample, window, with_axis
        >>> row = (Factor("axis", 16, axis=0),)
        >>> x = Layout((row,), (input_axis(16, circular=False),))
        >>> out = with_axis(x, 0, resample(x.geometry(0), window(2, [0]), 8))
        >>> out.shape, out.geometry(0).period
        ((8,), 2)
    """
    factors = layout.factors_of(axis)
    if state.size != math.prod(f.size for f in factors) and len(factors) > 1:
        raise GeometryError(f"the split axis {axis} gets another size")

    def resized(factor: Factor) -> Factor:
        mine = factor.kind == "axis" and factor.axis == axis and len(factors) == 1
        return replace(factor, size=state.size) if mine else factor

    dims = tuple(tuple(resized(f) for f in dim) for dim in layout.dims)
    axes = tuple(state if a == axis else old for a, old in enumerate(layout.axes))
    return replace(layout, dims=dims, axes=axes)


def with_dim(layout: Layout, dim: int, new: Dim) -> Layout:
    """The same signal with one dimension replaced."""
    dims = list(layout.dims)
    dims[dim] = new
    return with_dims(layout, dims)


def valid_everywhere(layout: Layout, given: Sequence[AxisState]) -> Layout:
    """The signal as if no sample of it had seen padding, and nothing had broken it.

    A lost axis that is still a dimension of its own gets the samples' places anew, spread evenly
    over those of the input, whose axes are ``given``.
    """
    dims, states = list(layout.dims), list(layout.axes)
    for axis, (state, whole) in enumerate(zip(layout.axes, given, strict=True)):
        if isinstance(state, Axis):
            states[axis] = replace(all_valid(state), broken=False)
        elif isinstance(state, Lost) and isinstance(whole, Axis) and _has_own_dim(layout, axis):
            size = size_of(dims[2 + axis])
            states[axis] = scaled_axis(whole.pixels, size, circular=whole.circular)
            dims[2 + axis] = (Factor("axis", size, axis),)
    return Layout(tuple(dims), tuple(states))


def _has_own_dim(layout: Layout, axis: int) -> bool:
    """Whether a lost axis is where it would be in ``[batch, channels, *spatial]``."""
    if len(layout.dims) != len(layout.axes) + 2:
        return False
    kinds = [f.kind for f in layout.dims[2 + axis]]
    return kinds == ["plain"] and size_of(layout.dims[2 + axis]) > 0


def with_cause(layout: Layout, cause: Cause) -> Layout:
    """The same signal with one more cause, unless it is known of the same layer already.

    Example:
        >>> from shiftcheck.lattice.axis import input_axis
        >>> from shiftcheck.rules import Factor, Layout, with_cause
        >>> row = (Factor("axis", 16, axis=0),)
        >>> x = Layout((row,), (input_axis(16, circular=False),))
        >>> from shiftcheck.report import Cause
        >>> [cause.kind for cause in with_cause(x, Cause(kind="DATA_DEPENDENT")).causes]
        ['DATA_DEPENDENT']
    """
    key = _key(cause)
    known = any(c.layer == cause.layer and _key(c) == key for c in layout.causes)
    return layout if known else replace(layout, causes=(*layout.causes, cause))


def _key(cause: Cause) -> tuple[object, ...]:
    """What two causes have in common that tell the same of the same layer."""
    return cause.layer, cause.kind, cause.axis, cause.period, cause.latent


@dataclass(frozen=True)
class Site:
    """Where something happens: the layer, and the operation with its name in torch."""

    layer: str
    op: str
    operation: str


def causes_at(causes: tuple[Cause, ...], place: Cause | Site) -> tuple[Cause, ...]:
    """The causes, those that have no layer yet with the layer and the operation of ``place``."""
    if all(c.layer for c in causes):
        return causes
    at, op, operation = place.layer, place.op, place.operation
    kept: dict[object, Cause] = {}
    for cause in causes:
        here = cause if cause.layer else replace(cause, layer=at, op=op, operation=operation)
        kept.setdefault(_key(here) if here.layer == at else id(here), here)
    return tuple(kept.values())


def lose(layout: Layout, axes: Iterable[int], cause: Cause) -> Layout:
    """The same signal without the geometry of ``axes``: their factors become plain.

    Example:
        >>> from shiftcheck.lattice.axis import input_axis
        >>> from shiftcheck.rules import Factor, Layout, lose
        >>> row = (Factor("axis", 16, axis=0),)
        >>> x = Layout((row,), (input_axis(16, circular=False),))
        >>> from shiftcheck.report import Cause
        >>> out = lose(x, [0], Cause(kind="INDEX"))
        >>> out.axes, out.axis_in(0)
        ((Lost(kind='INDEX'),), None)
    """
    lost = sorted(set(axes))
    out = _without_geometry(layout, dict.fromkeys(lost, Lost(cause.kind)))
    for axis in lost:
        out = with_cause(out, replace(cause, axis=axis))
    return out


def _without_geometry(layout: Layout, lost: Mapping[int, Lost]) -> Layout:

    def faded(factor: Factor) -> Factor:
        return Factor("plain", factor.size) if factor.axis in lost else factor

    dims = tuple(mapped(dim, faded) for dim in layout.dims)
    states: list[AxisState] = list(layout.axes)
    for axis, state in lost.items():
        if not isinstance(states[axis], Lost):
            states[axis] = state
    return Layout(dims, tuple(states), layout.causes)


def opaque(shape: Sequence[int], parents: Sequence[Layout], cause: Cause) -> Layout:
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
    out = Layout(tuple(dims), states, merge_causes(parents))
    for axis in range(len(states)):
        out = with_cause(out, replace(cause, axis=axis))
    return out


def merge_causes(layouts: Sequence[Layout]) -> tuple[Cause, ...]:
    """The causes of all the signals, each once.

    Deep networks join tensors whose causes begin alike: of those, only the longest is looked at.
    """
    out: tuple[Cause, ...] = ()
    for causes in {id(s.causes): s.causes for s in layouts}.values():
        if causes[: len(out)] == out:
            out = causes
        elif out[: len(causes)] != causes:
            out = _united(out, causes)
    return out


def _united(one: tuple[Cause, ...], other: tuple[Cause, ...]) -> tuple[Cause, ...]:
    same = {id(cause) for cause in one}
    fresh = [cause for cause in other if id(cause) not in same]
    known = {_key(cause) for cause in one} if fresh else set()
    return (*one, *(cause for cause in fresh if _key(cause) not in known))


def regroup(layout: Layout, shape: Sequence[int]) -> Layout:
    """The layout after a view to ``shape``; raises GeometryError where it cuts across a factor."""
    queue = [f for dim in layout.dims for f in dim]
    dims: list[Dim] = []
    for size in shape:
        taken, queue = _take(queue, size)
        dims.append(taken)
    trailing = [f for f in queue if f.size != 1]
    if trailing:
        raise GeometryError(f"a view to {tuple(shape)} leaves factors over")
    return with_dims(layout, dims)


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
    layout: Layout, dims: Sequence[int], change: Callable[[Axis, int], Axis], sizes: Sequence[int]
) -> Layout:
    """Apply ``change(axis, i)`` to the axis in each of ``dims``; plain ones just get their size.

    Raises GeometryError where a dimension holds an axis together with something else.

    Example:
        >>> from shiftcheck.lattice.axis import input_axis
        >>> from shiftcheck.rules import Factor, Layout, map_axes, resample, window
        >>> row = (Factor("axis", 16, axis=0),)
        >>> x = Layout((row,), (input_axis(16, circular=False),))
        >>> def halved(axis, i):
        ...     return resample(axis, window(2, [0]), 8)
        >>> map_axes(x, [0], halved, [8]).geometry(0).period
        2
    """
    out = layout
    for i, dim in enumerate(dims):
        axis = layout.axis_in(dim)
        if axis is not None:
            out = with_axis(out, axis, change(layout.geometry(axis), i))
        elif all(f.kind == "plain" for f in layout.dims[dim]):
            out = with_dim(out, dim, plain(sizes[i]))
        else:
            raise GeometryError(f"dimension {dim} holds more than one axis")
    return out
