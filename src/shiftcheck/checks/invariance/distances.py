"""How far apart two values of one output are: scalars out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class Values:
    """The values of one output, in float64 or as whole numbers, on the CPU.

    ``lead``: the size of the batch; an output whose first dimension is another counts as one
    signal.
    """

    tensor: torch.Tensor
    lead: int

    @property
    def labels(self) -> bool:
        """Whether these are whole numbers or truth values, for which a difference has no size."""
        return not self.tensor.is_floating_point()

    @property
    def leads(self) -> bool:
        """Whether the first dimension is the batch."""
        return self.tensor.ndim > 0 and self.tensor.shape[0] == self.lead

    @property
    def per_signal(self) -> torch.Tensor:
        """The values ``[signals, everything else]``."""
        return self.tensor.reshape(self.lead if self.leads else 1, -1)

    @property
    def finite(self) -> bool:
        """Whether no value is NaN or infinite."""
        return self.labels or bool(torch.isfinite(self.tensor).all())

    @property
    def saturated(self) -> bool:
        """Whether every entry is 0, 1 or -1: as steps and saturated functions give."""
        ends = (self.tensor == 0) | (self.tensor.abs() == 1)
        return not self.labels and bool(ends.all())

    @property
    def per_channel(self) -> torch.Tensor:
        """The values ``[channels, everything else]``; dimension 1 holds the channels."""
        if self.tensor.ndim < 2:
            return self.tensor.reshape(1, -1)
        return self.tensor.movedim(1, 0).flatten(1)

    @property
    def classes(self) -> torch.Tensor | None:
        """Which entry of each row ``[batch, entries]`` is the largest; None for other shapes."""
        if self.labels or not self.leads or self.tensor.ndim != 2 or self.tensor.shape[1] < 2:
            return None
        return self.tensor.argmax(1)


def values_of(tensor: torch.Tensor, lead: int) -> Values | None:
    """A copy of an output's values; None for a tensor that is not dense."""
    if tensor.layout != torch.strided or tensor.is_nested:
        return None
    values = tensor.detach()
    if values.is_complex():
        values = torch.view_as_real(values.resolve_conj())
    values = values.cpu()
    values = values.double() if values.is_floating_point() else values.long()
    return Values(values.clone(), lead)


def distances(one: Values, other: Values) -> torch.Tensor:
    """The Euclidean distance for each signal; of whole numbers, the share that differs."""
    a, b = one.per_signal, other.per_signal
    if one.labels:
        return (a != b).double().mean(1)
    apart: torch.Tensor = torch.linalg.vector_norm(a - b, dim=1)
    return apart


def magnitude_of(values: Values) -> torch.Tensor:
    """The largest magnitude of each channel."""
    return values.per_channel.double().abs().amax(1)


def norm_of_magnitudes(magnitude: torch.Tensor, values: Values) -> float:
    """The norm of one signal all of whose entries are as large as their channel gets."""
    entries = values.per_channel.shape[1] / values.per_signal.shape[0]
    return math.sqrt(float(magnitude.square().sum()) * entries)


def largest_gap(one: Values, other: Values, magnitude: torch.Tensor) -> float:
    """The largest difference of a channel over the largest magnitude that this channel has."""
    if one.labels:
        return float((one.tensor != other.tensor).double().mean())
    apart = (one.per_channel - other.per_channel).abs().amax(1)
    scale = torch.maximum(magnitude, other.per_channel.abs().amax(1))
    return float((apart / scale.clamp_min(torch.finfo(torch.float64).tiny)).max())


def agreement(one: Values, other: Values, among: Sequence[int] | None = None) -> float | None:
    """The share of the signals, or of those ``among`` them, with the same largest entry."""
    a, b = one.classes, other.classes
    if a is None or b is None:
        return None
    same = (a == b).double()
    chosen = same if among is None else same[list(among)]
    return float(chosen.mean()) if len(chosen) else None
