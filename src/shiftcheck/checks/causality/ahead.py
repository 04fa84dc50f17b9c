"""How far the samples of an axis see ahead of what is there when they are due.

A sample of effective stride s stands at the input sample k * s. It is due when the block of input
samples that it stands in is complete: with blocks of s samples, each output has one of its own, and
with blocks of one sample, an output is due when the sample where it stands is there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from shiftcheck.lattice.axis import Axis

Times = NDArray[np.int64]

MOST = 2**16
"""So many samples of an axis are looked at, if one period holds more."""


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Samples of effective ``stride``, and blocks of ``size`` input samples that come together.

    Example:
        >>> strided = Blocks(stride=Fraction(4), size=Fraction(4))
        >>> strided.due(np.arange(3)).tolist(), strided.stand(np.arange(3)).tolist()
        ([3, 7, 11], [0, 4, 8])
        >>> Blocks(stride=Fraction(1, 2), size=Fraction(1, 2)).due(np.arange(4)).tolist()
        [0, 0, 1, 1]
    """

    stride: Fraction
    size: Fraction

    def stand(self, samples: Times) -> Times:
        """The input sample at or before which each of the samples stands."""
        return samples * self.stride.numerator // self.stride.denominator

    def due(self, samples: Times) -> Times:
        """The last input sample that is there when each of the samples is due."""
        steps = self.stride / self.size
        block = samples * steps.numerator // steps.denominator + 1
        return -(-block * self.size.numerator // self.size.denominator) - 1


def beyond(axis: Axis, size: Fraction) -> float:
    """How many input samples beyond its block some sample sees, at most; negative if none does.

    Infinite where it sees all of the time, or the axis is turned around.

    Example:
        >>> from shiftcheck.lattice.axis import input_axis, resample, window
        >>> axis = resample(input_axis(16, circular=False), window(2, [-1, 0, 1]), 8)
        >>> beyond(axis, Fraction(2)), beyond(axis, Fraction(1))
        (0.0, 1.0)
    """
    samples = _one_period(axis, size)
    last = axis.last_of(samples)
    if not len(samples) or not (last > -math.inf).any():
        return -math.inf
    if axis.stride < 0:
        return math.inf
    due = Blocks(stride=axis.stride, size=size).due(samples)
    return float((last - due).max())


def _one_period(axis: Axis, size: Fraction) -> Times:
    pixels = math.lcm(axis.lattice, size.numerator)
    period = math.ceil(pixels / abs(axis.stride))
    return np.arange(min(axis.size, period, MOST))
