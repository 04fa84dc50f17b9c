"""What tells a model from another one: its modules, and the values of all its tensors."""

from __future__ import annotations

import hashlib

import torch

from shiftcheck.measuring.plan import Model
from shiftcheck.tracing.modules import named_modules_of


def fingerprint(model: Model) -> str:
    """The same text for the same modules with the same parameters and buffers.

    Example:
        >>> conv = torch.nn.Conv2d(1, 1, 3)
        >>> fingerprint(conv) == fingerprint(conv), len(fingerprint(conv))
        (True, 64)
    """
    told = hashlib.sha256(str(getattr(model, "__qualname__", "")).encode())
    for name, module in named_modules_of(model).items():
        told.update(f"{name} {type(module).__qualname__} {module.extra_repr()}".encode())
        tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for key, tensor in tensors:
            told.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
            told.update(_bytes(tensor))
    return told.hexdigest()


def _bytes(tensor: torch.Tensor) -> bytes | memoryview:
    if tensor.device.type == "meta" or tensor.layout != torch.strided or tensor.is_quantized:
        return b""
    values = tensor.detach().cpu().contiguous().reshape(-1)
    return memoryview(values.view(torch.uint8).numpy())  # type: ignore[arg-type]
