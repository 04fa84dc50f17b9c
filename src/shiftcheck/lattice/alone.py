"""A tensor inside a network as a signal of its own, so that a layer can be looked at alone."""

from __future__ import annotations

from shiftcheck.lattice.axis import Axis, input_axis
from shiftcheck.lattice.factors import flat
from shiftcheck.lattice.layout import AxisState, Gone, Layout
from shiftcheck.lattice.notes import as_slice


def alone(layout: Layout) -> Layout:
    """The layout as if the tensor were the input: each sample stands alone, and sees itself.

    What was reduced depends on the axis no more. Scores of pairs of places stay as they are: they
    are half of a law, which ends where they are summed up.
    """
    if relates_pairs(layout):
        return layout
    out = Layout(layout.dims, tuple(map(_alone, layout.axes)), layout.causes)
    source = layout.source
    return out if source is None else as_slice(out, source.whole, source.dim, source.chosen)


def relates_pairs(layout: Layout) -> bool:
    """Whether a tensor holds something of each pair of places, as the scores of attention."""
    return layout.pairs is not None or any(f.kind == "key" for d in layout.dims for f in flat(d))


def _alone(state: AxisState) -> AxisState:
    if isinstance(state, Gone):
        return None
    return input_axis(state.size, circular=False) if isinstance(state, Axis) else state
