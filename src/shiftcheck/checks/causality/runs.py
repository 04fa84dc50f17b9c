"""Passes of one model, each held against the first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shiftcheck.checks.causality.ahead import Times
from shiftcheck.checks.causality.futures import Future, can_be_nan
from shiftcheck.checks.causality.question import Question
from shiftcheck.checks.causality.timeline import Line, differences, line_of
from shiftcheck.measuring.in_another_type import EPS
from shiftcheck.measuring.outputs import output_rows
from shiftcheck.measuring.passes import Passes
from shiftcheck.measuring.tolerance import Tolerance
from shiftcheck.tracing.black_box import BlackBox
from shiftcheck.tracing.not_a_number import FollowedNaN
from shiftcheck.tracing.other_numbers import Met, NaNForOthers, Recorded
from shiftcheck.tracing.rows import tensors_at
from shiftcheck.tracing.torch_internals import Mode
from shiftcheck.tracing.traced import Row, Traced


class Runs:
    """Passes of one model, each held against the first."""

    def __init__(self, passes: Passes, question: Question) -> None:
        self.passes, self.question, self.plan = passes, question, passes.plan
        self.rows: list[Row] = []
        values = self.plan.inputs.shifted(self.plan.zero, 0)
        self.traced: Traced = passes.run(values, self._note)
        self.outputs = output_rows(self.traced)
        self.base = [self.line(t, s) for _, t, s in self.traced.outputs]
        self.noise = Tolerance(eps=passes.eps or EPS).relative(None)

    def _note(self, row: Row, _: torch.Tensor) -> None:
        self.rows.append(row)

    def line(self, tensor: torch.Tensor, layout: Any) -> Line | None:
        """A tensor along the time that was asked for."""
        return line_of(tensor, layout, self.plan.inputs.pixels[0], self.question.dim)

    def lines(self, values: list[Any]) -> list[Line | None] | None:
        """The outputs for other values; None where they have other shapes, or other places."""
        tensors = self._from_outside(values) or self.passes.run_again(self.traced, values)
        if tensors is None:
            traced = self.passes.run(values, lambda *_: None, geometry=False)
            tensors = [t for _, t, _ in traced.outputs]
        given = self.traced.outputs
        if [t.shape for t in tensors] != [t.shape for _, t, _ in given]:
            return None
        return [self.line(t, s) for t, (_, _, s) in zip(tensors, given, strict=True)]

    def watched(self, values: list[Any], watch: Mode | FollowedNaN) -> list[Line | None] | None:
        """The outputs for other values, while a mode meets each operation; None where it cannot.

        A model that was not followed to its end, or that takes another way, is called as it is.
        """
        with watch:
            tensors = self.passes.run_again(self.traced, values)
        if tensors is None and self.plan.layer is None:
            tensors = self._called(values, watch)
        given = [(t.shape, s) for _, t, s in self.traced.outputs]
        if tensors is None or [t.shape for t in tensors] != [shape for shape, _ in given]:
            return None
        return [self.line(t, s) for t, (_, s) in zip(tensors, given, strict=True)]

    @cached_property
    def whole(self) -> Sequence[Met] | None:
        """What is made of whole numbers, where a signal is of these; None where all can be NaN."""
        if can_be_nan(self.plan):
            return None
        watch = Recorded()
        self.watched(self.plan.inputs.shifted(self.plan.zero, 0), watch)
        return watch.met

    def watch_for_nan(self) -> FollowedNaN:
        """What follows NaN through a pass, and where it is put for other whole numbers."""
        return FollowedNaN() if self.whole is None else NaNForOthers(self.whole)

    def _called(self, values: list[Any], watch: Mode | FollowedNaN) -> list[torch.Tensor] | None:
        args, kwargs = self.plan.inputs.call(values)
        try:
            with watch:
                returned = self.plan.model(*args, **kwargs)
        except Exception:  # a model that does not run on NaN proves nothing by it
            return None
        return tensors_at(returned, self.plan.inputs.outputs, self._paths)

    def due(self, line: Line) -> Times:
        """The last input sample that each sample of a line may see."""
        return line.due(self.question.block_of(line.stride)) + self.question.lookahead

    def holds_nan(self, line: Line, future: Future) -> bool:
        """Whether NaN in the future is in a sample that was due."""
        early = torch.from_numpy(self.due(line) <= future.time)
        return bool(line.values.isnan().any(0).cpu()[early].any())

    def changed(self, base: Line | None, line: Line | None) -> NDArray[np.bool_] | None:
        """The samples that differ by more than rounding; None where they cannot be compared."""
        if base is None or line is None or base.values.shape != line.values.shape:
            return None
        found: NDArray[np.bool_] = differences(base, line).numpy() > self.noise
        return found

    def early(self, base: Line, line: Line, future: Future) -> bool:
        """Whether a sample that was due differs by more than rounding from that of the first run.

        One that is NaN differs by any measure.
        """
        changed = self.changed(base, line)
        return changed is not None and bool(changed[self.due(base) <= future.time].any())

    def _from_outside(self, values: list[Any]) -> list[torch.Tensor] | None:
        """What a callable gives that torch does not see into; None for any other model."""
        if not isinstance(self.plan.model, BlackBox):
            return None
        args, kwargs = self.plan.inputs.call(values)
        return tensors_at(self.plan.model(*args, **kwargs), self.plan.inputs.outputs, self._paths)

    @property
    def _paths(self) -> list[str]:
        return [path for path, _, _ in self.traced.outputs]
