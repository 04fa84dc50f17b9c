"""Whether a map is linear: superpositions of random signals, at several amplitudes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from shiftcheck.check import checked_inputs
from shiftcheck.errors import InputError
from shiftcheck.linear_report import Linearity, LinearityReport, LinearOutput, Superposition
from shiftcheck.modules import eager
from shiftcheck.operators import EXACT, Operator, Response, in_type, only_signal, operated
from shiftcheck.outside import seen_as
from shiftcheck.structure import Model
from shiftcheck.verdict import DEAD, IGNORES, NOISE, NOT_FINITE, UNREAD, UNSTEADY
from shiftcheck.whole import Whole

Key = str
Signals = dict[Key, torch.Tensor]
Terms = tuple[tuple[float, Key], ...]

AMPLITUDE = 2.0**20
AMPLITUDES = {torch.float16: 2.0**4}
"""Signals are also multiplied and divided by this; in float16 that would overflow."""

STEEP = 256.0
"""Rounding shrinks from one type to a finer one as their eps do, give or take this factor."""

LOST, SHRUNK = 0.01, 1e-3
"""Where a coarser type is off by more than LOST, rounding is at most SHRUNK of that."""

BREAK = 1e4 * 2.0**-52
"""A relative gap above this, that rounding does not explain, is a break; one below must recur."""

FINEST = 1e-6
"""A relative gap that rounding explains, but that is larger than this, proves nothing."""

HIDDEN = 0.01
"""A linear part of which less than this relative change would show is hidden by the constant."""

SHAPES, DECIDES = "output of another shape", "values are read to decide"
EMPTY = "empty output"
WITHIN, COVERED = "within rounding", "linear part hidden by the constant"


@dataclass(frozen=True)
class Law:
    """A law in words, the signal of its left side, and the terms of its right side."""

    words: str
    signal: Key
    terms: Terms


LAWS = (
    Law("phi(f + g) = phi(f) + phi(g) - phi(0)", "f + g", ((1, "f"), (1, "g"))),
    Law("phi(x + f) = phi(x) + phi(f) - phi(0)", "x + f", ((1, "x"), (1, "f"))),
    Law("phi(-f) = 2 phi(0) - phi(f)", "-f", ((-1, "f"),)),
    Law("phi(g + c) = phi(g) + phi(c) - phi(0)", "g + c", ((1, "g"), (1, "c"))),
    Law("phi(f) = phi(s) + phi(f - s) - phi(0)", "f", ((1, "s"), (1, "f - s"))),
    Law("phi(3 g) = 3 phi(g) - 2 phi(0)", "3 g", ((3, "g"),)),
)
"""Every map of the form A f + b obeys them all."""


def every_law(amplitude: float) -> tuple[Law, ...]:
    """The laws to test, those that make signals larger and smaller by a factor included."""
    words = "phi({0} f) = {0} phi(f) + (1 - {0}) phi(0)"
    scaled = [
        Law(words.format(f"{a:.6g}"), f"{a} f", ((a, "f"),)) for a in (amplitude, 1 / amplitude)
    ]
    return (*LAWS, *scaled)


def signals(x: torch.Tensor, seed: int, amplitude: float) -> Signals:
    """Every signal of the laws, in float64.

    f and g are white noise of the magnitude of x, c is constant, s is f at a random half of its
    places and zero elsewhere.
    """
    draw = torch.Generator().manual_seed(seed)
    f, g = (torch.randn(x.shape, generator=draw).to(EXACT) * unit_of(x) for _ in range(2))
    given = x.detach().cpu().to(EXACT)
    c = torch.full_like(f, unit_of(x))
    s = f * torch.randint(0, 2, f.shape, generator=draw)
    base = {"0": torch.zeros_like(f), "f": f, "g": g, "x": given, "c": c, "s": s, "f - s": f - s}
    sums = {"f + g": f + g, "x + f": given + f, "g + c": g + c, "-f": -f, "3 g": 3 * g}
    return base | sums | {f"{a} f": a * f for a in (amplitude, 1 / amplitude)}


def unit_of(x: torch.Tensor) -> float:
    """The power of two next to the largest magnitude of x; 1 for a signal of zeros."""
    peak = float(x.detach().abs().max())
    return 2.0 ** round(math.log2(peak)) if peak > 0 else 1.0


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
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputError(f"seed={seed!r}: give a whole number")
    if layer is not None and (not isinstance(layer, str) or not layer):
        raise InputError(f"layer={layer!r}: give the name of a layer, or None")
    model = eager(model)
    inputs = checked_inputs(model, x, "valid", None)
    only_signal(inputs)
    model = seen_as(model, inputs, x, training=False)
    with operated(model, inputs, layer=layer) as operator:
        measured = _measured(operator, seed)
        notes = _notes(operator, measured)
    verdict, reason = _overall(measured.outputs)
    signal = inputs.main.tensor
    return LinearityReport(
        verdict=verdict,
        reason=reason,
        outputs=measured.outputs,
        model=getattr(model, "__name__", type(model).__name__),
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


def _notes(operator: Operator, measured: _Measured) -> tuple[str, ...]:
    notes = []
    if measured.precision != EXACT:
        notes.append("the model has no copy that computes in float64: compared in its own type")
    if isinstance(operator.model, Whole):
        notes.append("what is decided inside, outside of torch, is not seen")
    if operator.inputs.gradients:
        notes.append("the model computes gradients in its forward: it ran outside inference mode")
    return tuple(notes)


def _overall(outputs: Sequence[LinearOutput]) -> tuple[Linearity, str]:
    order = (Linearity.NOT_LINEAR, Linearity.INCONCLUSIVE, Linearity.AFFINE)
    for verdict in order:
        for output in outputs:
            if output.verdict is verdict:
                return verdict, output.reason
    return Linearity.LINEAR, ""


@dataclass(frozen=True, eq=False)
class _Run:
    """The responses to every signal, in one type; ``again``: to f once more, after the others."""

    found: dict[Key, Response]
    again: Response
    eps: float


def _measured(operator: Operator, seed: int) -> _Measured:
    exact = in_type(operator, EXACT)
    best = operator if exact is None else exact
    x = operator.inputs.main.tensor
    precision = EXACT if exact is not None else _coarsest(operator(x).dtypes | {x.dtype})
    amplitude = AMPLITUDES.get(precision, AMPLITUDE)
    given = signals(x, seed, amplitude)
    run = _run(best, given)
    witness = _Witness(run, best, operator, given, exact=exact is not None)
    outputs = [
        _output(name, tensor, run, every_law(amplitude), witness)
        for name, tensor in run.found["f"].tensors.items()
    ]
    lost = [(n, IGNORES) for n in run.found["f"].ignoring]
    lost += [(n, UNREAD) for n in run.found["f"].unread]
    outputs += [
        LinearOutput(name=n, shape=(), verdict=Linearity.INCONCLUSIVE, reason=r) for n, r in lost
    ]
    return _Measured(tuple(outputs), precision, amplitude, _sensitivity(run))


def _sensitivity(run: _Run) -> float | None:
    """The largest of what is allowed, relative to the linear part, of any output and channel."""
    most = None
    for name in run.found["f"].tensors:
        sides = _sides(run, name, LAWS[0])
        if sides is None or not sides.finite or not bool((sides.linear > 0).any()):
            continue
        there = sides.linear > 0
        allowed = float((sides.size[there] / sides.linear[there]).max()) * _allowed(run.eps)
        most = max(allowed, most or 0.0)
    return most


def _run(operator: Operator, given: Signals) -> _Run:
    found = {key: operator(signal) for key, signal in given.items()}
    again = operator(given["f"])
    dtypes = frozenset(t for r in found.values() for t in r.dtypes)
    coarsest = _coarsest(dtypes | {operator.inputs.main.tensor.dtype})
    return _Run(found, again, float(torch.finfo(coarsest).eps))


def _coarsest(dtypes: frozenset[torch.dtype]) -> torch.dtype:
    floating = [t for t in dtypes if t.is_floating_point or t.is_complex]
    return max(floating, key=lambda t: float(torch.finfo(t).eps))


class _Witness:
    """What tells a break from rounding: asked only where there is a gap.

    Rounding shrinks with the eps of the type that it is made in. Where the model computes in one
    type only, rounding is drawn anew when the signals move a little, and a break is not.
    """

    def __init__(
        self, run: _Run, best: Operator, own: Operator, given: Signals, *, exact: bool
    ) -> None:
        self.run, self.best, self.own, self.given, self.exact = run, best, own, given, exact

    @cached_property
    def coarse(self) -> _Run | None:
        """The same responses in a coarser type, where the model computes in one."""
        if not self.exact:
            return None
        own = self.own.inputs.main.tensor.dtype
        coarser = in_type(self.best, torch.float32) if own == EXACT else self.own
        return None if coarser is None else _run(coarser, self.given)

    def explained(
        self, name: str, law: Law, sides: _Sides
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The largest gap of each channel that rounding makes, from its size in a coarser type.

        The second is what it could make at most: where a map loses all digits of the coarser type,
        the gap there is as large as the signal, and no longer says how large rounding is.
        """
        coarse = None if self.coarse is None else _sides(self.coarse, name, law)
        if self.coarse is None or coarse is None:
            return None
        relative = torch.where(coarse.size > 0, coarse.gap / coarse.size, 0.0)
        relative = relative.nan_to_num(1.0, 1.0, 1.0)
        shrunk = STEEP * self.run.eps / self.coarse.eps * relative
        lost = torch.where(relative > LOST, SHRUNK * relative, shrunk)
        return shrunk * sides.size, torch.maximum(shrunk, lost) * sides.size

    def recurs(self, name: str, law: Law, sides: _Sides) -> bool:
        """Whether the gap is the same where the signals move by more than it is large."""
        there = sides.size > 0
        relative = float((sides.gap[there] / sides.size[there]).max()) if there.any() else 0.0
        step = min(FAR, 16 * relative)
        gap = sides.together - sides.apart
        alike = []
        draw = torch.Generator().manual_seed(0)
        for _ in range(DRAWS):
            other = _sides(_run(self.best, moved(self.given, law, step, draw)), name, law)
            if other is None or not other.finite:
                return False
            alike.append(_cosine(gap, other.together - other.apart))
        return sum(alike) / DRAWS > ALIKE


FAR = 2.0**-4
DRAWS, ALIKE = 8, 0.5
"""Signals that have moved by less than FAR, and how alike the gaps of all draws are for a break."""


def moved(given: Signals, law: Law, step: float, draw: torch.Generator) -> Signals:
    """The signals of one law, each value of each off by ``step``, relatively."""
    own = {}
    for _, key in law.terms:
        signs = torch.randint(0, 2, given[key].shape, generator=draw) * 2 - 1
        own[key] = given[key] * (1 + step * signs.to(EXACT))
    total = torch.stack([a * own[key] for a, key in law.terms]).sum(0)
    first = next(iter(own.values()))
    return {"0": torch.zeros_like(first), "f": first, **own, law.signal: total}


def _cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    size = float(one.norm() * other.norm())
    return float((one * other).sum()) / size if size else 0.0


def _peaks(tensor: torch.Tensor) -> torch.Tensor:
    """The largest magnitude of each channel."""
    if tensor.ndim < 2:
        return tensor.abs().max().reshape(1) if tensor.numel() else tensor.new_zeros(1)
    channels = tensor.movedim(1, 0).reshape(tensor.shape[1], -1)
    return channels.abs().amax(1) if channels.numel() else channels.new_zeros(len(channels))


@dataclass(frozen=True, eq=False)
class _Sides:
    """Both sides of a law, and for each channel: the gap, the terms' size, and the linear part."""

    together: torch.Tensor
    apart: torch.Tensor
    gap: torch.Tensor
    size: torch.Tensor
    linear: torch.Tensor

    @property
    def finite(self) -> bool:
        return bool(torch.isfinite(self.gap).all() and torch.isfinite(self.size).all())


def _sides(run: _Run, name: str, law: Law) -> _Sides | None:
    """Both sides of a law for one output; None where its shape is not always the same."""
    keys = (law.signal, "0", *(key for _, key in law.terms))
    every = [run.found[key].tensors.get(name) for key in keys]
    together = every[0]
    if together is None or any(t is None or t.shape != together.shape for t in every):
        return None
    zero = run.found["0"].tensors[name]
    rest = 1.0 - sum(a for a, _ in law.terms)
    terms = [a * run.found[key].tensors[name] for a, key in law.terms] + [rest * zero]
    apart = torch.stack(terms).sum(0)
    size = torch.stack([_peaks(t) for t in (together, *terms)]).amax(0)
    linear = torch.maximum(_peaks(together - zero), _peaks(apart - zero))
    return _Sides(together, apart, _peaks(together - apart), size, linear)


def _output(
    name: str, tensor: torch.Tensor, run: _Run, laws: Sequence[Law], witness: _Witness
) -> LinearOutput:
    """The verdict on one output."""
    shape = tuple(tensor.shape)
    if tensor.numel() == 0:
        return LinearOutput(name=name, shape=shape, verdict=Linearity.INCONCLUSIVE, reason=EMPTY)
    sides = [_sides(run, name, law) for law in laws]
    again = run.again.tensors.get(name)
    if again is None or any(s is None for s in sides) or again.shape != tensor.shape:
        return LinearOutput(name=name, shape=shape, verdict=Linearity.INCONCLUSIVE, reason=SHAPES)
    known = [s for s in sides if s is not None]
    found = [_judged(name, law, side, run, witness) for law, side in zip(laws, known, strict=True)]
    zero = run.found["0"].tensors[name]
    constant, scale = _peak(zero), max(_peak(run.found[k].tensors[name] - zero) for k in "fgx")
    verdict, reason = _decide(found, known, zero, run, _steady(tensor, again, run.eps))
    return LinearOutput(
        name=name,
        shape=shape,
        verdict=verdict,
        reason=reason,
        superpositions=tuple(one.superposition for one in found),
        constant=constant if math.isfinite(constant) else None,
        scale=scale if math.isfinite(scale) else None,
    )


def _peak(tensor: torch.Tensor) -> float:
    return float(tensor.abs().max()) if tensor.numel() else 0.0


def _steady(one: torch.Tensor, again: torch.Tensor, eps: float) -> bool:
    if not torch.isfinite(one).all():
        return True  # that it is not finite is what there is to say of it
    return bool((_peaks(one - again) <= _allowed(eps) * _peaks(one)).all())


def _allowed(eps: float) -> float:
    return NOISE.get(eps, 64.0) * eps


@dataclass(frozen=True)
class _Judged:
    """A law with what came of it: whether its gap is a break, and whether rounding explains it."""

    superposition: Superposition
    broken: bool = False
    doubt: str = ""


def _judged(name: str, law: Law, sides: _Sides, run: _Run, witness: _Witness) -> _Judged:
    if not sides.finite:
        return _Judged(Superposition(law=law.words, error=None, allowance=None), doubt=NOT_FINITE)
    allowed = _allowed(run.eps) * sides.size
    if not bool((sides.gap > allowed).any()):
        finer = run.eps * sides.size
        coarse = run.eps > SINGLE and bool((sides.gap > finer).any())
        broken = coarse and witness.recurs(name, law, sides)
        return _Judged(_shown(law, sides, finer if broken else allowed), broken)
    known = witness.explained(name, law, sides)
    if known is None:
        broken = witness.recurs(name, law, sides)
        return _Judged(_shown(law, sides, allowed), broken, "" if broken else WITHIN)
    explained, at_most = (torch.maximum(allowed, most) for most in known)
    clear = sides.gap > torch.maximum(at_most, BREAK * sides.size)
    broken = bool(clear.any())
    if not broken and bool((sides.gap > explained).any()):
        broken = witness.recurs(name, law, sides)
    if broken:
        return _Judged(_shown(law, sides, allowed), broken)
    allowed = torch.maximum(allowed, torch.minimum(explained, FINEST * sides.linear))
    doubt = WITHIN if bool((sides.gap > allowed).any()) else ""
    return _Judged(_shown(law, sides, allowed), broken, doubt)


SINGLE = 2.0**-23
"""In types coarser than float32, what is allowed is large enough to hide a break that recurs."""


def _shown(law: Law, sides: _Sides, allowed: torch.Tensor) -> Superposition:
    """The law with the numbers of the channel in which it comes off worst."""
    over = torch.where(allowed > 0, sides.gap / allowed, sides.gap * math.inf).nan_to_num(0.0)
    channel = int(over.argmax())
    linear = float(sides.linear[channel])
    apart = (sides.together - sides.apart).abs()
    if apart.ndim > 1:
        others = torch.arange(apart.shape[1]) != channel
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
    found: Sequence[_Judged], sides: Sequence[_Sides], zero: torch.Tensor, run: _Run, steady: bool
) -> tuple[Linearity, str]:
    if not steady:
        return Linearity.INCONCLUSIVE, UNSTEADY
    if any(one.broken for one in found):
        return Linearity.NOT_LINEAR, ""
    for one in found:
        if one.doubt:
            return Linearity.INCONCLUSIVE, one.doubt
    constant = _peaks(zero)
    unseen = _allowed(run.eps) * constant
    linear = torch.stack([s.linear for s in sides])
    alive = linear.amax(0) > unseen
    if not bool(alive.any()):
        return Linearity.INCONCLUSIVE, IGNORES if bool(constant.any()) else DEAD
    if any(r.leak for r in run.found.values()):
        return Linearity.INCONCLUSIVE, DECIDES
    if bool((alive & (unseen > HIDDEN * linear[0])).any()):
        return Linearity.INCONCLUSIVE, COVERED
    negligible = bool((constant <= _allowed(run.eps) * linear[0]).all())
    return (Linearity.LINEAR if negligible else Linearity.AFFINE), ""
