"""What a network does under a shift, seen from crops of one larger canvas and on a torus.

Nothing is known here of layers. A claim names, for each axis, a stride, a period and valid
samples; two windows onto one plane, or two rolls of one torus, tell whether it holds.
"""

from dataclasses import dataclass
from fractions import Fraction

import torch

TOLERANCE = 1e-9
"""Rounding of these networks stays below 1e-12 of the largest value of a channel."""

DRAWS = ((1.0, 0), (30.0, 0), (3.0, 1), (3.0, -1))
"""Magnitude and sign (0: mixed) of what lies outside of both windows."""


@dataclass(frozen=True)
class Claim:
    """What is said of one axis of the output; ``period`` None: equivariant at no shift."""

    stride: Fraction
    period: int | None
    mask: tuple[bool, ...]


class Views:
    """A network, run on pairs of inputs that show the same content at two places."""

    def __init__(self, network, shape, circular, seed=0):
        self.network, self.shape, self.circular = network, shape, circular
        self.generator = torch.Generator().manual_seed(seed)

    def content(self, shape, size=1.0, sign=0):
        values = size * torch.randn(shape, generator=self.generator, dtype=torch.float64)
        return sign * values.abs() if sign else values

    def moved(self, shift):
        """For each draw, an input and the same one moved by ``shift``, one entry for each axis."""
        shape = (1, *self.shape[1:])
        befores, afters = [], []
        for size, sign in DRAWS:
            before = self.content(shape)
            kept = before
            for a, v in enumerate(shift):
                kept = kept if self.circular[a] else inside(kept, 2 + a, -v)
            before = self.framed(kept, shift, -1, size, sign)
            after = self.framed(kept, shift, 1, size, sign)
            rolls = [v if c else 0 for v, c in zip(shift, self.circular, strict=True)]
            afters.append(after.roll(rolls, list(range(2, len(shape)))))
            befores.append(before)
        return torch.cat(befores), torch.cat(afters)

    def framed(self, kept, shift, side, size, sign):
        """``kept`` in a window, with new content where a shift by ``side`` brought it in."""
        out = kept
        for a, v in enumerate(shift):
            if v and not self.circular[a]:
                extra = list(out.shape)
                extra[2 + a] = abs(v)
                fresh = self.content(extra, size, sign)
                out = torch.cat([fresh, out] if v * side > 0 else [out, fresh], 2 + a)
        return out

    def gap(self, shift, claims):
        """The largest relative gap over the samples that the claims compare, None without any.

        The second number is the gap to the base itself, as if nothing had moved.
        """
        pairs = []
        for a, (v, claim) in enumerate(zip(shift, claims, strict=True)):
            size = len(claim.mask) if claim is not None else None
            pairs.append(None if not v else self.pairs(claim, v, size, self.shape[2 + a], a))
        if any(p is not None and not len(p[0]) for p in pairs):
            return None
        before, after = self.moved(shift)
        with torch.no_grad():
            y, z = self.network(before), self.network(after)
        other = y
        for a, p in enumerate(pairs):
            if p is not None:
                here, there = p
                z, y = z.index_select(2 + a, here), y.index_select(2 + a, there)
                other = other.index_select(2 + a, here)
        dims = list(range(2, y.ndim))
        scale = torch.maximum(y.abs().amax(dims), z.abs().amax(dims)).clamp_min(1e-30)
        gap = float(((y - z).abs().amax(dims) / scale).max())
        null = float(((other - z).abs().amax(dims) / scale).max())
        return gap, null

    def pairs(self, claim, v, size, pixels, axis):
        """Samples of the moved input's output, and those of the base that they should equal."""
        steps = v / claim.stride
        assert steps.denominator == 1
        here = torch.arange(size)
        there = here - int(steps)
        if self.circular[axis]:
            there = there % int(pixels / abs(claim.stride))
        stored = (there >= 0) & (there < size)
        here, there = here[stored], there[stored]
        if self.circular[axis]:
            return here, there
        mask = torch.tensor(claim.mask)
        both = mask[here] & mask[there]
        return here[both], there[both]


def inside(x, dim, v):
    """What of ``x`` is left in both windows after a move by ``v``."""
    return x.narrow(dim, max(v, 0), x.shape[dim] - abs(v))
