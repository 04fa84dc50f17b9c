"""The geometry of a row as a record, with nothing measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any
from weakref import WeakKeyDictionary

from shiftcheck.checks.left_out import is_reduced_alike
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.gather import runs
from shiftcheck.report.causes import CauseKind
from shiftcheck.report.equivariance import LayerResult
from shiftcheck.report.placing import Placement
from shiftcheck.tracing.traced import Row

FOUND_BY_RUNNING = (CauseKind.MEASURED, CauseKind.DATA_DEPENDENT)
"""Causes after which the structure alone does not decide."""

Told = tuple[
    Fraction | None,
    int | None,
    float | None,
    tuple[float, float] | None,
    tuple[tuple[int, int], ...] | None,
    tuple[tuple[int, int], ...] | None,
    Placement | None,
]
"""What a report tells of an axis: stride, period, field, halo, valid and different samples, place.
"""

NOTHING: Told = (None, None, None, None, None, None, None)
_told: WeakKeyDictionary[Axis, Told] = WeakKeyDictionary()


def layer_result(row: Row) -> LayerResult:
    """The geometry of a row, with nothing measured."""
    layout, at = row.layout, row.path or row.name
    placed = set(layout.axes_in(range(len(layout.dims))))
    told = [
        _of_axis(s) if isinstance(s, Axis) and a in placed else NOTHING
        for a, s in enumerate(layout.axes)
    ]
    stride, period, receptive_field, halo, valid, different, placement = _columns(told)
    return LayerResult(
        name=row.name,
        op=row.op,
        shape=tuple([math.prod([f.size for f in d if f.kind != "copies"]) for d in layout.dims]),
        stride=stride,
        period=period,
        receptive_field=receptive_field,
        halo=halo,
        valid=valid,
        different=different,
        placement=placement,
        measured=any(c.kind in FOUND_BY_RUNNING for c in layout.causes),
        reduced=is_reduced_alike(layout),
        causes=tuple([c for c in layout.causes if c.layer == at]),
    )


def _columns(told: Sequence[Told]) -> tuple[Any, ...]:
    """What is told of all axes, one kind after another."""
    return tuple(zip(*told, strict=True)) if told else ((),) * len(NOTHING)


def _of_axis(axis: Axis) -> Told:
    """What is told of an axis, which many layers may have."""
    told = _told.get(axis)
    if told is None:
        told = _told[axis] = (
            axis.stride,
            axis.period,
            axis.receptive_field,
            axis.halo,
            runs(axis.valid),
            () if axis.different is None else runs(axis.different & ~axis.valid),
            _placement(axis),
        )
    return told


def _placement(axis: Axis) -> Placement:
    first, last = axis.first.tolist(), axis.last.tolist()
    seen = first[0] <= last[0] and math.isfinite(first[0] + last[0])
    return Placement(
        samples=axis.size,
        stride=axis.stride,
        offset=Fraction(int(first[0]) + int(last[0]), 2) if seen else None,
        origins=axis.origins,
        fields=tuple(zip(first, last, strict=True)),
    )
