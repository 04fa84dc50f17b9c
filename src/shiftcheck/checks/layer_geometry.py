"""The geometry of a row as a record, with nothing measured."""

from __future__ import annotations

import math

from shiftcheck.checks.left_out import is_reduced_alike
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.gather import runs
from shiftcheck.report.causes import CauseKind
from shiftcheck.report.equivariance import LayerResult
from shiftcheck.tracing.traced import Row


def layer_result(row: Row) -> LayerResult:
    """The geometry of a row, with nothing measured."""
    layout = row.layout
    states = [s if isinstance(s, Axis) else None for s in layout.axes]
    placed = set(layout.axes_in(range(len(layout.dims))))
    known = [s if a in placed else None for a, s in enumerate(states)]
    shape = tuple(math.prod(f.size for f in d if f.kind != "copies") for d in layout.dims)
    return LayerResult(
        name=row.name,
        op=row.op,
        shape=shape,
        stride=tuple(None if s is None else s.stride for s in known),
        period=tuple(None if s is None else s.period for s in known),
        receptive_field=tuple(None if s is None else s.receptive_field for s in known),
        halo=tuple(None if s is None else s.halo for s in known),
        valid=tuple(None if s is None else runs(s.valid) for s in known),
        different=tuple(None if s is None else runs(s.readable & ~s.valid) for s in known),
        measured=any(
            c.kind in (CauseKind.MEASURED, CauseKind.DATA_DEPENDENT) for c in layout.causes
        ),
        reduced=is_reduced_alike(layout),
        causes=tuple(c for c in layout.causes if c.layer == (row.path or row.name)),
    )
