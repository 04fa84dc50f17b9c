"""The structure of a model at other sizes of its input along one axis."""

from __future__ import annotations

from shiftcheck.checks.tiles.structure import resized
from shiftcheck.errors import ShiftcheckError
from shiftcheck.measuring.plan import Model
from shiftcheck.measuring.signals.arguments import Inputs
from shiftcheck.measuring.structure_pass import read_structure
from shiftcheck.tracing.traced import Row

Layers = tuple[list[Row], list[Row]]
"""All rows, and those of the outputs."""


class AtOtherSizes:
    """Reads the structure at each size once, on a plane."""

    def __init__(self, model: Model, inputs: Inputs, axis: int) -> None:
        self.model, self.inputs, self.axis = model, inputs, axis
        self.known: dict[int, Layers | None] = {}

    @property
    def pixels(self) -> int:
        """The size of the input itself."""
        return self.inputs.pixels[self.axis]

    def at(self, size: int) -> Layers | None:
        """What is there at a size; None where the model does not take it."""
        if size not in self.known:
            self.known[size] = self._read(size)
        return self.known[size]

    def _read(self, size: int) -> Layers | None:
        pixels = self.inputs.pixels
        sizes = tuple(size if a == self.axis else n for a, n in enumerate(pixels))
        other = resized(self.inputs, sizes, (False,) * len(sizes))
        try:
            rows, outputs, _ = read_structure(self.model, other, layer=None, training=False)
        except ShiftcheckError:
            return None
        return rows, outputs
