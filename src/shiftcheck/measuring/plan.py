"""What a check measures, settled before anything is run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from shiftcheck.measuring.gaps.regions import Scene
from shiftcheck.measuring.signals.arguments import Inputs, Shift
from shiftcheck.measuring.signals.interpolation import is_whole
from shiftcheck.measuring.tolerance import Tolerance
from shiftcheck.tracing.precision import eps_of

Model = Callable[..., Any]

STACK = {"cpu": 2**20}
LARGE_STACK = 2**22
"""Input values that travel in one pass at most, unless one shift alone needs more.

On a CPU, so few that the activations stay in its cache: there a larger pass is slower.
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """A model on shifted copies of its inputs, and how they are compared.

    ``shifts_given``: they are the user's own. ``tolerances``: the user's rtol and atol.
    ``max_batch``: copies, with the base, that travel in one pass at most. ``circular_padding``: as
    if whatever pads a circle padded circularly. ``between_samples``, ``sums``, ``interior``: as in
    ``Scene``. ``alike_in_a_batch``: x is known to give the same there. ``explained``: where it does
    not pass, every layer is looked at. ``full_effort``: that may cost whatever it costs.
    ``grow``: draw an input of this spatial size, or of one that leaves something to compare.
    ``share``: of the layers of the model, what ends a pass, for its cost. ``alone``: the geometry
    of each layer is told from its own input.
    """

    model: Model
    inputs: Inputs
    shifts: tuple[Shift, ...] = ()
    shifts_given: bool = False
    seed: int = 0
    layer: str | None = None
    training: bool = False
    every_layer: bool = False
    tolerances: tuple[float, float] | None = None
    max_batch: int | None = None
    progress: bool = False
    circular_padding: bool = False
    between_samples: bool = False
    sums: str = ""
    interior: bool = False
    alike_in_a_batch: bool = False
    explained: bool = False
    full_effort: bool = False
    grow: bool | tuple[int, ...] = False
    share: float = 1.0
    alone: bool = False

    @cached_property
    def tolerance(self) -> Tolerance:
        """What passes: the noise of the input's type, or what the user allows."""
        rtol, atol = self.tolerances or (None, None)
        return Tolerance(eps=eps_of(self.inputs.dtype), rtol=rtol, atol=atol)

    @cached_property
    def scene(self) -> Scene:
        """How samples of a layer are paired."""
        return Scene(
            pixels=self.inputs.pixels,
            circular=self.inputs.circular,
            tolerance=self.tolerances,
            allowed=Tolerance(eps=eps_of(self.inputs.dtype)).relative(None),
            interior=self.interior,
            interpolation=self.inputs.interpolation,
            between=self.between_samples,
            sums=self.sums,
        )

    @property
    def zero(self) -> Shift:
        """The shift by nothing."""
        return (0,) * len(self.inputs.pixels)

    @property
    def between_pixels(self) -> bool:
        """Whether some shift is between pixels."""
        return not all(map(is_whole, self.shifts))

    @property
    def moved(self) -> set[int]:
        """The axes that some shift moves."""
        return {axis for shift in self.shifts for axis, v in enumerate(shift) if v}

    @cached_property
    def first_along(self) -> frozenset[Shift]:
        """For each axis, the first of the shifts that moves only this one."""
        single = {a: s for s in reversed(self.shifts) if (a := _only_axis(s)) is not None}
        return frozenset(single.values())

    def chunks(self, *, bases: int = 1) -> list[tuple[Shift, ...]]:
        """The shifts of each pass, about as many in each, beside the base or without it."""
        values = sum(t.numel() for t in self.inputs.tensors)
        room = STACK.get(self.inputs.main.tensor.device.type, LARGE_STACK)
        most = max(1, room // max(values, 1) - bases)
        most = most if self.max_batch is None else min(most, max(1, self.max_batch - bases))
        passes = max(1, math.ceil(len(self.shifts) / most))
        most = max(1, math.ceil(len(self.shifts) / passes))
        return [self.shifts[i : i + most] for i in range(0, len(self.shifts), most)]


def _only_axis(shift: Shift) -> int | None:
    moved = [a for a, v in enumerate(shift) if v]
    return moved[0] if len(moved) == 1 else None
