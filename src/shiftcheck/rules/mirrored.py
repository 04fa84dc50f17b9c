"""Axes that move against their input, as after a flip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.causes import with_cause
from shiftcheck.lattice.layout import Layout
from shiftcheck.report.causes import Cause, CauseForm, CauseKind

MIRRORED = Cause(
    kind=CauseKind.INDEX,
    detail="mirrored: it moves against its input",
    form=CauseForm.MIRRORED,
)


def note_mirrored(before: Sequence[Layout], after: Layout) -> Layout:
    """Add INDEX where an axis now moves against its input, and take it back where none does.

    Example:
        >>> from shiftcheck.lattice.axis import input_axis, resample, window
        >>> from shiftcheck.lattice.factors import Factor
        >>> from shiftcheck.lattice.layout import with_axis
        >>> row = (Factor("axis", 16, axis=0),)
        >>> x = Layout((row,), (input_axis(16, circular=False),))
        >>> flipped = with_axis(x, 0, resample(x.geometry(0), window(-1, [15]), 16))
        >>> [cause.kind for cause in note_mirrored([x], flipped).causes]
        ['INDEX']
        >>> note_mirrored([flipped], x).causes
        ()
    """
    out = after
    noted = any(c.form is CauseForm.MIRRORED for c in after.causes)
    for axis, state in enumerate(after.axes):
        if not isinstance(state, Axis) or (state.stride > 0 and not noted):
            continue
        if state.stride > 0:
            out = without_mirror(out, axis)
        elif not any(is_mirrored(layout.axes[axis]) for layout in before):
            out = with_cause(out, replace(MIRRORED, axis=axis))
    return out


def is_mirrored(state: object) -> bool:
    """Whether an axis moves against its input."""
    return isinstance(state, Axis) and state.stride < 0


def without_mirror(layout: Layout, axis: int) -> Layout:
    """The layout without the cause that an axis is mirrored."""
    left = tuple(c for c in layout.causes if c.form is not CauseForm.MIRRORED or c.axis != axis)
    return layout if len(left) == len(layout.causes) else replace(layout, causes=left)
