"""The laws of operations, one file a family: what each does to the geometry of its input.

Besides the table of rules, this module offers what a rule of your own is written with.
"""

from shiftcheck.lattice.axis import Axis, GeometryError, Taps, resample, window
from shiftcheck.lattice.causes import lose, with_cause
from shiftcheck.lattice.factors import Factor
from shiftcheck.lattice.layout import (
    Gone,
    Layout,
    Lost,
    Made,
    Pairs,
    Recipe,
    Slice,
    Waves,
    map_axes,
    with_axis,
)
from shiftcheck.rules import (
    attention,
    concatenation,
    convolution,
    elementwise,
    embedding,
    fft,
    indexing,
    matmul,
    normalization,
    padding,
    pooling,
    quantizing,
    recurrence,
    reduction,
    resizing,
    scattering,
    sorting,
    unfolding,
    views,
)
from shiftcheck.rules.common import pointwise, spread_over
from shiftcheck.rules.note_causes import note_new_causes, note_padding
from shiftcheck.rules.operands import BatchCoupledError, Constant
from shiftcheck.rules.registry import (
    Rule,
    find_rule,
    register_rule,
    ship,
    table,
)

FAMILIES = (
    convolution,
    pooling,
    padding,
    resizing,
    elementwise,
    normalization,
    matmul,
    attention,
    reduction,
    views,
    concatenation,
    indexing,
    embedding,
    unfolding,
    sorting,
    quantizing,
    recurrence,
    fft,
    scattering,
)
"""The modules that hold the rules of torch's own operations."""

ship()

Signal = Layout
"""The earlier name of ``Layout``."""

__all__ = [
    "FAMILIES",
    "Axis",
    "BatchCoupledError",
    "Constant",
    "Factor",
    "GeometryError",
    "Gone",
    "Layout",
    "Lost",
    "Made",
    "Pairs",
    "Recipe",
    "Rule",
    "Slice",
    "Taps",
    "Waves",
    "find_rule",
    "lose",
    "map_axes",
    "note_new_causes",
    "note_padding",
    "pointwise",
    "register_rule",
    "resample",
    "spread_over",
    "table",
    "window",
    "with_axis",
    "with_cause",
]
