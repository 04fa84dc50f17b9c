"""The modules that depend on a whole axis only by statistics that can be reduced over shards."""

from __future__ import annotations

from shiftcheck.errors import ShiftcheckError
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import Layout
from shiftcheck.measuring.plan import Model
from shiftcheck.measuring.signals.arguments import Inputs
from shiftcheck.measuring.structure_pass import read_structure
from shiftcheck.tracing.pooling_statistics import MetReduction, Seeking
from shiftcheck.tracing.traced import Row

OWN = "output['returned']"
"""How the names of the model's own outputs begin, beside what is reduced."""

ROUNDS = 4
"""So often reductions are looked for: behind one that is known there may be more."""


def reducible_modules(model: Model, inputs: Inputs, along: int) -> frozenset[str]:
    """The paths of the modules that see the whole axis, and none once their statistics are known.

    Each layer begins anew, so that one that sees everything hides no other one.
    """
    seeing = _seeing_everything(_rows(model, inputs, ())[0], along)
    if not seeing:
        return frozenset()
    known: tuple[int, ...] = ()
    rows: list[Row] = []
    for _ in range(ROUNDS):
        try:
            rows, fed = _rows(Seeking(model, known), inputs, known)
        except ShiftcheckError:  # nothing is left that depends on the image
            return frozenset()
        found = tuple(
            sorted({*known, *(n for n, (met, layout) in fed.items() if _over(met, layout, along))})
        )
        if found == known:
            break
        known = found
    return seeing - _seeing_everything(rows, along) if known else frozenset()


def _rows(
    model: Model, inputs: Inputs, known: tuple[int, ...]
) -> tuple[list[Row], dict[int, tuple[MetReduction, Layout]]]:
    """All layers, and what each reduction is taken of."""
    rows, outputs, _ = read_structure(model, inputs, layer=None, training=False, alone=True)
    if not isinstance(model, Seeking):
        return rows, {}
    fed = [(MetReduction.read(o.name), o.layout) for o in outputs if not o.name.startswith(OWN)]
    return rows, {met.number: (met, layout) for met, layout in fed}


def _over(met: MetReduction, layout: Layout, along: int) -> bool:
    """Whether a reduction is over all dimensions that hold some of the axis."""
    holding = {d for d in range(len(layout.dims)) if along in layout.axes_in([d])}
    return bool(holding) and holding <= {d % len(layout.dims) for d in met.dims}


def _seeing_everything(rows: list[Row], along: int) -> frozenset[str]:
    """The paths of modules whose samples depend on all of the axis."""
    found = set()
    for row in rows:
        state = row.layout.axes[along]
        if row.path and not isinstance(state, Axis) and _had(row, along):
            found.add(row.path)
        if row.path and isinstance(state, Axis) and sum(state.halo) == float("inf"):
            found.add(row.path)
    return frozenset(found)


def _had(row: Row, along: int) -> bool:
    return any(s is not None and isinstance(s.axes[along], Axis) for s in row.entering)
