"""Whether the gradients through a step, chunk by chunk, are those through the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from shiftcheck.checks.streams.calling import tensors_of
from shiftcheck.checks.streams.fit import arranged
from shiftcheck.checks.streams.schedules import Schedule
from shiftcheck.checks.streams.session import Channel, Stage
from shiftcheck.errors import ModelError
from shiftcheck.report.steps import StreamFault, StreamFinding
from shiftcheck.tracing.modules import modules_of, names_of
from shiftcheck.tracing.restoring.state import weights_of

ALLOWED = 64
"""Times the eps of the type, and the root of how many samples are summed up."""

Gradients = list[torch.Tensor | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Wanted:
    """What gradients are taken with respect to: the signal, and the parameters of the model."""

    stage: Stage
    delay: int

    @property
    def parameters(self) -> list[torch.Tensor]:
        """Those of the model that have gradients."""
        return [p for p in weights_of(modules_of(self.stage.model)) if p.requires_grad]

    def of_step(self, step: Any) -> list[torch.Tensor]:
        """The same of the step, which may have copies of its own, of the same values."""
        own = weights_of(modules_of(step))
        known = {id(p) for p in own}
        return [
            p if id(p) in known else next((q for q in own if _is_copy(p, q)), p)
            for p in self.parameters
        ]

    def whole(self) -> Gradients:
        """The gradients through the model."""
        with self.stage.quiet(gradients=True):
            values, signal = self._values()
            args, kwargs = self.stage.inputs.call(values)
            found = tensors_of(self.stage.model(*args, **kwargs))
            outputs = [found[c.place] for c in self.stage.channels]
            return self._of(outputs, signal, self.parameters)

    def streamed(self, lengths: Sequence[int]) -> Gradients:
        """The gradients through the step; raises what it raises."""
        with self.stage.quiet(gradients=True):
            values, signal = self._values()
            running = self.stage.running()
            start, pieces = 0, []
            for length in lengths:
                chunk = self.stage.chunk(values, start, start + length)
                args, kwargs = self.stage.inputs.call([_apart(v) for v in chunk])
                pieces.append(running.go(args, kwargs))
                start += length
            pieces.append(running.flush())
            outputs = [self._joined(channel, pieces) for channel in self.stage.channels]
            return self._of(outputs, signal, self.of_step(running.step))

    def _values(self) -> tuple[list[Any], torch.Tensor]:
        values = self.stage.values()
        at = [leaf is self.stage.inputs.main for leaf in self.stage.inputs.leaves].index(True)
        values[at] = values[at].requires_grad_(True)
        return values, values[at]

    def _joined(self, channel: Channel, pieces: Sequence[Any]) -> torch.Tensor:
        found = [tensors_of(piece) for piece in pieces if piece is not None]
        alone = [t[channel.place if len(t) == channel.every else channel.number] for t in found]
        joined = torch.cat(alone, channel.dim)
        return joined.narrow(channel.dim, self.delay, joined.shape[channel.dim] - self.delay)

    def _of(
        self,
        outputs: Sequence[torch.Tensor],
        signal: torch.Tensor,
        parameters: Sequence[torch.Tensor],
    ) -> Gradients:
        """The gradients of the outputs with fixed weights, so that no sample cancels another."""
        total = signal.new_zeros(())
        for channel, output in zip(self.stage.channels, outputs, strict=True):
            generator = torch.Generator().manual_seed(2)
            weights = torch.randn(channel.shape, generator=generator, device="cpu")
            own = weights.narrow(channel.dim, 0, output.shape[channel.dim]).to(output)
            product = output * own
            total = total + (product.real if product.is_complex() else product).sum()
        if not total.requires_grad:
            return [None for _ in (signal, *parameters)]
        return list(torch.autograd.grad(total, [signal, *parameters], allow_unused=True))


def _is_copy(one: torch.Tensor, other: torch.Tensor) -> bool:
    return other.requires_grad and one.shape == other.shape and torch.equal(one, other)


def _apart(value: Any) -> Any:
    """A chunk that may be written to without a change to the signal."""
    return value.clone() if isinstance(value, torch.Tensor) else value


def gradient_findings(
    stage: Stage, schedule: Schedule, delay: int, lookback: float | None
) -> tuple[list[StreamFinding], list[str]]:
    """Where the gradients differ, and notes."""
    wanted = Wanted(stage=stage, delay=delay)
    main = stage.inputs.main.tensor
    if not main.is_floating_point() or stage.arrays:
        return [], ["gradients were not compared: the signal has none"]
    try:
        whole = wanted.whole()
    except Exception as error:  # whatever the model raises with gradients
        raise ModelError(f"gradients=True: the model raised {type(error).__name__}: {error}") from (
            error
        )
    if whole[0] is None or not bool(whole[0].any()):
        return [], ["gradients were not compared: none leads from the output of the model to x"]
    try:
        mine = wanted.streamed(schedule.lengths)
    except ModelError:
        raise
    except Exception as error:  # as where a state was written to in place
        first = str(error).splitlines()[0] if str(error) else ""
        told = f"the step raised {type(error).__name__}: {first}"
        return [_finding(schedule, StreamFault.GRADIENT, detail=told)], []
    return _compared(wanted, schedule, whole, mine, lookback), []


def _finding(schedule: Schedule, fault: StreamFault, **place: Any) -> StreamFinding:
    return StreamFinding(fault=fault, output="gradients", chunks=schedule.name, **place)


def _compared(
    wanted: Wanted,
    schedule: Schedule,
    whole: Gradients,
    mine: Gradients,
    lookback: float | None,
) -> list[StreamFinding]:
    stage = wanted.stage
    wrong, error = _wrong(whole[0], mine[0], stage)
    if wrong.any():
        sample = int(np.argmax(wrong))
        chunk = int(np.searchsorted(schedule.starts, sample, side="right")) - 1
        ends = _are_before_cuts(wrong, schedule, lookback)
        fault = StreamFault.DETACHED if ends else StreamFault.GRADIENT
        detail = "with respect to x"
        return [_finding(schedule, fault, chunk=chunk, sample=sample, error=error, detail=detail)]
    parameters = wanted.parameters
    for parameter, one, other in zip(parameters, whole[1:], mine[1:], strict=True):
        gap = _of_a_weight(one, other, stage)
        if gap:
            name = (names_of(stage.model, [parameter]) or ["a parameter"])[0]
            detail = f"with respect to {name}" + (", which gets none" if other is None else "")
            return [_finding(schedule, StreamFault.GRADIENT, error=gap, detail=detail)]
    return []


def _wrong(
    one: torch.Tensor | None, other: torch.Tensor | None, stage: Stage
) -> tuple[np.ndarray[Any, Any], float]:
    """At which samples of the signal the gradients differ, and by how much at most."""
    assert one is not None
    other = torch.zeros_like(one) if other is None else other
    a, b = (arranged(t, stage.dim).array for t in (one, other))
    scale = np.abs(a).max(axis=(0, *range(2, a.ndim)), keepdims=True)
    floor = float(scale.max()) or 1.0
    gap = np.abs(a - b) / np.where(scale > 0, scale, floor)
    eps = torch.finfo(one.dtype).eps
    return (gap > ALLOWED * eps).any(axis=(0, 1, *range(3, a.ndim))), float(gap.max())


def _of_a_weight(one: torch.Tensor | None, other: torch.Tensor | None, stage: Stage) -> float:
    """The relative gap of the gradients of a parameter, 0 where it is that of rounding."""
    if one is None:
        return 0.0
    other = torch.zeros_like(one) if other is None else other
    scale = float(one.abs().max())
    gap = float((one - other).abs().max()) / (scale or 1.0)
    summed = math.sqrt(stage.inputs.main.tensor.numel())
    return gap if gap > ALLOWED * torch.finfo(one.dtype).eps * summed else 0.0


def _are_before_cuts(
    wrong: np.ndarray[Any, Any], schedule: Schedule, lookback: float | None
) -> bool:
    """Whether all wrong samples stand where a later chunk looks back to them."""
    places = np.flatnonzero(wrong)
    last = schedule.starts[-1]
    if lookback is None or not math.isfinite(lookback):
        return bool((places < last).all())
    near = [any(0 < start - place <= lookback for start in schedule.starts) for place in places]
    return all(near)
