"""Values put in order: sorting, the largest few, ranks and quantiles, classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from shiftcheck.lattice.axis import GeometryError
from shiftcheck.lattice.causes import lose
from shiftcheck.lattice.factors import plain
from shiftcheck.lattice.layout import Layout, with_dim, with_dims
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.rules.common import (
    need_layout,
    no_layout,
    normal_dim,
    normal_dims,
    pointwise,
    reduce_over,
    uncoupled,
)
from shiftcheck.rules.constants import stochastic
from shiftcheck.rules.operands import Constant
from shiftcheck.rules.reduction import argument, note_choice, reduction
from shiftcheck.rules.registry import register_rule

LAW = "over channels 1 -> 1; over an axis: none (INDEX), a rank is no place"
SYMMETRIC = "over channels 1 -> 1; over an axis: global, the axis is gone"


def _ordered(x: object, dim: int, size: int | None, what: str) -> Layout:
    layout = need_layout(x, "the sorted tensor")
    at = normal_dim(dim, len(layout.dims))
    uncoupled(layout, [at], what)
    cause = Cause(kind=CauseKind.INDEX, detail=f"{what} over the axis: a rank is no place")
    out = lose(layout, layout.axes_in([at]), cause)
    return out if size is None else with_dim(out, at, plain(size))


@register_rule("aten::sort", law=LAW)
def sort(x: object, dim: int = -1, *_: object, **__: object) -> tuple[Layout, Layout]:
    """The values along a dimension in order, and where they came from."""
    out = _ordered(x, dim, None, "sorting")
    return out, note_choice(out)


@register_rule("aten::sort.stable", law=LAW)
def stable_sort(
    x: object, stable: bool | None = None, dim: int = -1, descending: bool = False
) -> tuple[Layout, Layout]:
    """The same, with ties in their order."""
    return sort(x, dim)


@register_rule("aten::argsort", law=LAW)
def argsort(x: object, dim: int = -1, *_: object, **named: object) -> Layout:
    """Where the values in order came from."""
    return note_choice(_ordered(x, dim, None, "sorting"))


@register_rule("aten::msort", law=LAW)
def msort(x: object) -> Layout:
    """The values along the first dimension in order."""
    return _ordered(x, 0, None, "sorting")


@register_rule("aten::topk", law=LAW)
def topk(x: object, k: int, dim: int = -1, *_: object, **__: object) -> tuple[Layout, Layout]:
    """The ``k`` largest values along a dimension, and where they came from."""
    out = _ordered(x, dim, k, "taking the largest")
    return out, note_choice(out)


@register_rule("aten::kthvalue", law=SYMMETRIC + "; the index: INDEX")
def kthvalue(x: object, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Layout, Layout]:
    """The ``k``-th smallest value along a dimension, and its index."""
    return reduction(x, dim, keepdim), argument(x, dim, keepdim)


@register_rule("aten::mode", "aten::nanmedian.dim", law=SYMMETRIC + "; the index: INDEX")
def mode(x: object, dim: int = -1, keepdim: bool = False) -> tuple[Layout, Layout]:
    """The most frequent value along a dimension, or the middle one, and its index."""
    return reduction(x, dim, keepdim), argument(x, dim, keepdim)


@register_rule("aten::median.default", "aten::nanmedian.default", law=SYMMETRIC)
def median(x: object) -> Layout:
    """The middle one of all values."""
    return reduction(x)


@register_rule("aten::aminmax", law=SYMMETRIC)
def aminmax(x: object, *, dim: int | None = None, keepdim: bool = False) -> tuple[Layout, Layout]:
    """The smallest and the largest value."""
    out = reduction(x, dim, keepdim)
    return out, out


@register_rule("aten::count_nonzero.dim_IntList", "aten::count_nonzero", law=SYMMETRIC)
def count_nonzero(x: object, dim: int | Sequence[int] | None = None) -> Layout:
    """How many values along the dimensions are not zero."""
    return reduction(x, dim)


@register_rule("aten::quantile", "aten::nanquantile", law=SYMMETRIC)
def quantile(
    x: object, q: object, dim: int | None = None, keepdim: bool = False, **_: object
) -> Layout:
    """Quantiles along a dimension; several of them are a new first dimension."""
    layout = need_layout(x, "the tensor")
    no_layout(q, "the quantile")
    out = reduce_over(layout, normal_dims(dim, len(layout.dims)), keepdim, "a quantile")
    several = q.shape if isinstance(q, Constant) else ()
    return with_dims(out, [*(plain(n) for n in several), *out.dims])


@register_rule("aten::bucketize.Tensor", law="1 -> 1")
def bucketize(x: object, boundaries: object, **_: object) -> Layout:
    """The interval that each value is in."""
    no_layout(boundaries, "the boundaries of a histogram")
    return need_layout(x, "the tensor")


@register_rule("aten::searchsorted.Tensor", law="1 -> 1", source="torch.searchsorted")
def searchsorted(sequence: object, x: object, *, sorter: object = None, **_: object) -> Layout:
    """Where each value would be put into a sequence, or into one for each row of the values."""
    no_layout(sorter, "the order of the sequence")
    if isinstance(sequence, Layout):
        return _put_into(sequence, x)
    layout = need_layout(x, "the values that are looked for")
    assert isinstance(sequence, Constant)
    if len(sequence.shape) == 1:
        return stochastic(layout) if sequence.random else layout
    rows = (*sequence.shape[:-1], 1)
    if math.prod(rows) == 1:
        return layout
    length = sequence.shape[-1]
    apart = replace(
        sequence, shape=rows, repeats=lambda b, n, a: sequence.repeats(b, n, a * length)
    )
    return pointwise(layout, apart)


def _put_into(sequence: Layout, x: object) -> Layout:
    """The same where the sequence depends on the input; it has no place along its own entries."""
    last = len(sequence.dims) - 1
    uncoupled(sequence, [last], "a search")
    if sequence.axes_in([last]):
        raise GeometryError("a search among the samples of a spatial axis")
    rows = with_dim(sequence, last, ())
    if len(sequence.dims) == 1 and isinstance(x, Layout | Constant):
        rows = with_dims(rows, [()] * len(x.shape))
    return pointwise(rows, x)


@register_rule("aten::one_hot", law="1 -> 1")
def one_hot(x: object, num_classes: int = -1) -> Layout:
    """Each class as a vector, along a new last dimension."""
    layout = need_layout(x, "the tensor of classes")
    if num_classes < 0:
        raise GeometryError("the number of classes depends on the values")
    return with_dims(layout, [*layout.dims, plain(num_classes)])
