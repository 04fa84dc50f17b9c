"""Whether NaN, where it is met, goes on to all that is computed of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from shiftcheck.tracing.torch_internals import (
    TorchDispatchMode,
    packet_name,
    tensors_of,
    without_modes,
)

SWALLOW = frozenset(
    f"aten::{name}"
    for name in (
        *("nan_to_num", "nan_to_num_", "nansum", "nanmean", "nanmedian", "nanquantile"),
        *("fmax", "fmin", "float_power", "hypot", "xlogy", "special_xlogy"),
        *("heaviside", "copysign", "sign", "sgn", "renorm", "histc", "bernoulli", "grid_sampler"),
        *("grid_sampler_2d", "grid_sampler_3d", "fake_quantize_per_tensor_affine"),
    )
)
"""Operations on floating numbers that can give a number for NaN."""


class FollowedNaN(TorchDispatchMode):
    """Notes the operations that were given NaN and may have given something else for it.

    They turn floating numbers to whole ones or to truth values, as comparisons do, take values out
    of tensors, are known for it, or are not torch's own.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.swallowing: set[str] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """What runs here is never compiled, so nothing needs to be wrapped to say so."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        given = tensors_of((args, kwargs or {}))
        with without_modes():
            met = any(_holds_nan(t) for t in given)
        out = func(*args, **(kwargs or {}))
        if met and (_is_power_of_any(func, args) or _may_swallow(func, tensors_of(out))):
            self.swallowing.add(str(func))
        return out


def _holds_nan(tensor: torch.Tensor) -> bool:
    floating = tensor.is_floating_point() or tensor.is_complex()
    return floating and bool(tensor.isnan().any())


def _may_swallow(func: Any, made: Sequence[torch.Tensor]) -> bool:
    if getattr(func, "namespace", "") != "aten" or packet_name(func) in SWALLOW:
        return True
    floating = [t.is_floating_point() or t.is_complex() for t in made]
    return not floating or not all(floating)


def _is_power_of_any(func: Any, args: Sequence[Any]) -> bool:
    """Whether it is a power whose exponent may be 0, which gives 1 for NaN."""
    exponent = args[1] if len(args) > 1 else None
    plain = isinstance(exponent, int | float) and exponent != 0
    return packet_name(func) in ("aten::pow", "aten::pow_") and not plain
