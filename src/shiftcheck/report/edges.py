"""How far what lies outside of a tile is felt inside of it: plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from shiftcheck.errors import InputError
from shiftcheck.report.base import AnyReport
from shiftcheck.report.reasons import Reason, Reasoned

Pair = tuple[int | None, int | None]
"""Pixels to the left and to the right."""


@dataclass(frozen=True, kw_only=True)
class EdgeSide:
    """The error of a layer against the distance from the edge of a tile, on one side of an axis.

    ``side``: of the tile on which its edge is, ``"left"`` or ``"right"``. ``theoretical``: the halo
    by the structure. ``errors``: for each percentile, the relative error at each of the
    ``distances``, in pixels; a sample next to the edge is at distance 1. ``needed``: for each
    percentile and tolerance, the last distance at which the error is larger; None where it is so
    at the end of what was measured, or levels off above. ``level``: for each percentile, the error
    over the farthest quarter. ``levels_off``: it goes on like that, as a layer sees all there is.

    Example:
        >>> import torch, shiftcheck
        >>> found = shiftcheck.effective_halo(torch.nn.AvgPool1d(5, 1), (1, 1, 64))
        >>> (left, right) = found.outputs[0].sides
        >>> left.theoretical, right.theoretical, right.needed[-1]
        (0.0, 4.0, (4, 4, 4))
    """

    axis: int
    side: str
    theoretical: float
    distances: tuple[int, ...]
    errors: tuple[tuple[float, ...], ...]
    needed: tuple[tuple[int | None, ...], ...]
    level: tuple[float, ...]
    levels_off: bool = False


@dataclass(frozen=True, kw_only=True)
class EdgeLayer(Reasoned):
    """A layer or an output, on every side that was measured.

    ``reason``: why there is nothing to tell, or empty. ``silent``: of its ``channels``, those that
    no change of the input changes, which say nothing and are left out.

    Example:
        >>> import torch, shiftcheck
        >>> found = shiftcheck.effective_halo(lambda x: 0 * x, (1, 1, 64))
        >>> found.outputs[0].sides, found.outputs[0].reason
        ((), 'dead output')
    """

    name: str
    op: str
    sides: tuple[EdgeSide, ...] = ()
    reason: Reason = Reason.NONE
    channels: int = 0
    silent: int = 0


@dataclass(frozen=True, kw_only=True)
class EffectiveHalo(AnyReport):
    """How far from the edge of a tile the unknown outside changes the outputs, and how much.

    ``reason``: why no output tells anything, or empty. ``layers``: where they were asked for.

    Example:
        >>> import torch, shiftcheck
        >>> blur = torch.nn.Conv1d(1, 1, 5, padding=2, bias=False)
        >>> _ = torch.nn.init.constant_(blur.weight, 0.2)
        >>> found = shiftcheck.effective_halo(blur, (1, 1, 64), tolerances=[0.01])
        >>> found.needed(0.01)
        ((2, 2),)
    """

    _called: ClassVar[str] = "record of an effective halo"

    tolerances: tuple[float, ...]
    percentiles: tuple[float, ...]
    outputs: tuple[EdgeLayer, ...]
    layers: tuple[EdgeLayer, ...] = ()
    reason: Reason = Reason.NONE
    model: str = ""
    boundary: tuple[str, ...] = ()
    input_shape: tuple[int, ...] = ()
    spatial_dims: tuple[int, ...] = ()
    layer: str | None = None
    dtype: str = ""
    draws: int = 0
    seed: int = 0
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = 1

    def __getitem__(self, name: str) -> EdgeLayer:
        """The output or layer of a name; raises KeyError with the names there are."""
        every = (*self.outputs, *self.layers)
        for entry in every:
            if entry.name == name:
                return entry
        raise KeyError(f"no layer {name!r}; there are {', '.join(e.name for e in every)}")

    def needed(self, tolerance: float, percentile: float = 100.0) -> tuple[Pair, ...]:
        """The overlap, in pixels to the left and right of each axis, for all outputs together.

        None on a side where it was not found: the error levels off above the tolerance, the input
        is too small, an output tells nothing, or the axis is a circle.

        Args:
            tolerance: one of ``tolerances``, the relative error that is allowed.
            percentile: one of ``percentiles``, of places and channels that must keep to it.

        Raises:
            InputError: where it was not measured for these.
        """
        if tolerance not in self.tolerances:
            raise InputError(f"tolerance={tolerance!r} is none of {self.tolerances}")
        if percentile not in self.percentiles:
            raise InputError(f"percentile={percentile!r} is none of {self.percentiles}")
        t, p = self.tolerances.index(tolerance), self.percentiles.index(percentile)
        return tuple((self._at(a, "left", p, t), self._at(a, "right", p, t)) for a in self._axes())

    def _axes(self) -> range:
        return range(len(self.spatial_dims))

    def _at(self, axis: int, side: str, percentile: int, tolerance: int) -> int | None:
        every: list[int] = []
        for output in self.outputs:
            found = [s for s in output.sides if (s.axis, s.side) == (axis, side)]
            need = found[0].needed[percentile][tolerance] if found else None
            if need is None:
                return None
            every.append(need)
        return max(every, default=None)
