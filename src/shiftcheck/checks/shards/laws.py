"""What each layer reads of its own input along one axis, and what that asks of other shards."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from shiftcheck.lattice.alone import relates_pairs
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import AxisState, Gone, Layout, Lost, Slice, Waves
from shiftcheck.lattice.notes import whole_of
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.report.shards import BorderMode, Exchange
from shiftcheck.tracing.reductions import KINDS, READERS
from shiftcheck.tracing.traced import Row

UNKNOWN = (
    CauseKind.UNSUPPORTED_OP,
    CauseKind.STOCHASTIC,
    CauseKind.BATCH_COUPLED,
    CauseKind.MEASURED,
    CauseKind.DATA_DEPENDENT,
)
"""Causes after which the structure does not tell what a shard needs."""

SPREAD = (
    *("softmax", "log_softmax", "_softmax", "_log_softmax", "Softmax", "LogSoftmax"),
    "logsumexp",
)
"""Functions whose sum of exponentials can be reduced over shards, beside the largest value."""

SUMMED = ("mean",)
"""Functions that need a sum alone, of what is known as moments elsewhere."""

BOTH = ("var_mean", "std_mean")
"""Functions that return two statistics."""

VALUES = ("max", "min")
"""Functions that return an index beside each value; that counts from the first sample of all."""

MOMENTS = "sum and sum of squares"
STATISTICS = {
    "maximum": "maximum",
    "minimum": "minimum",
    "sum": "sum",
    "powers": "sum of powers",
    "moments": MOMENTS,
}
MASKED = "windows that are masked in part"
BORDERS = {
    "constant padding": BorderMode.CONSTANT,
    "its own padding": BorderMode.CONSTANT,
    "windows that reach beyond the edge": BorderMode.CONSTANT,
    MASKED: BorderMode.CONSTANT,
    "reflect padding": BorderMode.REFLECT,
    "replicate padding": BorderMode.REPLICATE,
    "taps beyond the edge": BorderMode.REPLICATE,
    "circular padding": BorderMode.CIRCULAR,
    "a roll leaves a seam at a fixed place": BorderMode.CIRCULAR,
}
"""How a layer goes on beyond the ends of an axis, by what its cause says."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Law:
    """What a layer does along the axis; ``state``: of its output, its input being the signal."""

    row: Row
    state: AxisState
    exchange: Exchange
    border: BorderMode = BorderMode.NONE
    offset: bool = False
    statistic: str = ""
    detail: str = ""


def law_of(row: Row, axis: int, reducible: Collection[str]) -> Law | None:
    """The law of a layer; None where neither it nor what it is given has the axis.

    ``reducible``: the modules that depend on the whole only by statistics that can be reduced.
    """
    state = row.layout.axes[axis]
    fed = [s.axes[axis] for s in row.entering if s is not None]
    held = any(isinstance(s, Axis | Waves) for s in fed) and state is not None
    if not isinstance(state, Axis | Waves) and not held:
        hidden = _first(row, axis, UNKNOWN)
        if hidden is None:
            return None
        return Law(row=row, state=state, exchange=Exchange.UNKNOWN, detail=_told(hidden))
    exchange, detail = _exchange(row, axis, fed, reducible)
    border, understood = _border(row, axis)
    if exchange in (Exchange.HALO, Exchange.NOTHING) and not understood:
        exchange = Exchange.UNKNOWN
        detail = "what it puts at the ends of the axis is not known"
    return Law(
        row=row,
        state=state,
        exchange=exchange,
        border=border,
        offset=_first(row, axis, (CauseKind.POSITION,)) is not None or _detail(row, axis) == MASKED,
        statistic=_statistic(row.op) if exchange is Exchange.STATISTIC else "",
        detail=detail,
    )


def _exchange(
    row: Row, axis: int, fed: Sequence[AxisState], reducible: Collection[str]
) -> tuple[Exchange, str]:
    """What a layer needs of other shards, and why."""
    state = row.layout.axes[axis]
    hidden = _first(row, axis, UNKNOWN)
    if hidden is not None:
        return Exchange.UNKNOWN, _told(hidden)
    if isinstance(state, Axis):
        return _of_axis(row, axis, state, fed, reducible)
    if isinstance(state, Gone):
        if is_reducible(row, reducible):
            return Exchange.STATISTIC, ""
        return (Exchange.RUNNING if state.anchored else Exchange.EVERYTHING), _why(row, axis)
    if isinstance(state, Waves) and all(isinstance(s, Waves) for s in fed):
        return Exchange.NOTHING, ""  # the transform before it has been told
    if isinstance(state, Lost) and state.kind not in (CauseKind.MIXING, CauseKind.INDEX):
        return Exchange.UNKNOWN, _why(row, axis)
    return Exchange.EVERYTHING, _why(row, axis)


def _of_axis(
    row: Row, axis: int, state: Axis, fed: Sequence[AxisState], reducible: Collection[str]
) -> tuple[Exchange, str]:
    if relates_pairs(row.layout):  # the first half of a law: what sums the pairs up has it all
        return Exchange.NOTHING, ""
    known = _first(row, axis, (CauseKind.POSITION,))
    if state.different is not None or (state.broken and known is None):
        return Exchange.UNKNOWN, _why(row, axis) or "it does something else at other places"
    low, high = bool((state.first == -math.inf).any()), bool((state.last == math.inf).any())
    if low and high:
        if is_reducible(row, reducible):
            return Exchange.STATISTIC, ""
        return Exchange.EVERYTHING, _why(row, axis)
    if low or high:
        return Exchange.RUNNING, _why(row, axis)
    if state.stride < 0:
        return Exchange.EVERYTHING, _why(row, axis)
    if any(isinstance(s, Waves) for s in fed):
        return Exchange.EVERYTHING, "it comes from frequencies"
    return (Exchange.HALO if reads_neighbours(state) else Exchange.NOTHING), ""


def reads_neighbours(state: Axis) -> bool:
    """Whether a shard that begins and ends on the grid of a layer needs samples beyond it."""
    seen = state.first <= state.last
    if not seen.any():
        return False
    return bool(state.first[seen].min() < 0 or state.last[seen].max() >= state.lattice)


def is_reducible(row: Row, reducible: Collection[str]) -> bool:
    """Whether all that a layer needs of the whole are statistics that can be reduced."""
    if row.path in reducible:
        return True
    if "[" in row.name:
        return row.op in BOTH or (row.op in VALUES and row.name.endswith("[0]"))
    return row.op in SPREAD or f"aten::{row.op}" in READERS


def _statistic(op: str) -> str:
    if op in SUMMED or "adaptive_avg_pool" in op or "AdaptiveAvgPool" in op:
        return "sum"
    if op in SPREAD:
        return "maximum and sum of exponentials"
    if "max_pool" in op.lower() or "MaxPool" in op:
        return "maximum"
    return STATISTICS[KINDS.get(op, "moments")]


def _border(row: Row, axis: int) -> tuple[BorderMode, bool]:
    """How a layer goes on beyond both ends, and whether that is understood."""
    state = row.layout.axes[axis]
    if not isinstance(state, Axis) or state.all_are_valid or not math.isfinite(sum(state.halo)):
        return BorderMode.NONE, True
    known = BORDERS.get(_detail(row, axis))
    if known is not None:
        return known, True
    if any(s is not None and relates_pairs(s) for s in row.entering):
        return BorderMode.CONSTANT, True  # there are fewer pairs at the ends
    if row.op == "cat":
        return _of_pieces(row, axis, state)
    return BorderMode.NONE, False


def _detail(row: Row, axis: int) -> str:
    return next(
        (c.detail for c in _own(row, axis) if c.kind in (CauseKind.PADDING, CauseKind.INDEX)), ""
    )


def _of_pieces(row: Row, axis: int, state: Axis) -> tuple[BorderMode, bool]:
    """The same where a tensor is put together from parts of one, as padding by hand does."""
    pieces = [s for s in row.entering if s is not None]
    places = [place for piece in pieces for place in _places(piece, pieces, axis)]
    whole = state.pixels if len(pieces) == 1 else max(_whole(piece, axis) for piece in pieces)
    if len(pieces) == 1 and _samples_of(pieces[0], axis) is None:
        return BorderMode.CONSTANT, True
    if len(pieces) > 1 and any(_whole(piece, axis) != whole for piece in pieces):
        return BorderMode.CIRCULAR, False  # a part to which something was done
    begin = int(state.first[0])
    around = [(q + begin) % whole for q in range(state.size)]
    return BorderMode.CIRCULAR, places == around


def is_piece(row: Row, rows: Sequence[Row], axis: int) -> bool:
    """Whether a slice is taken only to be put beside what it was cut off, as in padding by hand."""
    source = row.layout.source
    if source is None or row.layout.axes_in([source.dim]) != (axis,):
        return False
    return any(
        other.op == "cat"
        and len(other.entering) > 1
        and _border(other, axis) == (BorderMode.CIRCULAR, True)
        and any(
            s is not None
            and s.source is not None
            and (s.source.whole, s.source.dim, s.source.chosen)
            == (source.whole, source.dim, source.chosen)
            for s in other.entering
        )
        for other in rows
    )


def is_unused(row: Row, rows: Sequence[Row], outputs: Sequence[Row], axis: int) -> bool:
    """Whether indices that come beside values go nowhere: to no layer, and to no output."""
    if not (_is_beside(row) and _is_lost(row.layout, axis)):
        return False
    given = (s for y in rows for s in y.entering if s is not None)
    made = (y.layout for y in (*(y for y in rows if not _is_beside(y)), *outputs))
    return not any(_is_lost(s, axis) for s in (*given, *made))


def _is_beside(row: Row) -> bool:
    return "[" in row.name and not row.name.endswith("[0]")


def _is_lost(layout: Layout, axis: int) -> bool:
    return isinstance(layout.axes[axis], Lost)


def _places(piece: Layout, pieces: Sequence[Layout], axis: int) -> list[int]:
    chosen = _samples_of(piece, axis)
    return list(range(_size([piece], axis)) if chosen is None else chosen)


def _samples_of(piece: Layout, axis: int) -> range | None:
    """The samples of an axis of which a piece is a slice; None where it has all of them."""
    source = _cut_along(piece, axis)
    return None if source is None else source.chosen


def _whole(piece: Layout, axis: int) -> int:
    """The samples of the tensor that a piece was cut off, or of the piece."""
    source = _cut_along(piece, axis)
    return _size([piece], axis) if source is None else source.whole.shape[source.dim]


def _cut_along(piece: Layout, axis: int) -> Slice | None:
    """Of what a piece is a slice along an axis."""
    source = whole_of(piece).source
    return source if source is not None and piece.axes_in([source.dim]) == (axis,) else None


def _size(pieces: Sequence[Layout], axis: int) -> int:
    return max((s.size for p in pieces if isinstance(s := p.axes[axis], Axis)), default=0)


def _own(row: Row, axis: int) -> list[Cause]:
    at = row.path or row.name
    found = [c for c in row.layout.causes if c.layer == at and c.axis in (None, axis)]
    return [c for c in found if not c.latent]


def _first(row: Row, axis: int, kinds: Collection[str]) -> Cause | None:
    return next((c for c in _own(row, axis) if c.kind in kinds), None)


def _told(cause: Cause) -> str:
    return cause.detail or cause.kind.meaning


def _why(row: Row, axis: int) -> str:
    """What the gravest of the causes of a layer says; the last one, as others may lead to it."""
    own = [c for c in _own(row, axis) if c.kind not in (CauseKind.PADDING, CauseKind.STRIDE)]
    return _told(own[0]) if own else ""
