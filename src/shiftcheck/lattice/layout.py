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
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shiftcheck.lattice.axis import Axis, GeometryError, all_valid, scaled_axis
from shiftcheck.lattice.factors import SPATIAL, Dim, Factor, flat, mapped, plain, size_of
from shiftcheck.report.causes import Cause


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
        >>> layout = Layout(dims, (input_axis(16, circular=False),))
        >>> layout.shape, layout.axis_in(2)
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

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor."""
        return tuple([size_of(dim) for dim in self.dims])

    def axis_in(self, dim: int) -> int | None:
        """The spatial axis that all of dimension ``dim`` is, None where it is anything else."""
        factors = self.dims[dim]
        if len(factors) != 1 or factors[0].kind != "axis":
            return None
        axis = factors[0].axis
        return axis if factors[0].size == self.geometry(axis).size else None

    def axes_in(self, dims: Iterable[int]) -> tuple[int, ...]:
        """Every spatial axis with a factor in one of ``dims``, dimensions, each once."""
        axes = [f.axis for dim in dims for f in flat(self.dims[dim]) if f.kind in SPATIAL]
        return tuple(dict.fromkeys(axes))

    def factors_of(self, axis: int, dims: Iterable[int] | None = None) -> list[Factor]:
        """The factors of a spatial axis in ``dims`` (all of them by default), coarsest first."""
        if dims is None:
            return list(self._factors.get(axis, ()))
        factors = [f for dim in dims for f in flat(self.dims[dim])]
        mine = [f for f in factors if f.kind == "axis" and f.axis == axis]
        return sorted(mine, key=lambda f: -f.step) if len(mine) > 1 else mine

    @cached_property
    def _factors(self) -> Mapping[int, list[Factor]]:
        """The factors of each spatial axis that has any, coarsest first."""
        factors: dict[int, list[Factor]] = {}
        for dim in self.dims:
            for factor in flat(dim):
                if factor.kind == "axis":
                    factors.setdefault(factor.axis, []).append(factor)
        return {a: sorted(mine, key=lambda f: -f.step) for a, mine in factors.items()}

    def splits(self, axis: int) -> bool:
        """Whether a spatial axis is spread over several factors."""
        return len(self._factors.get(axis, ())) > 1

    def holds_copies(self, dims: Iterable[int]) -> bool:
        """Whether one of ``dims``, dimensions, holds the stacked copies."""
        return any(f.kind == "copies" for dim in dims for f in self.dims[dim])

    def geometry(self, axis: int) -> Axis:
        """The geometry of a present axis."""
        state = self.axes[axis]
        if not isinstance(state, Axis):
            raise GeometryError(f"axis {axis} has no geometry")
        return state

    def with_state(self, axis: int, state: AxisState) -> Layout:
        """The same layout with another state of one axis."""
        axes = (*self.axes[:axis], state, *self.axes[axis + 1 :])
        return Layout(self.dims, axes, self.causes)

    def with_factors(self, dim: int, factors: Dim) -> Layout:
        """The same layout with other ``factors`` along ``dim``; the states of their axes stay."""
        at = range(len(self.dims))[dim]
        dims = (*self.dims[:at], factors, *self.dims[at + 1 :])
        return Layout(dims, self.axes, self.causes)


def no_longer_uniform(layout: Layout, dims: Iterable[int] | None = None) -> Layout:
    """The same layout, of whose ``dims`` (all by default) it is not known that they are uniform."""
    chosen = set(range(len(layout.dims)) if dims is None else dims)
    if not any(f.kind == "uniform" for d in chosen for f in flat(layout.dims[d])):
        return layout

    def faded(factor: Factor) -> Factor:
        return Factor("plain", factor.size) if factor.kind == "uniform" else factor

    fading = [d for d in sorted(chosen) if any(f.kind == "uniform" for f in flat(layout.dims[d]))]
    new = [mapped(dim, faded) if d in fading else dim for d, dim in enumerate(layout.dims)]
    return Layout(tuple(new), layout.axes, layout.causes)


def with_dims(layout: Layout, dims: Sequence[Dim]) -> Layout:
    """The same values with other dimensions; an axis without a factor left is gone.

    Raises GeometryError where only some of the factors of a split axis are left.
    """
    out = Layout(tuple(dims), layout.axes, layout.causes)
    for a, state in enumerate(layout.axes):
        if isinstance(state, Waves) and not _frequencies(dims, a):
            raise GeometryError(f"the frequencies of axis {a} are reduced")
        if not isinstance(state, Axis):
            continue
        factors = out.factors_of(a)
        if not factors:
            out = out.with_state(a, reduced(state))
        elif math.prod(f.size for f in factors) != state.size:
            raise GeometryError(f"only a part of the split axis {a} is left")
    keys = [f for dim in dims for f in flat(dim) if f.kind == "key"]
    if any(not out.factors_of(f.axis) for f in keys):
        raise GeometryError("only the positions that something was related to are left")
    return out


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
    """The same layout with another geometry of one axis; its size may change where it is whole.

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
    if state.size == math.prod(f.size for f in factors):
        return layout.with_state(axis, state)
    if len(factors) > 1:
        raise GeometryError(f"the split axis {axis} gets another size")

    def resized(factor: Factor) -> Factor:
        mine = factor.kind == "axis" and factor.axis == axis and len(factors) == 1
        return replace(factor, size=state.size) if mine else factor

    dims = tuple(tuple(resized(f) for f in dim) for dim in layout.dims)
    return Layout(dims, layout.with_state(axis, state).axes, layout.causes)


def with_dim(layout: Layout, dim: int, new: Dim) -> Layout:
    """The same layout with one dimension replaced."""
    return with_dims(layout, layout.with_factors(dim, new).dims)


def valid_everywhere(layout: Layout, given: Sequence[AxisState]) -> Layout:
    """The layout as if no sample of it had seen padding, and nothing had broken it.

    A lost axis that is still a dimension of its own gets the samples' places anew, spread evenly
    over those of the input, whose axes are ``given``.
    """
    out = Layout(layout.dims, layout.axes)
    for axis, (state, whole) in enumerate(zip(layout.axes, given, strict=True)):
        if isinstance(state, Axis):
            out = out.with_state(axis, replace(all_valid(state), broken=False))
        elif isinstance(state, Lost) and isinstance(whole, Axis) and _has_own_dim(layout, axis):
            size = layout.shape[2 + axis]
            new = scaled_axis(whole.pixels, size, circular=whole.circular)
            out = out.with_state(axis, new).with_factors(2 + axis, (Factor("axis", size, axis),))
    return out


def _has_own_dim(layout: Layout, axis: int) -> bool:
    """Whether a lost axis is where it would be in ``[batch, channels, *spatial]``."""
    if len(layout.dims) != len(layout.axes) + 2:
        return False
    kinds = [f.kind for f in layout.dims[2 + axis]]
    return kinds == ["plain"] and size_of(layout.dims[2 + axis]) > 0


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
