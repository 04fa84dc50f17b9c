"""What was measured of an operation, and of what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import numpy as np

from shiftcheck.lattice.axis import Mask


class NoAnswerError(Exception):
    """The experiments do not fit together, and this is why."""


@dataclass(frozen=True, kw_only=True)
class Operand:
    """A tensor that is shifted: its shape, and for each axis its dimension and rate.

    ``rates``: samples of this operand in one step of the coarsest one.
    """

    shape: tuple[int, ...]
    dims: tuple[int, ...]
    rates: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class AxisLaw:
    """What was measured along one axis.

    ``steps`` of the coarsest operand become ``samples`` of the output. ``spans``: for each operand
    and phase, the first and last sample that output sample ``phase`` sees; None where it sees none.
    ``circle``: on a closed turn, every sample follows.
    """

    dim: int
    steps: int
    samples: int
    spans: tuple[tuple[tuple[int, int] | None, ...], ...]
    valid: Mask
    circle: bool

    def inside(self, sizes: Sequence[int], rates: Sequence[int]) -> Mask:
        """The samples whose span lies within operands of these sizes."""
        index = np.arange(len(self.valid))
        out = np.ones(len(self.valid), dtype=bool)
        for spans, size, rate in zip(self.spans, sizes, rates, strict=True):
            for phase, span in enumerate(spans):
                if span is None:
                    continue
                mine = index[phase :: self.samples]
                ahead = mine // self.samples * self.steps * rate
                out[mine] &= (ahead + span[0] >= 0) & (ahead + span[1] < size)
        return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Law:
    """What was measured of one output: its shape and the law of every axis."""

    shape: tuple[int, ...]
    axes: tuple[AxisLaw, ...]


def units(strides: Sequence[Fraction]) -> tuple[int, ...]:
    """Samples of tensors of these strides in the smallest step that is whole for all of them."""
    step = Fraction(
        lcm(*(s.numerator for s in strides)),
        lcm(*(s.denominator for s in strides)),
    )
    smallest = step
    while any((smallest / s).denominator != 1 for s in strides):
        smallest += step
    return tuple(int(smallest / s) for s in strides)
