"""Samples that are made otherwise than the rest: whether the future comes in by them.

The structure says of samples that follow a law how far they see, and not of those that were
mirrored, wrapped around or put elsewhere. One of these may see what comes later at a single time
alone, which values need not show, and so each time at which one is due is gone through with NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from shiftcheck.checks.causality.futures import Future, none_can_be_nan, with_future
from shiftcheck.checks.causality.guilt import first_filling, leads_to, moving_rows
from shiftcheck.checks.causality.kinds import may_multiply, moves_values
from shiftcheck.checks.causality.runs import Runs
from shiftcheck.checks.causality.timeline import Line
from shiftcheck.errors import ShiftcheckError
from shiftcheck.lattice.axis import Axis
from shiftcheck.tracing.modules import named_modules_of
from shiftcheck.tracing.traced import Row

MOST_TRIED = 512
"""If there are more times to go through, only those are that are looked at in any case."""

MOST_MASKED = 64
"""Where NaN is multiplied by zero each time takes runs that look at all layers: so many at most."""

SHOWN = 8
"""At so many times where NaN came in, other values are tried as well."""


@dataclass(frozen=True, kw_only=True)
class Filling:
    """What is found of an output of which some samples are made otherwise than the rest.

    ``layer``: that by which the future comes to samples that were due, empty where none does.
    ``shown``: some times behind which it does. ``tried``: so many of the ``asked`` times were gone
    through, of those at which one of these samples is due. ``why``: of the others they were not.
    """

    name: str
    by: str
    layer: str = ""
    shown: tuple[int, ...] = ()
    tried: int = 0
    asked: int = 0
    why: str = ""

    @property
    def complete(self) -> bool:
        """Whether of no such sample it is not known what it sees."""
        return self.tried == self.asked

    def __str__(self) -> str:
        return (
            f"{self.name} has samples that are made otherwise than the rest, as by {self.by}; of"
            f" {self.asked} input samples at which one is due, {self.tried} had the future behind"
            f" them filled with NaN: {self.why}"
        )


def fillings(runs: Runs, times: Sequence[int]) -> dict[int, Filling]:
    """For each output, by number, of which some samples are made otherwise, what is found of them.

    ``times``: those that are gone through in any case.
    """
    asked = {i: _due_times(runs, i) for i in range(len(runs.outputs)) if _is_open(runs, i)}
    if not asked:
        return {}
    search = _Search(runs, tuple(asked))
    search.go_through(times)
    others = sorted(set().union(*asked.values()) - set(times))
    if len(others) > MOST_TRIED:
        search.why = search.why or f"more than {MOST_TRIED} are too many"
    elif not search.why:
        search.go_through(others)
    return {i: search.found(i, wanted) for i, wanted in asked.items()}


def _is_open(runs: Runs, number: int) -> bool:
    """Whether samples of an output were put where others had been due."""
    row = runs.outputs[number]
    follows = isinstance(row.layout.axes[0], Axis) and runs.base[number] is not None
    return follows and any(map(moves_values, row.layout.causes))


def _due_times(runs: Runs, number: int) -> set[int]:
    """The last input samples that those samples may see which do not follow the law of the rest."""
    axis, base = runs.outputs[number].layout.axes[0], runs.base[number]
    assert isinstance(axis, Axis)
    assert base is not None
    lawful = axis.valid if axis.different is None else axis.valid & ~axis.different
    due = runs.due(base)[~lawful]
    return {int(t) for t in due if t <= runs.plan.inputs.pixels[0] - 2}


class _Search:
    """Goes through times, and keeps where the future came to samples that were due."""

    def __init__(self, runs: Runs, numbers: Sequence[int]) -> None:
        self.runs, self.numbers, self.why = runs, numbers, ""
        self.tried: set[int] = set()
        self.masked = 0
        self.came_in: dict[int, dict[int, str]] = {i: {} for i in numbers}
        self.moving = {i: moving_rows(runs.rows, runs.outputs[i]) for i in numbers}
        self.asked_of_values: dict[int, set[str]] = {i: set() for i in numbers}
        self.answering: set[str] = set()
        self.rows = {row.name: row for row in runs.rows}
        self.modules = named_modules_of(runs.plan.model)

    def found(self, number: int, asked: set[int]) -> Filling:
        """What is known of an output after all."""
        row, came_in, moving = self.runs.outputs[number], self.came_in[number], self.moving[number]
        silent = sorted(self.asked_of_values[number] - self.answering)
        return Filling(
            name=row.name,
            by=moving[0].name if moving else row.op,
            layer=next(iter(came_in.values()), ""),
            shown=tuple(came_in),
            tried=0 if silent else len(asked & self.tried),
            asked=len(asked),
            why=f"{silent[0]} gives the same for other values" if silent else self.why,
        )

    def go_through(self, times: Sequence[int]) -> None:
        """Fill the future behind each time."""
        for time in times:
            future = Future(time=time, fill="other")
            lines, why = self._lines(future)
            if lines is not None:
                early = [i for i in self.numbers if self._early(i, lines[i], future)]
                why = self._look_closer(early, future) or why
            if why:
                self.why = why
            else:
                self.tried.add(time)

    def _lines(self, future: Future) -> tuple[Sequence[Line | None] | None, str]:
        """The outputs, and why it is not known of all that they would show."""
        values = with_future(self.runs.plan, future)
        watch = self.runs.watch_for_nan()
        lines = self.runs.watched(values, watch)
        if lines is not None:
            swallowing = sorted(watch.swallowing)
            return lines, f"{swallowing[0]} may hide it" if swallowing else ""
        try:
            return self.runs.lines(values), "the model takes another way on it"
        except ShiftcheckError:
            return None, "the model does not run on it"

    def _early(self, number: int, line: Line | None, future: Future) -> bool:
        base = self.runs.base[number]
        return base is not None and line is not None and self.runs.early(base, line, future)

    def _look_closer(self, numbers: Sequence[int], future: Future) -> str:
        """Find the layer by which the future came to samples of outputs that were due.

        Behind a mask NaN is multiplied by zero, and reaches all of them: values tell it apart.
        Returns why that could not be done.
        """
        numbers = [i for i in numbers if len(self.came_in[i]) < SHOWN]
        if numbers and self.masked >= MOST_MASKED:
            return f"a mask multiplies it by zero, for which more than {MOST_MASKED} are too many"
        reached = self._reached_rows(future) if numbers and self.runs.whole is None else []
        for i in numbers:
            if layer := self._filling(i, reached):
                self.came_in[i][future.time] = layer
        left = [i for i in numbers if future.time not in self.came_in[i]]
        if left:
            self.masked += 1
            self._ask_values(left, future)
        return ""

    def _ask_values(self, numbers: Sequence[int], future: Future) -> None:
        early = self._moved_early(future)
        for i in numbers:
            self.asked_of_values[i] |= {row.name for row in self.moving[i]}
            if layer := next((row.name for row in self.moving[i] if row.name in early), ""):
                self.came_in[i][future.time] = layer

    def _filling(self, number: int, reached: Sequence[Row]) -> str:
        """The layer that filled an output, where nothing that NaN reached may have multiplied it.

        What was written into a part of a tensor has no time of its own, and is not reached itself.
        """
        output = self.runs.outputs[number]
        if layer := first_filling(reached, output):
            return layer
        on_the_way = [row for row in reached if leads_to(row, output)]
        if not on_the_way or any(may_multiply(r, self.modules.get(r.path)) for r in on_the_way):
            return ""
        names = {row.name for row in on_the_way}
        moving = self.moving[number]
        timeless = [r for r in moving if not isinstance(r.layout.axes[0], Axis)]
        first = next((r for r in moving if r.name in names), None) or next(iter(timeless), None)
        return (first or on_the_way[0]).name

    def _reached_rows(self, future: Future) -> list[Row]:
        """The layers of which NaN in the future reaches samples that were due."""
        reached: list[Row] = []

        def note(row: Row, line: Line) -> None:
            if self.runs.holds_nan(line, future):
                reached.append(row)

        try:
            self._look_at_rows(with_future(self.runs.plan, future), note)
        except ShiftcheckError:  # a model that does not run on NaN
            return []
        return reached

    def _moved_early(self, future: Future) -> set[str]:
        """The layers that put other values where they were due, of those that move values."""
        fill = "other" if none_can_be_nan(self.runs.plan) else "fresh"
        values = with_future(self.runs.plan, replace(future, fill=fill))
        early: set[str] = set()
        for name, line in self._moved(values).items():
            base = self._moved_at_first.get(name)
            changed = self.runs.changed(base, line)
            if base is None or changed is None or not changed.any():
                continue
            self.answering.add(name)
            if self.runs.early(base, line, future):
                early.add(name)
        return early

    @cached_property
    def _moved_at_first(self) -> Mapping[str, Line]:
        return self._moved(self.runs.plan.inputs.shifted(self.runs.plan.zero, 0))

    def _moved(self, values: list[Any]) -> dict[str, Line]:
        """What the layers gave that move values."""
        names = {row.name for rows in self.moving.values() for row in rows}
        found: dict[str, Line] = {}

        def keep(row: Row, line: Line) -> None:
            if row.name in names:
                found[row.name] = line

        self._look_at_rows(values, keep)
        return found

    def _look_at_rows(self, values: list[Any], look: Callable[[Row, Line], None]) -> None:
        """Look at every layer along time, where it stood in the first run."""

        def note(met: Row, tensor: torch.Tensor) -> None:
            row = self.rows.get(met.name)
            line = None if row is None else self.runs.line(tensor, row.layout)
            if row is not None and line is not None:
                look(row, line)

        self.runs.passes.run(values, note, geometry=False)
