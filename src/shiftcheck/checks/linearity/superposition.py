"""The law of superposition on random signals: the signals, both sides, how far they are off."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from shiftcheck.checks.linearity.operator import EXACT, Operator, Response

Key = str
Signals = dict[Key, torch.Tensor]
Terms = tuple[tuple[float, Key], ...]

AMPLITUDE = 2.0**20
AMPLITUDES = {torch.float16: 2.0**4}
"""Signals are also multiplied and divided by this; in float16 that would overflow."""


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
    f, g = (
        torch.randn(x.shape, generator=draw, device="cpu").to(EXACT) * unit_of(x) for _ in range(2)
    )
    given = x.detach().cpu().to(EXACT)
    c = torch.full_like(f, unit_of(x))
    s = f * torch.randint(0, 2, f.shape, generator=draw, device="cpu")
    base = {"0": torch.zeros_like(f), "f": f, "g": g, "x": given, "c": c, "s": s, "f - s": f - s}
    sums = {"f + g": f + g, "x + f": given + f, "g + c": g + c, "-f": -f, "3 g": 3 * g}
    return base | sums | {f"{a} f": a * f for a in (amplitude, 1 / amplitude)}


def unit_of(x: torch.Tensor) -> float:
    """The power of two next to the largest magnitude of x; 1 for a signal of zeros."""
    peak = float(x.detach().abs().max())
    return 2.0 ** round(math.log2(peak)) if peak > 0 else 1.0


@dataclass(frozen=True, eq=False)
class Responses:
    """The responses to every signal, in one type; ``again``: to f once more, after the others."""

    found: dict[Key, Response]
    again: Response
    eps: float


def respond(operator: Operator, given: Signals) -> Responses:
    """What an operator makes of every signal, one after the other, and of f once more."""
    responses = {key: operator(signal) for key, signal in given.items()}
    again = operator(given["f"])
    dtypes = frozenset(t for r in responses.values() for t in r.dtypes)
    least = coarsest(dtypes | {operator.inputs.main.tensor.dtype})
    return Responses(responses, again, float(torch.finfo(least).eps))


def coarsest(dtypes: frozenset[torch.dtype]) -> torch.dtype:
    """The type with the fewest digits."""
    floating = [t for t in dtypes if t.is_floating_point or t.is_complex]
    return max(floating, key=lambda t: float(torch.finfo(t).eps))


def peaks(tensor: torch.Tensor) -> torch.Tensor:
    """The largest magnitude of each channel."""
    if tensor.ndim < 2:
        return tensor.abs().max().reshape(1) if tensor.numel() else tensor.new_zeros(1)
    channels = tensor.movedim(1, 0).reshape(tensor.shape[1], -1)
    return channels.abs().amax(1) if channels.numel() else channels.new_zeros(len(channels))


@dataclass(frozen=True, eq=False)
class Sides:
    """Both sides of a law, and for each channel: the gap, the terms' size, and the linear part."""

    together: torch.Tensor
    apart: torch.Tensor
    gap: torch.Tensor
    size: torch.Tensor
    linear: torch.Tensor

    @property
    def finite(self) -> bool:
        """Whether all that is to be compared is a number."""
        return bool(torch.isfinite(self.gap).all() and torch.isfinite(self.size).all())


def sides_of(run: Responses, name: str, law: Law) -> Sides | None:
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
    size = torch.stack([peaks(t) for t in (together, *terms)]).amax(0)
    linear = torch.maximum(peaks(together - zero), peaks(apart - zero))
    return Sides(together, apart, peaks(together - apart), size, linear)
