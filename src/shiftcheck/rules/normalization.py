"""Normalisation layers and dropout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shiftcheck.lattice.axis import GeometryError
from shiftcheck.lattice.layout import Layout
from shiftcheck.rules.common import need_layout, no_layout, normal_dim, spread_over, uncoupled
from shiftcheck.rules.constants import stochastic, with_constants
from shiftcheck.rules.operands import Constant
from shiftcheck.rules.registry import register_rule


def _affine(layout: Layout, dim: int, *parameters: object) -> Layout:
    """Combine with vectors along ``dim``."""
    trailing = len(layout.dims) - 1 - dim
    vectors = []
    for p in parameters:
        no_layout(p, "a parameter of a normalisation")
        if isinstance(p, Constant):
            shape = p.shape + (1,) * trailing
            vectors.append(replace(p, shape=shape))
    return with_constants(layout, vectors)


BATCH = "1 -> 1 with running statistics; else it couples the batch"


@register_rule("aten::batch_norm", law=BATCH)
def batch_norm(
    x: object,
    weight: object,
    bias: object,
    running_mean: object,
    running_var: object,
    training: bool,
    *_: object,
) -> Layout:
    """BatchNorm; channels are dimension 1."""
    layout = need_layout(x, "the input of a normalisation")
    if training or running_mean is None:
        uncoupled(layout, [0], "a batch norm with statistics of the batch")
        dims = [d for d in range(len(layout.dims)) if d != 1]
        layout = spread_over(layout, dims, "statistics of the whole axis")
    return _affine(layout, 1, weight, bias, running_mean, running_var)


@register_rule("aten::native_batch_norm", "aten::_native_batch_norm_legit", law=BATCH)
def native_batch_norm(x: object, *arguments: object) -> tuple[object, ...]:
    """BatchNorm as outside inference mode; the statistics beside it are for gradients."""
    return batch_norm(x, *arguments), ...  # type: ignore[arg-type]


@register_rule("aten::_native_batch_norm_legit_no_training", law=BATCH)
def frozen_batch_norm(
    x: object, weight: object, bias: object, running_mean: object, running_var: object, *_: object
) -> tuple[object, ...]:
    """BatchNorm with running statistics, as outside inference mode."""
    return batch_norm(x, weight, bias, running_mean, running_var, False), ...


@register_rule("aten::instance_norm", law="global; 1 -> 1 with running statistics in eval mode")
def instance_norm(
    x: object,
    weight: object,
    bias: object,
    running_mean: object,
    running_var: object,
    use_input_stats: bool,
    *_: object,
) -> Layout:
    """InstanceNorm; statistics of each element and channel over all other dimensions."""
    layout = need_layout(x, "the input of a normalisation")
    if use_input_stats:
        layout = spread_over(layout, range(2, len(layout.dims)), "statistics of the whole axis")
    return _affine(layout, 1, weight, bias, running_mean, running_var)


@register_rule("aten::group_norm", law="global")
def group_norm(
    x: object, groups: int, weight: object = None, bias: object = None, *_: object
) -> Layout:
    """GroupNorm; statistics of each element and group of channels over all other dimensions."""
    layout = need_layout(x, "the input of a normalisation")
    layout = spread_over(layout, range(1, len(layout.dims)), "statistics of the whole axis")
    return _affine(layout, 1, weight, bias)


@register_rule(
    "aten::layer_norm", law="1 -> 1 over channels; over an axis: global, POSITION if affine varies"
)
def layer_norm(
    x: object,
    normalized_shape: Sequence[int],
    weight: object = None,
    bias: object = None,
    *_: object,
) -> Layout:
    """LayerNorm over the last dimensions."""
    layout = need_layout(x, "the input of a normalisation")
    rank = len(layout.dims)
    dims = range(rank - len(normalized_shape), rank)
    uncoupled(layout, dims, "a layer norm")
    layout = spread_over(layout, dims, "statistics of the whole axis")
    for p in (weight, bias):
        no_layout(p, "a parameter of a normalisation")
    return with_constants(layout, [p for p in (weight, bias) if isinstance(p, Constant)])


@register_rule("aten::native_layer_norm", law="as layer_norm")
def native_layer_norm(
    x: object, normalized_shape: Sequence[int], weight: object, bias: object, *_: object
) -> tuple[object, ...]:
    """LayerNorm as outside inference mode; the statistics beside it are for gradients."""
    return layer_norm(x, normalized_shape, weight, bias), ...


@register_rule("aten::native_group_norm", law="global")
def native_group_norm(
    x: object,
    weight: object,
    bias: object,
    batch: int,
    channels: int,
    places: int,
    groups: int,
    *_: object,
) -> tuple[object, ...]:
    """GroupNorm as outside inference mode; the statistics beside it are for gradients."""
    return group_norm(x, groups, weight, bias), ...


@register_rule(
    "aten::dropout",
    "aten::alpha_dropout",
    "aten::feature_dropout",
    "aten::feature_alpha_dropout",
    law="1 -> 1 in eval mode; else STOCHASTIC",
)
def dropout(x: object, p: float, train: bool) -> Layout:
    """Dropout in all its kinds."""
    layout = need_layout(x, "the input of a dropout")
    if not 0 <= p <= 1:
        raise GeometryError(f"a dropout with probability {p}")
    return stochastic(layout) if train and p > 0 else layout


@register_rule("aten::renorm", law="global; over the batch it couples it", source="torch.renorm")
def renorm(x: object, p: float, dim: int, maxnorm: float) -> Layout:
    """Every slice of a dimension is scaled down to a norm, which sees all other dimensions."""
    layout = need_layout(x, "the input of a normalisation")
    at = normal_dim(dim, len(layout.dims))
    if layout.axes_in([at]):
        raise GeometryError("a norm for each place along a spatial axis")
    others = [d for d in range(len(layout.dims)) if d != at]
    uncoupled(layout, others, "a norm over the batch")
    return spread_over(layout, others, "a norm of the whole axis")
