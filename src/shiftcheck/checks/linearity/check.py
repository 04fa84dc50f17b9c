"""Whether a map is linear: superpositions of random signals, at several amplitudes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from shiftcheck.checks.equivariance.second_look import BREAK
from shiftcheck.checks.explained import explaining_errors
from shiftcheck.checks.linearity.operator import EXACT, Operator, in_type, only_signal, operated
from shiftcheck.checks.linearity.rounding import Witness
from shiftcheck.checks.linearity.superposition import (
    AMPLITUDE,
    AMPLITUDES,
    LAWS,
    Law,
    Responses,
    Sides,
    coarsest,
    every_law,
    peaks,
    respond,
    sides_of,
    signals,
    unit_of,
)
from shiftcheck.checks.prepare import check_options, prepared
from shiftcheck.errors import InconclusiveError, NotLinearError
from shiftcheck.measuring.plan import Model
from shiftcheck.measuring.tolerance import NOISE
from shiftcheck.report.linearity import Linearity, LinearityReport, LinearOutput, Superposition
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.black_box import BlackBox

FINEST = 1e-6
"""A relative gap that rounding explains, but that is larger than this, proves nothing."""

HIDDEN = 0.01
"""A linear part of which less than this relative change would show is hidden by the constant."""


@explaining_errors
def check_linear(
    model: Model,
    x: Any,
    *,
    layer: str | None = None,
    seed: int = 0,
) -> LinearityReport:
    """Compare ``phi(a f + b g)`` with ``a phi(f) + b phi(g) + (1 - a - b) phi(0)``.

    Args:
        model: any module or callable; it is run in eval mode and left as it was found.
        x: a tensor or array ``[batch, channels, *spatial]``, or a tuple or dict that holds one. It
            gives the shape, the type and the magnitude of the random signals, and is one itself.
        layer: check up to this layer; what follows is not run.
        seed: of the random signals.

    Returns:
        A report whose verdict is LINEAR, AFFINE (linear but for a constant part, which it holds),
        NOT_LINEAR, or INCONCLUSIVE with its reason: outputs that are zero, not finite, random, or
        do not depend on the signal are never linear. The comparison is made in float64 where the
        model has a copy in it, so that rounding in its own type counts neither way. Amplitudes
        from 2^-20 to 2^20 times that of x are compared; nothing is claimed beyond them.

    Raises:
        InputError: for arguments that cannot be used, several tensors, or a signal that is not
            real and floating.
        ModelError: where the model raises or returns no tensor that depends on the signal.

    Example:
        >>> import torch, shiftcheck
        >>> report = shiftcheck.check_linear(torch.nn.Conv2d(1, 2, 3), torch.randn(1, 1, 8, 8))
        >>> report.verdict  # it has a bias
        <Linearity.AFFINE: 'affine'>
    """
    check_options(seed=seed, layer=layer)
    given = prepared(model, x)
    only_signal(given.inputs)
    seen = given.seen(given.inputs, x)
    with operated(seen.model, seen.inputs, layer=layer) as operator:
        measured = _measured(operator, seed)
        notes = _notes(operator, measured)
    notes += tuple(operator.originals.left)
    verdict, reason = _overall(measured.outputs)
    signal = seen.inputs.main.tensor
    return LinearityReport(
        verdict=verdict,
        reason=reason,
        outputs=measured.outputs,
        model=getattr(seen.model, "__name__", type(seen.model).__name__),
        input_shape=tuple(signal.shape),
        layer=layer,
        dtype=_name(signal.dtype),
        precision=_name(measured.precision),
        unit=unit_of(signal),
        amplitudes=(1 / measured.amplitude, measured.amplitude),
        sensitivity=measured.sensitivity,
        seed=seed,
        notes=notes,
        versions={"torch": torch.__version__, "numpy": np.__version__},
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@dataclass(frozen=True)
class _Measured:
    outputs: tuple[LinearOutput, ...]
    precision: torch.dtype
    amplitude: float
    sensitivity: float | None
    operator: Operator
    leak_line: str


def _notes(operator: Operator, measured: _Measured) -> tuple[str, ...]:
    notes = []
    if measured.precision != EXACT:
        notes.append("the model has no copy that computes in float64: compared in its own type")
    if any(isinstance(o.model, BlackBox) for o in (operator, measured.operator)):
        line = measured.operator.left_at or operator.left_at
        where = f": values leave torch at {line}" if line else ""
        notes.append(f"what is decided inside, outside of torch, is not seen{where}")
    if measured.leak_line:
        notes.append(f"a value is read from a tensor at {measured.leak_line}")
    if operator.inputs.gradients:
        notes.append("the model computes gradients in its forward: it ran outside inference mode")
    return tuple(notes)


def _overall(outputs: Sequence[LinearOutput]) -> tuple[Linearity, Reason]:
    order = (Linearity.NOT_LINEAR, Linearity.INCONCLUSIVE, Linearity.AFFINE)
    for verdict in order:
        for output in outputs:
            if output.verdict is verdict:
                return verdict, output.reason
    return Linearity.LINEAR, Reason.NONE


def _measured(operator: Operator, seed: int) -> _Measured:
    exact = in_type(operator, EXACT)
    best = operator if exact is None else exact
    x = operator.inputs.main.tensor
    precision = EXACT if exact is not None else coarsest(operator(x).dtypes | {x.dtype})
    amplitude = AMPLITUDES.get(precision, AMPLITUDE)
    given = signals(x, seed, amplitude)
    run = respond(best, given)
    witness = Witness(run, best, operator, given, exact=exact is not None)
    outputs = [
        _output(name, tensor, run, every_law(amplitude), witness)
        for name, tensor in run.found["f"].tensors.items()
    ]
    lost = [(n, Reason.IGNORES) for n in run.found["f"].ignoring]
    lost += [(n, Reason.UNREAD) for n in run.found["f"].unread]
    outputs += [
        LinearOutput(name=n, shape=(), verdict=Linearity.INCONCLUSIVE, reason=r) for n, r in lost
    ]
    leaked = next((r.leak_line for r in run.found.values() if r.leak_line), "")
    return _Measured(tuple(outputs), precision, amplitude, _sensitivity(run), best, leaked)


def _sensitivity(run: Responses) -> float | None:
    """The largest of what is allowed, relative to the linear part, of any output and channel."""
    most = None
    for name in run.found["f"].tensors:
        sides = sides_of(run, name, LAWS[0])
        if sides is None or not sides.finite or not bool((sides.linear > 0).any()):
            continue
        there = sides.linear > 0
        allowed = float((sides.size[there] / sides.linear[there]).max()) * _allowed(run.eps)
        most = max(allowed, most or 0.0)
    return most


def _output(
    name: str, tensor: torch.Tensor, run: Responses, laws: Sequence[Law], witness: Witness
) -> LinearOutput:
    """The verdict on one output."""
    shape = tuple(tensor.shape)
    if tensor.numel() == 0:
        return LinearOutput(
            name=name, shape=shape, verdict=Linearity.INCONCLUSIVE, reason=Reason.EMPTY
        )
    sides = [sides_of(run, name, law) for law in laws]
    again = run.again.tensors.get(name)
    if again is None or any(s is None for s in sides) or again.shape != tensor.shape:
        return LinearOutput(
            name=name, shape=shape, verdict=Linearity.INCONCLUSIVE, reason=Reason.SHAPES
        )
    known = [s for s in sides if s is not None]
    judged = [_judged(name, law, side, run, witness) for law, side in zip(laws, known, strict=True)]
    zero = run.found["0"].tensors[name]
    constant, scale = _peak(zero), max(_peak(run.found[k].tensors[name] - zero) for k in "fgx")
    verdict, reason = _decide(judged, known, zero, run, _steady(tensor, again, run.eps))
    return LinearOutput(
        name=name,
        shape=shape,
        verdict=verdict,
        reason=reason,
        superpositions=tuple(one.superposition for one in judged),
        constant=constant if math.isfinite(constant) else None,
        scale=scale if math.isfinite(scale) else None,
    )


def _peak(tensor: torch.Tensor) -> float:
    return float(tensor.abs().max()) if tensor.numel() else 0.0


def _steady(one: torch.Tensor, again: torch.Tensor, eps: float) -> bool:
    if not torch.isfinite(one).all():
        return True  # that it is not finite is what there is to say of it
    return bool((peaks(one - again) <= _allowed(eps) * peaks(one)).all())


def _allowed(eps: float) -> float:
    return NOISE.get(eps, 64.0) * eps


@dataclass(frozen=True)
class _Judged:
    """A law with what came of it: whether its gap is a break, and whether rounding explains it."""

    superposition: Superposition
    broken: bool = False
    doubt: Reason = Reason.NONE


def _judged(name: str, law: Law, sides: Sides, run: Responses, witness: Witness) -> _Judged:
    if not sides.finite:
        return _Judged(
            Superposition(law=law.words, error=None, allowance=None), doubt=Reason.NOT_FINITE
        )
    allowed = _allowed(run.eps) * sides.size
    if not bool((sides.gap > allowed).any()):
        finer = run.eps * sides.size
        coarse = run.eps > SINGLE and bool((sides.gap > finer).any())
        broken = coarse and witness.recurs(name, law, sides)
        return _Judged(_shown(law, sides, finer if broken else allowed), broken)
    known = witness.explained(name, law, sides)
    if known is None:
        broken = witness.recurs(name, law, sides)
        return _Judged(
            _shown(law, sides, allowed), broken, Reason.NONE if broken else Reason.WITHIN_ROUNDING
        )
    explained, at_most = (torch.maximum(allowed, most) for most in known)
    clear = sides.gap > torch.maximum(at_most, BREAK * sides.size)
    broken = bool(clear.any())
    if not broken and bool((sides.gap > explained).any()):
        broken = witness.recurs(name, law, sides)
    if broken:
        return _Judged(_shown(law, sides, allowed), broken)
    allowed = torch.maximum(allowed, torch.minimum(explained, FINEST * sides.linear))
    doubt = Reason.WITHIN_ROUNDING if bool((sides.gap > allowed).any()) else Reason.NONE
    return _Judged(_shown(law, sides, allowed), broken, doubt)


SINGLE = 2.0**-23
"""In types coarser than float32, what is allowed is large enough to hide a break that recurs."""


def _shown(law: Law, sides: Sides, allowed: torch.Tensor) -> Superposition:
    """The law with the numbers of the channel in which it comes off worst."""
    over = torch.where(allowed > 0, sides.gap / allowed, sides.gap * math.inf).nan_to_num(0.0)
    channel = int(over.argmax())
    linear = float(sides.linear[channel])
    apart = (sides.together - sides.apart).abs()
    if apart.ndim > 1:
        others = torch.arange(apart.shape[1], device=apart.device) != channel
        apart = (
            apart.movedim(1, 0)
            .masked_fill(others.reshape(-1, *(1 for _ in apart.shape[1:])), -1.0)
            .movedim(0, 1)
        )
    index = tuple(int(i) for i in np.unravel_index(int(apart.argmax()), apart.shape))
    return Superposition(
        law=law.words,
        error=float(sides.gap[channel]) / linear if linear else 0.0,
        allowance=float(allowed[channel]) / linear if linear else 0.0,
        index=index,
        together=float(sides.together[index]),
        apart=float(sides.apart[index]),
    )


def _decide(
    judged: Sequence[_Judged],
    sides: Sequence[Sides],
    zero: torch.Tensor,
    run: Responses,
    steady: bool,
) -> tuple[Linearity, Reason]:
    if not steady:
        return Linearity.INCONCLUSIVE, Reason.UNSTEADY
    if any(one.broken for one in judged):
        return Linearity.NOT_LINEAR, Reason.NONE
    for one in judged:
        if one.doubt:
            return Linearity.INCONCLUSIVE, one.doubt
    constant = peaks(zero)
    unseen = _allowed(run.eps) * constant
    linear = torch.stack([s.linear for s in sides])
    alive = linear.amax(0) > unseen
    if not bool(alive.any()):
        return Linearity.INCONCLUSIVE, Reason.IGNORES if bool(constant.any()) else Reason.DEAD
    if any(r.leak for r in run.found.values()):
        return Linearity.INCONCLUSIVE, Reason.DECIDES
    if bool((alive & (unseen > HIDDEN * linear[0])).any()):
        return Linearity.INCONCLUSIVE, Reason.COVERED
    negligible = bool((constant <= _allowed(run.eps) * linear[0]).all())
    return (Linearity.LINEAR if negligible else Linearity.AFFINE), Reason.NONE


def raise_unless_linear(report: LinearityReport, *, affine: bool) -> None:
    """Raise what an assertion raises where a map is not linear; ``affine`` lets a constant pass."""
    __tracebackhide__ = True
    if report.verdict is Linearity.LINEAR or (affine and report.verdict is Linearity.AFFINE):
        return
    from shiftcheck.report.render import explain_linearity

    message = explain_linearity(report)
    if report.verdict is Linearity.INCONCLUSIVE:
        raise InconclusiveError(message)
    if report.verdict is Linearity.AFFINE:
        message += "\nremedy: leave the bias out, or give affine=True to let a constant part pass"
    raise NotLinearError(message)
