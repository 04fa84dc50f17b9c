"""Which layers keep tiles from giving what the whole does, and how far each of them looks."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from shiftcheck.checks.tiles.structure import OWN, Structure
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.tiles import is_tileable
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.report.tiles import Blocking, PooledStatistic, Reach
from shiftcheck.tracing.traced import Row

REACHES = {
    CauseKind.GLOBAL: Reach.GLOBAL,
    CauseKind.MIXING: Reach.GLOBAL,
    CauseKind.POSITION: Reach.LOCAL,
    CauseKind.INDEX: Reach.LOCAL,
    CauseKind.RESIZE: Reach.LOCAL,
    CauseKind.DATA_DEPENDENT: Reach.UNKNOWN,
    CauseKind.STOCHASTIC: Reach.UNKNOWN,
    CauseKind.BATCH_COUPLED: Reach.UNKNOWN,
    CauseKind.UNSUPPORTED_OP: Reach.UNKNOWN,
}
"""How far the cause of a kind looks; the others keep no tile of a plane from being exact."""

OPENS = (CauseKind.PADDING, CauseKind.STRIDE)
"""What keeps a circle from being closed."""


def blocking_of(whole: Structure, pooled: Sequence[int], axes: Collection[int]) -> list[Blocking]:
    """The layers on the way to the outputs that break the law of these axes."""
    layouts = whole.layouts(pooled)
    causes = dict.fromkeys(c for layout in layouts for c in layout.causes)
    circles = {a for a in axes for s in layouts if getattr(s.axes[a], "circular", False)}
    known = [c for c in causes if not c.latent and _concerns(c, axes)]
    found = [c for c in known if c.kind in REACHES]
    if not found:  # what opens a circle
        found = [c for c in known if c.kind in OPENS and _concerns(c, circles)]
    with_period = [c for c in found if c.period is not None]
    decisive = [c for c in found if c.period is None] or with_period
    first = {(c.layer, c.op, c.kind): c for c in reversed(decisive)}
    return [_of_cause(c) for c in dict.fromkeys(decisive) if first[c.layer, c.op, c.kind] is c]


def _concerns(cause: Cause, axes: Collection[int]) -> bool:
    return cause.axis is None or cause.axis in axes


def _of_cause(cause: Cause) -> Blocking:
    return Blocking(
        layer=cause.layer.replace(OWN, "output"),
        op=cause.op,
        reach=REACHES.get(cause.kind, Reach.LOCAL),
        kind=str(cause.kind),
        detail=cause.detail,
    )


def first_untileable(whole: Structure, pooled: Sequence[int], axis: int) -> Row:
    """The first layer that leaves nothing to be cut along an axis, such as one sample of it all."""
    ends = [*whole.outputs, *(whole.fed[n] for n in pooled)]
    found = (row for row in (*whole.rows, *ends) if not _can_be_cut(row, axis, whole.sizes[axis]))
    return next(found, ends[-1])


def _can_be_cut(row: Row, axis: int, pixels: int) -> bool:
    state = row.layout.axes[axis]
    near = not isinstance(state, Axis) or state.lattice < pixels
    return near and is_tileable(row.layout, axis, circular=False)


def blocking_row(row: Row) -> Blocking:
    """A layer that does something else at another size of the image."""
    own = [c for c in reversed(row.layout.causes) if c.layer == (row.path or row.name)]
    kind = next((c for c in own if c.kind in REACHES), next(iter(own), None))
    return Blocking(
        layer=row.name,
        op=row.op,
        reach=Reach.LOCAL,
        kind="" if kind is None else str(kind.kind),
        detail="" if kind is None else kind.detail,
    )


def blocking_statistic(statistic: PooledStatistic) -> Blocking:
    """A layer that needs a statistic of the whole."""
    return Blocking(
        layer=statistic.layer,
        op=statistic.op,
        reach=Reach.REDUCIBLE,
        kind=str(CauseKind.GLOBAL),
    )
