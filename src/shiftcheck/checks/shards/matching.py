"""Which samples of a whole a part holds, along one dimension."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from shiftcheck.measuring.tolerance import Tolerance
from shiftcheck.tracing.precision import eps_of

TRIED = 64
"""So many places are tried at which a part may begin."""

PROBES = 5
"""By so many of its samples a part is looked for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Match:
    """A part that begins at sample ``at`` of a whole; ``right``: which of its samples agree."""

    at: int
    right: torch.Tensor

    def is_right(self, sample: int) -> bool:
        """Whether the part holds a sample of the whole, and has its value."""
        place = sample - self.at
        return 0 <= place < len(self.right) and bool(self.right[place])


@dataclass(frozen=True, kw_only=True, eq=False)
class Whole:
    """A tensor on the whole as ``[size, rest]`` along one dimension, and what may differ."""

    values: torch.Tensor
    allowed: torch.Tensor
    rest: tuple[int, ...]
    dim: int

    @classmethod
    def of(cls, tensor: torch.Tensor, dim: int) -> Whole:
        """The allowance is that of each channel, or of all where there are none."""
        values = lines(tensor, dim)
        eps = eps_of(tensor.dtype) if tensor.dtype.is_floating_point else 0.0
        wide = tensor.detach().abs().double()
        lead = [d for d in range(tensor.ndim) if d != 1 or dim == 1]
        scale = wide.amax(lead, keepdim=True) if tensor.ndim > 1 else wide.max()
        relative = Tolerance(eps=eps).relative(None)
        allowed = lines((scale * relative).expand(tensor.shape), dim)
        rest = tuple(n for d, n in enumerate(tensor.shape) if d != dim)
        return cls(values=values, allowed=allowed, rest=rest, dim=dim)

    def match(self, part: torch.Tensor, near: int) -> Match | None:
        """Where a part stands, as nearly as it can at ``near``; None where it cannot be told."""
        if part.ndim <= self.dim or self.rest != tuple(
            n for d, n in enumerate(part.shape) if d != self.dim
        ):
            return None
        values = lines(part, self.dim)
        best: Match | None = None
        for at in self._places(values, near):
            found = Match(at=at, right=self._agrees(values, at))
            if best is None or int(found.right.sum()) > int(best.right.sum()):
                best = found
        return best

    def _places(self, part: torch.Tensor, near: int) -> Iterator[int]:
        """Places at which a part may begin: those where one of its samples is found again."""
        tried: set[int] = set()
        places = [near]
        step = max(1, len(part) // PROBES)
        for probe in range(step // 2, len(part), step):
            gap = (self.values - part[probe]).abs()
            hits = torch.nonzero((gap <= self.allowed).all(1)).flatten().tolist()
            places += sorted((hit - probe for hit in hits), key=lambda at: abs(at - near))[:TRIED]
        for at in places:
            if at not in tried:
                tried.add(at)
                yield at

    def _agrees(self, part: torch.Tensor, at: int) -> torch.Tensor:
        """Which samples of the part agree with the whole; none of those beyond its ends."""
        right = torch.zeros(len(part), dtype=torch.bool, device=part.device)
        low, high = max(0, at), min(len(self.values), at + len(part))
        if low < high:
            gap = (part[low - at : high - at] - self.values[low:high]).abs()
            right[low - at : high - at] = (gap <= self.allowed[low:high]).all(1)
        return right


def lines(tensor: torch.Tensor, dim: int) -> torch.Tensor:
    """A tensor as ``[size, rest]`` in float64, or complex."""
    wide = tensor.detach() if tensor.is_complex() else tensor.detach().double()
    return wide.movedim(dim, 0).reshape(tensor.shape[dim], -1)
