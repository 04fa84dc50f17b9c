"""What is asked of the time: how far ahead an output may see, and when it is due."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from shiftcheck.measuring.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked: the declared look-ahead and block, and the dimension that is the time."""

    plan: Plan
    dim: int
    lookahead: int = 0
    block: int | None = None

    def block_of(self, stride: Fraction | None) -> Fraction:
        """The block in which outputs of an effective stride are due."""
        if self.block is not None:
            return Fraction(self.block)
        return Fraction(1) if stride is None else abs(stride)
