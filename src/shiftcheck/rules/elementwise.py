"""Operations that compute each sample from the same sample but do not carry torch's tag for it."""

from __future__ import annotations

from dataclasses import replace

from shiftcheck.axis import GeometryError
from shiftcheck.combining import broadcast
from shiftcheck.layout import Signal, as_slice
from shiftcheck.rules.common import need_signal, pointwise, require_plain
from shiftcheck.rules.constants import stochastic, with_constants
from shiftcheck.rules.operands import Constant
from shiftcheck.rules.registry import keeps_uniform, register_rule


@keeps_uniform
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
    "aten::subtract",
    "aten::true_divide",
    "aten::clip",
    "aten::absolute",
    "aten::negative",
    "aten::isfinite",
    "aten::pow",
    "aten::rsub",
    law="1 -> 1",
)
def untagged(*operands: object, **_: object) -> Signal:
    """Every operand broadcasts."""
    return pointwise(*operands)


@register_rule("aten::copy", "aten::fill", law="1 -> 1")
def copy(target: object, source: object, *_: object) -> Signal:
    """The values of ``source`` in the place of those of ``target``.

    A constant that is written over a signal keeps to its geometry, which then promises too little.
    """
    if isinstance(source, Constant) and isinstance(target, Signal):
        return with_constants(target, [source])
    if isinstance(source, int | float | complex) and isinstance(target, Signal):
        return target
    if not isinstance(source, Signal) or not isinstance(target, Signal | Constant):
        raise GeometryError("an operand that is no tensor")
    out = broadcast([source], [target.shape])
    known = source.source
    same = known is not None and out.dims == source.dims
    return as_slice(out, known.whole, known.dim, known.chosen) if known and same else out


@register_rule("aten::prelu", "aten::_prelu_kernel", law="1 -> 1")
def prelu(x: object, weight: object) -> Signal:
    """A leaky rectifier whose slope is a vector along dimension 1."""
    signal = need_signal(x, "the input of a prelu")
    if not isinstance(weight, Constant):
        raise GeometryError("the slope of a prelu depends on the input")
    trailing = max(len(signal.dims) - 2, 0) if len(weight.shape) == 1 else 0
    shape = weight.shape + (1,) * trailing
    slope = replace(weight, shape=shape)
    return with_constants(signal, [slope])


@register_rule("aten::rrelu.default", law="1 -> 1 in eval mode; else STOCHASTIC")
def rrelu(
    x: object, lower: float = 0.125, upper: float = 1 / 3, training: bool = False, *_: object
) -> Signal:
    """A leaky rectifier, with a random slope in training."""
    signal = need_signal(x, "the input of a randomised rectifier")
    return stochastic(signal) if training else signal


@register_rule("aten::local_response_norm", "aten::channel_shuffle", law="1 -> 1 over channels")
def over_channels(x: object, *_: object) -> Signal:
    """Neighbouring channels are combined, or channels change places."""
    signal = need_signal(x, "the input")
    require_plain(signal, 1, "an operation over channels")
    return signal
