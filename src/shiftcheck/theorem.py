"""The theorem behind convolutions: what is linear and shift-equivariant is a convolution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch.utils._pytree import tree_leaves, tree_unflatten

from shiftcheck.axis import smallest_size
from shiftcheck.check import check_equivariance, checked_inputs, geometry
from shiftcheck.errors import ModelError, ShiftcheckError
from shiftcheck.impulse import (
    ImpulseResponse,
    OrderError,
    Polyphase,
    measure_polyphase,
    placed,
    response_kernel,
    support_of,
)
from shiftcheck.inputs import Inputs
from shiftcheck.linear_report import ConvolutionReport, Linearity, LinearityReport, Theorem
from shiftcheck.linearity import LAWS, check_linear, unit_of
from shiftcheck.modules import eager
from shiftcheck.operators import EXACT, Operator, in_type, operated
from shiftcheck.outside import seen_as
from shiftcheck.placement import Span, span
from shiftcheck.polyphase import as_module
from shiftcheck.report import LayerResult, Report, Verdict
from shiftcheck.sizes import LARGER
from shiftcheck.structure import Model
from shiftcheck.verdict import NO_REGION, NOISE
from shiftcheck.whole import Whole

SEVERAL, TOO_SMALL = "several outputs", "signal too small for the kernel"
TOO_LARGE = "kernel too large"
MIRRORED, ORDER = "the output moves against the input", "output axes in another order"
DIFFERS, NOT_CLOSED = "the convolution found differs from the operator", "circle not closed"


def check_convolution(
    model: Model,
    x: Any,
    *,
    layer: str | None = None,
    boundary: str | Sequence[str] = "valid",
    seed: int = 0,
) -> ConvolutionReport:
    """The convolution theorem for one operator: linear? equivariant? then it is a convolution.

    The operator is compared with the convolution by its own impulse response on fresh random
    signals, over the valid region.

    Args:
        model: any module or callable with one output ``[batch, out, *spatial]``; it is run in eval
            mode and left as it was found.
        x: a tensor or array ``[batch, in, *spatial]``, or a tuple or dict that holds one. It gives
            the shape, the type and the magnitude of the signals.
        layer: up to this layer; what follows is not run.
        boundary: ``"valid"`` (a window onto an infinite plane) or ``"circular"`` (a torus), once
            or for each spatial axis.
        seed: of the random signals.

    Returns:
        A report whose verdict is CONVOLUTION, or the property that fails (NOT_LINEAR,
        NOT_EQUIVARIANT, INFINITE_SUPPORT), or INCONCLUSIVE with its reason.

    Raises:
        InputError: for arguments that cannot be used.
        ModelError: where the model raises or returns no tensor that depends on the signal.

    Example:
        >>> import torch, shiftcheck
        >>> conv = torch.nn.Conv2d(1, 2, 3, stride=2)
        >>> report = shiftcheck.check_convolution(conv, torch.randn(1, 1, 12, 12))
        >>> report.verdict, report.taps, report.period
        (<Theorem.CONVOLUTION: 'convolution'>, (3, 3), (2, 2))

    Source: Jaehne, *Digital Image Processing*, 1997, chapter 4.
    """
    return investigate(model, x, layer=layer, boundary=boundary, seed=seed).report


@dataclass(frozen=True, kw_only=True, eq=False)
class Investigation:
    """What was found of an operator; without ``polyphase`` where it is no convolution."""

    report: ConvolutionReport
    polyphase: Polyphase | None = None
    response: ImpulseResponse | None = None
    like: torch.Tensor | None = None

    @property
    def constant(self) -> bool:
        """Whether the operator has a constant part."""
        return self.report.linearity.verdict is Linearity.AFFINE


def investigate(
    model: Model, x: Any, *, layer: str | None, boundary: str | Sequence[str], seed: int
) -> Investigation:
    """The theorem with the convolution that it gives."""
    model = eager(model)
    inputs = checked_inputs(model, x, boundary, None)
    asked = _Case(model, x, inputs, layer, boundary, seed)
    linear = _linear(asked)
    case = replace(asked, linearity=linear)
    if linear.verdict is Linearity.NOT_LINEAR:
        return Investigation(report=case.report(Theorem.NOT_LINEAR, ""))
    if linear.verdict is Linearity.INCONCLUSIVE:
        return Investigation(report=case.report(Theorem.INCONCLUSIVE, linear.reason))
    if len(linear.outputs) != 1:
        return Investigation(report=case.report(Theorem.INCONCLUSIVE, SEVERAL))
    return _equivariant(case)


def _linear(case: _Case) -> LinearityReport:
    """The first premise; where the model cannot take a signal of this size, the one it needs."""
    try:
        return check_linear(case.model, case.x, layer=case.layer, seed=case.seed)
    except ModelError as error:
        needed = _needed(case)
        if needed is None:
            raise
        sizes = " x ".join(map(str, needed))
        raise ModelError(
            f"x has spatial sizes {case.inputs.pixels}, and the model does not run: it does from"
            f" {sizes} on. {error}"
        ) from error


@dataclass(frozen=True, eq=False)
class _Case:
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

    def report(self, verdict: Theorem, reason: str, **found: Any) -> ConvolutionReport:
        """The record of this case."""
        names = tuple("circular" if ring else "valid" for ring in self.inputs.circular)
        return ConvolutionReport(
            verdict=verdict, reason=reason, linearity=self.linear, boundary=names, **found
        )

    def like_x(self, signal: torch.Tensor) -> Any:
        """The caller's arguments with another signal."""
        arrays = any(isinstance(leaf, np.ndarray) for leaf in tree_leaves(self.x))
        own = signal.numpy() if arrays else signal
        leaves = [own if leaf is self.inputs.main else leaf for leaf in self.inputs.leaves]
        return tree_unflatten(leaves, self.inputs.structure)

    def structure(self, signal: torch.Tensor) -> Report:
        """The geometry of every layer for a signal of this shape."""
        like = self.like_x(signal)
        return geometry(self.model, like, layer=self.layer, boundary=self.boundary)

    def check(self, shifts: Sequence[tuple[int, ...]] | None) -> Report:
        """The check of equivariance on white noise of the magnitude of x."""
        main = self.inputs.main.tensor
        draw = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(main.shape, generator=draw) * unit_of(main)
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


def _equivariant(case: _Case) -> Investigation:
    """The second premise: whether it is equivariant, and with which period."""
    structure = case.structure(case.inputs.main.tensor.detach())
    output = structure.outputs[0]
    if None in output.period or None in output.stride or None in output.halo:
        return Investigation(report=_without_period(case))
    if any(s is not None and s < 0 for s in output.stride):
        return Investigation(report=case.report(Theorem.NOT_EQUIVARIANT, MIRRORED))
    endless = [
        a
        for a, halo in enumerate(output.halo)
        if halo is not None and math.inf in halo and not case.inputs.circular[a]
    ]
    if endless:
        guilty = _first_endless(structure, endless)
        return Investigation(report=case.report(Theorem.INFINITE_SUPPORT, "", guilty=guilty))
    if not _in_order(output):
        return Investigation(report=case.report(Theorem.INCONCLUSIVE, ORDER))
    spans = spans_of(output, case.inputs)
    known: dict[str, Any] = {
        "stride": tuple(s.stride for s in spans),
        "structure_period": tuple(s.period for s in spans),
    }
    if not _movable(spans):
        return Investigation(report=_too_small(case, known))
    checked = case.check(shifts_of(spans))
    known["equivariance"] = checked
    if checked.verdict is Verdict.BROKEN:
        return Investigation(report=case.report(Theorem.NOT_EQUIVARIANT, "", **known))
    if checked.reason == NO_REGION:
        return Investigation(report=_too_small(case, known))
    if checked.verdict is not Verdict.EQUIVARIANT:
        return Investigation(report=case.report(Theorem.INCONCLUSIVE, checked.reason, **known))
    if any(s.circular and not s.valid.all() for s in spans):
        return Investigation(report=case.report(Theorem.INCONCLUSIVE, NOT_CLOSED, **known))
    return _convolution(case, spans, known)


def _movable(spans: Sequence[Span]) -> bool:
    """Whether a shift by one period leaves something to compare, along every axis."""
    return all(s.period < s.pixels and s.pairs() for s in spans)


def _without_period(case: _Case) -> ConvolutionReport:
    """No shift is promised: what the default shifts say."""
    checked = case.check(None)
    broken = checked.verdict is Verdict.BROKEN
    verdict = Theorem.NOT_EQUIVARIANT if broken else Theorem.INCONCLUSIVE
    reason = "" if broken else checked.reason or "no period is known"
    return case.report(verdict, reason, equivariance=checked)


def _first_endless(structure: Report, axes: Sequence[int]) -> str:
    """The first layer of which a sample sees all of an axis."""
    for row in structure.layers:
        halos = [row.halo[a] for a in axes]
        if any(h is not None and math.inf in h for h in halos):
            return row.name
    return ""


def _in_order(output: LayerResult) -> bool:
    """Whether the output can be ``[batch, out, *spatial]``: as many axes, and of these sizes."""
    sizes = output.shape[2:]
    return len(sizes) == len(output.valid) and all(
        not spans or spans[-1][1] <= size for spans, size in zip(output.valid, sizes, strict=True)
    )


def spans_of(output: LayerResult, inputs: Inputs) -> tuple[Span, ...]:
    """Every axis of an output whose geometry is known."""
    found = []
    for axis, pixels in enumerate(inputs.pixels):
        stride, period, halo = output.stride[axis], output.period[axis], output.halo[axis]
        valid = output.valid[axis]
        assert stride is not None
        assert period is not None
        assert halo is not None
        assert valid is not None
        found.append(
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
    return tuple(found)


def shifts_of(spans: Sequence[Span]) -> list[tuple[int, ...]]:
    """One period forth and back along each axis, of which all others consist, and a diagonal."""
    found = []
    for axis, own in enumerate(spans):
        for step in (own.period, -own.period):
            found.append(tuple(step if a == axis else 0 for a in range(len(spans))))
    if len(spans) > 1:
        found.append(tuple(own.period for own in spans))
    return found


def _too_small(case: _Case, known: dict[str, Any]) -> ConvolutionReport:
    needed = _needed(case)
    return case.report(Theorem.INCONCLUSIVE, TOO_SMALL, needed=needed, **known)


def _needed(case: _Case) -> tuple[int, ...] | None:
    """The smallest sizes at which every tap can be read and a shift be compared."""
    if isinstance(seen_as(case.model, case.inputs, case.x, training=False), Whole):
        return None
    given = case.inputs.pixels
    least = smallest_size(
        lambda n: _works_at(case, tuple(max(n, size) for size in given)),
        min(given),
        LARGER * max(*given, 4),
    )
    if least is None:
        return None
    sizes = [max(least, size) for size in given]
    for axis, size in enumerate(given):

        def works(n: int, axis: int = axis) -> bool:
            return _works_at(case, (*sizes[:axis], n, *sizes[axis + 1 :]))

        sizes[axis] = smallest_size(works, size, sizes[axis]) or sizes[axis]
    return tuple(sizes) if tuple(sizes) != given else None


def _works_at(case: _Case, sizes: Sequence[int]) -> bool:
    """Whether every tap can be read and a shift be compared at these sizes."""
    main = case.inputs.main
    shape = (*main.tensor.shape[:2], *sizes)
    signal = torch.empty(shape, dtype=main.tensor.dtype, device="meta")
    resized = replace(case.inputs, main=replace(main, tensor=signal))
    try:
        output = case.structure(signal).outputs[0]
    except ShiftcheckError:
        return False
    if None in output.period or None in output.halo or not _in_order(output):
        return False
    spans = spans_of(output, resized)
    closed = all(s.valid.all() for s in spans if s.circular)
    return closed and _movable(spans) and bool(placed(spans))


def _convolution(case: _Case, spans: tuple[Span, ...], known: dict[str, Any]) -> Investigation:
    """The conclusion: the impulse response, and how well it does on random signals."""
    if _entries(case, spans) > MOST:
        return Investigation(report=case.report(Theorem.INCONCLUSIVE, TOO_LARGE, **known))
    placements = placed(spans)
    if placements is None:
        return Investigation(report=_too_small(case, known))
    model = seen_as(case.model, case.inputs, case.x, training=False)
    with operated(model, case.inputs, layer=case.layer) as own:
        exact = in_type(own, EXACT)
        operator = own if exact is None else exact
        eps = float(torch.finfo(getattr(torch, case.linear.precision)).eps)
        try:
            found = measure_polyphase(operator, spans, placements, eps)
        except OrderError:
            return Investigation(report=case.report(Theorem.INCONCLUSIVE, ORDER, **known))
        agreement = _agreement(operator, found, case, eps)
    kernel = response_kernel(found)
    constant = float(found.constant.abs().max())
    report = case.report(
        Theorem.CONVOLUTION if agreement.holds else Theorem.INCONCLUSIVE,
        "" if agreement.holds else DIFFERS,
        period=tuple(s.period for s in found.spans),
        phases=tuple(s.phases for s in found.spans),
        taps=tuple(kernel.shape[-found.axes :]),
        origin=tuple(-s.offsets[0] for s in found.spans),
        support=support_of(kernel, found.spans, eps),
        channels=(kernel.shape[found.axes], kernel.shape[found.axes + 1]),
        constant=constant if case.linear.verdict is Linearity.AFFINE else 0.0,
        error=agreement.error,
        relative_error=agreement.relative,
        allowance=agreement.allowance,
        share=float(math.prod(float(s.valid.mean()) for s in spans)),
        **known,
    )
    if not agreement.holds:
        return Investigation(report=report)
    return Investigation(
        report=report,
        polyphase=found,
        response=_response_record(found, kernel, report, case.inputs.main.tensor),
        like=case.inputs.main.tensor,
    )


MOST = 2**25
"""The largest number of taps, over all channels and phases, that is measured."""


def _entries(case: _Case, spans: Sequence[Span]) -> int:
    channels = case.linear.outputs[0].shape[1] * case.inputs.main.tensor.shape[1]
    return channels * math.prod(s.phases * s.taps for s in spans)


def _response_record(
    found: Polyphase, kernel: torch.Tensor, report: ConvolutionReport, x: torch.Tensor
) -> ImpulseResponse:
    single = all(n == 1 for n in kernel.shape[: found.axes])
    kernel = kernel.flatten(0, found.axes).unflatten(0, kernel.shape[: found.axes + 1])
    return ImpulseResponse(
        kernel=(kernel[(0,) * found.axes] if single else kernel).to(x.dtype).contiguous(),
        origin=report.origin,
        support=report.support,
        constant=(found.constant if report.constant else found.constant * 0).to(x.dtype),
        stride=report.stride,
        period=report.period,
        boundary=report.boundary,
        report=report,
    )


@dataclass(frozen=True)
class _Agreement:
    error: float
    relative: float
    allowance: float

    @property
    def holds(self) -> bool:
        return self.relative <= self.allowance


FRESH = 2
"""Random signals, not seen before, on which the convolution is held against the operator."""


def _agreement(operator: Operator, found: Polyphase, case: _Case, eps: float) -> _Agreement:
    """The convolution against the operator on the valid region, channel by channel."""
    module = as_module(
        found, constant=case.linear.verdict is Linearity.AFFINE, dtype=EXACT
    ).requires_grad_(False)
    x = case.inputs.main.tensor
    zero = operator(torch.zeros(x.shape, dtype=EXACT)).tensors.popitem()[1]
    draw = torch.Generator().manual_seed(case.seed + 1)
    worst = _Agreement(0.0, 0.0, NOISE.get(eps, 64.0) * eps)
    explained = 8 * max(s.error or 0.0 for s in case.linear.outputs[0].superpositions[: len(LAWS)])
    for _ in range(FRESH):
        signal = torch.randn(x.shape, generator=draw).to(EXACT) * unit_of(x)
        (response,) = operator(signal).tensors.values()
        constant, is_, ours = (_on_valid(t, found.spans) for t in (zero, response, module(signal)))
        gap = _peaks(is_ - ours)
        size = torch.maximum(_peaks(is_), _peaks(constant))
        alive = _peaks(is_ - constant)
        allowed = torch.maximum(NOISE.get(eps, 64.0) * eps * size, explained * alive)
        over = torch.where(allowed > 0, gap / allowed, gap * math.inf).nan_to_num(0.0)
        c = int(over.argmax())
        scale = float(alive[c]) or 1.0
        one = _Agreement(float(gap.max()), float(gap[c]) / scale, float(allowed[c]) / scale)
        worst = max(worst, one, key=lambda a: a.relative / a.allowance if a.allowance else 0.0)
    return worst


def _on_valid(tensor: torch.Tensor, spans: Sequence[Span]) -> torch.Tensor:
    for axis, own in enumerate(spans):
        index = torch.from_numpy(np.flatnonzero(own.valid))
        tensor = tensor.index_select(axis + 2, index)
    return tensor


def _peaks(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.movedim(1, 0).flatten(1).abs().amax(1)
