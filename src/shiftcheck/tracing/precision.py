"""Products of float32 in which a device may use fewer bits of the factors than there are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

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
    place = _settings().get((kind, device))
    return "none" if place is None else str(place.fp32_precision)


def _settings() -> dict[tuple[str, str], Any]:
    """Where torch keeps what is allowed, for each kind of products and type of device."""
    of_cpu: Any = torch.backends.mkldnn
    of_cuda: Any = torch.backends.cudnn
    return {
        ("rnn", "cpu"): of_cpu.rnn,
        ("conv", "cpu"): of_cpu.conv,
        ("matmul", "cpu"): of_cpu.matmul,
        ("rnn", "cuda"): of_cuda.rnn,
        ("conv", "cuda"): of_cuda.conv,
        ("matmul", "cuda"): torch.backends.cuda.matmul,
    }


@contextmanager
def exact_products() -> Iterator[None]:
    """Products of float32 in float32, for as long as this takes."""
    places = list(_settings().values())
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "ieee"
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value


SINGLE = 2.0**-23
"""The epsilon of float32."""


def eps_of(dtype: torch.dtype) -> float:
    """The distance from 1 to the next larger number of a type; 0 for whole numbers."""
    floating = dtype.is_floating_point or dtype.is_complex
    return float(torch.finfo(dtype).eps) if floating else 0.0
