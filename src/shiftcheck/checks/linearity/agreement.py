"""How well a convolution does what an operator does, on signals that neither has seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from shiftcheck.checks.linearity.impulse_placement import Span
from shiftcheck.checks.linearity.impulses import Polyphase
from shiftcheck.checks.linearity.operator import EXACT, Operator
from shiftcheck.checks.linearity.question import Question
from shiftcheck.checks.linearity.superposition import LAWS, peaks, unit_of
from shiftcheck.checks.linearity.torch_modules import as_module
from shiftcheck.measuring.tolerance import NOISE
from shiftcheck.report.linearity import Linearity


@dataclass(frozen=True)
class Agreement:
    """The largest gap, the same of a channel over its largest magnitude, and what is allowed."""

    error: float
    relative: float
    allowance: float

    @property
    def holds(self) -> bool:
        """Whether the gap is one that rounding makes."""
        return self.relative <= self.allowance


FRESH = 2
"""Random signals, not seen before, on which the convolution is held against the operator."""


def agreement_of(operator: Operator, polyphase: Polyphase, case: Question, eps: float) -> Agreement:
    """The convolution against the operator on the valid region, channel by channel."""
    module = as_module(
        polyphase, constant=case.linear.verdict is Linearity.AFFINE, dtype=EXACT
    ).requires_grad_(False)
    x = case.inputs.main.tensor
    zero = operator(torch.zeros(x.shape, dtype=EXACT, device="cpu")).tensors.popitem()[1]
    draw = torch.Generator().manual_seed(case.seed + 1)
    worst = Agreement(0.0, 0.0, NOISE.get(eps, 64.0) * eps)
    explained = 8 * max(s.error or 0.0 for s in case.linear.outputs[0].superpositions[: len(LAWS)])
    for _ in range(FRESH):
        signal = torch.randn(x.shape, generator=draw, device="cpu").to(EXACT) * unit_of(x)
        (response,) = operator(signal).tensors.values()
        constant, is_, ours = (
            _on_valid(t, polyphase.spans) for t in (zero, response, module(signal))
        )
        gap = peaks(is_ - ours)
        size = torch.maximum(peaks(is_), peaks(constant))
        alive = peaks(is_ - constant)
        allowed = torch.maximum(NOISE.get(eps, 64.0) * eps * size, explained * alive)
        over = torch.where(allowed > 0, gap / allowed, gap * math.inf).nan_to_num(0.0)
        c = int(over.argmax())
        scale = float(alive[c]) or 1.0
        one = Agreement(float(gap.max()), float(gap[c]) / scale, float(allowed[c]) / scale)
        worst = max(worst, one, key=lambda a: a.relative / a.allowance if a.allowance else 0.0)
    return worst


def _on_valid(tensor: torch.Tensor, spans: Sequence[Span]) -> torch.Tensor:
    """The valid samples; on a circle all of them, as none may be excused there."""
    for axis, span in enumerate(spans):
        if not span.circular:
            index = torch.from_numpy(np.flatnonzero(span.valid))
            tensor = tensor.index_select(axis + 2, index)
    return tensor
