"""The laws of operations, one file a family: what each does to the geometry of its input."""

from shiftcheck.rules import (
    attention,
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
    reduction,
    resizing,
    sequences,
    shape,
    writing,
)
from shiftcheck.rules.common import pointwise
from shiftcheck.rules.operands import BatchCoupledError, Constant
from shiftcheck.rules.registry import Rule, find_rule, register_rule, table

__all__ = [
    "BatchCoupledError",
    "Constant",
    "Rule",
    "attention",
    "convolution",
    "elementwise",
    "find_rule",
    "gathering",
    "linear",
    "neighbourhoods",
    "normalization",
    "ordering",
    "padding",
    "pointwise",
    "pooling",
    "products",
    "reduction",
    "register_rule",
    "resizing",
    "sequences",
    "shape",
    "table",
    "writing",
]
