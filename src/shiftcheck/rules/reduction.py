"""Reductions over dimensions, and softmax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shiftcheck.lattice.axis import GeometryError
from shiftcheck.lattice.causes import lose, with_cause
from shiftcheck.lattice.layout import Gone, Layout
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.rules.common import (
    need_layout,
    normal_dim,
    normal_dims,
    reduce_over,
    spread_over,
    uncoupled,
)
from shiftcheck.rules.registry import register_rule

Dims = int | Sequence[int] | None
LAW = "1 -> 1 over channels; over an axis: global, the axis is gone"


@register_rule(
    "aten::mean",
    "aten::sum",
    "aten::nansum",
    "aten::amax",
    "aten::amin",
    "aten::logsumexp",
    "aten::all",
    "aten::any",
    "aten::max.default",
    "aten::min.default",
    law=LAW,
)
def reduction(x: object, dim: Dims = None, keepdim: bool = False, **_: object) -> Layout:
    """A symmetric function of all values along the dimensions."""
    layout = need_layout(x, "the reduced tensor")
    return reduce_over(layout, normal_dims(dim, len(layout.dims)), keepdim, "a reduction")


@register_rule("aten::prod.dim_int", law=LAW)
def product(x: object, dim: int, keepdim: bool = False, **_: object) -> Layout:
    """The product of all values along a dimension."""
    return reduction(x, dim, keepdim)


@register_rule("aten::norm.ScalarOpt_dim", "aten::linalg_vector_norm", law=LAW)
def norm(x: object, p: object = 2, dim: Dims = None, keepdim: bool = False, **_: object) -> Layout:
    """A norm along the dimensions."""
    return reduction(x, dim, keepdim)


@register_rule(
    "aten::var.correction",
    "aten::std.correction",
    law=LAW,
)
def spread(
    x: object, dim: Dims = None, *, correction: object = None, keepdim: bool = False
) -> Layout:
    """Variance or standard deviation along the dimensions."""
    return reduction(x, dim, keepdim)


@register_rule("aten::var_mean.correction", "aten::std_mean.correction", law=LAW)
def spread_and_mean(
    x: object, dim: Dims = None, *, correction: object = None, keepdim: bool = False
) -> tuple[Layout, Layout]:
    """Variance or standard deviation, and the mean."""
    out = reduction(x, dim, keepdim)
    return out, out


@register_rule("aten::var.dim", "aten::std.dim", law=LAW)
def spread_unbiased(
    x: object, dim: Dims = None, unbiased: bool = True, keepdim: bool = False
) -> Layout:
    """Variance or standard deviation along the dimensions, the older signature."""
    return reduction(x, dim, keepdim)


@register_rule("aten::max.dim", "aten::min.dim", "aten::median.dim", law=LAW)
def extreme(x: object, dim: int, keepdim: bool = False) -> tuple[Layout, Layout]:
    """The extreme value along a dimension, and its index."""
    return reduction(x, dim, keepdim), argument(x, dim, keepdim)


@register_rule(
    "aten::argmax", "aten::argmin", law="1 -> 1 over channels; over an axis: none (INDEX)"
)
def argument(x: object, dim: int | None = None, keepdim: bool = False) -> Layout:
    """The index of the extreme value: over an axis it counts from a fixed place."""
    layout = need_layout(x, "the tensor")
    dims = normal_dims(dim, len(layout.dims))
    uncoupled(layout, dims, "an argmax")
    if layout.axes_in(dims):
        cause = Cause(kind=CauseKind.INDEX, detail="an index counts from a fixed place")
        layout = lose(layout, layout.axes_in(dims), cause)
    return note_choice(reduce_over(layout, dims, keepdim, "an argmax"))


def note_choice(layout: Layout) -> Layout:
    """Add DATA_DEPENDENT to indices that tell of all of an axis: they may choose a place on it.

    Of a choice for each place, as between classes, the place is none of the data's.
    """
    whole = [s for s in layout.axes if isinstance(s, Gone)]
    if not whole:
        return layout
    cause = Cause(
        kind=CauseKind.DATA_DEPENDENT, detail="an index is chosen from values of the whole axis"
    )
    return with_cause(layout, cause)


@register_rule(
    "aten::softmax",
    "aten::_softmax",
    "aten::log_softmax",
    "aten::_log_softmax",
    "aten::softmin",
    "aten::_safe_softmax",
    law="1 -> 1 over channels; over an axis: global",
)
def softmax(x: object, dim: int, *_: object, **__: object) -> Layout:
    """Exponentials divided by their sum along a dimension."""
    layout = need_layout(x, "the input of a softmax")
    at = normal_dim(dim, len(layout.dims))
    uncoupled(layout, [at], "a softmax")
    return spread_over(layout, [at], "a sum over the whole axis")


@register_rule("aten::glu", law="1 -> 1 over channels")
def glu(x: object, dim: int = -1) -> Layout:
    """One half of the channels times the sigmoid of the other."""
    layout = need_layout(x, "the input of a gated unit")
    at = normal_dim(dim, len(layout.dims))
    if layout.axes_in([at]) or layout.holds_copies([at]):
        raise GeometryError("a gated unit along a spatial axis or the batch")
    half = [replace(f, size=f.size // 2) for f in layout.dims[at]]
    return layout.with_factors(at, tuple(f for f in half if f.size > 1))
