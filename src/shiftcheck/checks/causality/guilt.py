"""Which layer sees too far, and how it comes to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from shiftcheck.checks.causality.ahead import beyond
from shiftcheck.checks.causality.kinds import how_it_sees, moves_values, settings_of, slides
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import Gone
from shiftcheck.report.causality import LayerAhead, LookAhead
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.tracing.traced import Row

ONE = Fraction(1)


class Layers:
    """The layers of a model in their order, and how far ahead each sees.

    ``modules``: of the model, by name. ``dim``: which of the spatial dimensions of a layer is the
    time, counted from the last one. ``lookahead``: what was declared.
    """

    def __init__(
        self, rows: Sequence[Row], modules: Mapping[str, Any], dim: int, lookahead: int
    ) -> None:
        self.rows, self.modules, self.dim, self.lookahead = tuple(rows), modules, dim, lookahead
        self.far = {row.name: _far(row, ONE) for row in self.rows}
        self.told = tuple(self._told(i) for i in range(len(self.rows)))

    def _told(self, number: int) -> LayerAhead:
        row = self.rows[number]
        ahead = self.far[row.name]
        before = self._before(number)
        adds = ahead is not None and ahead > max(before, 0.0)
        return self._layer(row, ahead - before if adds and ahead is not None else 0.0)

    def _before(self, number: int) -> float:
        """How far the nearest earlier layer sees, as far as that is known."""
        earlier = (self.far[row.name] for row in reversed(self.rows[:number]))
        return next((a for a in earlier if a is not None), 0.0)

    def _layer(self, row: Row, added: float) -> LayerAhead:
        module = self._module(row)
        state = _state(row)
        kind = how_it_sees(row, own_causes(row), module, added) if added else LookAhead.NONE
        return LayerAhead(
            name=row.name,
            op=row.op,
            ahead=self.far[row.name],
            stride=state.stride if isinstance(state, Axis) else None,
            settings=settings_of(module, self.dim) if module is not None else "",
            kind=kind,
        )

    def _module(self, row: Row) -> Any:
        """The module that is a layer; of a model that has no others, itself where it slides."""
        if row.path in self.modules or len(self.modules) != 1:
            return self.modules.get(row.path)
        return self.modules.get("") if slides(row.op) else None

    def guilty_of(
        self, output: Row, block: Fraction, lookahead: float | None, leaking: Sequence[str]
    ) -> LayerAhead | None:
        """The first layer on the way to an output that sees further than was declared.

        ``lookahead``: that of the output; where it has no end, that of the layer has none either.
        ``leaking``: the layers that were seen to leak.
        """
        way = [row for row in self.rows if leads_to(row, output)]
        endless = lookahead is not None and math.isinf(lookahead)
        first = self._first(way, block, leaking, endless=endless)
        if lookahead is None:  # a mask may have taken out of scores what they relate
            without_scores = [row for row in way if not _relates_times(row)]
            other = self._first(without_scores, block, leaking, endless=endless)
            first = other if other is not None and own_causes(other) else first
        if first is None:
            lost = (row for row in way if _far(row, ONE) is None and own_causes(row))
            unknown = next(lost, None)
            known = 0.0 if lookahead is None else 1.0
            return None if unknown is None else self._layer(unknown, known)
        source = self._source(first) if endless or _was_given_a_whole(first) else first
        sees_all = lookahead is None and self.far[source.name] == math.inf
        return self._layer(source, math.inf if endless or sees_all else 1.0)

    def _first(
        self, way: Sequence[Row], block: Fraction, leaking: Sequence[str], *, endless: bool
    ) -> Row | None:
        """The first of some layers that sees further than was declared, or leaks."""
        far = [(row, _far(row, block)) for row in way]
        beyond_it = [
            row
            for row, ahead in far
            if ahead is not None and ahead > self.lookahead and (math.isinf(ahead) or not endless)
        ]
        seen = [row for row in way if row.name in leaking]
        both = [row for row in beyond_it if row.name in leaking]
        return next(iter([*both, *beyond_it, *seen]), None)

    def named(self, name: str) -> LayerAhead | None:
        """A layer that put later samples where others had been due."""
        row = next((row for row in self.rows if row.name == name), None)
        return None if row is None else self._layer(row, 1.0)

    def _source(self, row: Row) -> Row:
        """The layer that gave the statistic that a layer combines with each of its samples."""
        if any(c.kind is CauseKind.GLOBAL and c.operation for c in _whole_axis(row)):
            return row
        if not _was_given_a_whole(row):
            return row
        number = self.rows.index(row)
        known = set(row.layout.causes)
        for earlier in reversed(self.rows[:number]):
            gone = isinstance(_state(earlier), Gone)
            if gone and any(c in known for c in _whole_axis(earlier)):
                return earlier
        return row


def _was_given_a_whole(row: Row) -> bool:
    """Whether a layer was given something that was made of all of the time."""
    given = [g for g in row.entering if g is not None and g.axes]
    return any(isinstance(g.axes[0], Gone) for g in given)


def _relates_times(row: Row) -> bool:
    """Whether a layer relates each time to all, as scores do, of which a mask may take some out."""
    joins = any(c.detail == JOINED for c in own_causes(row))
    return joins and not _whole_axis(row) and not _was_given_a_whole(row)


def _whole_axis(row: Row) -> list[Cause]:
    """The causes of a layer by which it sees all of the time, but for what it was given alone."""
    return [c for c in own_causes(row) if c.kind is CauseKind.GLOBAL and c.detail != JOINED]


JOINED = "a value of the whole axis is combined with each sample"


def own_causes(row: Row) -> list[Cause]:
    """What a layer does to time itself."""
    at = row.path or row.name
    return [c for c in row.layout.causes if c.layer in (at, row.name) and c.axis in (None, 0)]


def first_filling(reached: Sequence[Row], output: Row) -> str:
    """The layer by which the future comes in among those that it reached, if that one moves values.

    What was multiplied by zero, as behind a mask, is reached by NaN alone, and is passed over with
    all that follows it.
    """
    for number, row in enumerate(reached):
        before = any(leads_to(earlier, row) for earlier in reached[:number])
        moves = any(map(moves_values, own_causes(row)))
        if moves and not before and leads_to(row, output):
            return row.name
    return ""


def moving_rows(rows: Sequence[Row], output: Row) -> list[Row]:
    """The layers on the way to an output that put samples where others had been due."""
    return [r for r in rows if any(map(moves_values, own_causes(r))) and leads_to(r, output)]


def leads_to(row: Row, output: Row) -> bool:
    """Whether a layer can be on the way to an output, which has all causes of what led to it."""
    known = set(output.layout.causes)
    return all(c in known for c in row.layout.causes)


def _far(row: Row, block: Fraction) -> float | None:
    state = _state(row)
    return beyond(state, block) if isinstance(state, Axis) else None


def _state(row: Row) -> object:
    return row.layout.axes[0] if row.layout.axes else None
