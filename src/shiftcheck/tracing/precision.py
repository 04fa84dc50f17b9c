"""Products of float32 in which a device may use fewer bits of the factors than there are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

from shiftcheck.tracing.torch_internals import settings_of_products

EPS = {"tf32": 2.0**-10, "bf16": 2.0**-7}
"""What the settings of torch call each coarser type, and its epsilon."""

KINDS = {
    "rnn": r"lstm|gru|rnn",
    "conv": r"conv|conv\dd|convolution",
    "matmul": r"\w*mm|\w*mv|matmul|v?dot|vecdot|linear|bilinear|trilinear|attention|cdist",
}
"""The words of which the names of operations have one that are sums of products."""


def coarse_products(met: Iterable[tuple[str, str]]) -> frozenset[str]:
    """The coarser types that operations may use, of their names and types of device.

    Args:
        met: such as ``("aten::conv2d", "cuda")``, the operations that gave float32.
    """
    kinds = {(kind, device) for name, device in met if (kind := _kind_of(name)) is not None}
    allowed = {_allowed(kind, device) for kind, device in kinds}
    return frozenset(allowed & set(EPS))


def _kind_of(name: str) -> str | None:
    words = re.split(r"[:._]+", name)
    for kind, pattern in KINDS.items():
        if any(re.fullmatch(pattern, word) for word in words):
            return kind
    return None


def _allowed(kind: str, device: str) -> str:
    setting = settings_of_products().get((kind, device))
    return "none" if setting is None else setting.allowed()


@contextmanager
def exact_products() -> Iterator[None]:
    """Products of float32 in float32, for as long as this takes."""
    settings = list(settings_of_products().values())
    before = [setting.read() for setting in settings]
    try:
        for setting in settings:
            setting.write(setting.exact)
        yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.write(value)


SINGLE = 2.0**-23
"""The epsilon of float32."""


def eps_of(dtype: torch.dtype) -> float:
    """The distance from 1 to the next larger number of a type; 0 for whole numbers."""
    floating = dtype.is_floating_point or dtype.is_complex
    return float(torch.finfo(dtype).eps) if floating else 0.0
