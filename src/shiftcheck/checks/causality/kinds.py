"""How a layer comes to see ahead: by the operations that it consists of."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import torch

from shiftcheck.report.causality import LookAhead
from shiftcheck.report.causes import Cause, CauseForm, CauseKind
from shiftcheck.tracing.traced import Row

FAMILIES = {
    LookAhead.STATISTICS: (
        r"\w*(group|instance|layer|batch)_norm\w*|renorm|(fused_)?rms_norm|mean|nanmean|sum|nansum"
        r"|var|std|var_mean|std_mean|max|min|amax|amin|aminmax|logsumexp|prod|median|nanmedian|all"
        r"|any|norm|linalg_vector_norm|count_nonzero|adaptive_\w+|quantile|nanquantile"
    ),
    LookAhead.BIDIRECTIONAL: r"lstm|gru|rnn_tanh|rnn_relu|mkldnn_rnn_layer",
    LookAhead.ATTENTION: (
        r"softmax|_softmax|_safe_softmax|log_softmax|_log_softmax|\w*scaled_dot_product\w*"
        r"|matmul|bmm|baddbmm|einsum"
    ),
    LookAhead.REVERSED: r"flip|cumsum|cumprod|logcumsumexp|cummax|cummin|\w*(lstm|gru|rnn)_cell",
    LookAhead.FOURIER: r"_?fft_\w+|stft|istft",
    LookAhead.MIXING: r"linear|addmm|mm|mv",
    LookAhead.TRANSPOSED: r"\w*conv_transpose\w*",
    LookAhead.WINDOW: r"\w*conv\w*|unfold|im2col|col2im",
    LookAhead.POOL: r"\w*pool\w*",
    LookAhead.RESIZE: r"upsample_\w+|grid_sampler\w*",
    LookAhead.CROP: r"slice|narrow|select|split\w*|chunk|unbind",
    LookAhead.BORDER: r"roll|pad|\w*_pad\w*|reflection_pad\w*|replication_pad\w*|cat|copy",
    LookAhead.CHOICE: (
        r"index\w*|gather|take\w*|sort|argsort|topk|argmax|argmin|embedding|scatter\w*"
    ),
}
"""Names of operations in torch, by how they see ahead if they do."""

TRANSPOSED = (torch.nn.ConvTranspose1d, torch.nn.ConvTranspose2d, torch.nn.ConvTranspose3d)


def how_it_sees(row: Row, causes: Sequence[Cause], module: Any, added: float) -> LookAhead:
    """How a layer adds so many samples to what is seen ahead; ``causes``: its own along time."""
    if row_is_reversed(causes):
        return LookAhead.REVERSED
    found = [kind for c in causes if (kind := _of_cause(c, added))] or [_by_name(row.op)]
    kind = next((k for k in found if k), LookAhead.OTHER)
    if kind is LookAhead.OTHER and module is not None:
        kind = _by_name(type(module).__name__.lower())
    if isinstance(module, TRANSPOSED):
        return LookAhead.TRANSPOSED
    if kind is LookAhead.BIDIRECTIONAL and _runs_one_way(module):
        return LookAhead.CHOICE  # its last state, for all times
    if kind is LookAhead.ATTENTION and math.isfinite(added):
        return LookAhead.MASK
    return kind


def row_is_reversed(causes: Sequence[Cause]) -> bool:
    """Whether one of the causes is that time was turned around."""
    return any(c.form is CauseForm.MIRRORED for c in causes)


def _runs_one_way(module: Any) -> bool:
    return isinstance(module, torch.nn.RNNBase) and not module.bidirectional


def _of_cause(cause: Cause, added: float) -> LookAhead:
    if cause.kind in (CauseKind.STRIDE, CauseKind.POSITION, CauseKind.MEASURED):
        return LookAhead.NONE if math.isinf(added) else _by_name(_short(cause))
    if cause.kind is CauseKind.MIXING:
        return LookAhead.MIXING
    single = cause.kind is CauseKind.INDEX and _short(cause) == "select"
    if single or cause.form is CauseForm.SINGLE:
        return LookAhead.CHOICE
    return _by_name(_short(cause))


def _short(cause: Cause) -> str:
    return (cause.operation or cause.op).removeprefix("aten::").rstrip("_")


def _by_name(operation: str) -> LookAhead:
    for kind, pattern in FAMILIES.items():
        if re.fullmatch(pattern, operation):
            return kind
    return LookAhead.OTHER


MOVING = (LookAhead.BORDER, LookAhead.CHOICE, LookAhead.CROP)
"""How those operations see ahead that compute nothing, and so multiply nothing by zero."""


def moves_values(cause: Cause) -> bool:
    """Whether a cause along time is that samples were put where others had been due."""
    if cause.axis not in (None, 0) or cause.detail == "constant padding":
        return False
    return _by_name(_short(cause)) in MOVING


ADDING = (
    r"add\w*|sub|rsub|neg|abs|exp|expm1|log\w*|sqrt|rsqrt|square|clone|alias|identity|_?to\w*"
    r"|contiguous|\w*relu\w*|\w*elu|gelu|silu|mish|tanh|sigmoid|hardswish|hardtanh|softplus|clamp\w*"
    r"|view|_unsafe_view|reshape|flatten|unflatten|transpose|permute|movedim|squeeze|unsqueeze"
    r"|expand|dropout\w*|batchnorm\w*|\w*batch_norm\w*|embedding|cumsum"
)
"""Names of operations and modules that multiply no sample by a number that may be zero."""


def may_multiply(row: Row, module: Any) -> bool:
    """Whether a layer may give NaN for it where it multiplies by zero, as masks and weights do."""
    name = row.op.lower()
    if _by_name(name) in MOVING or re.fullmatch(ADDING, name):
        return False
    weight = getattr(module, "weight", None)
    if not (slides(name) and isinstance(weight, torch.Tensor)):
        return True
    return bool((weight == 0).any())


def slides(operation: str) -> bool:
    """Whether an operation of this name has a window, and so a kernel and a stride."""
    return _by_name(operation) in (LookAhead.WINDOW, LookAhead.TRANSPOSED, LookAhead.POOL)


def settings_of(module: Any, dim: int) -> str:
    """The kernel, stride, padding and dilation of a module along one of its spatial dimensions."""
    told = []
    for name in ("kernel_size", "stride", "padding", "output_padding", "dilation"):
        value = _along(getattr(module, name, None), dim)
        if value is None or (name in ("dilation", "output_padding") and value in (0, 1)):
            continue
        told.append(f"{name.removesuffix('_size').replace('_', ' ')} {value}")
    return ", ".join(told)


def _along(value: Any, dim: int) -> int | str | None:
    if isinstance(value, tuple | list) and value:
        value = value[dim] if -len(value) <= dim < len(value) else None
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None
