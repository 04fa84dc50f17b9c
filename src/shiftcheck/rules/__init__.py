"""The laws of operations, one file a family: what each does to the geometry of its input.

Besides the table of rules, this module offers what a rule of your own is written with.
"""

from shiftcheck.axis import Axis, GeometryError, Taps, resample, window
from shiftcheck.layout import (
    Factor,
    Gone,
    Lost,
    Made,
    Pairs,
    Recipe,
    Signal,
    Slice,
    Waves,
    lose,
    map_axes,
    with_axis,
    with_cause,
)
from shiftcheck.rules import (
    attention,
    concatenation,
    convolution,
    elementwise,
    gathering,
    linear,
    neighbourhoods,
    normalization,
    ordering,
    padding,
    pooling,
    products,
    quantizing,
    reduction,
    resizing,
    sequences,
    shape,
    spectral,
    writing,
)
from shiftcheck.rules.causes import note_new_causes, note_padding
from shiftcheck.rules.common import pointwise, spread_over
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
    linear,
    attention,
    reduction,
    shape,
    concatenation,
    gathering,
    neighbourhoods,
    ordering,
    products,
    quantizing,
    sequences,
    spectral,
    writing,
)
"""The modules that hold the rules of torch's own operations."""

ship()

__all__ = [
    "FAMILIES",
    "Axis",
    "BatchCoupledError",
    "Constant",
    "Factor",
    "GeometryError",
    "Gone",
    "Lost",
    "Made",
    "Pairs",
    "Recipe",
    "Rule",
    "Signal",
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
