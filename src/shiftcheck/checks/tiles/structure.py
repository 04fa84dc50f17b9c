"""The structure of a model on images of several sizes, and the reductions that can be pooled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from shiftcheck.errors import InputError, ModelError, ShiftcheckError
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import Layout
from shiftcheck.measuring.model_errors import RaisedError
from shiftcheck.measuring.plan import Model
from shiftcheck.measuring.signals.arguments import Inputs, Leaf
from shiftcheck.measuring.structure_pass import read_structure
from shiftcheck.tracing.pooling_statistics import RETURNED, MetReduction, Seeking
from shiftcheck.tracing.traced import Row

Sizes = tuple[int, ...]

ROUNDS = 4
"""So often reductions are looked for: behind one that is pooled there may be more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Structure:
    """One pass at one size.

    ``rows``: every layer; ``outputs``: those of the model, by name; ``fed``: what each reduction is
    taken of.
    """

    sizes: Sizes
    rows: tuple[Row, ...]
    outputs: tuple[Row, ...]
    fed: Mapping[int, Row]
    reductions: tuple[MetReduction, ...]
    notes: tuple[str, ...]

    def layouts(self, pooled: Sequence[int]) -> list[Layout]:
        """Those of the outputs, and of what the pooled reductions are taken of."""
        return [row.layout for row in (*self.outputs, *(self.fed[n] for n in pooled))]


class Structures:
    """Reads the structure at any size, each once; ``pooled``: the reductions that are pooled.

    ``known``: what was read; what a model raised is known by the layers that ran before.
    """

    def __init__(self, model: Model, inputs: Inputs, pooled: Sequence[int] = ()) -> None:
        self.model: Model = model
        self.inputs: Inputs = inputs
        self.pooled: tuple[int, ...] = tuple(pooled)
        self.known: dict[Sizes, Structure | tuple[Row, ...]] = {}

    def whole(self) -> Structure:
        """That of the image; raises ModelError where the model does not take it."""
        return self._read(self.inputs)

    def at(self, sizes: Sizes) -> Structure | None:
        """That of a window of some size onto a plane; None where the model does not take it."""
        if sizes not in self.known:
            open_ends = (False,) * len(sizes)
            try:
                self.known[sizes] = self._read(resized(self.inputs, sizes, open_ends))
            except InputError:
                raise
            except ShiftcheckError as error:
                self.known[sizes] = error.rows if isinstance(error, RaisedError) else ()
        found = self.known[sizes]
        return found if isinstance(found, Structure) else None

    def ran_before_refusing(self, sizes: Sizes) -> tuple[Row, ...]:
        """The layers that ran before the model raised at sizes that it does not take."""
        found = self.known.get(sizes, ())
        return () if isinstance(found, Structure) else found

    def layers_before_refusals(self) -> int:
        """How many layers ran, in all, before the model raised at sizes that it does not take."""
        return sum(len(rows) for rows in self.known.values() if not isinstance(rows, Structure))

    def _read(self, inputs: Inputs) -> Structure:
        seeking = Seeking(self.model, self.pooled)
        rows, outputs, notes = read_structure(seeking, inputs, layer=None, training=False)
        own = [row for row in outputs if row.name.startswith(OWN)]
        fed = {MetReduction.read(row.name): row for row in outputs if not row.name.startswith(OWN)}
        return Structure(
            sizes=inputs.pixels,
            rows=tuple(rows),
            outputs=tuple(replace(row, name="output" + row.name.removeprefix(OWN)) for row in own),
            fed={met.number: row for met, row in fed.items()},
            reductions=tuple(fed),
            notes=tuple(notes),
        )


OWN = f"output['{RETURNED}']"
"""How the names of the model's own outputs begin."""


def resized(inputs: Inputs, sizes: Sizes, circular: tuple[bool, ...]) -> Inputs:
    """The arguments without values, of other spatial sizes."""

    def change(leaf: Leaf) -> Leaf:
        if not leaf.spatial:
            return leaf
        shape = list(leaf.tensor.shape)
        for axis, dim in enumerate(leaf.spatial):
            ratio = shape[dim] / inputs.pixels[axis]
            shape[dim] = round(sizes[axis] * ratio)
        empty = torch.empty(shape, dtype=leaf.tensor.dtype, device="meta")
        return replace(leaf, tensor=empty)

    return replace(inputs.mapped(change), circular=circular)


def with_pooled(model: Model, inputs: Inputs) -> tuple[Structures, Structure]:
    """The structure in which all reductions are pooled that can be, and that of the image."""
    structures = Structures(model, inputs)
    whole = structures.whole()
    for _ in range(ROUNDS):
        found = tuple(m.number for m in whole.reductions if is_poolable(m, whole))
        pooled = tuple(sorted({*found, *structures.pooled}))
        if pooled == structures.pooled:
            break
        structures = Structures(model, inputs, pooled)
        try:
            whole = structures.whole()
        except ModelError:  # nothing is left that depends on the image
            return Structures(model, inputs), Structures(model, inputs).whole()
    return structures, whole


def is_poolable(reduction: MetReduction, structure: Structure) -> bool:
    """Whether a reduction is over all spatial axes, each of which has a dimension of its own."""
    layout = structure.fed[reduction.number].layout
    over = layout.axes_in(reduction.dims)
    alone = [d for d in reduction.dims if len(layout.dims[d]) == 1]
    axes = [a for a, state in enumerate(layout.axes) if isinstance(state, Axis)]
    return bool(axes) and sorted(over) == axes and len(layout.axes_in(alone)) == len(axes)
