"""What is asked of every item of a set of data, and what enters when it is shifted for that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shiftcheck.checks.evaluation.batches import Select
from shiftcheck.checks.evaluation.item_shifts import ItemShifts
from shiftcheck.measuring.plan import Model
from shiftcheck.measuring.signals.arguments import Inputs, Shift
from shiftcheck.measuring.signals.canvas import Surroundings, boundary_of, fill_of_each_axis

HALO = "effective_halo"
"""The question without shifts: one side of an item after the other is exchanged."""

MOVING = ("equivariance", "eq_t", "class_maps", HALO)
"""The questions in which the output moves with the input; in the others it stays."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """What is asked of every item, and how its arguments are read.

    ``selected``: what ``select`` was made of. ``stop``: the first item that raises ends it.
    """

    model: Model
    what: tuple[str, ...]
    shifts: ItemShifts
    select: Select
    selected: Any = None
    boundary: Any = "valid"
    fill: Any = "circular"
    spatial_dims: Sequence[int] | None = None
    fixed: Any = ()
    outputs: Any = None
    layer: str | None = None
    layers: bool = False
    seed: int = 0
    training: bool = False
    tolerance: float = 0.01
    stop: bool = False

    def told(self) -> tuple[Any, ...]:
        """All that is asked, without the model and what cannot be written down."""
        return (
            self.what,
            self.shifts,
            self.boundary,
            self.fill,
            self.spatial_dims,
            self.fixed,
            self.outputs,
            self.layer,
            self.layers,
            self.seed,
            self.training,
            self.tolerance,
        )

    @property
    def ways(self) -> tuple[Way, ...]:
        """How the items are shifted for each of the questions."""
        moving = tuple(w for w in self.what if w in MOVING)
        staying = tuple(w for w in self.what if w not in MOVING)
        if moving and staying and _all_circular(self.boundary) and _all_circular(self.fill):
            return (Way(what=self.what, boundary=self.boundary),)
        ways = (
            Way(what=moving, boundary=self.boundary),
            Way(what=staying, boundary=boundary_of(self.fill), fill=self.fill),
        )
        return tuple(way for way in ways if way.what)


def _all_circular(kinds: Any) -> bool:
    entries = kinds if isinstance(kinds, list | tuple) else (kinds,)
    return all(kind == "circular" for kind in entries)


@dataclass(frozen=True, kw_only=True, eq=False)
class Way:
    """Some of the questions, and what enters when items are shifted for them."""

    what: tuple[str, ...]
    boundary: Any
    fill: Any = None

    def moved(self, inputs: Inputs, shift: Shift, seed: int) -> list[Any]:
        """The arguments as a shift leaves them, as in the check of a single input."""
        if self.fill is None:
            return inputs.shifted(shift, seed)
        fills = fill_of_each_axis(self.fill, len(inputs.pixels))
        return Surroundings(inputs, fills).shifted(shift, seed)
