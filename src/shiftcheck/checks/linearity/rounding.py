"""What tells a break of linearity from rounding."""

from __future__ import annotations

from functools import cached_property

import torch

from shiftcheck.checks.equivariance.second_look import STEEP
from shiftcheck.checks.linearity.operator import EXACT, Operator, in_type
from shiftcheck.checks.linearity.superposition import (
    Law,
    Responses,
    Sides,
    Signals,
    respond,
    sides_of,
)

LOST, SHRUNK = 0.01, 1e-3
"""Where a coarser type is off by more than LOST, rounding is at most SHRUNK of that."""


class Witness:
    """What tells a break from rounding: asked only where there is a gap.

    Rounding shrinks with the eps of the type that it is made in. Where the model computes in one
    type only, rounding is drawn anew when the signals move a little, and a break is not.
    """

    def __init__(
        self, run: Responses, best: Operator, own: Operator, given: Signals, *, exact: bool
    ) -> None:
        self.run, self.best, self.own, self.given, self.exact = run, best, own, given, exact

    @cached_property
    def coarse(self) -> Responses | None:
        """The same responses in a coarser type, where the model computes in one."""
        if not self.exact:
            return None
        dtype = self.own.inputs.main.tensor.dtype
        coarser = in_type(self.best, torch.float32) if dtype == EXACT else self.own
        return None if coarser is None else respond(coarser, self.given)

    def explained(
        self, name: str, law: Law, sides: Sides
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The largest gap of each channel that rounding makes, from its size in a coarser type.

        The second is what it could make at most: where a map loses all digits of the coarser type,
        the gap there is as large as the signal, and no longer says how large rounding is.
        """
        coarse = None if self.coarse is None else sides_of(self.coarse, name, law)
        if self.coarse is None or coarse is None:
            return None
        relative = torch.where(coarse.size > 0, coarse.gap / coarse.size, 0.0)
        relative = relative.nan_to_num(1.0, 1.0, 1.0)
        shrunk = STEEP * self.run.eps / self.coarse.eps * relative
        lost = torch.where(relative > LOST, SHRUNK * relative, shrunk)
        return shrunk * sides.size, torch.maximum(shrunk, lost) * sides.size

    def recurs(self, name: str, law: Law, sides: Sides) -> bool:
        """Whether the gap is the same where the signals move by more than it is large."""
        there = sides.size > 0
        relative = float((sides.gap[there] / sides.size[there]).max()) if there.any() else 0.0
        step = min(FAR, 16 * relative)
        gap = sides.together - sides.apart
        alike = []
        draw = torch.Generator().manual_seed(0)
        for _ in range(DRAWS):
            other = sides_of(respond(self.best, moved(self.given, law, step, draw)), name, law)
            if other is None or not other.finite:
                return False
            alike.append(_cosine(gap, other.together - other.apart))
        return sum(alike) / DRAWS > ALIKE


FAR = 2.0**-4
DRAWS, ALIKE = 8, 0.5
"""Signals that have moved by less than FAR, and how alike the gaps of all draws are for a break."""


def moved(given: Signals, law: Law, step: float, draw: torch.Generator) -> Signals:
    """The signals of one law, each value of each off by ``step``, relatively."""
    perturbed = {}
    for _, key in law.terms:
        signs = torch.randint(0, 2, given[key].shape, generator=draw, device="cpu") * 2 - 1
        perturbed[key] = given[key] * (1 + step * signs.to(EXACT))
    total = torch.stack([a * perturbed[key] for a, key in law.terms]).sum(0)
    first = next(iter(perturbed.values()))
    return {"0": torch.zeros_like(first), "f": first, **perturbed, law.signal: total}


def _cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    size = float(one.norm() * other.norm())
    return float((one * other).sum()) / size if size else 0.0
