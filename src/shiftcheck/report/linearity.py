"""What a check of linearity, or of the convolution theorem, found: plain numbers, no tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import ClassVar

from shiftcheck.report.base import AnyReport
from shiftcheck.report.equivariance import Report
from shiftcheck.report.reasons import Reason, Reasoned


class Linearity(StrEnum):
    """The four answers about linearity: AFFINE is linear but for a constant part.

    Example:
        >>> import torch, shiftcheck
        >>> str(shiftcheck.check_linear(torch.nn.ReLU(), torch.randn(1, 1, 8, 8)).verdict)
        'not linear'
    """

    LINEAR = "linear"
    AFFINE = "affine"
    NOT_LINEAR = "not linear"
    INCONCLUSIVE = "inconclusive"


class Theorem(StrEnum):
    """Whether an operator is a convolution, or which property it lacks.

    Example:
        >>> import torch, shiftcheck
        >>> pool, x = torch.nn.AvgPool2d(2), torch.randn(1, 1, 8, 8)
        >>> str(shiftcheck.check_convolution(pool, x).verdict)
        'convolution'
    """

    CONVOLUTION = "convolution"
    NOT_LINEAR = "not linear"
    NOT_EQUIVARIANT = "not equivariant"
    INFINITE_SUPPORT = "infinite support"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, kw_only=True)
class Superposition:
    """One comparison of ``phi(a f + b g)`` with ``a phi(f) + b phi(g) + (1 - a - b) phi(0)``.

    ``law``: the two sides in words. ``error``: the largest gap of a channel over the largest
    magnitude that its linear part has on the two sides; ``allowance``: what rounding explains of
    it. ``together`` and ``apart``: the two numbers at ``index``, where the gap is largest against
    what is allowed; None where they are no finite numbers, or where nothing could be compared.

    Example:
        >>> import torch, shiftcheck
        >>> pool, x = torch.nn.AvgPool2d(2), torch.randn(1, 1, 8, 8)
        >>> output = shiftcheck.check_linear(pool, x).outputs[0]
        >>> all(s.error <= s.allowance for s in output.superpositions)
        True
    """

    law: str
    error: float | None
    allowance: float | None
    index: tuple[int, ...] = ()
    together: float | None = None
    apart: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the gap is one that rounding makes."""
        if self.error is None or self.allowance is None:
            return False
        return self.error <= self.allowance


@dataclass(frozen=True, kw_only=True)
class LinearOutput(Reasoned):
    """One output: its verdict, every comparison, and its constant part.

    ``constant`` is the largest magnitude of ``phi(0)``, ``scale`` that of ``phi(f) - phi(0)`` for
    random signals f.

    Example:
        >>> import torch, shiftcheck
        >>> pool, x = torch.nn.AvgPool2d(2), torch.randn(1, 1, 8, 8)
        >>> output = shiftcheck.check_linear(pool, x).outputs[0]
        >>> output.shape, output.constant
        ((1, 1, 4, 4), 0.0)
    """

    name: str
    shape: tuple[int, ...]
    verdict: Linearity
    reason: Reason = Reason.NONE
    superpositions: tuple[Superposition, ...] = ()
    constant: float | None = None
    scale: float | None = None

    @property
    def worst(self) -> Superposition | None:
        """The first comparison that fails, or else the one that comes closest to it."""
        known = [s for s in self.superpositions if s.error is not None and s.allowance is not None]
        failing = [s for s in known if not s.holds]
        closest = max(known, key=lambda s: (s.error or 0.0) / (s.allowance or 1.0), default=None)
        return failing[0] if failing else closest


@dataclass(frozen=True, kw_only=True)
class LinearityReport(AnyReport):
    """The result of ``check_linear``; only the outputs decide.

    ``precision``: the type in which was compared, float64 where the model has a copy in it.
    ``amplitudes``: the smallest and the largest factor that signals were multiplied by.
    ``sensitivity``: the smallest relative departure from linearity, at the amplitude of the
    signals, that this run would have caught.

    Example:
        >>> import torch, shiftcheck
        >>> pool, x = torch.nn.AvgPool2d(2), torch.randn(1, 1, 8, 8)
        >>> report = shiftcheck.check_linear(pool, x)
        >>> str(report.verdict), report.input_shape
        ('linear', (1, 1, 8, 8))
    """

    _called: ClassVar[str] = "report of linearity"

    verdict: Linearity
    reason: Reason
    outputs: tuple[LinearOutput, ...]
    model: str = ""
    input_shape: tuple[int, ...] = ()
    layer: str | None = None
    dtype: str = ""
    precision: str = ""
    unit: float = 1.0
    amplitudes: tuple[float, float] = (1.0, 1.0)
    sensitivity: float | None = None
    seed: int = 0
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = 1


@dataclass(frozen=True, kw_only=True)
class ConvolutionReport(AnyReport):
    """The theorem for one operator: linear? equivariant? therefore a convolution, with an error.

    ``linearity`` and ``equivariance`` are the two premises, None where one was not reached.
    ``period`` (input pixels) and ``phases`` (output samples in one period) are those of the kernel,
    ``structure_period`` that which the structure guarantees. ``taps``: the size of the kernel along
    each axis, ``origin`` the index of its tap at offset zero. ``error``: the largest
    ``|phi(f) - f * h|`` on random signals over the valid region, which is ``share`` of the output;
    ``relative_error`` the same of a channel over its largest magnitude, with what is allowed.
    ``needed``: the smallest spatial size that is large enough, where this one is not.

    Example:
        >>> import torch, shiftcheck
        >>> pool, x = torch.nn.AvgPool2d(2), torch.randn(1, 1, 8, 8)
        >>> report = shiftcheck.check_convolution(pool, x)
        >>> report.period, report.taps
        ((2, 2), (2, 2))
    """

    _called: ClassVar[str] = "report of the convolution theorem"

    verdict: Theorem
    reason: Reason
    linearity: LinearityReport
    equivariance: Report | None = None
    boundary: tuple[str, ...] = ()
    stride: tuple[Fraction, ...] = ()
    structure_period: tuple[int, ...] = ()
    period: tuple[int, ...] = ()
    phases: tuple[int, ...] = ()
    taps: tuple[int, ...] = ()
    origin: tuple[int, ...] = ()
    support: tuple[tuple[int, int], ...] = ()
    channels: tuple[int, int] | None = None
    constant: float | None = None
    error: float | None = None
    relative_error: float | None = None
    allowance: float | None = None
    share: float | None = None
    needed: tuple[int, ...] | None = None
    guilty: str = ""
    schema_version: int = 1
