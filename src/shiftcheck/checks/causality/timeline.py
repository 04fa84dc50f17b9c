"""A tensor along time: where its samples stand, and by how much it differs from another run."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch

from shiftcheck.checks.causality.ahead import Blocks, Times
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import Layout
from shiftcheck.measuring.gaps.arrange import arranged, spatial_places


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """What a layer gave, ``[everything else, time]``, with the input samples for each sample.

    Where that is not known, they are taken to be spread over the input.
    """

    values: torch.Tensor
    stride: Fraction

    @property
    def samples(self) -> Times:
        """The samples by number."""
        return np.arange(self.values.shape[1])

    def due(self, size: Fraction | None) -> Times:
        """When each sample is due, with blocks of a size, or of its own."""
        return Blocks(stride=self.stride, size=size or self.stride).due(self.samples)


def line_of(tensor: torch.Tensor, layout: Layout, pixels: int, dim: int) -> Line | None:
    """A tensor along time; None where it has none.

    ``dim``: the dimension of the input that is the time. A tensor of which nothing is known any
    more is taken to have it in the same place. Where time is turned around, the first sample still
    is the one that is due first.
    """
    state = layout.axes[0] if layout.axes else None
    values = tensor.detach()
    if isinstance(state, Axis):
        places = spatial_places(layout, 1)
        if 0 not in places:
            return None
        along = arranged(values, layout, places).flatten(0, 1)
        fits = along.shape[1] == state.size
        return Line(values=_wide(along), stride=abs(state.stride)) if fits else None
    if state is None or type(state).__name__ == "Gone" or not 0 <= dim < values.ndim:
        return None
    along = values.movedim(dim, -1).flatten(0, -2)
    if not along.shape[1]:
        return None
    stride = Fraction(pixels, along.shape[1])
    return Line(values=_wide(along), stride=stride)


def _wide(values: torch.Tensor) -> torch.Tensor:
    """A copy in a type in which differences are taken."""
    if values.is_complex():
        values = torch.view_as_real(values).movedim(-1, 0).flatten(0, 1)
    double = values.dtype == torch.float64 or not values.is_floating_point()
    return values.to(torch.float64 if double else torch.float32, copy=True)


def differences(one: Line, other: Line) -> torch.Tensor:
    """At each time, the largest difference relative to the largest magnitude of its channel.

    NaN and infinity in the one and not in the other are an infinite difference.
    """
    a, b = one.values, other.values
    same = (a == b) | (a.isnan() & b.isnan())
    finite = a.isfinite() & b.isfinite()
    scale = torch.where(finite, torch.maximum(a.abs(), b.abs()), 0).amax(1, keepdim=True)
    tiny = torch.finfo(a.dtype).tiny
    gap = torch.where(finite, (a - b).abs() / scale.clamp_min(tiny), torch.inf)
    return torch.where(same, 0, gap).amax(0).cpu()
