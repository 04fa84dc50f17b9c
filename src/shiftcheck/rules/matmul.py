"""Linear layers, products of matrices, bilinear maps and distances of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from shiftcheck.lattice.axis import GeometryError
from shiftcheck.lattice.broadcasting import broadcast
from shiftcheck.lattice.factors import flat, plain
from shiftcheck.lattice.layout import Layout, Waves, with_dim, with_dims
from shiftcheck.lattice.notes import noted
from shiftcheck.lattice.windows import as_keys, contracted
from shiftcheck.rules.common import (
    WINDOWS,
    combined,
    mix,
    moved_dims,
    need_layout,
    no_layout,
    normal_dim,
    pointwise,
    reduce_over,
    uncoupled,
)
from shiftcheck.rules.constants import with_constants
from shiftcheck.rules.note_causes import note_new_causes
from shiftcheck.rules.operands import Constant
from shiftcheck.rules.pairs import related as pairs_of
from shiftcheck.rules.pairs import summed
from shiftcheck.rules.registry import register_rule
from shiftcheck.rules.scores import Done, followed
from shiftcheck.rules.weights import entries_of, mixed_by

LAW = "1 -> 1 over channels; over a spatial axis: none (MIXING)"


@register_rule("aten::linear", law=LAW)
def linear(x: object, weight: object, bias: object = None) -> Layout:
    """``x @ weight.T + bias`` over the last dimension."""
    layout = need_layout(x, "the input of a linear layer")
    no_layout(weight, "the weight of a linear layer")
    no_layout(bias, "the bias of a linear layer")
    assert isinstance(weight, Constant)
    last = len(layout.dims) - 1
    if len(weight.shape) == 1:
        out = mix(layout, last, 1, "a linear layer")
        return with_dims(out, out.dims[:-1])
    out = mix(layout, last, weight.shape[0], "a linear layer")
    return mixed_by(layout, out, last, entries_of(weight, inputs_last=True))


@register_rule("aten::addmm", law=LAW)
def addmm(bias: object, x: object, weight: object, *, beta: float = 1, alpha: float = 1) -> Layout:
    """``bias + x @ weight``."""
    product = matmul(x, weight)
    if isinstance(bias, Layout):
        return broadcast([product, bias])
    return with_constants(product, [bias] if isinstance(bias, Constant) else [])


@register_rule(
    "aten::matmul",
    "aten::mm",
    "aten::bmm",
    "aten::mv",
    "aten::dot",
    law=LAW,
    keeps_frequencies=True,
)
def matmul(x: object, y: object) -> Layout:
    """A product of matrices, batched or not, of a signal with a constant or of two signals."""
    if isinstance(x, Layout) and isinstance(y, Layout):
        return _matmul_layouts(x, y)
    if isinstance(x, Layout) and isinstance(y, Constant):
        return _matmul_constant(x, y)
    if isinstance(y, Layout) and isinstance(x, Constant):
        if len(y.dims) == 1:
            return _matmul_constant(y, transposed(x))
        out = _matmul_constant(transposed(y), transposed(x))
        return out if len(x.shape) == 1 else transposed(out)
    raise GeometryError("a product without a signal")


def _matmul_constant(x: Layout, y: Constant) -> Layout:
    last = len(x.dims) - 1
    stacked = max(len(y.shape) - 2, 0)
    if stacked:
        if len(y.shape) > len(x.dims):
            raise GeometryError("a constant with more dimensions than the signal is multiplied")
        x = _stacked(x, y)
    if len(y.shape) == 1:
        out = mix(x, last, 1, "a product with a constant")
        return with_dims(out, out.dims[:-1])
    out = mix(x, last, y.shape[-1], "a product with a constant")
    out = mixed_by(x, out, last, entries_of(y, inputs_last=False))
    for at, size in enumerate(y.shape[:-2], last - 1 - stacked):
        out = out if out.dims[at] else out.with_factors(at, plain(size))
    return out


def _stacked(x: Layout, y: Constant) -> Layout:
    """The layout after each place that ``y`` tells apart has chosen a matrix of its own."""
    outer = x.with_factors(-2, ()).with_factors(-1, ())
    return replace(with_constants(outer, [y]), dims=x.dims)


def _matmul_layouts(x: Layout, y: Layout) -> Layout:
    if len(x.dims) < 2 or len(y.dims) < 2:
        raise GeometryError("a product of signals that are vectors")
    if any(isinstance(state, Waves) for state in (*x.axes, *y.axes)):
        raise GeometryError("a product with the frequencies of a signal that depends on the input")
    last, before = len(x.dims) - 1, len(y.dims) - 2
    uncoupled(x, [last], "a product")
    uncoupled(y, [before, before + 1], "a product")
    if as_keys(x, last) != as_keys(y, before):
        raise GeometryError("a product over dimensions of different meaning")
    key_dim = any(f.kind == "key" for f in flat(x.dims[last]))
    left = contracted(x, [last])
    right = contracted(y, [before], related=key_dim)
    related = [a for a in y.axes_in([before + 1]) if x.factors_of(a, range(last))]
    out = combined([left, _without_keys(right, related)])
    dim = as_keys(y, before + 1, related)
    out = note_new_causes(x, with_dims(out, (*out.dims[:-1], dim)), detail=WINDOWS)
    if x.pairs is not None and x.dims[-2:] == x.pairs.places:
        return summed(out, x.pairs, y)
    return noted(out, pairs=pairs_of(x, y, (x.dims[-2], dim), keys_last=True))


def _without_keys(layout: Layout, axes: Sequence[int]) -> Layout:
    """The last dimension empty; of ``axes``, every result sees all that it held."""
    held = layout.axes_in([len(layout.dims) - 1])
    if set(held) == set(axes):
        return contracted(layout, [len(layout.dims) - 1], related=True)
    if axes:
        raise GeometryError("a product of dimensions that have only a part in common")
    return layout.with_factors(-1, ())


def transposed(x: Any) -> Any:
    """The last two dimensions swapped, where there are two; what is no tensor as it is."""
    if isinstance(x, Layout) and len(x.dims) > 1:
        return moved_dims(x, [*range(len(x.dims) - 2), -1, -2])
    if isinstance(x, Constant) and len(x.shape) > 1:
        values = x.values
        shape = (*x.shape[:-2], x.shape[-1], x.shape[-2])
        return replace(x, shape=shape, values=lambda: _swapped(values()))
    return x


def _swapped(values: NDArray[Any] | None) -> NDArray[Any] | None:
    return None if values is None else values.swapaxes(-1, -2)


AS_A_PRODUCT = "1 -> 1 over channels; over a spatial axis: as a product"


@register_rule("aten::baddbmm", "aten::addmv", law=AS_A_PRODUCT)
def added(bias: object, x: object, y: object, *, beta: float = 1, alpha: float = 1) -> Any:
    """``bias + x @ y``, for stacks of matrices or a matrix and a vector."""
    product = matmul(x, y)
    out = pointwise(product, bias)
    name = "aten::add" if beta == 1 else "of a multiple"
    return followed(Done(name, (product, bias), {}), out, tagged=True)


@register_rule("aten::addbmm", law=AS_A_PRODUCT)
def added_sum(bias: object, x: object, y: object, *, beta: float = 1, alpha: float = 1) -> Layout:
    """``bias`` and the sum of ``x @ y`` over the stack."""
    return pointwise(reduce_over(matmul(x, y), [0], False, "a sum of products"), bias)


@register_rule("aten::cdist", "aten::_cdist_forward", "aten::_euclidean_dist", law=AS_A_PRODUCT)
def distances(x: object, y: object, *_: object) -> Layout:
    """The distance of every row of ``x`` to every row of ``y``: contracted as ``x @ y.T`` is."""
    return matmul(x, transposed(y))


@register_rule("aten::bilinear", law=AS_A_PRODUCT)
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
