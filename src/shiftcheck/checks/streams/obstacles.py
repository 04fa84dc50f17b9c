"""What the layers of a model need to know of the rest of a stream, from the causes on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shiftcheck.checks.tiles.borders import goes_around
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import AxisState, Gone
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.report.streams import Memory, StreamLayer
from shiftcheck.rules.recurrence import SEES_THE_PAST
from shiftcheck.tracing.traced import Row

BY_KIND = {
    CauseKind.MIXING: Memory.FIXED_SIZE,
    CauseKind.INDEX: Memory.FIXED_SIZE,
    CauseKind.POSITION: Memory.POSITION,
    CauseKind.RESIZE: Memory.RATIO,
    CauseKind.DATA_DEPENDENT: Memory.UNKNOWN,
    CauseKind.MEASURED: Memory.UNKNOWN,
    CauseKind.STOCHASTIC: Memory.UNKNOWN,
    CauseKind.BATCH_COUPLED: Memory.UNKNOWN,
    CauseKind.UNSUPPORTED_OP: Memory.UNKNOWN,
}
"""What a cause of a kind means for a stream; the others keep none from being run."""

PRODUCTS = ("attention", "matmul", "bmm", "einsum", "softmax", "mm")
"""Parts of the names of operations that relate each place to others."""


def needs_of(
    rows: Sequence[Row], outputs: Sequence[Row], alone: Sequence[Row], axis: int, *, steady: bool
) -> list[StreamLayer]:
    """Every layer on the way to the outputs that needs more than a window of its input.

    ``alone``: the layers with the geometry that each has on its own input, as far as it is known.
    ``steady``: the outputs go on alike at another length, so that no ratio depends on it.
    """
    causes = dict.fromkeys(c for row in outputs for c in row.layout.causes)
    found: dict[tuple[str, Memory], StreamLayer] = {}
    for cause in causes:
        regular = steady and cause.kind == CauseKind.RESIZE and cause.period is not None
        if cause.axis not in (None, axis) or regular:
            continue
        memory = _memory_of(cause, rows, alone, axis)
        if memory is not None:
            layer = StreamLayer(layer=cause.layer, op=cause.op, memory=memory, detail=cause.detail)
            found.setdefault((cause.layer, memory), layer)
    endless = {layer for layer, memory in found if memory.finite is False}
    told = [n for n in found.values() if n.memory is not Memory.UNKNOWN or n.layer not in endless]
    statistics = {n.layer for n in told if n.memory is Memory.STATISTIC}
    if statistics:  # where it is combined with the samples again is no cause of its own
        told = [n for n in told if n.memory is not Memory.EVERYTHING]
    return [*told, *(n for row in outputs for n in _of_output(row, told, axis))]


def _memory_of(cause: Cause, rows: Sequence[Row], alone: Sequence[Row], axis: int) -> Memory | None:
    if cause.kind == CauseKind.PADDING:
        return Memory.WRAPPED if goes_around(cause) else None
    relates = any(part in cause.op.lower() for part in PRODUCTS)
    if cause.kind is CauseKind.MEASURED and relates and _sees_all_of_the_past(cause, alone, axis):
        return Memory.PAST
    if cause.kind != CauseKind.GLOBAL:
        return BY_KIND.get(cause.kind)
    row = next((r for r in rows if (r.path or r.name) == cause.layer), None)
    ahead = row is not None and _begins_to_see_the_future(row, axis)
    if cause.detail.endswith(SEES_THE_PAST):
        if ahead:
            both = _sees_both_sides(cause, alone, axis)
            return Memory.BIDIRECTIONAL if both else Memory.BACKWARDS
        return Memory.RECURRENT
    if relates:
        one_sided = row is not None and _sees_one_side(row, axis)
        return Memory.PAST if one_sided else Memory.ATTENTION
    statistic = "statistics" in cause.detail or "reduction" in cause.detail
    return Memory.STATISTIC if statistic else Memory.EVERYTHING


def _halo(state: AxisState) -> tuple[float, float]:
    return state.halo if isinstance(state, Axis) else (math.nan, math.nan)


def _given(row: Row, axis: int) -> list[tuple[float, float]]:
    return [_halo(s.axes[axis]) for s in row.entering if s is not None]


def _begins_to_see_the_future(row: Row, axis: int) -> bool:
    before = _given(row, axis)
    return math.isinf(_halo(row.layout.axes[axis])[1]) and not any(
        math.isinf(halo[1]) for halo in before
    )


def _sees_both_sides(cause: Cause, alone: Sequence[Row], axis: int) -> bool:
    """Whether a layer by itself sees all of the past, and of the future as well."""
    own = [row for row in alone if (row.path or row.name) == cause.layer]
    halos = [_halo(row.layout.axes[axis]) for row in own]
    return any(math.isinf(left) and math.isinf(right) for left, right in halos)


def _sees_all_of_the_past(cause: Cause, alone: Sequence[Row], axis: int) -> bool:
    """Whether a layer by itself relates each place to all before it, and not to all behind it.

    So much is known of it, whatever else of it comes from experiments.
    """
    own = [row for row in alone if (row.path or row.name) == cause.layer]
    return bool(own) and all(_sees_one_side(row, axis) for row in own)


def _sees_one_side(row: Row, axis: int) -> bool:
    halo = _halo(row.layout.axes[axis])
    return math.isinf(halo[0]) and not math.isinf(halo[1])


def _of_output(row: Row, told: Sequence[StreamLayer], axis: int) -> list[StreamLayer]:
    """What an output says beside the causes that lead to it."""
    state = row.layout.axes[axis]
    known = any(n.memory.finite is not True for n in told)
    if known:
        return []
    if isinstance(state, Gone) or not row.layout.axes_in(range(len(row.layout.dims))):
        detail = "it has no time axis: it is there when the stream has ended"
        memory = Memory.EVERYTHING
    elif not isinstance(state, Axis):
        detail, memory = "where its samples stand is not known", Memory.UNKNOWN
    elif state.stride < 0:
        detail, memory = "it runs against time", Memory.BACKWARDS
    elif math.isinf(state.halo[1]):
        detail, memory = "it sees all of the future", Memory.EVERYTHING
    elif math.isinf(state.halo[0]) and not any(n.memory is Memory.RECURRENT for n in told):
        detail, memory = "it sees all of the past", Memory.UNKNOWN
    elif state.different is not None:
        detail, memory = "some samples obey another law than the others", Memory.UNKNOWN
    else:
        return []
    return [StreamLayer(layer=row.name, op=row.op, memory=memory, detail=detail)]
