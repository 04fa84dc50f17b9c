"""A description of everything that hangs on an object, made without the library."""

from __future__ import annotations

import gc
import logging
import random
import types
from typing import Any

import numpy as np
import torch

SKIPPED = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType)
SKIPPED += (types.CodeType, types.FrameType, logging.Logger, types.GetSetDescriptorType)


def described(*roots: Any) -> dict[int, tuple[Any, Any]]:
    """By its id, each object that is reached, and what it refers to, by identity and in order."""
    found: dict[int, tuple[Any, Any]] = {}
    waiting = list(roots)
    while waiting:
        thing = waiting.pop()
        if id(thing) in found or isinstance(thing, SKIPPED):
            continue
        parts, words = _of(thing)
        found[id(thing)] = (thing, (type(thing).__name__, *words, *map(id, parts)))
        waiting += parts
    return found


def _of(thing: Any) -> tuple[list[Any], tuple[Any, ...]]:
    if isinstance(thing, torch.Tensor):
        return _tensor(thing)
    if isinstance(thing, np.ndarray):
        return [], (thing.tobytes(), thing.flags.writeable)
    if isinstance(thing, torch.Generator):
        return [], tuple(thing.get_state().tolist())
    if isinstance(thing, str | bytes | int | float | complex):
        return [], (thing,)
    held = getattr(thing, "__dict__", None)
    own = [held] if type(held) is dict else []
    if isinstance(thing, dict):
        return [*own, *(p for pair in dict.items(thing) for p in pair)], ()
    if isinstance(thing, list | tuple):
        return [*own, *thing], ()
    return [*own, *(p for p in gc.get_referents(thing) if p is not held)], ()


def _tensor(tensor: torch.Tensor) -> tuple[list[Any], tuple[Any, ...]]:
    values = tuple(tensor.detach().flatten().tolist())
    place = tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.storage_offset()
    flags = tensor.requires_grad, tensor.dtype, tensor.device, tensor.is_inference()
    grad = tensor.grad if tensor.is_leaf else None
    return [grad, tensor.__dict__], (repr(values), *place, *flags)


def process() -> tuple[Any, ...]:
    """What belongs to the process: random numbers, flags, hooks of every module, loggers."""
    hooks = torch.nn.modules.module
    return (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
        torch.get_default_dtype(),
        torch.backends.mha.get_fastpath_enabled(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        list(hooks._global_forward_hooks),
        list(hooks._global_forward_pre_hooks),
        logging.getLogger("torch._subclasses.fake_tensor").disabled,
    )
