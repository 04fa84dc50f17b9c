"""The theorem behind convolutions: what is linear and shift-equivariant is a convolution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from shiftcheck.checks.black_boxes import seen_as
from shiftcheck.checks.explained import explaining_errors
from shiftcheck.checks.linearity.agreement import Agreement, agreement_of
from shiftcheck.checks.linearity.check import check_linear
from shiftcheck.checks.linearity.impulse_placement import Span
from shiftcheck.checks.linearity.impulses import (
    ImpulseResponse,
    OrderError,
    Polyphase,
    measure_polyphase,
    placed,
    response_kernel,
    support_of,
)
from shiftcheck.checks.linearity.operator import EXACT, in_type, operated
from shiftcheck.checks.linearity.question import (
    Question,
    in_order,
    movable,
    needed_size,
    shifts_of,
    spans_of,
)
from shiftcheck.checks.prepare import prepared
from shiftcheck.errors import ModelError
from shiftcheck.measuring.plan import Model
from shiftcheck.report.equivariance import Report, Verdict
from shiftcheck.report.linearity import ConvolutionReport, Linearity, LinearityReport, Theorem
from shiftcheck.report.reasons import Reason


@explaining_errors
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
    given = prepared(model, x, boundary)
    question = Question(given.model, x, given.inputs, layer, boundary, seed)
    linear = _linear(question)
    case = replace(question, linearity=linear)
    if linear.verdict is Linearity.NOT_LINEAR:
        return Investigation(report=case.report(Theorem.NOT_LINEAR, Reason.NONE))
    if linear.verdict is Linearity.INCONCLUSIVE:
        return Investigation(report=case.report(Theorem.INCONCLUSIVE, linear.reason))
    if len(linear.outputs) != 1:
        return Investigation(report=case.report(Theorem.INCONCLUSIVE, Reason.SEVERAL_OUTPUTS))
    return _equivariant(case)


def _linear(case: Question) -> LinearityReport:
    """The first premise; where the model cannot take a signal of this size, the one it needs."""
    try:
        return check_linear(case.model, case.x, layer=case.layer, seed=case.seed)
    except ModelError as error:
        needed = needed_size(case)
        if needed is None:
            raise
        sizes = " x ".join(map(str, needed))
        raise ModelError(
            f"x has spatial sizes {case.inputs.pixels}, and the model does not run: it does from"
            f" {sizes} on. {error}"
        ) from error


def _equivariant(case: Question) -> Investigation:
    """The second premise: whether it is equivariant, and with which period."""
    structure = case.structure(case.inputs.main.tensor.detach())
    output = structure.outputs[0]
    if None in output.period or None in output.stride or None in output.halo:
        return Investigation(report=_without_period(case))
    if any(s is not None and s < 0 for s in output.stride):
        return Investigation(report=case.report(Theorem.NOT_EQUIVARIANT, Reason.MIRRORED))
    endless = [
        a
        for a, halo in enumerate(output.halo)
        if halo is not None and math.inf in halo and not case.inputs.circular[a]
    ]
    if endless:
        guilty = _first_endless(structure, endless)
        return Investigation(
            report=case.report(Theorem.INFINITE_SUPPORT, Reason.NONE, guilty=guilty)
        )
    if not in_order(output):
        return Investigation(report=case.report(Theorem.INCONCLUSIVE, Reason.OTHER_ORDER))
    spans = spans_of(output, case.inputs)
    known: dict[str, Any] = {
        "stride": tuple(s.stride for s in spans),
        "structure_period": tuple(s.period for s in spans),
    }
    if not movable(spans):
        return Investigation(report=_too_small(case, known))
    checked = case.check(shifts_of(spans))
    known["equivariance"] = checked
    if checked.verdict is Verdict.BROKEN:
        return Investigation(report=case.report(Theorem.NOT_EQUIVARIANT, Reason.NONE, **known))
    if checked.reason in (Reason.NO_REGION, Reason.TOO_LITTLE):
        return Investigation(report=_too_small(case, known))
    if checked.verdict is not Verdict.EQUIVARIANT:
        return Investigation(report=case.report(Theorem.INCONCLUSIVE, checked.reason, **known))
    return _convolution(case, spans, known)


def _without_period(case: Question) -> ConvolutionReport:
    """No shift is promised: what the default shifts say."""
    checked = case.check(None)
    broken = checked.verdict is Verdict.BROKEN
    verdict = Theorem.NOT_EQUIVARIANT if broken else Theorem.INCONCLUSIVE
    reason = Reason.NONE if broken else checked.reason or Reason.NO_PERIOD
    return case.report(verdict, reason, equivariance=checked)


def _first_endless(structure: Report, axes: Sequence[int]) -> str:
    """The first layer of which a sample sees all of an axis."""
    for row in structure.layers:
        halos = [row.halo[a] for a in axes]
        if any(h is not None and math.inf in h for h in halos):
            return row.name
    return ""


def _too_small(case: Question, known: dict[str, Any]) -> ConvolutionReport:
    needed = needed_size(case)
    return case.report(Theorem.INCONCLUSIVE, Reason.TOO_SMALL, needed=needed, **known)


def _convolution(case: Question, spans: tuple[Span, ...], known: dict[str, Any]) -> Investigation:
    """The conclusion: the impulse response, and how well it does on random signals."""
    if _entries(case, spans) > MOST:
        return Investigation(report=case.report(Theorem.INCONCLUSIVE, Reason.TOO_LARGE, **known))
    placements = placed(spans)
    if placements is None:
        return Investigation(report=_too_small(case, known))
    model = seen_as(case.model, case.inputs, case.x, training=False)
    with operated(model, case.inputs, layer=case.layer) as given_operator:
        exact = in_type(given_operator, EXACT)
        operator = given_operator if exact is None else exact
        eps = float(torch.finfo(getattr(torch, case.linear.precision)).eps)
        try:
            polyphase = measure_polyphase(operator, spans, placements, eps)
        except OrderError:
            return Investigation(
                report=case.report(Theorem.INCONCLUSIVE, Reason.OTHER_ORDER, **known)
            )
        agreement = agreement_of(operator, polyphase, case, eps)
    kernel = response_kernel(polyphase)
    share = math.prod(1.0 if s.circular else float(s.valid.mean()) for s in spans)
    report = _concluded(case, polyphase, kernel, agreement, eps, {**known, "share": share})
    if not agreement.holds:
        return Investigation(report=report)
    return Investigation(
        report=report,
        polyphase=polyphase,
        response=_response_record(polyphase, kernel, report, case.inputs.main.tensor),
        like=case.inputs.main.tensor,
    )


def _concluded(
    case: Question,
    polyphase: Polyphase,
    kernel: torch.Tensor,
    agreement: Agreement,
    eps: float,
    known: dict[str, Any],
) -> ConvolutionReport:
    """The report of a kernel that was measured."""
    constant = float(polyphase.constant.abs().max())
    return case.report(
        Theorem.CONVOLUTION if agreement.holds else Theorem.INCONCLUSIVE,
        Reason.NONE if agreement.holds else Reason.DIFFERS,
        period=tuple(s.period for s in polyphase.spans),
        phases=tuple(s.phases for s in polyphase.spans),
        taps=tuple(kernel.shape[-polyphase.axes :]),
        origin=tuple(-s.offsets[0] for s in polyphase.spans),
        support=support_of(kernel, polyphase.spans, eps),
        channels=(kernel.shape[polyphase.axes], kernel.shape[polyphase.axes + 1]),
        constant=constant if case.linear.verdict is Linearity.AFFINE else 0.0,
        error=agreement.error,
        relative_error=agreement.relative,
        allowance=agreement.allowance,
        **known,
    )


MOST = 2**25
"""The largest number of taps, over all channels and phases, that is measured."""


def _entries(case: Question, spans: Sequence[Span]) -> int:
    channels = case.linear.outputs[0].shape[1] * case.inputs.main.tensor.shape[1]
    return channels * math.prod(s.phases * s.taps for s in spans)


def _response_record(
    polyphase: Polyphase, kernel: torch.Tensor, report: ConvolutionReport, x: torch.Tensor
) -> ImpulseResponse:
    single = all(n == 1 for n in kernel.shape[: polyphase.axes])
    return ImpulseResponse(
        kernel=(kernel[(0,) * polyphase.axes] if single else kernel).to(x.dtype).contiguous(),
        origin=report.origin,
        support=report.support,
        constant=(polyphase.constant if report.constant else polyphase.constant * 0).to(x.dtype),
        stride=report.stride,
        period=report.period,
        boundary=report.boundary,
        report=report,
    )
