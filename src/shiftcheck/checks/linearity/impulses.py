"""Impulse responses: what a Dirac impulse at each phase of the period turns into."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch

from shiftcheck.checks.linearity.impulse_placement import Placement, Span, place
from shiftcheck.checks.linearity.operator import EXACT, Operator
from shiftcheck.errors import ModelError
from shiftcheck.report.linearity import ConvolutionReport

BATCH = 2**20
"""Input values that travel in one batch of impulses at most."""

HEIGHT = 2.0**10
"""The height of an impulse, where the type has room for it.

So large that the rounding of the constant part, which is taken away again, hardly counts; a power
of two, by which every tap is divided exactly.
"""

ROUNDING = 64.0
"""Taps that differ by so many eps of the largest one are the same, and smaller ones are zero."""


class OrderError(ModelError):
    """The output is not ``[batch, channels, *spatial]``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Polyphase:
    """``out[c, Q t + r] = constant[c, r] + sum_j weight[r, c, k, j] in[k, P t + low + j]``.

    ``weight`` is ``[*phases, out, in, *taps]`` and ``constant`` ``[out, *phases]``, in float64 on
    the CPU; periods P, phases Q and ``low`` are those of ``spans``, one for each spatial axis.
    """

    weight: torch.Tensor
    constant: torch.Tensor
    spans: tuple[Span, ...]

    @property
    def axes(self) -> int:
        """The number of spatial axes."""
        return len(self.spans)


@dataclass(frozen=True, kw_only=True, eq=False)
class ImpulseResponse:
    """The kernel of an operator that is linear and equivariant, and its constant part.

    With the effective stride ``s = num / den`` of an axis, an impulse at pixel p adds
    ``kernel[..., out, in, i]`` to the output sample q for which ``i - origin = num q - den p``. So
    the tap at ``origin`` is the one at offset zero, and the offset of its neighbour is one
    ``den``-th of a pixel. Of an operator without stride this is ``h`` in ``phi(f) = f * h``.

    ``kernel`` is ``[out, in, *taps]``, with the phases in front, ``[*phases, out, in, *taps]``,
    where the period is longer than the stride asks for: the sample q is of phase
    ``(q // den) % phases``. ``origin`` has an index for each axis, and can lie outside the kernel.
    ``support``: for each axis the first and one past the last offset of a tap that is not zero.
    ``constant``: ``phi(0)``, which has the period of the output, ``[out, *samples]``. ``stride``:
    input pixels per output sample; ``period``: input pixels after which all repeats. ``report``:
    how it was found, and how well it does.

    Example:
        >>> import torch, shiftcheck
        >>> conv = torch.nn.Conv1d(1, 1, 3, bias=False)
        >>> response = shiftcheck.impulse_response(conv, torch.randn(1, 1, 12))
        >>> turned = conv.weight.detach().flip(-1)
        >>> bool(torch.allclose(response.kernel, turned.to(response.kernel.dtype)))
        True
    """

    kernel: torch.Tensor
    origin: tuple[int, ...]
    support: tuple[tuple[int, int], ...]
    constant: torch.Tensor
    stride: tuple[Fraction, ...]
    period: tuple[int, ...]
    boundary: tuple[str, ...]
    report: ConvolutionReport

    def __str__(self) -> str:
        return str(self.report)


def measure_polyphase(
    operator: Operator, spans: Sequence[Span], placements: Sequence[Placement], eps: float
) -> Polyphase:
    """Every tap of an operator that is known to be linear and equivariant, from impulses.

    Raises OrderError where the output is not ``[batch, channels, *spatial]``.
    """
    x = operator.inputs.main.tensor
    zero = _response(operator, torch.zeros(x.shape, dtype=EXACT, device="cpu"), spans)[0]
    pairs = [s.phases * s.taps for s in spans]
    table = torch.zeros((len(zero), x.shape[1], *pairs), dtype=EXACT, device="cpu")
    where = list(
        itertools.product(range(x.shape[1]), *(range(len(p.impulses)) for p in placements))
    )
    height = min(HEIGHT, 2.0 ** int(-math.log2(eps) / 2))
    for part, responses in _responses(operator, where, spans, placements, height):
        for (channel, *at), response in zip(part, responses, strict=True):
            taken = (response - zero) / height
            target = table[:, channel]
            samples = [p.samples[i] for p, i in zip(placements, at, strict=True)]
            taps = [p.taps[i] for p, i in zip(placements, at, strict=True)]
            for axis, index in enumerate(samples):
                taken = taken.index_select(axis + 1, torch.from_numpy(index))
            grid = torch.meshgrid(*(torch.from_numpy(t) for t in taps), indexing="ij")
            places: tuple[Any, ...] = (slice(None), *grid)
            target[places] = taken
    constant = zero
    for axis, placement in enumerate(placements):
        constant = constant.index_select(axis + 1, torch.from_numpy(placement.bases))
    weight = table.reshape(*table.shape[:2], *(n for s in spans for n in (s.phases, s.taps)))
    axes = len(spans)
    order = (*range(2, 2 + 2 * axes, 2), 0, 1, *range(3, 3 + 2 * axes, 2))
    polyphase = Polyphase(weight=weight.permute(order), constant=constant, spans=tuple(spans))
    return _shortest(polyphase, eps)


def _responses(
    operator: Operator,
    where: Sequence[tuple[int, ...]],
    spans: Sequence[Span],
    placements: Sequence[Placement],
    height: float,
) -> Iterator[tuple[Sequence[tuple[int, ...]], torch.Tensor]]:
    """The responses to impulses, in batches, or in those of x where the model takes no other."""
    x = operator.inputs.main.tensor
    least = len(x)
    most = max(least, BATCH // max(1, math.prod(x.shape[1:])))
    start = 0
    while start < len(where):
        part = where[start : start + most]
        signal = torch.zeros((max(len(part), least), *x.shape[1:]), dtype=EXACT, device="cpu")
        for n, (channel, *at) in enumerate(part):
            pixel = [p.impulses[i] for p, i in zip(placements, at, strict=True)]
            signal[tuple([n, channel, *pixel])] = height
        try:
            response = _response(operator, signal, spans)
        except ModelError as error:
            if len(signal) == least or isinstance(error, OrderError):
                raise
            most = least
            continue
        yield part, response[: len(part)]
        start += len(part)


def _response(operator: Operator, signal: torch.Tensor, spans: Sequence[Span]) -> torch.Tensor:
    """The one output, ``[batch, out, *spatial]``."""
    (output,) = operator(signal).tensors.values()
    sizes = tuple(s.size for s in spans)
    if output.ndim != len(spans) + 2 or output.shape[2:] != sizes or len(output) != len(signal):
        raise OrderError(
            f"the output has shape {tuple(output.shape)}, with spatial sizes {sizes}: it has to be"
            " [batch, channels, *spatial]; move its channels to dimension 1"
        )
    return output


def _shortest(polyphase: Polyphase, eps: float) -> Polyphase:
    """The same operator with the shortest period that its taps have, along each axis."""
    for axis, span in enumerate(polyphase.spans):
        for period in range(span.stride.numerator, span.period, span.stride.numerator):
            if span.period % period == 0 and _repeats(polyphase, axis, period, eps):
                polyphase = _reduced(polyphase, axis, period)
                break
        if span.whole or polyphase.spans[axis].period < span.period:
            polyphase = _narrowed(polyphase, axis, eps)
    return polyphase


def _narrowed(polyphase: Polyphase, axis: int, eps: float) -> Polyphase:
    """The same operator with the fewest taps along one axis, on a circle across its seam too."""
    span, dim = polyphase.spans[axis], polyphase.axes + 2 + axis
    taps = polyphase.weight.abs().movedim(dim, 0).flatten(1).amax(1)
    there = (taps > ROUNDING * eps * taps.max()).nonzero().flatten().tolist()
    if not there:
        return polyphase
    start, count = there[0], there[-1] - there[0] + 1
    if span.whole:
        ends = [(b - a, b) for a, b in itertools.pairwise([*there, there[0] + span.taps])]
        gap, start = max(ends)
        count = span.taps - gap + 1
    weight = polyphase.weight.roll(-start, dim).narrow(dim, 0, count)
    spans = (*polyphase.spans[:axis], span.with_taps(start, count), *polyphase.spans[axis + 1 :])
    return replace(polyphase, weight=weight, spans=spans)


def _repeats(polyphase: Polyphase, axis: int, period: int, eps: float) -> bool:
    """Whether the taps and the constant are the same one shorter period further on."""
    span, axes = polyphase.spans[axis], polyphase.axes
    step = int(period / span.stride)
    weight = polyphase.weight.movedim((axis, axes + 2 + axis), (0, 1))
    constant = polyphase.constant.movedim(axis + 1, 0)
    largest = polyphase.weight.abs().amax([d for d in range(2 * axes + 2) if d != axes])
    bound = ROUNDING * eps * (largest + constant.abs().amax([0, *range(2, constant.ndim)]))
    for r in range(span.phases):
        carry, other = divmod(r + step, span.phases)
        moved = _moved(weight[other], period - carry * span.period, span)
        off = [d for d in range(moved.ndim) if d != axes]
        gap = (weight[r] - moved).abs().amax(off)
        apart = (constant[r] - constant[other]).abs().reshape(len(bound), -1).amax(1)
        if bool((gap > bound).any() or (apart > bound).any()):
            return False
    return True


def _moved(taps: torch.Tensor, by: int, span: Span) -> torch.Tensor:
    """The tap at ``j + by`` for each ``j``; beyond the ends zero, or around the whole circle."""
    if span.whole:
        return taps.roll(-by, 0)
    out = torch.zeros_like(taps)
    keep = len(taps) - abs(by)
    if keep > 0:
        source, target = max(by, 0), max(-by, 0)
        out[target : target + keep] = taps[source : source + keep]
    return out


def _reduced(polyphase: Polyphase, axis: int, period: int) -> Polyphase:
    span = polyphase.spans[axis].with_period(period)
    weight = polyphase.weight.narrow(axis, 0, span.phases)
    weight = weight.narrow(polyphase.axes + 2 + axis, 0, span.taps)
    constant = polyphase.constant.narrow(axis + 1, 0, span.phases)
    spans = (*polyphase.spans[:axis], span, *polyphase.spans[axis + 1 :])
    return replace(polyphase, weight=weight, constant=constant, spans=spans)


def response_kernel(polyphase: Polyphase) -> torch.Tensor:
    """The impulse response ``[*phases, out, in, *offsets]`` from the taps of every phase."""
    kernel = polyphase.weight
    for axis, span in enumerate(polyphase.spans):
        kernel = _along_offsets(kernel, axis, polyphase.axes + 2 + axis, span)
    return kernel


def _along_offsets(weight: torch.Tensor, phase: int, tap: int, span: Span) -> torch.Tensor:
    """Sort the taps ``(r, j)`` of one axis by their offset ``num r - den j``."""
    num, den = span.stride.numerator, span.stride.denominator
    first, count = span.offsets
    moved = weight.movedim((phase, tap), (0, 1))
    groups = span.phases // den
    out = torch.zeros((groups, count, *moved.shape[2:]), dtype=weight.dtype, device=weight.device)
    for r, j in itertools.product(range(span.phases), range(span.taps)):
        offset = num * r - den * (j + span.low) - first
        if span.whole:
            offset %= count
        if 0 <= offset < count:
            out[r // den, offset] = moved[r, j]
    return out.movedim((0, 1), (phase, tap))


def support_of(
    kernel: torch.Tensor, spans: Sequence[Span], eps: float
) -> tuple[tuple[int, int], ...]:
    """The first and one past the last offset, along each axis, of a tap that is not zero."""
    supports = []
    seen = kernel.abs() > ROUNDING * eps * kernel.abs().max()
    for axis, span in enumerate(spans):
        dim = kernel.ndim - len(spans) + axis
        along = seen.movedim(dim, 0).flatten(1).any(1).nonzero().flatten()
        first, _ = span.offsets
        supports.append(
            (first + int(along[0]), first + int(along[-1]) + 1) if len(along) else (0, 0)
        )
    return tuple(supports)


def placed(spans: Sequence[Span]) -> list[Placement] | None:
    """The placement of the impulses along every axis; None where the signal is too small."""
    placements = [place(span) for span in spans]
    known = [one for one in placements if one is not None]
    return known if len(known) == len(placements) else None
