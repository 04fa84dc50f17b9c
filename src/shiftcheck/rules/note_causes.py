"""The causes of what an operation did to an axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from shiftcheck.lattice.axis import Axis, all_valid
from shiftcheck.lattice.causes import with_cause
from shiftcheck.lattice.layout import Layout, map_axes
from shiftcheck.report.causes import Cause, CauseForm, CauseKind


def note_new_causes(
    before: Layout, after: Layout, kind: str = CauseKind.STRIDE, detail: str = ""
) -> Layout:
    """Name what an operation on single axes did: samples invalidated, or the period made longer.

    Example:
        >>> from shiftcheck.lattice.axis import input_axis
        >>> from shiftcheck.rules import Factor, Layout, note_new_causes
        >>> from shiftcheck.rules import resample, window, with_axis
        >>> row = (Factor("axis", 16, axis=0),)
        >>> x = Layout((row,), (input_axis(16, circular=False),))
        >>> halved = with_axis(x, 0, resample(x.geometry(0), window(2, [0]), 8))
        >>> [(cause.kind, cause.period) for cause in note_new_causes(x, halved).causes]
        [('STRIDE', 2)]
    """
    out = after
    for a, (old, new) in enumerate(zip(before.axes, after.axes, strict=True)):
        if isinstance(old, Axis) and isinstance(new, Axis):
            out = _note_axis(out, a, old, new, CauseKind(kind), detail)
    return out


def _note_axis(
    out: Layout, axis: int, old: Axis, new: Axis, kind: CauseKind, detail: str
) -> Layout:
    if new.lattice > old.lattice:
        out = with_cause(out, Cause(kind=kind, axis=axis, period=new.lattice, detail=detail))
    if new.circular and new.circle is None and old.circle is not None:
        pixels, step = new.pixels, abs(new.stride.numerator)
        below = pixels // step * step
        sizes = " and ".join(str(n) for n in (below, below + step) if n)
        detail = f"{pixels} pixels are no whole number of samples, {sizes} would be"
        out = with_cause(out, Cause(kind=kind, axis=axis, detail=detail))
    return out


def note_padding(before: Layout, after: Layout, axes: Iterable[int], detail: str) -> Layout:
    """Add PADDING for the axes that now have samples which read beyond the edge.

    Where nothing was valid before, or the same samples as now, nothing became invalid.

    Example:
        >>> from shiftcheck.lattice.axis import input_axis
        >>> from shiftcheck.rules import Factor, Layout, note_padding, resample, window, with_axis
        >>> row = (Factor("axis", 16, axis=0),)
        >>> x = Layout((row,), (input_axis(16, circular=False),))
        >>> blurred = with_axis(x, 0, resample(x.geometry(0), window(1, [-1, 0, 1]), 16))
        >>> [cause.kind for cause in note_padding(x, blurred, [0], "zeros").causes]
        ['PADDING']
    """
    out = after
    for axis in axes:
        old, new = before.axes[axis], after.axes[axis]
        if not isinstance(old, Axis) or not isinstance(new, Axis) or not old.any_is_valid:
            continue
        if not new.all_are_valid and not _as_valid(old, new):
            out = with_cause(out, Cause(kind=CauseKind.PADDING, axis=axis, detail=detail))
    return out


def _as_valid(old: Axis, new: Axis) -> bool:
    """Whether the samples are still the same ones, and no valid one is invalid now."""
    same = (old.stride, old.size) == (new.stride, new.size)
    return same and bool((new.valid >= old.valid).all())


def note_edges(
    before: Layout,
    after: Layout,
    dims: Sequence[int],
    change: Callable[[Axis, int], Axis],
    detail: str,
    form: CauseForm = CauseForm.PLAIN,
) -> Layout:
    """Add PADDING for the axes in ``dims`` that ``change``, as given to map_axes, reads beyond.

    Samples that were not valid before do not count, so it is this operation that does it.
    """
    out = after
    for i, dim in enumerate(dims):
        axis = before.axis_in(dim)
        if axis is None:
            continue
        if not change(all_valid(before.geometry(axis)), i).all_are_valid:
            cause = Cause(kind=CauseKind.PADDING, axis=axis, detail=detail, form=form)
            out = with_cause(out, cause)
    return out


def noted_change(
    layout: Layout,
    dims: Sequence[int],
    change: Callable[[Axis, int], Axis],
    sizes: Sequence[int],
    detail: str,
    form: CauseForm = CauseForm.PLAIN,
    since: Layout | None = None,
) -> Layout:
    """What ``map_axes`` makes of the layout, with all causes that are new ``since`` another one."""
    out = map_axes(layout, dims, change, sizes)
    out = note_new_causes(layout if since is None else since, out)
    return note_edges(layout, out, dims, change, detail, form)


STAYS = (
    CauseKind.UNSUPPORTED_OP,
    CauseKind.STOCHASTIC,
    CauseKind.BATCH_COUPLED,
    CauseKind.DATA_DEPENDENT,
)
"""The causes that matter even where the samples are not valid."""

UNNAMED = "its rule names no cause"


def note_missing_causes(before: Sequence[Layout], after: Layout) -> Layout:
    """Add the causes that a rule left out, so that whatever an axis lost has a guilty layer.

    Causes that have a layer are those of earlier ones, and explain nothing that happens here.
    """
    out = after
    for axis, new in enumerate(after.axes):
        old = [s for s in (layout.axes[axis] for layout in before) if isinstance(s, Axis)]
        if not isinstance(new, Axis) or not old or all(s is new for s in old):
            continue
        changes = list(_changes(old, new))
        known = (
            [c for c in after.causes if not c.layer and c.axis in (None, axis)] if changes else []
        )
        for kind, period in changes:
            if not _is_explained(kind, period, [c for c in known if not c.latent]):
                cause = Cause(kind=kind, axis=axis, period=period, detail=UNNAMED)
                out = with_cause(out, cause)
    return out


def _changes(old: Sequence[Axis], new: Axis) -> Iterator[tuple[CauseKind, int | None]]:
    """The kind and the period of whatever an axis lost between two geometries."""
    if new.broken and not any(s.broken for s in old):
        yield CauseKind.POSITION, None
    if new.lattice > math.lcm(*(s.lattice for s in old)):
        yield CauseKind.STRIDE, new.lattice
    if new.circular and new.circle is None and all(s.circle is not None for s in old):
        yield CauseKind.STRIDE, None
    elif not new.all_are_valid and all(s.all_are_valid for s in old):
        yield (CauseKind.GLOBAL if math.inf in new.halo else CauseKind.PADDING), None


def _is_explained(kind: str, period: int | None, known: Sequence[Cause]) -> bool:
    """Whether one of the causes that a rule named tells of a change."""
    always = {c.kind for c in known if c.period is None}
    periods = math.lcm(*(c.period for c in known if c.period is not None))
    if period is not None:
        return periods % period == 0
    if kind == CauseKind.STRIDE:
        return bool(always & {CauseKind.STRIDE, CauseKind.RESIZE})
    return bool(always) or (kind != CauseKind.POSITION and periods != 1)
