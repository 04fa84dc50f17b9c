"""The causes of a layout, and what is left of it where they took the geometry of an axis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from shiftcheck.lattice.factors import SPATIAL, Dim, Factor, flat, mapped, plain, size_of
from shiftcheck.lattice.layout import AxisState, Layout, Lost
from shiftcheck.lattice.notes import by_recipe
from shiftcheck.report.causes import Cause


def with_cause(layout: Layout, cause: Cause) -> Layout:
    """The same layout with one more cause, unless it is known of the same layer already.

    Example:
        >>> from shiftcheck.lattice.axis import input_axis
        >>> from shiftcheck.rules import Factor, Layout, with_cause
        >>> row = (Factor("axis", 16, axis=0),)
        >>> x = Layout((row,), (input_axis(16, circular=False),))
        >>> from shiftcheck.report import Cause
        >>> [cause.kind for cause in with_cause(x, Cause(kind="DATA_DEPENDENT")).causes]
        ['DATA_DEPENDENT']
    """
    key, layer = _key(cause), cause.layer
    if any(_key(c) == key for c in layout.causes if c.layer == layer):
        return layout
    return Layout(layout.dims, layout.axes, (*layout.causes, cause))


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
    if all([c.layer for c in causes]):
        return causes
    at, op, operation = place.layer, place.op, place.operation
    kept: dict[object, Cause] = {}
    for cause in causes:
        here = cause if cause.layer else replace(cause, layer=at, op=op, operation=operation)
        kept.setdefault(_key(here) if here.layer == at else id(here), here)
    return tuple(kept.values())


def lose(layout: Layout, axes: Iterable[int], cause: Cause) -> Layout:
    """The same layout without the geometry of ``axes``: their factors become plain.

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
    out = without_geometry(layout, dict.fromkeys(lost, Lost(cause.kind)))
    for axis in lost:
        out = with_cause(out, replace(cause, axis=axis))
    return out


def without_geometry(layout: Layout, lost: Mapping[int, Lost]) -> Layout:
    """The same layout without the geometry of the axes that are ``lost``, and without a cause."""

    def faded(factor: Factor) -> Factor:
        return Factor("plain", factor.size) if factor.axis in lost else factor

    dims = tuple(mapped(dim, faded) for dim in layout.dims)
    states: list[AxisState] = list(layout.axes)
    for axis, state in lost.items():
        if not isinstance(states[axis], Lost):
            states[axis] = state
    return Layout(dims, tuple(states), layout.causes)


def opaque(shape: Sequence[int], parents: Sequence[Layout], cause: Cause) -> Layout:
    """A layout of which nothing is known but its shape and what went into it.

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
    """The causes of all the layouts, each once.

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


def with_causes(layout: Layout, causes: Sequence[Cause]) -> Layout:
    """The same values with other causes: still what they were made of."""
    out = by_recipe(layout, layout.recipe)
    object.__setattr__(out, "causes", tuple(causes))
    return out
