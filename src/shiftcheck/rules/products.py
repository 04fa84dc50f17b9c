"""Products with something added, sums of products, bilinear maps and distances of rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from shiftcheck.lattice.axis import GeometryError
from shiftcheck.lattice.factors import plain
from shiftcheck.lattice.layout import Layout, with_dim
from shiftcheck.rules.common import (
    combined,
    mix,
    need_layout,
    no_layout,
    normal_dim,
    pointwise,
    reduce_over,
    uncoupled,
)
from shiftcheck.rules.matmul import matmul
from shiftcheck.rules.operands import Constant
from shiftcheck.rules.registry import register_rule
from shiftcheck.rules.scores import Done, followed

LAW = "1 -> 1 over channels; over a spatial axis: as a product"


@register_rule("aten::baddbmm", "aten::addmv", law=LAW)
def added(bias: object, x: object, y: object, *, beta: float = 1, alpha: float = 1) -> Any:
    """``bias + x @ y``, for stacks of matrices or a matrix and a vector."""
    product = matmul(x, y)
    out = pointwise(product, bias)
    name = "aten::add" if beta == 1 else "of a multiple"
    return followed(Done(name, (product, bias), {}), out, tagged=True)


@register_rule("aten::addbmm", law=LAW)
def added_sum(bias: object, x: object, y: object, *, beta: float = 1, alpha: float = 1) -> Layout:
    """``bias`` and the sum of ``x @ y`` over the stack."""
    return pointwise(reduce_over(matmul(x, y), [0], False, "a sum of products"), bias)


@register_rule("aten::cdist", "aten::_cdist_forward", "aten::_euclidean_dist", law=LAW)
def distances(x: object, y: object, *_: object) -> Layout:
    """The distance of every row of ``x`` to every row of ``y``: contracted as ``x @ y.T`` is."""
    return matmul(x, _rows_to_columns(y))


def _rows_to_columns(y: object) -> object:
    if isinstance(y, Constant):
        return replace(y, shape=(*y.shape[:-2], y.shape[-1], y.shape[-2]))
    if isinstance(y, Layout):
        return replace(y, dims=(*y.dims[:-2], y.dims[-1], y.dims[-2]))
    return y


@register_rule("aten::bilinear", law=LAW)
def bilinear(x: object, y: object, weight: object, bias: object = None) -> Layout:
    """``x @ weight @ y`` for the last dimension of both, at each place."""
    no_layout(weight, "the weight of a bilinear map")
    no_layout(bias, "the bias of a bilinear map")
    assert isinstance(weight, Constant)
    sides = [need_layout(side, "a side of a bilinear map") for side in (x, y)]
    mixed = [mix(side, len(side.dims) - 1, 1, "a bilinear map") for side in sides]
    out = combined(mixed)
    return with_dim(out, len(out.dims) - 1, plain(weight.shape[0]))


@register_rule("aten::linalg_cross", "aten::cross", law="1 -> 1 over channels")
def cross(x: object, y: object, dim: int | None = -1) -> Layout:
    """The vector product along a dimension of three."""
    out = pointwise(x, y)
    if dim is None:
        raise GeometryError("a vector product along the first dimension of size three")
    at = normal_dim(dim, len(out.dims))
    uncoupled(out, [at], "a vector product")
    if out.axes_in([at]):
        raise GeometryError("a vector product along a spatial axis")
    return out
