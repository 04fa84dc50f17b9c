"""Operations that compute each sample from the same sample but do not carry torch's tag for it."""

from __future__ import annotations

import math
from dataclasses import replace

from shiftcheck.lattice.axis import GeometryError, with_break
from shiftcheck.lattice.broadcasting import broadcast
from shiftcheck.lattice.causes import with_cause
from shiftcheck.lattice.factors import Factor
from shiftcheck.lattice.layout import Layout, no_longer_uniform, with_axis
from shiftcheck.lattice.notes import as_slice, by_recipe
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.rules.common import need_layout, pointwise, require_plain, uncoupled
from shiftcheck.rules.constants import stochastic, with_constants
from shiftcheck.rules.note_causes import STAYS
from shiftcheck.rules.operands import Constant
from shiftcheck.rules.registry import register_rule


@register_rule(
    "aten::hardswish",
    "aten::hardsigmoid",
    "aten::relu6",
    "aten::selu",
    "aten::celu",
    "aten::softsign",
    "aten::mish",
    "aten::square",
    "aten::log_sigmoid",
    "aten::logsigmoid",
    "aten::where.self",
    "aten::where.ScalarOther",
    "aten::where.ScalarSelf",
    "aten::where.Scalar",
    "aten::masked_fill",
    "aten::divide",
    "aten::multiply",
    "aten::floor_divide",
    "aten::subtract",
    "aten::true_divide",
    "aten::clip",
    "aten::absolute",
    "aten::negative",
    "aten::isfinite",
    "aten::pow",
    "aten::rsub",
    law="1 -> 1",
    keeps_uniform=True,
)
def untagged(*operands: object, **_: object) -> Layout:
    """Every operand broadcasts."""
    return pointwise(*operands)


@register_rule(
    "aten::copy",
    "aten::fill",
    law="1 -> 1; of one value the same everywhere: constant",
    keeps_uniform=True,
    keeps_frequencies=True,
)
def copy(target: object, source: object, *_: object) -> Layout:
    """The values of ``source`` in the place of those of ``target``.

    A constant that varies and is written over a signal keeps to its geometry, which then promises
    too little.
    """
    if isinstance(target, Layout) and _is_one_value(source):
        return filled(target)
    if isinstance(source, Constant) and isinstance(target, Layout):
        return with_constants(no_longer_uniform(target), [source])
    if not isinstance(source, Layout) or not isinstance(target, Layout | Constant):
        raise GeometryError("an operand that is no tensor")
    out = broadcast([no_longer_uniform(source)], [target.shape])
    if out.dims != source.dims:
        return out
    known = source.source
    same = as_slice(out, known.whole, known.dim, known.chosen) if known else out
    return by_recipe(same, source.recipe)


@register_rule("aten::zero", law="1 -> 1; constant", keeps_uniform=True)
def filled(target: object, *_: object) -> Layout:
    """One value in the place of all: the copies stay apart, and nothing depends on an axis."""
    layout = need_layout(target, "the tensor that is filled")
    dims = [
        tuple(f if f.kind == "copies" else Factor("uniform", f.size) for f in dim)
        for dim in layout.dims
    ]
    causes = tuple(c for c in layout.causes if c.kind in STAYS)
    return Layout(tuple(dims), (None,) * len(layout.axes), causes)


def _is_one_value(source: object) -> bool:
    if isinstance(source, Constant):
        whole = math.prod(source.shape)
        return not source.random and source.repeats(1, whole, 1) == 1
    return isinstance(source, int | float | complex)


@register_rule("aten::prelu", "aten::_prelu_kernel", law="1 -> 1")
def prelu(x: object, weight: object) -> Layout:
    """A leaky rectifier whose slope is a vector along dimension 1."""
    layout = need_layout(x, "the input of a prelu")
    if not isinstance(weight, Constant):
        raise GeometryError("the slope of a prelu depends on the input")
    trailing = max(len(layout.dims) - 2, 0) if len(weight.shape) == 1 else 0
    shape = weight.shape + (1,) * trailing
    slope = replace(weight, shape=shape)
    return with_constants(layout, [slope])


@register_rule("aten::rrelu.default", law="1 -> 1 in eval mode; else STOCHASTIC")
def rrelu(
    x: object, lower: float = 0.125, upper: float = 1 / 3, training: bool = False, *_: object
) -> Layout:
    """A leaky rectifier, with a random slope in training."""
    layout = need_layout(x, "the input of a randomised rectifier")
    return stochastic(layout) if training else layout


@register_rule("aten::local_response_norm", "aten::channel_shuffle", law="1 -> 1 over channels")
def over_channels(x: object, *_: object) -> Layout:
    """Neighbouring channels are combined, or channels change places."""
    layout = need_layout(x, "the input")
    require_plain(layout, 1, "an operation over channels")
    return layout


@register_rule("aten::tril", "aten::triu", law="over an axis: POSITION")
def triangle(x: object, diagonal: int = 0) -> Layout:
    """Zeros above or below a diagonal of the last two dimensions."""
    layout = need_layout(x, "the tensor")
    dims = (len(layout.dims) - 2, len(layout.dims) - 1)
    uncoupled(layout, dims, "a triangle")
    out = layout
    for axis in layout.axes_in(dims):
        out = with_axis(out, axis, with_break(layout.geometry(axis)))
        cause = Cause(kind=CauseKind.POSITION, axis=axis, detail="zeros on one side of a diagonal")
        out = with_cause(out, cause)
    return out
