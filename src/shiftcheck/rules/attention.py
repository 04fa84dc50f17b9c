"""Attention of every sample to all others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from shiftcheck.lattice.axis import Axis, GeometryError
from shiftcheck.lattice.causes import lose, with_cause
from shiftcheck.lattice.factors import Dim
from shiftcheck.lattice.layout import Gone, Layout, Pairs, with_dims
from shiftcheck.lattice.windows import as_keys, contracted
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.rules.common import WINDOWS, combined, need_layout, require_plain, uncoupled
from shiftcheck.rules.constants import stochastic, with_constants
from shiftcheck.rules.matmul import matmul, transposed
from shiftcheck.rules.note_causes import note_new_causes
from shiftcheck.rules.operands import Constant
from shiftcheck.rules.pairs import (
    of_the_past,
    related,
    summed,
    with_added,
    with_softmax,
    with_taking_part,
)
from shiftcheck.rules.registry import register_rule


@register_rule(
    "aten::scaled_dot_product_attention",
    law="over the axis: global, POSITION with a mask that varies; over channels: 1 -> 1",
    source="torch.nn.functional.scaled_dot_product_attention",
)
def attention(
    query: object,
    key: object,
    value: object,
    attn_mask: object = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **_: object,
) -> Layout:
    """``softmax(query @ key.T + mask) @ value``, batched over all but the last two dimensions."""
    if isinstance(attn_mask, Layout):
        raise GeometryError("attention with a mask that depends on the input")
    if isinstance(key, Constant) and isinstance(value, Constant) and not is_causal:
        out = _to_constants(need_layout(query, "the queries of attention"), key, value, attn_mask)
        return stochastic(out) if dropout_p > 0 else out
    q, k, v = (need_layout(x, "an operand of attention") for x in (query, key, value))
    for layout in (q, k, v):
        uncoupled(layout, [len(layout.dims) - 2, len(layout.dims) - 1], "attention")
        require_plain(layout, len(layout.dims) - 1, "attention")
    rank = len(v.dims)
    if as_keys(k, len(k.dims) - 2) != as_keys(v, rank - 2):
        raise GeometryError("keys and values are not of the same positions")
    keys = [contracted(x, [rank - 2, rank - 1], related=True) for x in (k, v)]
    if is_causal:
        keys = [_of_the_past(x) for x in keys]
    out = combined([with_dims(q, (*q.dims[:-1], ())), *keys])
    out = note_new_causes(q, with_dims(out, (*out.dims[:-1], v.dims[-1])), detail=WINDOWS)
    pairs = related(q, k, (q.dims[-2], as_keys(k, rank - 2)), keys_last=False)
    if isinstance(attn_mask, Constant):
        out = _masked(out, q, k, attn_mask)
        pairs = pairs and _softmaxed(pairs, attn_mask, out.dims[:-2])
        out = out if pairs is None else summed(out, pairs, v)
    elif pairs is not None:
        out = (
            of_the_past(out, pairs, v)
            if is_causal
            else summed(out, replace(pairs, stage="weights"), v)
        )
    return stochastic(out) if dropout_p > 0 or getattr(attn_mask, "random", False) else out


def _to_constants(query: Layout, key: Constant, value: Constant, mask: object) -> Layout:
    """Each query is related to the same keys: as two products with constants."""
    scores = matmul(query, transposed(key))
    uncoupled(scores, [len(scores.dims) - 1], "attention")
    scores = with_constants(scores, [mask] if isinstance(mask, Constant) else [])
    return need_layout(matmul(scores, value), "attention")


def _softmaxed(pairs: Pairs, mask: Constant, leading: Sequence[Dim]) -> Pairs | None:
    """The pairs after a mask, of what takes part or of what is added, and a softmax."""
    masked = with_taking_part(pairs, mask, leading) or with_added(pairs, mask, leading)
    return masked and with_softmax(masked)


def _of_the_past(keys: Layout) -> Layout:
    """Keys of which each query sees those before it: what is gone is no function of all of them.

    Windows all have the same past within themselves.
    """
    for axis, state in enumerate(keys.axes):
        if isinstance(state, Gone):
            keys = keys.with_state(axis, replace(state, exact=False))
    return keys


@register_rule("aten::_scaled_dot_product_flash_attention_for_cpu", law="as attention")
def flash_attention(
    query: object,
    key: object,
    value: object,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *_: object,
    attn_mask: object = None,
    **__: object,
) -> tuple[object, ...]:
    """Attention as outside inference mode; what is beside it is for gradients."""
    return attention(query, key, value, attn_mask, dropout_p, is_causal), ...


@register_rule(
    "aten::_scaled_dot_product_flash_attention",
    law="as attention",
)
def flash_attention_without_bias(
    query: object,
    key: object,
    value: object,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *_: object,
    **__: object,
) -> tuple[object, ...]:
    """The same on an accelerator."""
    return attention(query, key, value, None, dropout_p, is_causal), ...


@register_rule(
    "aten::_scaled_dot_product_efficient_attention",
    "aten::_scaled_dot_product_cudnn_attention",
    law="as attention",
)
def efficient_attention(
    query: object,
    key: object,
    value: object,
    attn_bias: object,
    compute_log_sumexp: bool,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *_: object,
    **__: object,
) -> tuple[object, ...]:
    """The same on an accelerator, with a bias."""
    return attention(query, key, value, attn_bias, dropout_p, is_causal), ...


@register_rule("aten::_scaled_dot_product_fused_attention_overrideable", law="as attention")
def fused_attention(
    query: object,
    key: object,
    value: object,
    attn_bias: object = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *_: object,
    **__: object,
) -> tuple[object, ...]:
    """The same on a device that brings its own."""
    return attention(query, key, value, attn_bias, dropout_p, is_causal), ...


def _masked(out: Layout, q: Layout, k: Layout, mask: Constant) -> Layout:
    """The result where ``mask`` was added to the scores ``[..., queries, keys]``."""
    keys = len(k.dims) - 2
    related = [a for a in k.axes_in([keys]) if isinstance(out.axes[a], Axis)]
    unrelated = [a for a in k.axes_in([keys]) if a not in related]
    dim = as_keys(lose(k, unrelated, Cause(kind=CauseKind.POSITION)), keys, related)
    scores = with_constants(Layout((*q.dims[:-1], dim), out.axes, out.causes), [mask])
    out = Layout(out.dims, scores.axes, scores.causes)
    if not unrelated or mask.repeats(1, math.prod(mask.shape), 1) == 1:
        return out
    for axis in unrelated:
        detail = "a mask that varies along the axis"
        cause = Cause(kind=CauseKind.POSITION, axis=axis, detail=detail)
        out = with_cause(out.with_state(axis, Gone(exact=False, broken=True)), cause)
    return out
