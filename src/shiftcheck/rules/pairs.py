"""Attention that relates each place of an axis to others: which ones, and what that makes of it.

Scores, weights and what is summed with them are followed here beside their layout, which says that
every sample may depend on all others. Whatever is done to them that is not known here, ends that.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftcheck.lattice.axis import Axis, join
from shiftcheck.lattice.bands import Codes, Reach, causal, reached, reaches
from shiftcheck.lattice.causes import merge_causes, with_cause
from shiftcheck.lattice.factors import Dim
from shiftcheck.lattice.layout import Layout, Pairs
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.rules.note_causes import note_new_causes, note_padding
from shiftcheck.rules.operands import Constant
from shiftcheck.rules.turned import by_distance_alone
from shiftcheck.rules.weights import by_table

BORDER = "places at the border are related to fewer others"
WHOLE = "each place is related to all others"
PAST = "each place is related to all on one side of it"
AHEAD = "each place is related to all before it, and to some after it"
PATTERN = "which places are related repeats"
LATENT = "a parameter for each pair of places, the same now wherever they are"

HIDDEN = -1e4
"""What is this much below the greatest of its place has no share: no scores differ by as much.

Scores may well differ by 100, which hides a seam of windows but promises no halo.
"""

DISTANCE = "that scores depend on the distance of places alone comes from experiments"

Table = NDArray[Any]
"""Values for each pair, ``[*channels, places, places]``."""


def related(
    queries: Layout, keys: Layout, places: tuple[Dim, Dim], *, keys_last: bool
) -> Pairs | None:
    """What scores relate that are products of queries and keys; None where that is no whole axis.

    ``places``: the dimension of the queries, and that of the keys as what they are related to; in
    the keys it is their last one (``keys_last``) or the one before.
    """
    asking, asked = places
    axes = tuple(f.axis for f in asking)
    alike = [replace(f, kind="axis", stride=Fraction(0)) for f in asked] == list(asking)
    if not axes or not alike or any(f.kind != "axis" for f in asking):
        return None
    for factor in asking:
        states = [s.axes[factor.axis] for s in (queries, keys)]
        known = [s for s in states if isinstance(s, Axis) and s.size == factor.size]
        if len(known) < len(states) or len({s.stride for s in known}) > 1:
            return None
    sizes = tuple(f.size for f in asking)
    broken = any(s.geometry(a).broken for s in (queries, keys) for a in axes)
    untold = by_distance_alone(queries, keys, axes, keys_last=keys_last) if broken else None
    if untold is not None:
        queries, keys = untold.queries, untold.keys
    return Pairs(
        places=places,
        axes=axes,
        sizes=sizes,
        asking=queries.axes,
        asked=keys.axes,
        causes=merge_causes([queries, keys]),
        codes=None if untold is None else np.ones((math.prod(sizes),) * 2, dtype=np.int64),
        measured=untold is not None and not untold.exact,
    )


# -- what is done to scores and weights ---------------------------------------------------------


def with_added(
    pairs: Pairs, constant: Constant, leading: Sequence[Dim], *, sign: float = 1
) -> Pairs | None:
    """After a constant was added to the scores, or, with a ``sign`` of -1, subtracted."""
    table = _table(pairs, constant, leading)
    if pairs.stage != "scores" or table is None:
        return None
    term = sign * table.astype(np.float64)
    bias = term if pairs.bias is None else pairs.bias + term
    return replace(pairs, bias=bias, latent=pairs.latent or constant.parameter)


def with_taking_part(pairs: Pairs, where: Constant, leading: Sequence[Dim]) -> Pairs | None:
    """After all scores were hidden but those where a boolean constant holds; None for others."""
    values = where.values()
    if values is None or values.dtype != np.bool_:
        return None
    return with_filled(pairs, where, -math.inf, leading, elsewhere=True)


def with_filled(
    pairs: Pairs,
    where: Constant,
    value: float,
    leading: Sequence[Dim],
    *,
    elsewhere: bool = False,
) -> Pairs | None:
    """After a value was put in the place of some of the scores, or 0 in that of some weights.

    ``elsewhere``: not where the constant holds, but where it does not.
    """
    table = _table(pairs, where, leading)
    if table is None or pairs.stage == "products":
        return None
    table = (table == 0) if elsewhere else (table != 0)
    out = _told_apart(pairs, table)
    if pairs.stage == "weights":
        return out if value == 0 else None
    if pairs.bias is None and value > HIDDEN:
        return out
    return replace(out, bias=np.where(table, value, 0.0 if pairs.bias is None else pairs.bias))


def with_factor(pairs: Pairs, constant: Constant, leading: Sequence[Dim]) -> Pairs | None:
    """After a product with a constant: where it is 0, what a pair had is gone."""
    table = _table(pairs, constant, leading)
    if table is None or pairs.bias is not None:
        return None
    out = _multiplied(pairs, table)
    return replace(out, latent=pairs.latent or constant.parameter)


def with_triangle(pairs: Pairs, diagonal: int, *, upper: bool) -> Pairs | None:
    """After zeros were put on one side of a diagonal of the pairs."""
    if pairs.bias is not None:
        return None
    places = math.prod(pairs.sizes)
    ones = np.ones((places, places))
    return _multiplied(pairs, np.triu(ones, diagonal) if upper else np.tril(ones, diagonal))


def _multiplied(pairs: Pairs, table: Table) -> Pairs:
    """The pairs after a product; a softmax has seen all of what its weights are made of."""
    if pairs.stage == "weights":
        return _told_apart(pairs, table)
    stage = pairs.stage if table.all() else "products"
    return replace(_told_apart(pairs, table, table != 0), stage=stage)


def with_number(pairs: Pairs, factor: float) -> Pairs | None:
    """After a product with a number."""
    if not math.isfinite(factor):
        return None
    with np.errstate(invalid="ignore"):  # no number is left where infinity is multiplied by 0
        return pairs if pairs.bias is None else replace(pairs, bias=pairs.bias * factor)


def with_pointwise(
    pairs: Pairs, constants: Sequence[Constant], leading: Sequence[Dim]
) -> Pairs | None:
    """After some function of each score and constants."""
    if pairs.stage != "scores" or pairs.bias is not None:
        return None
    out = pairs
    for constant in constants:
        table = _table(pairs, constant, leading)
        if table is None:
            return None
        out = replace(_told_apart(out, table), latent=out.latent or constant.parameter)
    return out


def with_softmax(pairs: Pairs) -> Pairs | None:
    """After a softmax over all that each place is related to."""
    if pairs.stage != "scores":
        return None
    if pairs.bias is None:
        return replace(pairs, stage="weights")
    shape = (*pairs.bias.shape[:-2], *[math.prod(pairs.sizes)] * 2)
    bias = np.broadcast_to(pairs.bias, shape)
    greatest = bias.max(-1, keepdims=True)
    seen = bias > np.where(np.isneginf(greatest), 0, greatest) + HIDDEN
    return replace(_told_apart(pairs, bias, seen), stage="weights", bias=None)


def _table(pairs: Pairs, constant: Constant, leading: Sequence[Dim]) -> Table | None:
    """The values of a constant; None where they are not known, or differ along more than channels.

    ``leading``: the dimensions before those of the places.
    """
    values = constant.values()
    rank = len(leading) + 2
    if values is None or values.ndim > rank or np.iscomplexobj(values):
        return None
    values = values.reshape((1,) * (rank - values.ndim) + values.shape)
    if any(n not in (1, math.prod(pairs.sizes)) for n in values.shape[-2:]):
        return None
    for d, dim in enumerate(leading):
        if values.shape[d] > 1 and any(f.kind not in ("plain", "copies") for f in dim):
            return None
    return values


def _told_apart(pairs: Pairs, table: Table, seen: Table | None = None) -> Pairs:
    """The pairs after a constant treated them as the table says, and hid all but those ``seen``."""
    places = math.prod(pairs.sizes)
    codes = pairs.codes
    channels = np.broadcast_to(table, (*table.shape[:-2], places, places))
    channels = channels.reshape(-1, places, places)
    shown = np.ones((1, 1, 1), dtype=bool) if seen is None else seen.reshape(-1, *seen.shape[-2:])
    shown = np.broadcast_to(shown, channels.shape)
    any_seen = shown.any(0)
    for values, visible in zip(channels, shown, strict=True):
        codes = _finer(codes, _numbered(values, visible))
    assert codes is not None
    return replace(pairs, codes=np.where(any_seen, codes, 0))


def _numbered(values: Table, visible: Table) -> Codes:
    """A number from 1 on for each value that is visible, and another one for what is not."""
    inside = values[visible]
    if not len(inside) or bool((inside == inside[0]).all()):
        return 1 + visible.astype(np.int64)
    out = np.ones(values.shape, dtype=np.int64)
    out[visible] = 2 + np.unique(inside, return_inverse=True)[1]
    return out


def _finer(codes: Codes | None, more: Codes) -> Codes:
    """One number for each pair of numbers; what is hidden stays so."""
    if codes is None:
        return more
    both = codes * (int(more.max()) + 1) + more
    numbered = 1 + np.unique(both, return_inverse=True)[1].reshape(codes.shape)
    return np.where(codes == 0, 0, numbered)


# -- what comes of it ---------------------------------------------------------------------------


def summed(out: Layout, pairs: Pairs, values: Layout) -> Layout:
    """``out``, the values summed over all that each place is related to, as far as it looks."""
    if pairs.stage == "scores" or pairs.codes is None:
        return out
    states = [[side[a] for a in pairs.axes] for side in (pairs.asking, pairs.asked, values.axes)]
    if not all(isinstance(s, Axis) for side in states for s in side):
        return out
    circles = [
        all(isinstance(s, Axis) and s.one_turn for s in one) for one in zip(*states, strict=True)
    ]
    law = _law(pairs, circles)
    return _narrowed(out, pairs, values) if law is None else within_reach(out, pairs, values, law)


def _narrowed(out: Layout, pairs: Pairs, values: Layout) -> Layout:
    """``out`` where constants differ from pair to pair, which none but those that are seen have.

    What is hidden obeys a law all the same, and ends what a sample sees.
    """
    if len(pairs.axes) != 1 or pairs.codes is None:
        return out
    (a,), shown = pairs.axes, replace(pairs, codes=(pairs.codes != 0).astype(np.int64))
    law, state = _law(shown, [False]), out.axes[a]
    held, asked = values.axes[a], pairs.asked[a]
    asking = pairs.asking[a]
    if not (isinstance(state, Axis) and isinstance(held, Axis)):
        return out
    if not (isinstance(asked, Axis) and isinstance(asking, Axis)):
        return out
    seen = join(asked, held)
    table = by_table(seen, pairs.codes != 0)
    if table is not None and table.stride == asking.stride:
        return out.with_state(a, join(asking, table))
    if law is None:
        return out
    near = join(asking, reached(seen, law[0]))
    if state.lattice % near.lattice or state.stride != near.stride:
        return out
    index = np.arange(len(state.first))
    first, last = near.first_of(index), near.last_of(index)
    narrow = replace(state, first=np.maximum(state.first, first), last=np.minimum(state.last, last))
    return Layout(out.dims, (*out.axes[:a], narrow, *out.axes[a + 1 :]), out.causes)


def of_the_past(out: Layout, pairs: Pairs, values: Layout) -> Layout:
    """``out``, the values summed over each place and all before it."""
    return within_reach(out, pairs, values, causal(len(pairs.axes)))


def within_reach(out: Layout, pairs: Pairs, values: Layout, law: Sequence[Reach]) -> Layout:
    """The layout with the geometry of samples that look as far as the law says, and its causes."""
    given = [*pairs.causes, *values.causes]
    causes = [c for c in out.causes if c in given or c.axis not in pairs.axes]
    before, after = list(out.axes), list(out.axes)
    for axis, reach in zip(pairs.axes, law, strict=True):
        asking, asked, held = pairs.asking[axis], pairs.asked[axis], values.axes[axis]
        assert isinstance(asking, Axis)
        assert isinstance(asked, Axis)
        assert isinstance(held, Axis)
        seen = join(asked, held)
        before[axis], after[axis] = join(asking, seen), join(asking, reached(seen, reach))
    old = Layout(out.dims, tuple(before), tuple(causes))
    new = note_new_causes(old, Layout(out.dims, tuple(after), tuple(causes)), detail=PATTERN)
    bounded = [a for a, reach in zip(pairs.axes, law, strict=True) if reach.bounded]
    new = note_padding(old, new, bounded, BORDER)
    for axis, reach in zip(pairs.axes, law, strict=True):
        if not reach.bounded and old.geometry(axis).valid.any() and not new.geometry(axis).closed:
            both = AHEAD if reach.ahead else WHOLE
            detail = both if reach.before and reach.after else PAST
            new = with_cause(new, Cause(kind=CauseKind.GLOBAL, axis=axis, detail=detail))
        if pairs.measured and not new.geometry(axis).broken:
            new = with_cause(new, Cause(kind=CauseKind.MEASURED, axis=axis, detail=DISTANCE))
        if pairs.latent:
            new = with_cause(
                new, Cause(kind=CauseKind.POSITION, axis=axis, latent=True, detail=LATENT)
            )
    return new


_laws: dict[tuple[bytes, tuple[int, ...], tuple[bool, ...]], tuple[Reach, ...] | None] = {}
MOST_LAWS = 256
"""So many laws are remembered: the masks of all layers are often one."""


def _law(pairs: Pairs, circles: Sequence[bool]) -> tuple[Reach, ...] | None:
    assert pairs.codes is not None
    digest = hashlib.sha256(np.ascontiguousarray(pairs.codes).tobytes()).digest()
    key = digest, pairs.sizes, tuple(circles)
    if key not in _laws:
        if len(_laws) >= MOST_LAWS:
            _laws.clear()
        law = reaches(pairs.codes, pairs.sizes, circles)
        _laws[key] = law
        return law
    return _laws[key]
