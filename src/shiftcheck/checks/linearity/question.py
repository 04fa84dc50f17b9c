"""What the theorem is asked of: an operator, its structure, and the sizes that would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from shiftcheck.checks.black_boxes import seen_as
from shiftcheck.checks.equivariance.check import check_equivariance
from shiftcheck.checks.linearity.impulse_placement import Span, place, span
from shiftcheck.checks.linearity.superposition import unit_of
from shiftcheck.checks.read_geometry import geometry
from shiftcheck.errors import ShiftcheckError
from shiftcheck.lattice.outlook import Outlook, Stretch, outlook
from shiftcheck.lattice.shares import LEAST, fewest
from shiftcheck.lattice.sizes import smallest_sizes
from shiftcheck.measuring.plan import Model
from shiftcheck.measuring.required_size import LARGER
from shiftcheck.measuring.signals.arguments import Inputs
from shiftcheck.report.equivariance import LayerResult, Report, Verdict
from shiftcheck.report.linearity import ConvolutionReport, LinearityReport, Theorem
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.black_box import BlackBox
from shiftcheck.tracing.containers import with_leaves
from shiftcheck.tracing.torch_internals import tree_leaves


@dataclass(frozen=True, eq=False)
class Question:
    """An operator and the arguments of the question; ``linearity``: the first answer to it."""

    model: Model
    x: Any
    inputs: Inputs
    layer: str | None
    boundary: str | Sequence[str]
    seed: int
    linearity: LinearityReport | None = None

    @property
    def linear(self) -> LinearityReport:
        """The first premise, once it is known."""
        assert self.linearity is not None
        return self.linearity

    def report(self, verdict: Theorem, reason: Reason, **known: Any) -> ConvolutionReport:
        """The record of this case."""
        names = tuple("circular" if ring else "valid" for ring in self.inputs.circular)
        return ConvolutionReport(
            verdict=verdict, reason=reason, linearity=self.linear, boundary=names, **known
        )

    def like_x(self, signal: torch.Tensor) -> Any:
        """The caller's arguments with another signal."""
        arrays = any(isinstance(leaf, np.ndarray) for leaf in tree_leaves(self.x))
        values = signal.numpy() if arrays else signal
        leaves = [values if leaf is self.inputs.main else leaf for leaf in self.inputs.leaves]
        return with_leaves(self.inputs.structure, leaves)

    def structure(self, signal: torch.Tensor) -> Report:
        """The geometry of every layer for a signal of this shape."""
        like = self.like_x(signal)
        return geometry(self.model, like, layer=self.layer, boundary=self.boundary)

    def check(self, shifts: Sequence[tuple[int, ...]] | None) -> Report:
        """The check of equivariance on white noise of the magnitude of x."""
        main = self.inputs.main.tensor
        draw = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(main.shape, generator=draw, device="cpu") * unit_of(main)
        like = self.like_x(noise.to(main))

        def check(what: Literal["layers", "outputs"]) -> Report:
            return check_equivariance(
                self.model,
                like,
                layer=self.layer,
                shifts=shifts,
                boundary=self.boundary,
                seed=self.seed,
                measure=what,
            )

        report = check("outputs")
        return report if report.verdict is Verdict.EQUIVARIANT else check("layers")


def movable(spans: Sequence[Span]) -> bool:
    """Whether a shift by one period leaves something to compare, along every axis."""
    return all(s.period < s.pixels and s.pairs() for s in spans)


def in_order(output: LayerResult) -> bool:
    """Whether the output can be ``[batch, out, *spatial]``: as many axes, and of these sizes."""
    sizes = output.shape[2:]
    return len(sizes) == len(output.valid) and all(
        not spans or spans[-1][1] <= size for spans, size in zip(output.valid, sizes, strict=True)
    )


def spans_of(output: LayerResult, inputs: Inputs) -> tuple[Span, ...]:
    """Every axis of an output whose geometry is known."""
    spans = []
    for axis, pixels in enumerate(inputs.pixels):
        stride, period, halo = output.stride[axis], output.period[axis], output.halo[axis]
        valid = output.valid[axis]
        assert stride is not None
        assert period is not None
        assert halo is not None
        assert valid is not None
        spans.append(
            span(
                pixels=pixels,
                size=output.shape[2 + axis],
                stride=stride,
                period=period,
                halo=halo,
                valid=valid,
                circular=inputs.circular[axis],
            )
        )
    return tuple(spans)


def shifts_of(spans: Sequence[Span]) -> list[tuple[int, ...]]:
    """One period forth and back along each axis, of which all others consist, and a diagonal."""
    shifts = []
    for axis, each in enumerate(spans):
        for step in (each.period, -each.period):
            shifts.append(tuple(step if a == axis else 0 for a in range(len(spans))))
    if len(spans) > 1:
        shifts.append(tuple(each.period for each in spans))
    return shifts


def needed_size(case: Question) -> tuple[int, ...] | None:
    """The smallest sizes at which every tap can be read and a shift be compared."""
    if isinstance(seen_as(case.model, case.inputs, case.x, training=False), BlackBox):
        return None
    given = case.inputs.pixels
    limit = LARGER * max(*given, 4)
    smallest = smallest_sizes(partial(_seen_at, case), given, range(len(given)), limit)
    return None if smallest is None or smallest.sizes == given else smallest.sizes


def _seen_at(case: Question, sizes: tuple[int, ...]) -> list[Outlook | None] | None:
    """What is seen of every axis at these sizes; None where they are refused."""
    main = case.inputs.main
    shape = (*main.tensor.shape[:2], *sizes)
    signal = torch.empty(shape, dtype=main.tensor.dtype, device="meta")
    resized = replace(case.inputs, main=replace(main, tensor=signal))
    try:
        output = case.structure(signal).outputs[0]
    except ShiftcheckError:
        return None
    if None in output.period or None in output.halo or not in_order(output):
        return None
    return [outlook([_stretch(each)]) for each in spans_of(output, resized)]


def _stretch(each: Span) -> Stretch:
    """What is seen of an axis: whether every tap can be read and a shift of one period compared."""
    closed = bool(each.valid.all()) or not each.circular
    enough = LEAST * each.phases if each.circular else fewest(each.phases)
    valid = np.flatnonzero(each.valid)
    return Stretch(
        pixels=each.pixels,
        stride=each.stride,
        lattice=each.period,
        start=int(valid[0]) if len(valid) else 0,
        count=each.size if each.circular else len(valid),
        ends=tuple(float(q * each.stride) + each.halo[1] for q in range(each.phases)),
        reach=sum(each.halo),
        later=0,
        enough=enough,
        works=closed and movable([each]) and place(each) is not None,
    )
