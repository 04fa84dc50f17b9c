"""How fast the values of a tensor change while its signal is shifted, and where that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from shiftcheck.lattice.axis import Axis, Indices, Mask
from shiftcheck.lattice.layout import Layout
from shiftcheck.measuring.gaps.arrange import arranged, put_back, spatial_places
from shiftcheck.measuring.signals.interpolation import REACH, derivative
from shiftcheck.report.reasons import Reason

NOT_FOLLOWED = "its geometry is not understood"
NOT_ONE_TURN = "it does not store one turn of the circle"
NO_REGION = Reason.NO_REGION
MARGIN = REACH["lanczos"] - 1
"""Samples to each side that the derivative of the Lanczos kernel reads."""


class NotMeasuredError(Exception):
    """A layer whose derivative along an axis cannot be taken, with the reason."""


@dataclass(frozen=True)
class Field:
    """The velocity of a signal under shifts along one axis, in pixels."""

    circular: tuple[bool, ...]

    def of(self, tensor: torch.Tensor, layout: Layout, axis: int) -> torch.Tensor:
        """``D`` of a tensor, in its own layout."""
        state, places = self.known(layout, axis)
        dim = 2 + sorted(places).index(axis)
        whole = arranged(tensor, layout, places)
        how = "fourier" if self.circular[axis] else "lanczos"
        moved = derivative(whole, dim, how) / float(state.stride)
        out = torch.zeros_like(tensor, dtype=moved.dtype)
        put_back(moved, out, layout, places)
        return out.to(tensor.dtype)

    def known(self, layout: Layout, axis: int) -> tuple[Axis, dict[int, int]]:
        """The geometry along the axis; raises NotMeasuredError where it is not understood."""
        state = layout.axes[axis]
        places = spatial_places(layout, len(self.circular))
        if not isinstance(state, Axis) or axis not in places:
            raise NotMeasuredError(NOT_FOLLOWED)
        if self.circular[axis] and state.circle != state.size:
            raise NotMeasuredError(NOT_ONE_TURN)
        return state, places

    def compared(self, layout: Layout, fed: Sequence[Layout], axis: int) -> Indices:
        """The samples of an output that see nothing but where the velocities are right."""
        state, _ = self.known(layout, axis)
        index = np.arange(state.size)
        if self.circular[axis]:
            return index
        ok = _readable(state)
        for given in fed:
            field, _ = self.known(given, axis)
            good = np.flatnonzero(_readable(field))
            if not len(good):
                raise NotMeasuredError(NO_REGION)
            ok &= state.first_of(index) >= field.first_of(good).min()
            ok &= state.last_of(index) <= field.last_of(good).max()
        inside: Indices = index[ok]
        return inside


def _readable(state: Axis) -> Mask:
    """The samples whose neighbours, as far as the kernel reads, are all stored and valid."""
    padded = np.pad(state.valid, MARGIN)
    near = [padded[i : i + state.size] for i in range(2 * MARGIN + 1)]
    return np.asarray(np.all(near, axis=0), dtype=bool)
