"""Quantisation: values are rounded to a grid of their own size, each by itself."""

from __future__ import annotations

from dataclasses import replace

from shiftcheck.lattice.layout import Layout
from shiftcheck.rules.common import need_layout, normal_dim, pointwise, reduce_over
from shiftcheck.rules.operands import Constant
from shiftcheck.rules.registry import register_rule


@register_rule(
    "aten::quantize_per_tensor.default",
    "aten::quantize_per_tensor.tensor_qparams",
    "aten::dequantize.self",
    "aten::int_repr",
    "aten::fake_quantize_per_tensor_affine",
    "aten::_fake_quantize_learnable_per_tensor_affine",
    "quantized_decomposed::quantize_per_tensor",
    "quantized_decomposed::dequantize_per_tensor",
    law="1 -> 1",
)
def by_one_scale(*operands: object, **_: object) -> Layout:
    """Every sample by itself, with a step and a zero that are the same for all, or broadcast."""
    return pointwise(*operands)


@register_rule(
    "aten::fake_quantize_per_tensor_affine_cachemask",
    "aten::_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
    law="1 -> 1",
)
def with_mask(*operands: object) -> tuple[Layout, Layout]:
    """The result, and which values were within the range."""
    out = pointwise(*operands)
    return out, out


@register_rule(
    "aten::quantize_per_channel",
    "aten::fake_quantize_per_channel_affine",
    "aten::_fake_quantize_learnable_per_channel_affine",
    "quantized_decomposed::quantize_per_channel",
    "quantized_decomposed::dequantize_per_channel",
    law="1 -> 1",
)
def by_scales_along(
    x: object, scales: object, zeros: object, axis: int = 0, *_: object, **__: object
) -> Layout:
    """A step and a zero for each place along one dimension; if it is spatial, a POSITION."""
    layout = need_layout(x, "what is quantised")
    after = len(layout.dims) - 1 - normal_dim(axis, len(layout.dims))
    return pointwise(layout, _along(scales, after), _along(zeros, after))


def _along(values: object, after: int) -> object:
    """A vector with as many dimensions of size 1 after it."""
    if isinstance(values, Constant):
        return replace(values, shape=(*values.shape, *(1,) * after))
    if isinstance(values, Layout):
        return replace(values, dims=(*values.dims, *((),) * after))
    return values


@register_rule("aten::fake_quantize_per_channel_affine_cachemask", law="1 -> 1")
def by_scales_with_mask(
    x: object, scales: object, zeros: object, axis: int, *_: object
) -> tuple[Layout, Layout]:
    """The result, and which values were within the range."""
    out = by_scales_along(x, scales, zeros, axis)
    return out, out


@register_rule("aten::quantize_per_tensor_dynamic", law="global: the step is that of all values")
def by_the_range(x: object, *_: object) -> Layout:
    """The step comes from the smallest and the largest value of the whole tensor."""
    layout = need_layout(x, "what is quantised")
    dims = range(len(layout.dims))
    return pointwise(layout, reduce_over(layout, dims, keepdim=False, what="the range of values"))
