"""What runs along a dimension and sees all of its past: cumulative sums, recurrent layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shiftcheck.lattice.axis import GeometryError, accumulate
from shiftcheck.lattice.causes import lose, with_cause
from shiftcheck.lattice.factors import plain
from shiftcheck.lattice.layout import Layout, with_axis, with_dims
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.rules.common import combined, mix, need_layout, no_layout, normal_dim, uncoupled
from shiftcheck.rules.constants import stochastic, with_constants
from shiftcheck.rules.operands import Constant
from shiftcheck.rules.registry import register_rule

LAW = "over channels 1 -> 1; along an axis 1 -> 1 with an infinite halo, so nothing is valid"

SEES_THE_PAST = "along the axis sees all that came before"
"""What is told of each layer that carries a state from place to place."""


def running(layout: Layout, dim: int, what: str, *, both: bool = False) -> Layout:
    """Every sample now depends on all before it along ``dim``, or on all (``both``)."""
    uncoupled(layout, [dim], what)
    factors = layout.dims[dim]
    if not layout.axes_in([dim]):
        return layout
    if any(f.kind != "axis" for f in factors):
        raise GeometryError(f"{what} along a dimension that holds more than an axis")
    out = layout
    for factor in factors:
        state = accumulate(layout.geometry(factor.axis))
        if both or len(factors) > 1:  # what came before in row order lies on either side
            state = accumulate(state, backwards=True)
        out = with_axis(out, factor.axis, state)
        detail = f"{what} {SEES_THE_PAST}"
        out = with_cause(out, Cause(kind=CauseKind.GLOBAL, axis=factor.axis, detail=detail))
    return out


@register_rule("aten::cumsum", "aten::cumprod", "aten::logcumsumexp", law=LAW)
def cumulative(x: object, dim: int, **_: object) -> Layout:
    """A sum, or another symmetric function, of a sample and all before it."""
    layout = need_layout(x, "the accumulated tensor")
    return running(layout, normal_dim(dim, len(layout.dims)), "a running sum")


@register_rule("aten::cummax", "aten::cummin", law=LAW + "; the indices: INDEX")
def cumulative_extreme(x: object, dim: int) -> tuple[Layout, Layout]:
    """The extreme value so far, and its index."""
    layout = need_layout(x, "the accumulated tensor")
    out = running(layout, normal_dim(dim, len(layout.dims)), "a running extreme")
    axes = layout.axes_in([normal_dim(dim, len(layout.dims))])
    cause = Cause(kind=CauseKind.INDEX, detail="indices count from a fixed place")
    return out, lose(out, axes, cause)


@register_rule(
    "aten::lstm.input",
    "aten::gru.input",
    "aten::rnn_tanh.input",
    "aten::rnn_relu.input",
    law=LAW,
    source="torch.nn.LSTM, torch.nn.GRU and torch.nn.RNN, shape sections",
)
def recurrent(
    x: object,
    hx: object,
    params: Sequence[object],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Layout, ...]:
    """A stack of recurrent layers; an LSTM has two states, of which one may be a projection."""
    states = [_state(h) for h in (hx if isinstance(hx, Sequence) else [hx])]
    noisy = train and dropout > 0 and num_layers > 1
    out = _recurrent(x, states, params, bidirectional, batch_first, noisy)
    return (out, *(_final(out, state, batch_first) for state in states))


@register_rule("aten::mkldnn_rnn_layer", law=LAW, source="torch.nn.LSTM, shape section")
def one_layer(
    x: object,
    weight0: object,
    weight1: object,
    weight2: object,
    weight3: object,
    hx: object,
    cx: object,
    reverse: bool,
    *_: object,
) -> tuple[object, ...]:
    """One layer of an LSTM in one direction, as outside inference mode on a CPU."""
    states = [replace(s, shape=(1, *s.shape)) for s in (_state(hx), _state(cx))]
    params = [weight0, weight1, weight2, weight3]
    out = _recurrent(x, states, params, False, False, False, backwards=reverse)
    finals = [_final(out, state, False) for state in states]
    return (out, *(with_dims(f, f.dims[1:]) for f in finals), ...)


def _state(hx: object) -> Constant:
    no_layout(hx, "the initial state of a recurrent layer")
    assert isinstance(hx, Constant)
    return hx


def _recurrent(
    x: object,
    states: Sequence[Constant],
    params: Sequence[object],
    bidirectional: bool,
    batch_first: bool,
    noisy: bool,
    *,
    backwards: bool = False,
) -> Layout:
    """The states of the last layer for each sample; ``states`` start ``[layers, batch, size]``."""
    layout = need_layout(x, "the input of a recurrent layer")
    for parameter in params:
        no_layout(parameter, "a weight of a recurrent layer")
    steps, batch = (1, 0) if batch_first else (0, 1)
    size = states[0].shape[-1] * (2 if bidirectional else 1)
    out = mix(layout, 2, size, "a recurrent layer")
    out = running(out, steps, "a recurrent layer", both=bidirectional or backwards)
    for state in states:
        place = replace(out, dims=(plain(state.shape[0]), out.dims[batch], plain(state.shape[2])))
        met = with_constants(place, [state])
        out = replace(out, axes=met.axes, causes=met.causes)
    return stochastic(out) if noisy else out


def _final(out: Layout, state: Constant, batch_first: bool) -> Layout:
    """The state after the last sample: the axis that the layer runs along is gone."""
    batch = out.dims[0 if batch_first else 1]
    return with_dims(out, [plain(state.shape[0]), batch, plain(state.shape[2])])


@register_rule("aten::lstm_cell", law="over channels 1 -> 1", source="torch.nn.LSTMCell")
def lstm_cell(x: object, hx: Sequence[object], *params: object) -> tuple[Layout, Layout]:
    """One step of an LSTM for each element of the first dimension."""
    out = _cell(x, hx, params)
    return out, out


@register_rule(
    "aten::gru_cell", "aten::rnn_tanh_cell", "aten::rnn_relu_cell", law="over channels 1 -> 1"
)
def cell(x: object, hx: object, *params: object) -> Layout:
    """One step of a recurrent layer for each element of the first dimension."""
    return _cell(x, [hx], params)


def _cell(x: object, states: Sequence[object], params: Sequence[object]) -> Layout:
    for parameter in params:
        no_layout(parameter, "a weight of a recurrent cell")
    shapes = [s.shape for s in states if isinstance(s, Layout | Constant)]
    sources = [s for s in (x, *states) if isinstance(s, Layout)]
    mixed = [mix(s, len(s.dims) - 1, shapes[0][-1], "a recurrent cell") for s in sources]
    constants = [c for c in (x, *states) if isinstance(c, Constant)]
    narrow = [replace(c, shape=(*c.shape[:-1], 1)) if c is x else c for c in constants]
    out = combined(mixed, [c.shape for c in narrow])
    return with_constants(out, narrow)
